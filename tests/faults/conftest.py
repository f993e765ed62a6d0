"""Faults on purpose: a small seeded sample in `make test`, the long runs with --soak."""

from __future__ import annotations

import gc
import os
import random
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.engines import Stocked


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run for minutes, not for seconds")


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether there is time: `make soak`."""
    # Only known where this folder was named on the command line.
    return bool(request.config.getoption("--soak", default=False))


@pytest.fixture
def chance() -> random.Random:
    """Chance that can be had again: FAULTS_SEED; a failing test shows the seed it had."""
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1 << 32))
    sys.stdout.write(f"FAULTS_SEED={seed}\n")
    return random.Random(seed)


@pytest.fixture(scope="session")
def victim(engines: Any, registry: str) -> Iterator[Stocked]:
    """An engine for faults alone, with the starter image; whole and empty in the end."""
    with engines() as engine, Stocked(engine, f"{registry}/starter:latest") as one:
        yield one


@pytest.fixture
def stocked(victim: Stocked) -> Iterator[Stocked]:
    """The victim, running, without containers; it may be killed."""
    try:
        yield victim
    finally:
        sys.stdout.write(victim.engine.log()[-4000:])
        victim.empty()
        # docker-py leaves sockets of broken streams to the collector.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
