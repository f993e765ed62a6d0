"""Docker's stats document, from figures of both cgroup versions."""

from __future__ import annotations

import os

from dockerlab.engine.linux.cgroups import Figures
from dockerlab.engine.runtime import stats
from dockerlab.engine.runtime.stats import Sample

ID = "ab" * 32
STAT = """cpu  100 20 30 1000 5 0 7 1 50 0
cpu0 50 10 15 500 2 0 3 0 25 0
cpu1 50 10 15 500 3 0 4 1 25 0
intr 12345 0 0
ctxt 1
"""
NET_DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     900       9    0    0    0     0          0         0      900       9    0    0    0     0       0          0
  eth0:    1000      10    1    2    0     0          0         0     2000      20    3    4    0     0       0          0
"""  # noqa: E501 - as the kernel prints it


def sample(version, **more):
    figures = Figures(
        version=version, cpu_total_ns=50, cpu_user_ns=30, cpu_kernel_ns=20, memory_usage=4096,
        pids=3, **more,
    )  # fmt: skip
    return Sample(
        read_ns=1_700_000_000_500_000_000, figures=figures, system_ns=10**9, online_cpus=2,
        networks=stats.interfaces(NET_DEV),
    )  # fmt: skip


def document(now, before=None):
    return stats.document(now, before, container_id=ID, name="web")


def test_time_of_the_machine_leaves_guests_out():
    ticks = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert stats.machine_time(STAT) == (1163 * ticks, 2)
    assert stats.machine_time("") == (0, 0)


def test_interfaces_without_loopback():
    assert stats.interfaces(NET_DEV) == {
        "eth0": {
            "rx_bytes": 1000, "rx_packets": 10, "rx_errors": 1, "rx_dropped": 2,
            "tx_bytes": 2000, "tx_packets": 20, "tx_errors": 3, "tx_dropped": 4,
        }
    }  # fmt: skip
    assert stats.interfaces("") == {}


def test_version_1():
    now = sample(
        1, cpu_each_ns=(25, 25), memory_max_usage=8192, memory_limit=1 << 20, pids_limit=100,
        io=((8, 0, "Read", 5),), io_operations=((8, 0, "Read", 1),),
    )  # fmt: skip
    found = document(now, now)
    assert found["name"] == "/web"
    assert found["read"] == found["preread"] == "2023-11-14T22:13:20.5Z"
    assert found["cpu_stats"] == found["precpu_stats"] == {
        "cpu_usage": {
            "total_usage": 50, "usage_in_kernelmode": 20, "usage_in_usermode": 30,
            "percpu_usage": [25, 25],
        },
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        "system_cpu_usage": 10**9, "online_cpus": 2,
    }  # fmt: skip
    assert found["memory_stats"] == {
        "usage": 4096, "max_usage": 8192, "limit": 1 << 20, "stats": {},
    }  # fmt: skip
    assert found["pids_stats"] == {"current": 3, "limit": 100}
    assert found["blkio_stats"]["io_service_bytes_recursive"] == [
        {"major": 8, "minor": 0, "op": "Read", "value": 5}
    ]
    assert found["blkio_stats"]["sectors_recursive"] == []
    assert found["networks"]["eth0"]["tx_bytes"] == 2000


def test_version_2():
    found = document(sample(2, memory_stat={"inactive_file": 7}, io=((8, 0, "read", 5),)))
    assert found["preread"] == "0001-01-01T00:00:00Z"
    assert found["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert "system_cpu_usage" not in found["precpu_stats"]
    assert "percpu_usage" not in found["cpu_stats"]["cpu_usage"]
    assert found["pids_stats"] == {"current": 3, "limit": 18446744073709551615}
    assert found["memory_stats"]["limit"] == stats.machine_memory()
    assert found["memory_stats"]["stats"] == {"inactive_file": 7}
    assert found["blkio_stats"]["io_serviced_recursive"] is None


def test_not_running():
    found = document(None)
    assert found["read"] == "0001-01-01T00:00:00Z"
    assert (found["memory_stats"], found["pids_stats"]) == ({}, {})
    assert "networks" not in found
