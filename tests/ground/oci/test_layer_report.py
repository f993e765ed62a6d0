"""The ledger of bytes and dive's figures, on the cases worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockerlab.oci import dive_report, layer_report
from dockerlab.oci.changes import whiteout_name
from dockerlab.oci.layer_report import Cause
from dockerlab.oci.layer_tar import DIRECTORY, FILE, HARDLINK, SYMLINK, Entry


def file(name, size=0, content=None):
    return Entry(name.encode(), FILE, 0o644, size=size, payload=size), content or f"{name} {size}"


def folder(name):
    return Entry(name.encode(), DIRECTORY, 0o755), ""


def hard(name, target):
    return Entry(name.encode(), HARDLINK, 0o644, target=target.encode()), ""


def link(name, target):
    return Entry(name.encode(), SYMLINK, 0o777, target=target.encode()), ""


def reports(layers, **more):
    entries = [[entry for entry, _ in layer] for layer in layers]
    true = layer_report.report(entries, lambda i, n: layers[i][n][1], **more)
    return true, dive_report.report(entries)


BASE = [folder("base"), file("base/files", 50_000)]
DIRECTORY_WITH_FILE = [folder("d"), file("d/f", 100_000)]
CASES = {
    "1 deleted": (
        [BASE, [file("f", 100_000)], [file(".wh.f")]],
        (150_000, 50_000, {Cause.DELETED: 100_000}),
        (50 / 150, 100_000, 1.0),
    ),
    "2 directory deleted": (
        [BASE, [folder("d"), file("d/f", 100_000)], [file(".wh.d")]],
        (150_000, 50_000, {Cause.DELETED: 100_000}),
        (1.0, 0, 0.0),
    ),
    "3 chown": (
        [BASE, [file("f", 100_000, "same")], [file("f", 100_000, "same")]],
        (250_000, 150_000, {Cause.METADATA_COPY: 100_000}),
        (0.6, 200_000, 1.0),
    ),
    "4 opaque": (
        [BASE, DIRECTORY_WITH_FILE, [folder("d"), file("d/.wh..wh..opq"), file("d/g", 1000)]],
        (151_000, 51_000, {Cause.DELETED: 100_000}),
        (1.0, 0, 0.0),
    ),
    "5 one layer": ([BASE], (50_000, 50_000, {}), (1.0, 0, math.nan)),
    "unit case": (
        [
            [file("etc/nginx/nginx.conf", 2000), file("etc/nginx/public", 3000)],
            [file("etc/nginx/nginx.conf", 5000), file("etc/athing", 10_000)],
            [file("etc/.wh.nginx")],
        ],
        (20_000, 10_000, {Cause.OVERWRITTEN: 2000, Cause.DELETED: 8000}),
        (0.75, 7000, 7000 / 15_000),
    ),
    "unit case with a directory": (
        [
            [
                folder("etc/nginx"),
                file("etc/nginx/nginx.conf", 2000),
                file("etc/nginx/public", 3000),
            ],
            [file("etc/nginx/nginx.conf", 5000), file("etc/athing", 10_000)],
            [file("etc/.wh.nginx")],
        ],
        (20_000, 10_000, {Cause.OVERWRITTEN: 2000, Cause.DELETED: 8000}),
        (23 / 28, 7000, 7000 / 15_000),
    ),
    "empty image": ([[file("x")], [], []], (0, 0, {}), (1.0, 0, math.nan)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_worked_cases(name):
    layers, (shipped, live, causes), (efficiency, wasted, user) = CASES[name]
    true, dive = reports(layers)
    assert (true.shipped, true.live, true.by_cause) == (shipped, live, causes)
    assert true.waste == sum(causes.values())
    assert dive.efficiency == pytest.approx(efficiency)
    assert dive.wasted_bytes == wasted
    assert dive.wasted_user_percent == pytest.approx(user, nan_ok=True)


def test_the_list_of_inefficient_files():
    dive = reports(CASES["unit case"][0])[1]
    assert [(f.path, f.size) for f in dive.inefficient] == [("/etc/nginx/nginx.conf", 7000)]
    assert (dive.size_bytes, dive.user_size_bytes, dive.printed_percent) == (20_000, 15_000, 75)


def test_a_whiteout_of_nothing_blinds_dive_for_the_rest_of_the_layer():
    layers = [[file("b", 10)], [file(".wh.a"), file("b", 10)]]
    assert reports(layers)[1].inefficient == ()
    assert reports(layers[::-1])[1].inefficient == ()
    assert reports([[file("b", 10)], [file("b", 10), file("c/.wh.x")]])[1].wasted_bytes == 20


def test_who_pays_and_who_wasted():
    true, _ = reports([[file("a", 5)], [file("b", 7)], [file(".wh.a")]], base_layers=2)
    assert [(f.shipped, f.dead, f.hid) for f in true.layers] == [(5, 5, 0), (7, 0, 0), (0, 0, 5)]
    assert (true.user_shipped, true.user_waste, true.user_waste_percent) == (0, 5, 0.0)


@pytest.mark.parametrize(
    ("layers", "causes"),
    [
        ([[file("a", 5), file("a", 6)]], {Cause.DUPLICATE_ENTRY: 5}),
        ([[file("d/x", 5)], [file("d", 1)]], {Cause.OVERWRITTEN: 5}),
        ([[file("d", 5)], [file("d/x", 1)]], {Cause.OVERWRITTEN: 5}),
        ([[file("a", 5), hard("b", "a")], [file(".wh.a")]], {}),
        ([[file("a", 5), hard("b", "a")], [file(".wh.a"), file(".wh.b")]], {Cause.DELETED: 5}),
        ([[file("a", 5)], [hard("b", "a"), file(".wh.a")]], {Cause.DELETED: 5}),
        ([[file("d/x", 5)], [file("d/x", 5, "new"), file(".wh.d")]], {Cause.OVERWRITTEN: 5}),
        ([[folder("u"), file("u/x", 5), link("l", "u")], [file("l/x", 6)]], {Cause.OVERWRITTEN: 5}),
        ([[link("a", "b"), link("b", "a")], [file("a/x", 6)]], {}),
    ],
)  # fmt: skip
def test_single_rules(layers, causes):
    true, _ = reports(layers)
    assert true.by_cause == causes
    assert true.waste == sum(causes.values())


def test_the_base_image_is_the_longest_known_stack():
    assert layer_report.base_layer_count("abc", ["a", "ab", "abc", "abd", "b"]) == 2
    assert layer_report.base_layer_count("abc", ["b"]) is None


names = st.sampled_from(["a", "b", "a/x", "a/y", "b/x", "a/x/z"])
things = st.one_of(
    st.builds(file, names, st.integers(0, 9), st.sampled_from(["one", "two"])),
    st.builds(folder, names),
    st.builds(lambda name: file(whiteout_name(name.encode()).decode()), names),
    st.builds(lambda name: file(name + "/.wh..wh..opq"), names),
)  # fmt: skip


@given(st.lists(st.lists(things, max_size=6), max_size=4))
@settings(max_examples=60, deadline=None)
def test_every_byte_is_accounted_for(layers):
    true, dive = reports(layers)
    assert true.waste == sum(one.size for one in true.dead) >= 0
    assert sum(f.dead for f in true.layers) == sum(f.hid for f in true.layers) == true.waste
    assert reports([*layers, []])[0].shipped == true.shipped
    assert 0 <= dive.efficiency <= 1
