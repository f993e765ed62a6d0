"""What a container's row becomes, and what is refused before anything is touched."""

from __future__ import annotations

import pytest

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.rootfs import Directory
from dockerlab.engine.runtime.spec import Namespaces
from dockerlab.engine.runtime.translate import Surroundings, spec_of
from dockerlab.errors import InvalidRequest
from dockerlab.wire.documents import ContainerConfig, HostConfig


def translated(sysctls, **namespaces):
    container = Container(
        id="c" * 64,
        name="c",
        created_ns=1,
        image="x",
        image_id="",
        path="true",
        args=(),
        config=ContainerConfig(),
        host=HostConfig(sysctls=sysctls),
    )
    around = Surroundings(
        rootfs=Directory(path="/nowhere"),
        directory="/nowhere",
        run_dir="/nowhere",
        namespaces=Namespaces(**namespaces),
        files={},
    )
    return spec_of(container, around)


@pytest.mark.parametrize(
    ("sysctls", "namespaces", "text"),
    [
        ({"kernel.core_pattern": "|/x"}, {}, "not in a separate kernel namespace"),
        ({"net.core.somaxconn": "1"}, {"net": "host"}, "not allowed in host network namespace"),
        ({"kernel.shmmax": "1"}, {"ipc": "host"}, "not allowed in the hosts ipc namespace"),
        ({"fs.mqueue.msg_max": "1"}, {"ipc": "host"}, "not allowed in the hosts ipc namespace"),
    ],
)
def test_a_sysctl_of_the_host_is_refused(sysctls, namespaces, text):
    with pytest.raises(InvalidRequest, match=text):
        translated(sysctls, **namespaces)


def test_a_sysctl_of_its_own_is_set():
    assert translated({"kernel.shmmax": "1"}).sysctls["kernel.shmmax"] == "1"
