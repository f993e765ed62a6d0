"""Users and groups as Docker reads them."""

from __future__ import annotations

import pytest

from dockerlab.engine.runtime.identity import UnknownUser, resolve

PASSWD = """\
# a comment
root:x:0:0:root:/root:/bin/sh

daemon:x:1:7::/usr/sbin:
short
alice:x:1000:1001::/home/alice:/bin/sh
alice:x:2000:2001::/home/second:/bin/sh
4000:x:5:5::/five:/bin/sh
broken:x:abc:1::/:
"""
GROUP = "root:x:0:\nwheel:x:10:alice,daemon\nvideo:x:44:bob,alice\nalice:x:1001:\nbad:x:y:alice\n"


@pytest.mark.parametrize(
    ("user", "add", "expected"),
    [
        ("", [], (0, 0, [0], "/root")),
        ("0", [], (0, 0, [0], "/root")),
        ("alice", [], (1000, 1001, [1001, 10, 44], "/home/alice")),
        ("1000", [], (1000, 1001, [1001, 10, 44], "/home/alice")),
        ("alice:44", [], (1000, 44, [44], "/home/alice")),
        ("alice:wheel", ["video", "999"], (1000, 10, [10, 44, 999], "/home/alice")),
        ("4000", [], (4000, 0, [0], "/")),
        ("4000:4001", [], (4000, 4001, [4001], "/")),
        (":wheel", [], (0, 10, [10], "/root")),
        ("daemon:", [], (1, 7, [7, 10], "/usr/sbin")),
    ],
)
def test_found(user, add, expected):
    found = resolve(user, add, PASSWD, GROUP)
    assert (found.uid, found.gid, found.groups, found.home) == expected


@pytest.mark.parametrize(
    ("user", "add", "words"),
    [
        ("bob", [], "unable to find user bob: no matching entries in passwd file"),
        ("broken", [], "unable to find user broken: no matching entries in passwd file"),
        ("alice:nope", [], "unable to find group nope: no matching entries in group file"),
        ("alice", ["nope"], "unable to find group nope: no matching entries in group file"),
        ("2147483648", [], "uids and gids must be in range 0-2147483647"),
        ("-1", [], "uids and gids must be in range 0-2147483647"),
    ],
)
def test_unknown(user, add, words):
    with pytest.raises(UnknownUser) as unknown:
        resolve(user, add, PASSWD, GROUP)
    assert str(unknown.value) == words


def test_without_files():
    found = resolve("12:34", [], "", "")
    assert (found.uid, found.gid, found.groups, found.home) == (12, 34, [34], "/")
