from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from dockerlab.engine.build import context as contexts
from dockerlab.engine.build import progress
from dockerlab.engine.build.cache_keys import BuildCache
from dockerlab.engine.model.image import Image
from dockerlab.errors import DockerlabError, Failed, InvalidRequest, NotFound

from .conftest import Lab, archive

EVERYTHING = """
ARG V=ase
FROM b$V AS one
ARG X=1
ENV A=1 B="two words"
LABEL a=b "c d"='$A'
CMD echo hi
ENTRYPOINT ["/x", "y"]
EXPOSE 80 443/udp 8000-8001
VOLUME /v /w
USER me
STOPSIGNAL SIGQUIT
SHELL ["/bin/bash", "-c"]
CMD echo there
HEALTHCHECK --interval=90s --retries=3 CMD curl x
ONBUILD RUN echo t
MAINTAINER me@x
WORKDIR /a
WORKDIR b
"""


def created_by(image: Image) -> list[str]:
    return [entry.created_by for entry in image.document.history]


def test_every_instruction_changes_the_configuration(lab: Lab, base: Image) -> None:
    image = lab.build(EVERYTHING)
    config = image.document.config
    assert config.env == ("PATH=/bin", "BASE=yes", "A=1", "B=two words")
    assert config.labels == {"a": "b", "c d": "$A"}
    assert config.cmd == ("/bin/bash", "-c", "echo there")
    assert config.entrypoint == ("/x", "y")
    assert set(config.exposed_ports) == {"80/tcp", "443/udp", "8000/tcp", "8001/tcp"}
    assert set(config.volumes) == {"/v", "/w"}
    assert (config.user, config.stop_signal) == ("me", "SIGQUIT")
    assert config.shell == ("/bin/bash", "-c")
    assert config.healthcheck is not None
    assert config.healthcheck.test == ("CMD-SHELL", "curl x")
    assert config.on_build == ("RUN echo t",)
    assert config.working_dir == "/a/b"
    assert image.document.author == "me@x"
    assert lab.tree(image)["a/b"][0] == "drwxr-xr-x"


def test_the_history_is_that_of_the_classic_builder(lab: Lab, base: Image) -> None:
    assert created_by(lab.build(EVERYTHING))[1:] == [
        "/bin/sh -c #(nop)  ARG X=1",
        "/bin/sh -c #(nop)  ENV A=1 B=two words",
        "/bin/sh -c #(nop)  LABEL a=b c d=$A",
        '/bin/sh -c #(nop)  CMD ["/bin/sh" "-c" "echo hi"]',
        '/bin/sh -c #(nop)  ENTRYPOINT ["/x" "y"]',
        "/bin/sh -c #(nop)  EXPOSE 443/udp 80 8000-8001",
        "/bin/sh -c #(nop)  VOLUME [/v /w]",
        "/bin/sh -c #(nop)  USER me",
        "/bin/sh -c #(nop)  STOPSIGNAL SIGQUIT",
        "/bin/bash -c #(nop)  SHELL [/bin/bash -c]",
        '/bin/bash -c #(nop)  CMD ["/bin/bash" "-c" "echo there"]',
        '/bin/bash -c #(nop)  HEALTHCHECK &{["CMD-SHELL" "curl x"] "1m30s" "0s" "0s" \'\\x03\'}',
        "/bin/bash -c #(nop)  ONBUILD RUN echo t",
        "/bin/bash -c #(nop)  MAINTAINER me@x",
        "/bin/bash -c #(nop) WORKDIR /a",
        "/bin/bash -c #(nop) WORKDIR /a/b",
    ]


def test_an_entrypoint_forgets_an_inherited_cmd_only(lab: Lab, base: Image) -> None:
    assert lab.build('FROM base\nENTRYPOINT ["/x"]\n').document.config.cmd is None
    image = lab.build('FROM base\nCMD ["mine"]\nENTRYPOINT ["/x"]\n')
    assert image.document.config.cmd == ("mine",)


def test_scratch_has_a_path_and_nothing_else(lab: Lab) -> None:
    image = lab.build("FROM scratch\nCOPY f /\n", {"f": b"x"})
    config = image.document.config
    assert config.env == ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    assert config.working_dir == ""
    assert list(lab.tree(image)) == ["f"]


def test_scratch_alone_is_no_image(lab: Lab) -> None:
    with pytest.raises(Failed, match="No image was generated"):
        lab.build("FROM scratch\n")


def test_arguments(lab: Lab, base: Image) -> None:
    text = (
        "ARG OUTER=outer\nFROM base\nARG OUTER\nARG D=default\nARG N\nARG TARGETARCH\n"
        'LABEL o=$OUTER d=$D n="$N" t=$TARGETARCH x=${BASE}\nENV D=env\nLABEL e=$D\n'
    )
    labels = lab.build(text, build_args={"N": "given", "D": None}).document.config.labels
    assert labels["o"] == "outer"
    assert labels["d"] == ""
    assert labels["n"] == "given"
    assert labels["t"] in {"amd64", "arm64"}
    assert labels["e"] == "env"
    assert lab.build(text).document.config.labels["d"] == "default"


def test_unused_arguments_are_told(lab: Lab, base: Image) -> None:
    lab.build("FROM base\nLABEL a=b\n", build_args={"UNUSED": "1", "HTTP_PROXY": "x"})
    warnings = [event.text for event in lab.events if isinstance(event, progress.Warned)]
    assert warnings == ["One or more build-args [UNUSED] were not consumed"]


def test_the_second_build_is_all_cache(lab: Lab, base: Image) -> None:
    text = "FROM base\nENV A=1\nCOPY f /f\nWORKDIR /w\n"
    first = lab.build(text, {"f": b"x"})
    assert lab.cached_steps == 0
    # A new table over the same rows: what an engine sees after a restart.
    lab.cache = BuildCache(lab.store.db)
    again = lab.build(text, {"f": b"x"})
    assert lab.cached_steps == 3
    assert again.id == first.id
    other = lab.build(text, {"f": b"y"})
    assert lab.cached_steps == 1
    assert other.id != first.id
    assert lab.build(text, {"f": b"x"}, no_cache=True).id != first.id
    assert lab.cached_steps == 0


def test_the_cache_forgets_removed_images(lab: Lab, base: Image) -> None:
    image = lab.build("FROM base\nENV A=1\n")
    lab.store.images.remove_sync(image.id, users=lambda _: ())
    lab.build("FROM base\nENV A=1\n")
    assert lab.cached_steps == 0


STAGES = (
    "FROM base AS a\nLABEL a=1\nFROM base AS unused\nCOPY nosuch /\n"
    "FROM a AS b\nLABEL b=1\nFROM base\nCOPY --from=b /etc/passwd /p\nLABEL c=1\n"
)


def test_only_what_the_target_needs(lab: Lab, base: Image) -> None:
    image = lab.build(STAGES)
    assert image.document.config.labels == {"c": "1"}
    steps = [event for event in lab.events if isinstance(event, progress.StepBegan)]
    assert [step.number for step in steps] == list(range(1, 8))
    assert steps[0].total == 7
    assert lab.build(STAGES, target="B").document.config.labels == {"a": "1", "b": "1"}
    assert lab.build(STAGES, target="0").document.config.labels == {"a": "1"}
    with pytest.raises(InvalidRequest) as caught:
        lab.build(STAGES, target="unsued")
    assert str(caught.value) == 'target stage "unsued" could not be found'
    assert caught.value.hint == "Did you mean unused?"


def test_labels_of_the_request_come_last(lab: Lab, base: Image) -> None:
    image = lab.build("FROM base\n", labels={"l": "v '1' $A", "k": ""})
    assert image.document.config.labels == {"k": "", "l": "v '1' $A"}
    texts = [event.text for event in lab.events if isinstance(event, progress.StepBegan)]
    assert texts == ["FROM base", "LABEL k=", "LABEL l=v '1' $A"]


def test_triggers_run_in_the_next_build(lab: Lab, base: Image) -> None:
    lab.build("FROM base\nONBUILD COPY f /triggered\nONBUILD LABEL t=1\n", tag="parent")
    image = lab.build("FROM parent\n", {"f": b"x"})
    assert lab.tree(image)["triggered"][3] == b"x"
    assert image.document.config.labels == {"t": "1"}
    assert image.document.config.on_build == ()
    assert progress.TriggersFound(2) in lab.events


def test_an_unknown_image(lab: Lab) -> None:
    with pytest.raises(NotFound, match="pull access denied for nosuch"):
        lab.build("FROM nosuch\n")


def test_the_same_inputs_and_epoch_give_the_same_image(lab: Lab, base: Image) -> None:
    text = "FROM base\nLABEL a=1\n"
    one = lab.build(text, build_args={"SOURCE_DATE_EPOCH": "1000000000"})
    two = lab.build(text, build_args={"SOURCE_DATE_EPOCH": "1000000000"}, no_cache=True)
    assert one.id == two.id
    assert one.document.created == "2001-09-09T01:46:40Z"


@pytest.mark.usefixtures("shell")
class TestRun:
    def test_run_keeps_its_changes(self, lab: Lab, base: Image) -> None:
        image = lab.build(
            "FROM base\nARG X=1\nENV A=2\nWORKDIR /w\nRUN echo $X $A > f; echo out; echo err >&2\n"
        )
        assert lab.tree(image)["w/f"][3] == b"1 2\n"
        assert lab.output() == "out\nerr\n"
        assert created_by(image)[-1] == ("|1 X=1 /bin/sh -c echo $X $A > f; echo out; echo err >&2")

    def test_nothing_changed_is_no_layer(self, lab: Lab, base: Image) -> None:
        image = lab.build("FROM base\nRUN echo\n")
        assert len(image.layers) == 1
        assert image.document.history[-1].empty_layer

    def test_deleting_hides(self, lab: Lab, base: Image) -> None:
        image = lab.build("FROM base\nCOPY d /d\nRUN rm -r /d && echo > /n\n", {"d/x": b"1"})
        assert "d" not in lab.tree(image)

    def test_volumes_lose_what_is_written_to_them(self, lab: Lab, base: Image) -> None:
        image = lab.build(
            "FROM base\nVOLUME /v /etc\nRUN echo a > /v/x; echo b > /y; cat /v/x; rm /etc/group\n"
            "RUN echo\n"
        )
        assert lab.output() == "a\n\n"
        tree = lab.tree(image)
        assert tree["v"][0] == "drwxr-xr-x"
        assert "v/x" not in tree
        assert {"y", "etc/group"} <= set(tree)
        assert len(image.layers) == 2

    def test_a_failure_has_the_command_and_code(self, lab: Lab, base: Image) -> None:
        with pytest.raises(DockerlabError) as caught:
            lab.build("FROM base\nENV A=1\nRUN exit 3\n")
        message = "The command '/bin/sh -c exit 3' returned a non-zero code: 3"
        assert str(caught.value) == message
        assert getattr(caught.value, "code", 0) == 3
        lab.build("FROM base\nENV A=1\n")
        assert lab.cached_steps == 1

    def test_here_documents_are_scripts(self, lab: Lab, base: Image) -> None:
        image = lab.build(
            "FROM base\nRUN <<EOF\necho one > /a\necho two >> /a\nEOF\n"
            "RUN cat > /b <<X && echo done\nin b\nX\n"
        )
        tree = lab.tree(image)
        assert tree["a"][3] == b"one\ntwo\n"
        assert tree["b"][3] == b"in b\n"

    def test_the_users_choices_reach_the_step(self, lab: Lab, base: Image) -> None:
        lab.build("FROM base\nUSER builder\nRUN --network=none echo\n", network_mode="host")
        step = lab.runner.steps[0]
        assert (step.user, step.network_mode, step.cwd) == ("builder", "none", "/")
        assert step.env == ("PATH=/bin", "BASE=yes")

    def test_cache_of_run_depends_on_arguments(self, lab: Lab, base: Image) -> None:
        text = "FROM base\nRUN echo 1\nARG X\nRUN echo 2\n"
        lab.build(text, build_args={"X": "1"})
        lab.build(text, build_args={"X": "2"})
        assert lab.cached_steps == 2
        lab.build(text, build_args={"X": "1"})
        assert lab.cached_steps == 3


def test_digests_taken_while_unpacking_are_those_of_the_files(lab: Lab) -> None:
    big = bytes(range(256)) * 8000
    link = tarfile.TarInfo("hard")
    link.type, link.linkname = tarfile.LNKTYPE, "small"
    data = archive({"small": b"s", "empty": b"", "big": big, "hard": link})
    context = contexts.unpack(io.BytesIO(data), lab.folder / "context")
    wanted = {b"small": b"s", b"empty": b"", b"big": big, b"hard": b"s"}
    assert context.digests == {k: hashlib.sha256(v).hexdigest() for k, v in wanted.items()}
    context.discard()


@pytest.mark.parametrize("cut", [0, 1, 100, 700, 1500])
def test_a_context_cut_off_leaves_nothing(lab: Lab, cut: int) -> None:
    data = archive({"Dockerfile": b"FROM scratch\n" * 100, "x": b"y" * 1000})
    folder = lab.folder / "context"
    try:
        context = contexts.unpack(io.BytesIO(data[:cut]), folder)
    except InvalidRequest:
        assert not folder.exists()
    else:
        with pytest.raises(Failed):
            contexts.read_dockerfile(context, "")
        context.discard()


def test_a_dockerfile_that_is_no_file(lab: Lab) -> None:
    data = archive({"Dockerfile/": b"", "up": "../../etc/passwd"})
    context = contexts.unpack(io.BytesIO(data), lab.folder / "context")
    with pytest.raises(InvalidRequest):
        contexts.read_dockerfile(context, "")
    with pytest.raises(Failed, match="Cannot locate specified Dockerfile: up"):
        contexts.read_dockerfile(context, "up")
    with pytest.raises(InvalidRequest, match="forbidden path outside the build context"):
        contexts.read_dockerfile(context, "../x")
    context.discard()
