"""Docker's small languages: ports, binds, sizes, times, filters; words of refusal included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.errors import DockerlabError, InvalidRequest, NotFound
from dockerlab.wire import binds, filters, ports, sizes, status, times
from dockerlab.wire.documents import PortBinding

SECOND = 10**9
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86400 * SECOND


# -- ports -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("80", [("80/tcp", "", "")]),
        ("8080:80", [("80/tcp", "", "8080")]),
        ("8080:80/udp", [("80/udp", "", "8080")]),
        ("8080:80/TCP", [("80/tcp", "", "8080")]),
        ("127.0.0.1:8080:80", [("80/tcp", "127.0.0.1", "8080")]),
        ("127.0.0.1::80", [("80/tcp", "127.0.0.1", "")]),
        ("[::1]:8080:80", [("80/tcp", "::1", "8080")]),
        ("8000-8001:80-81", [("80/tcp", "", "8000"), ("81/tcp", "", "8001")]),
        ("8000-8010:80", [("80/tcp", "", "8000-8010")]),
        ("80-81", [("80/tcp", "", ""), ("81/tcp", "", "")]),
        ("0:80", [("80/tcp", "", "0")]),
    ],
)
def test_publish(spec: str, expected: list[tuple[str, str, str]]) -> None:
    found = ports.parse_publish([spec])
    flat = [(key, one.host_ip, one.host_port) for key, each in found.items() for one in each]
    assert flat == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("8080:", "no port specified: 8080:<empty>"),
        ("x:80", "invalid hostPort: x"),
        ("80:x", "invalid containerPort: x"),
        ("80:70000", "invalid containerPort: 70000"),
        ("80:80/quic", "invalid proto: quic"),
        ("nohost:1:80", "invalid IP address: nohost"),
        ("8000-8002:80-81", ("invalid ranges specified for container and host Ports: 80-81 and "
         "8000-8002")),
    ],
)  # fmt: skip
def test_publish_refused(spec: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ports.parse_publish([spec])
    assert caught.value.message == message


def test_several_bindings_of_one_port() -> None:
    assert ports.parse_publish(["1:80", "2:80"]) == {
        "80/tcp": [PortBinding(host_port="1"), PortBinding(host_port="2")]
    }


def test_exposed() -> None:
    assert ports.exposed_port("53/udp") == (53, "udp")
    assert ports.exposed_port("53") == (53, "tcp")
    assert ports.exposed_range("8000-8010/tcp") == (8000, 8010, "tcp")
    for bad in ("", "80-90", "-1", "1/x", "\u0662/tcp"):
        with pytest.raises(InvalidRequest):
            ports.exposed_port(bad)


@given(st.text(max_size=30))
def test_ports_refuse_or_understand(text: str) -> None:
    try:
        found = ports.parse_publish([text])
    except DockerlabError:
        return
    for key in found:
        ports.exposed_port(key)


# -- binds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "source", "target", "read_only", "propagation"),
    [
        ("/a:/b", "/a", "/b", False, ""),
        ("/a/../c/:/b/", "/c", "/b", False, ""),
        ("/a:/b:ro", "/a", "/b", True, ""),
        ("/a:/b:ro,rslave,z", "/a", "/b", True, "rslave"),
        ("/a:/b:cached", "/a", "/b", False, ""),
        ("data:/b", "data", "/b", False, ""),
        ("data:/b:nocopy", "data", "/b", False, ""),
        ("/b", "", "/b", False, ""),
        ("/b:ro", "", "/b", True, ""),
    ],
)
def test_binds(text: str, source: str, target: str, read_only: bool, propagation: str) -> None:
    found = binds.parse_bind(text)
    assert (found.source, found.target) == (source, target)
    assert (found.read_only, found.propagation) == (read_only, propagation)
    assert found.is_volume is not source.startswith("/")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid volume specification: ''"),
        ("a:b:c:d", "invalid volume specification: 'a:b:c:d'"),
        ("/a:/b:", "invalid volume specification: '/a:/b:'"),
        ("/a:/b:xx", "invalid mode: xx"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:nocopy", "invalid mode: nocopy"),
        ("data:/b:shared", "invalid mode: shared"),
        (
            "/a:/",
            (
                "invalid volume specification: '/a:/': invalid mount config for type \"bind\": "
                "invalid specification: destination can't be '/'"
            ),
        ),
    ],
)
def test_binds_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        binds.parse_bind(text)
    assert caught.value.message == message


def test_relative_source_is_no_volume_name() -> None:
    with pytest.raises(InvalidRequest, match="includes invalid characters for a local volume name"):
        binds.parse_bind("./a:/b")


def test_volumes_from() -> None:
    assert binds.parse_volumes_from("web") == ("web", "rw")
    assert binds.parse_volumes_from("web:ro") == ("web", "ro")
    for bad in ("", ":ro", "web:xx"):
        with pytest.raises(InvalidRequest):
            binds.parse_volumes_from(bad)


@given(st.text(alphabet="/ab.:,rowz \0", max_size=20))
def test_binds_refuse_or_understand(text: str) -> None:
    try:
        found = binds.parse_bind(text)
    except InvalidRequest:
        return
    assert found.target.startswith("/")
    assert found.target != "/"


# -- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "decimal", "short", "memory"),
    [
        (0, "0B", "0B", "0B"),
        (999, "999B", "999B", "999B"),
        (1000, "1kB", "1kB", "1000B"),
        (1536, "1.536kB", "1.54kB", "1.5KiB"),
        (72_812_345, "72.81MB", "72.8MB", "69.44MiB"),
        (2_097_152_000, "2.097GB", "2.1GB", "1.953GiB"),
    ],
)
def test_human_sizes(size: int, decimal: str, short: str, memory: str) -> None:
    assert sizes.human_size(size) == decimal
    assert sizes.human_size_short(size) == short
    assert sizes.human_memory(size) == memory


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("512b", 512),
        ("64k", 65536),
        ("64KB", 65536),
        ("1.5g", 3 << 29),
        ("10 MiB", 10 << 20),
        (".5k", 512),
    ],
)
def test_parsed_sizes(text: str, size: int) -> None:
    assert sizes.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1", "1x", "1ib", "1 0k", "9999999p", "\u0661"])
def test_sizes_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        sizes.parse_bytes(text)
    assert caught.value.message == f"invalid size: '{text}'"


# -- times -------------------------------------------------------------------------------------


def test_rfc3339() -> None:
    assert times.rfc3339(0) == "0001-01-01T00:00:00Z"
    assert times.rfc3339(1) == "1970-01-01T00:00:00.000000001Z"
    assert times.rfc3339(1_700_000_000_120_000_000) == "2023-11-14T22:13:20.12Z"
    assert times.rfc3339(1_700_000_000 * SECOND) == "2023-11-14T22:13:20Z"
    assert times.rfc3339_seconds(1_700_000_000_120_000_000) == "2023-11-14T22:13:20Z"
    assert times.log_stamp(1_700_000_000_120_000_000) == "2023-11-14T22:13:20.120000000Z"
    # A birth before 1970 is odd, but images may claim it.
    assert times.rfc3339(-1) == "1969-12-31T23:59:59.999999999Z"


@given(st.integers(min_value=1, max_value=2**62))
def test_times_come_back(time_ns: int) -> None:
    assert times.parse_rfc3339(times.rfc3339(time_ns)) == time_ns
    assert times.parse_rfc3339(times.log_stamp(time_ns)) == time_ns


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1700000000", 1_700_000_000 * SECOND),
        ("1700000000.5", 1_700_000_000 * SECOND + SECOND // 2),
        ("1700000000.000000001", 1_700_000_000 * SECOND + 1),
        ("2023-11-14T22:13:20Z", 1_700_000_000 * SECOND),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000 * SECOND),
        ("2023-11-14", 1_699_920_000 * SECOND),
        ("2023-11-14T22:13", 1_699_999_980 * SECOND),
        ("10m", 10**18 - 10 * MINUTE),
        ("1h30m", 10**18 - 90 * MINUTE),
    ],
)
def test_moments(text: str, expected: int) -> None:
    assert times.parse_moment(text, 10**18) == expected


@pytest.mark.parametrize("text", ["", "x", "10", "10x", "1h x", "2023-13-01", "m", "."])
def test_durations_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        times.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [
        ("0", 0),
        ("1ns", 1),
        ("1.5\u00b5s", 1_500),
        ("250ms", 250_000_000),
        ("1.5s", SECOND * 3 // 2),
        ("1h30m0s", 90 * MINUTE),
        ("-1m0s", -MINUTE),
    ],
)
def test_durations(text: str, duration_ns: int) -> None:
    assert times.parse_duration(text) == duration_ns


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "Less than a second"),
        (SECOND, "1 second"),
        (59 * SECOND, "59 seconds"),
        (MINUTE, "About a minute"),
        (119 * SECOND, "About a minute"),
        (59 * MINUTE, "59 minutes"),
        (HOUR, "About an hour"),
        (89 * MINUTE, "About an hour"),
        (90 * MINUTE, "2 hours"),
        (47 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"),
        (700 * DAY, "23 months"),
        (730 * DAY, "2 years"),
        (-5, "Less than a second"),
    ],
)
def test_human_durations(duration_ns: int, text: str) -> None:
    assert times.human_duration(duration_ns) == text


# -- filters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"status":["running"],"label":["a=1","b"]}',
        '{"status":{"running":true,"exited":false},"label":{"a=1":true,"b":true}}',
        '{"status":{"running":true},"label":["a=1","b"]}',
    ],
)
def test_both_shapes_of_filters(text: str) -> None:
    found = filters.parse_filters(text)
    assert found.get("status") == ("running",)
    assert found.get("label") == ("a=1", "b")


@pytest.mark.parametrize("text", ["x", "[]", '{"a":1}', '{"a":[1]}', '{"a":{"b":2}}', "{"])
def test_malformed_filters(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        filters.parse_filters(text)
    assert caught.value.message == "invalid filter"


def test_filter_rules() -> None:
    found = filters.Filters({"name": ["^/we", "["], "id": ["abc"], "dangling": ["1"]})
    assert found.pattern("name", "/web")
    assert found.pattern("name", "a[b")
    assert not found.pattern("name", "other")
    assert found.pattern("unasked", "anything")
    assert found.prefix("id", "abcdef")
    assert not found.exact("id", "abcdef")
    assert found.flag("dangling") is True
    assert found.flag("unasked", default=True) is True
    with pytest.raises(InvalidRequest, match="invalid filter 'dangling'"):
        found.check({"name", "id"})
    for values in (["maybe"], ["1", "0"], []):
        with pytest.raises(InvalidRequest, match="invalid filter 'dangling="):
            filters.Filters({"dangling": values}).flag("dangling")
    with pytest.raises(InvalidRequest, match="more than one until filter specified"):
        filters.Filters({"until": ["1", "2"]}).one("until")


def test_labels_must_all_match() -> None:
    labels = {"app": "web", "tier": "front"}
    assert filters.Filters({"label": ["app", "tier=front"]}).labels(labels)
    assert not filters.Filters({"label": ["app", "tier=back"]}).labels(labels)
    assert filters.Filters({"label!": ["tier=back"]}).labels(labels, "label!")
    assert not filters.Filters({"label!": ["app"]}).labels(labels, "label!")
    assert filters.Filters().labels({})


# -- status ------------------------------------------------------------------------------------


def test_statuses_both_ways() -> None:
    for number in (304, 400, 401, 403, 404, 409, 500, 501, 503):
        assert status.status_of(status.kind(number)("x")) == number
    assert status.status_of(ValueError("x")) == 500
    assert status.kind(404) is NotFound
    assert status.kind(418) is InvalidRequest
    assert status.kind(502)("x").message == "x"
