"""References, digests: Docker's normal form and Docker's words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockerlab.errors import DockerlabError, InvalidRequest
from dockerlab.oci import digests, names

HEX = "0123456789abcdef" * 4

NORMAL = [
    ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
    ("foo/bar:1", "docker.io/foo/bar:1", "foo/bar:1"),
    ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
    ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
    ("myhost/x", "docker.io/myhost/x:latest", "myhost/x:latest"),
    ("Host/x", "Host/x:latest", "Host/x:latest"),
    ("index.docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
    (
        f"[::1]:5000/a/b@sha256:{HEX}",
        f"[::1]:5000/a/b@sha256:{HEX}",
        f"[::1]:5000/a/b@sha256:{HEX}",
    ),
    (f"a:1@sha256:{HEX}", f"docker.io/library/a:1@sha256:{HEX}", f"a:1@sha256:{HEX}"),
    ("a__b-c--d/e", "docker.io/a__b-c--d/e:latest", "a__b-c--d/e:latest"),
]
REFUSED = [
    ("", "invalid reference format"),
    ("a b", "invalid reference format"),
    ("-a", "invalid reference format"),
    ("a:", "invalid reference format"),
    ("a:" + "t" * 129, "invalid reference format"),
    ("a..b", "invalid reference format"),
    ("a@sha256:abc", "invalid reference format"),
    ("../../etc", "invalid reference format"),
    ("Foo", "invalid reference format: repository name (library/Foo) must be lowercase"),
    (HEX, f"invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"),
    ("x/" + "a" * 256, "repository name must not be more than 255 characters"),
]


@pytest.mark.parametrize(("text", "normal", "familiar"), NORMAL)
def test_normal_and_familiar_form(text, normal, familiar):
    reference = names.parse_complete(text)
    assert (str(reference), reference.familiar) == (normal, familiar)
    assert names.parse_complete(normal) == reference
    assert names.parse_complete(familiar) == reference


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refused_in_dockers_words(text, message):
    with pytest.raises(InvalidRequest) as caught:
        names.parse_complete(text)
    assert caught.value.message == message


def test_repository_and_tag_are_joined():
    assert str(names.parse_repository("a/b:1", "2")) == "docker.io/a/b:2"
    assert str(names.parse_repository("a/b")) == "docker.io/a/b:latest"
    with pytest.raises(InvalidRequest, match="ambiguous tag"):
        names.parse_repository("sha256", "x")
    with pytest.raises(InvalidRequest, match="invalid tag format"):
        names.parse_repository("a", "-x")


@given(st.text(max_size=60))
@settings(max_examples=40, deadline=None)
def test_any_text_is_parsed_or_refused(text):
    try:
        reference = names.parse_complete(text)
    except DockerlabError:
        return
    assert names.parse_complete(str(reference)) == reference
    assert names.parse_complete(reference.familiar) == reference


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sha256:../../x", "invalid checksum digest format"),
        ("x/../:" + HEX, "invalid checksum digest format"),
        ("sha256:" + HEX.upper(), "invalid checksum digest format"),
        ("sha256:" + HEX[:-1], "invalid checksum digest length"),
        ("md5:" + HEX[:32], "unsupported digest algorithm"),
        ("sha256:" + HEX + "\n", "invalid checksum digest format"),
    ],
)
def test_digests_are_checked(text, message):
    with pytest.raises(InvalidRequest) as caught:
        digests.parse(text)
    assert caught.value.message == message


def test_digests_that_are_known():
    assert digests.parse("sha256:" + HEX) == "sha256:" + HEX
    assert digests.of(bytes(1024)) == digests.EMPTY_TAR
    one, two = digests.of(b"1"), digests.of(b"2")
    assert digests.chain_ids([one, two]) == [one, digests.of(f"{one} {two}".encode())]
    assert digests.chain_id([]) == ""
