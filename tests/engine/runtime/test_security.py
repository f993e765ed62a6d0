"""Which capabilities and which filter a container's process gets."""

from __future__ import annotations

import pytest

from dockerlab.engine.linux.capabilities import NUMBERS, held
from dockerlab.engine.runtime.security import bounding_set, security_options
from dockerlab.errors import InvalidRequest
from dockerlab.wire.documents import HostConfig

MKNOD = NUMBERS["CAP_MKNOD"]


@pytest.mark.skipif(MKNOD not in held(), reason="this process may not make nodes itself")
@pytest.mark.parametrize(
    ("host", "limited", "more", "may"),
    [
        (HostConfig(), True, False, True),
        (HostConfig(), False, False, False),
        (HostConfig(cap_add=("MKNOD",)), False, False, False),
        (HostConfig(cap_drop=("MKNOD",)), True, False, False),
        (HostConfig(privileged=True), False, False, True),
        (HostConfig(), False, True, True),
    ],
)
def test_nobody_makes_nodes_where_devices_are_open(host, limited, more, may):
    found = bounding_set(host, devices_limited=limited, privileged=more)
    assert (MKNOD in found) is may


def test_options_in_both_spellings():
    options = security_options(
        ["no-new-privileges:true", "seccomp=unconfined", "apparmor:mine", "label=disable"]
    )
    assert options.no_new_privileges
    assert (options.seccomp, options.apparmor) == ("unconfined", "mine")
    assert security_options(["no-new-privileges"]).no_new_privileges
    assert not security_options(["no-new-privileges=false"]).no_new_privileges


@pytest.mark.parametrize(
    ("word", "number"), [("foo", 1), ("foo=bar", 2), ("foo:bar", 2), ("no-new-privileges=x", 2)]
)
def test_unknown_options(word, number):
    with pytest.raises(InvalidRequest) as caught:
        security_options([word])
    assert caught.value.message == f'invalid --security-opt {number}: "{word}"'
