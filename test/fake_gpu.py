# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The fake driver `fake_cuda.c`, compiled once and loaded in place of the real one."""

from contextlib import contextmanager
import ctypes
from pathlib import Path
import shutil
import subprocess
import tempfile

import pytest

from da_ros.backends import cuda

SOURCE = Path(__file__).with_name('fake_cuda.c')
# Without `context`: the primary one stays for the life of a process.
KINDS = ('device', 'pinned', 'stream', 'event', 'graph', 'exec')
_built: list = []


def fake_library() -> Path:
    """Compile the fake driver; skip the test where there is no compiler."""
    if not _built:
        compiler = shutil.which('gcc') or shutil.which('cc')
        if compiler is None:
            pytest.skip('no C compiler for the fake CUDA driver')
        folder = tempfile.TemporaryDirectory()      # kept until the process ends
        path = Path(folder.name) / 'libfakecuda.so'
        subprocess.run([compiler, '-O1', '-shared', '-fPIC', '-pthread', '-o', str(path),
                        str(SOURCE)], check=True)
        _built.extend([path, folder])
    return _built[0]


class FakeDriver:
    """What a test may ask of the fake driver and tell it."""

    def __init__(self, path: Path):
        self._library = ctypes.CDLL(str(path))
        for name in ('fake_live', 'fake_made'):
            getattr(self._library, name).restype = ctypes.c_long

    def live(self, kind: str | None = None):
        """Return how many things of a kind, or by kind of each, are not freed."""
        if kind is None:
            return {kind: self.live(kind) for kind in KINDS}
        return self._library.fake_live(kind.encode())

    def made(self, kind: str) -> int:
        """Return how many things of a kind were ever made."""
        return self._library.fake_made(kind.encode())

    def fail(self, function: str, code: int, after: int = 0) -> None:
        """Let one call of a function fail, after some that succeed."""
        self._library.fake_fail(function.encode(), code, after)


@contextmanager
def replaced_driver(monkeypatch):
    """Put the fake driver in place; nothing may be left allocated at the end."""
    path = fake_library()
    monkeypatch.setattr(cuda, 'LIBRARY', str(path))
    monkeypatch.setattr(cuda, 'KERNEL_MODULE_VERSION', path / 'none')
    driver = FakeDriver(path)
    driver.fail('', 0)
    before = driver.live()
    yield driver
    assert driver.live() == before, 'something of the GPU was not freed'
