"""When a step's result may be used again: keys from content, kept across restarts.

Knows:   what goes into a key: where the stage is, what the step says, what it reads. No times.
Refuses: to judge images; a key that is known only says which image id it once came to.
Twin:    `builder.py` decides which texts make a key; change its inputs and every cache is cold.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace

import msgspec

from dockerlab.engine.store.db import Database
from dockerlab.engine.store.records import Table
from dockerlab.oci.documents import ImageRunConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRecord:
    """One step's result.

    Attributes:
        parent: key before the step, "" at a stage's beginning.
        created_by: what the history says.
        inputs: what else the key was made of, by name: why a later build missed.
        size: bytes the step added.
    """

    image_id: str
    parent: str
    created_by: str
    inputs: dict[str, str]
    created_ns: int
    used_ns: int
    size: int = 0
    uses: int = 0


@dataclass(frozen=True, slots=True)
class Key:
    """A cache key and its inputs."""

    value: str
    inputs: dict[str, str]


def start_key(image_id: str, platform: str) -> str:
    """The key at the beginning of a stage."""
    return _hash("stage", image_id or "scratch", platform)


def step_key(
    parent: str, created_by: str, config: ImageRunConfig, inputs: dict[str, str] | None = None
) -> Key:
    """The key of a step.

    Args:
        parent: key of the step before.
        created_by: the history line, with expanded values and content hashes.
        config: the configuration the step leaves.
        inputs: other things it depends on.
    """
    every = dict(inputs or {})
    every["configuration"] = hashlib.sha256(msgspec.json.encode(config)).hexdigest()
    texts = [text for name, value in sorted(every.items()) for text in (name, value)]
    return Key(_hash("step", parent, created_by, *texts), every)


class BuildCache:
    """The records, oldest first."""

    def __init__(self, db: Database) -> None:
        self._table: Table[CacheRecord] = Table(db, "build_cache", CacheRecord)

    def find(self, key: Key) -> CacheRecord | None:
        """What the key came to, if it is known."""
        return self._table.get(key.value)

    async def used(self, key: Key) -> None:
        """Note that a record served again."""
        record = self._table.get(key.value)
        if record is not None:
            fresh = replace(record, used_ns=time.time_ns(), uses=record.uses + 1)
            await self._table.put(key.value, fresh)

    async def add(
        self, key: Key, *, image_id: str, parent: str, created_by: str, size: int
    ) -> None:
        """Remember what a key came to; the newest result wins."""
        now = time.time_ns()
        record = CacheRecord(
            image_id=image_id,
            parent=parent,
            created_by=created_by,
            inputs=key.inputs,
            created_ns=now,
            used_ns=now,
            size=size,
        )
        await self._table.put(key.value, record)

    def records(self) -> list[tuple[str, CacheRecord]]:
        """All of them by key."""
        return self._table.items()

    async def forget(self, keys: list[str]) -> None:
        """Drop records; the images they name are not touched."""
        await self._table.change(dict.fromkeys(keys))


def _hash(*texts: str) -> str:
    total = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogateescape")
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()
