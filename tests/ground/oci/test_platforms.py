"""Platforms: spellings, and which entry of an index a machine takes."""

from __future__ import annotations

import pytest

from dockerlab.errors import InvalidRequest, NotFound
from dockerlab.oci import platforms
from dockerlab.oci.documents import Descriptor, Platform

DIGEST = "sha256:" + "0" * 64


def entry(text, **more):
    system, _, rest = text.partition("/")
    architecture, _, variant = rest.partition("/")
    platform = Platform(os=system, architecture=architecture, variant=variant)
    return Descriptor(digest=DIGEST, size=1, platform=platform, **more)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/x86_64", "linux/amd64"),
        ("x86-64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("armel", "linux/arm/v6"),
        ("i386", "linux/386"),
        ("amd64/v1", "amd64/v1"),
        ("windows", "windows/amd64"),
        ("macos", "darwin/amd64"),
    ],
)
def test_spellings(text, normal):
    assert platforms.render(platforms.parse(text)) == normal


@pytest.mark.parametrize("text", ["", "a/b/c/d", "linux/", "nonsense", "linux/a b"])
def test_refused(text):
    with pytest.raises(InvalidRequest):
        platforms.parse(text)


@pytest.mark.parametrize(
    ("machine", "offered", "chosen"),
    [
        ("linux/amd64", ["linux/386", "linux/amd64"], 1),
        ("linux/amd64", ["linux/arm64", "linux/386"], 1),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2"], 1),
        ("linux/arm64", ["linux/arm/v6", "linux/arm/v7"], 1),
        ("linux/arm64/v9.1", ["linux/arm64", "linux/arm64/v8.6"], 1),
        ("linux/arm/v7", ["linux/arm/v6", "linux/arm/v5"], 0),
        ("linux/amd64", ["linux/amd64", "linux/amd64"], 0),
    ],
)
def test_best_entry(machine, offered, chosen):
    entries = [entry(text) for text in offered]
    assert platforms.choose(entries, platforms.parse(machine)) is entries[chosen]


def test_attestations_never_match():
    statement = entry(
        "linux/amd64", annotations={"vnd.docker.reference.type": "attestation-manifest"}
    )
    with pytest.raises(NotFound, match="no matching manifest for linux/amd64"):
        platforms.choose([statement, entry("unknown/unknown")], platforms.parse("amd64"))


def test_asked_by_name_nothing_else_will_do():
    with pytest.raises(NotFound):
        platforms.choose([entry("linux/386")], platforms.parse("amd64"), exact=True)
