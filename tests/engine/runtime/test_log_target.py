"""Log options: sizes, counts, and what goes with each record."""

from __future__ import annotations

import pytest

from dockerlab.engine.model.container import Container
from dockerlab.engine.runtime.log_target import log_attributes, log_target
from dockerlab.errors import InvalidRequest
from dockerlab.wire.documents import ContainerConfig, HostConfig, LogConfig

ID = "ab" * 32


def container(driver: str = "json-file", **options: str) -> Container:
    config = {name.replace("_", "-"): value for name, value in options.items()}
    return Container(
        id=ID, name="web", created_ns=1, image="nginx", image_id="sha256:" + "cd" * 32, path="x",
        args=(),
        config=ContainerConfig(env=("A=1", "B=2", "UNSET"), labels={"l": "x", "m.n": "y"}),
        host=HostConfig(log_config=LogConfig(type=driver, config=config)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "pairs"),
    [
        ({}, {}),
        ({"labels": "l,absent", "env": "B"}, {"B": "2", "l": "x"}),
        ({"labels_regex": "^m", "env_regex": "A|B"}, {"A": "1", "B": "2", "m.n": "y"}),
        ({"tag": "{{.ImageName}}/{{ .Name }}/{{.ID}}"}, {"tag": f"nginx/web/{ID[:12]}"}),
    ],
)
def test_what_goes_with_each_record(options, pairs):
    assert log_attributes(container(**options)) == pairs
    assert log_target(container(**options), "/d").attrs == pairs


def test_sizes_and_counts():
    target = log_target(container(max_size="10k", max_file="3"), "/d")
    assert (target.max_bytes, target.max_files) == (10240, 3)
    assert log_target(container(max_size="-1"), "/d").max_bytes == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_size": "foo"}, "failed to initialize logging driver: invalid size: 'foo'"),
        ({"max_file": "foo"}, 'strconv.Atoi: parsing "foo": invalid syntax'),
        ({"max_file": "0"}, "max-file cannot be less than 1"),
        ({"env_regex": "("}, "error parsing regexp"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(InvalidRequest) as caught:
        log_target(container(**options), "/d")
    assert words in caught.value.message
