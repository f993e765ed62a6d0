"""Documents of images: what is read, what is refused."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockerlab.errors import DockerlabError, InvalidRequest, Unsupported
from dockerlab.oci import documents

DIGEST = "sha256:" + "0" * 64
DESCRIPTOR = {"mediaType": documents.OCI_CONFIG, "digest": DIGEST, "size": 3}
MANIFEST = {"schemaVersion": 2, "config": DESCRIPTOR, "layers": [DESCRIPTOR]}
INDEX = {"schemaVersion": 2, "manifests": [DESCRIPTOR]}


def raw(document):
    return json.dumps(document).encode()


def test_kinds_by_content_and_by_type():
    assert isinstance(documents.parse_manifest(raw(MANIFEST)), documents.Manifest)
    assert isinstance(documents.parse_manifest(raw(INDEX)), documents.Index)
    typed = documents.parse_manifest(raw(MANIFEST), documents.DOCKER_MANIFEST + "; charset=x")
    assert typed.media_type == documents.DOCKER_MANIFEST


@pytest.mark.parametrize(
    ("document", "media_type", "kind"),
    [
        ({**MANIFEST, **INDEX}, "", InvalidRequest),
        (
            {**MANIFEST, "mediaType": documents.OCI_MANIFEST},
            documents.DOCKER_MANIFEST,
            InvalidRequest,
        ),
        (MANIFEST, documents.OCI_INDEX, InvalidRequest),
        ({**MANIFEST, "mediaType": "application/x"}, "", Unsupported),
        ({"schemaVersion": 1, "fsLayers": []}, "", Unsupported),
        (MANIFEST, documents.SCHEMA_1_TYPES[1], Unsupported),
        ({**MANIFEST, "layers": [{**DESCRIPTOR, "digest": "sha256:../x"}]}, "", InvalidRequest),
        ({**MANIFEST, "layers": [{**DESCRIPTOR, "size": -1}]}, "", InvalidRequest),
        ({**MANIFEST, "layers": [DESCRIPTOR] * 1001}, "", InvalidRequest),
        ({**MANIFEST, "layers": "x"}, "", InvalidRequest),
        ([], "", InvalidRequest),
    ],
)
def test_manifests_refused(document, media_type, kind):
    with pytest.raises(kind):
        documents.parse_manifest(raw(document), media_type)


def test_large_and_deep_documents_are_refused():
    for data in (b" " * ((4 << 20) + 1), b"[" * 100_000, b"\xff", b"{"):
        with pytest.raises(InvalidRequest):
            documents.parse_manifest(data)


def test_config_with_gos_nulls():
    config = documents.parse_config(
        raw(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Env": None, "Cmd": ["sh"], "Entrypoint": None, "Labels": None},
                "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
                "history": [{"created_by": "x"}, {"created_by": "y", "empty_layer": True}],
                "moby.buildkit.cache.v0": "unknown fields are no reason to refuse",
            }
        )
    )
    assert config.config.env == ()
    assert config.config.cmd == ("sh",)
    assert config.config.entrypoint is None


@pytest.mark.parametrize(
    "document",
    [
        {"rootfs": {"diff_ids": [DIGEST]}, "history": [{"empty_layer": True}]},
        {"rootfs": {"diff_ids": ["../../x"]}},
        {"rootfs": {"diff_ids": []}, "history": [{"empty_layer": True}] * 10_001},
        {"config": {"Env": "x"}},
    ],
)
def test_configs_refused(document):
    with pytest.raises(InvalidRequest):
        documents.parse_config(raw(document))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T01:00:00.000000001+01:00", 1),
        ("2023-11-14T22:13:20.5Z", 1_700_000_000_500_000_000),
        ("0001-01-01T00:00:00Z", 0),
        ("yesterday", 0),
        ("", 0),
    ],
)
def test_times(text, expected):
    assert documents.time_ns(text) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "config",
                        "layers",
                        "manifests",
                        "rootfs",
                        "diff_ids",
                        "digest",
                        "size",
                        "history",
                    ]
                ),
                x,
            )
        ),
        max_leaves=8,
    )
)
@settings(max_examples=40, deadline=None)
def test_any_json_is_read_or_refused(document):
    for parse in (documents.parse_manifest, documents.parse_config):
        with suppress(DockerlabError):
            parse(raw(document))
