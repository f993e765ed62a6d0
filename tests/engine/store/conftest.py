"""A store in a temporary root, and archives made entry by entry."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from dockerlab.engine.store.store import Store


@pytest.fixture
def store(tmp_path):
    made = Store.open(tmp_path / "root")
    yield made
    made.close()


class Tar:
    """Builds an archive with the standard library, an independent judge of our reader."""

    def __init__(self, form=tarfile.PAX_FORMAT):
        self._out = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._out, mode="w", format=form)  # noqa: SIM115

    def add(self, name, kind=tarfile.REGTYPE, data=b"", pax=None, **fields):
        info = tarfile.TarInfo(name)
        info.type, info.size, info.mtime = kind, len(data), 1000
        info.pax_headers = pax or {}
        for key, value in fields.items():
            setattr(info, key, value)
        self._tar.addfile(info, io.BytesIO(data))
        return self

    def folder(self, name, mode=0o755, **fields):
        return self.add(name, tarfile.DIRTYPE, mode=mode, **fields)

    def link(self, name, target):
        return self.add(name, tarfile.SYMTYPE, linkname=target, mode=0o777)

    def hard(self, name, target):
        return self.add(name, tarfile.LNKTYPE, linkname=target)

    def bytes(self):
        self._tar.close()
        return self._out.getvalue()


def diff_id(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def unpack(store, data, parents=()):
    layer = store.layers.unpack(io.BytesIO(data), diff_id=diff_id(data), parents=parents)
    assert b"".join(store.layers.tar(layer)) == data
    return layer


def tree(root):
    """List every path below a directory: mode, and content or target."""
    found = {}
    for folder, directories, files in os.walk(root):
        for name in directories + files:
            path = Path(folder, name)
            what = None
            if path.is_symlink():
                what = path.readlink()
            elif path.is_file():
                what = path.read_bytes()
            found[str(path.relative_to(root))] = (oct(path.lstat().st_mode), what)
    return found
