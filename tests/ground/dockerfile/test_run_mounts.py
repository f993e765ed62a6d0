from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.dockerfile.run_mounts import RunMount, parse_mount
from dockerlab.dockerfile.words import WordError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("target=/x", RunMount(kind="bind", target="/x", read_only=True)),
        (
            "type=bind,src=a,dst=/x,rw,from=b",
            RunMount(kind="bind", target="/x", source="a", from_stage="b"),
        ),
        ("type=cache,target=/c", RunMount(kind="cache", target="/c", identity="/c")),
        (
            'type=cache,destination=/c,id=me,sharing=locked,mode=0700,uid=1,gid=2,"ro"',
            RunMount(
                kind="cache",
                target="/c",
                identity="me",
                sharing="locked",
                mode=0o700,
                uid=1,
                gid=2,
                read_only=True,
            ),
        ),
        ("type=tmpfs,target=/t,size=1m", RunMount(kind="tmpfs", target="/t", size_bytes=1 << 20)),
        (
            "type=secret,id=key,required",
            RunMount(kind="secret", target="/run/secrets/key", identity="key", required=True),
        ),
        ("type=secret,target=/a/b", RunMount(kind="secret", target="/a/b", identity="b")),
        ("type=ssh", RunMount(kind="ssh", identity="default")),
    ],
)
def test_options(text: str, wanted: RunMount) -> None:
    assert parse_mount(text) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=floppy,target=/x", 'unsupported mount type "floppy"'),
        ("targt=/x", "unexpected key 'targt' in 'targt=/x' (did you mean target?)"),
        ("target", "invalid field 'target' must be a key=value pair"),
        ("type=cache", "cache mount needs a target"),
        ("type=cache,target=/c,sharing=x", 'unsupported sharing value "x"'),
        ("type=cache,target=/c,mode=rwx", "invalid value rwx for mode"),
        ("type=tmpfs,target=/c,size=much", "invalid size: 'much'"),
        ("type=cache,target=/c,uid=me", "invalid value for uid: me"),
        ("type=secret", "secret mount needs an id or a target"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(WordError) as caught:
        parse_mount(text)
    assert str(caught.value) == message


@given(st.text(alphabet='type=bindcahsr,"/ \n=0', max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(WordError):
        parse_mount(text)
