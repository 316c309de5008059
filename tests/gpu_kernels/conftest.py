"""Fixtures of the tests of GPU kernels, on machines without a GPU."""

import emulator
import pytest

from minigrad import backends


@pytest.fixture(scope="session")
def emulated_backend():
    if emulator.MISSING:
        pytest.skip(emulator.MISSING)
    return emulator.load()


@pytest.fixture
def emulated(emulated_backend, monkeypatch):
    """The backend whose GPU kernels run on the CPU, known to the engine for this test."""
    backend, device = emulated_backend
    monkeypatch.setitem(backends._loaded, backend.name, backend)
    monkeypatch.setitem(backends._loaders, backend.name, lambda: backend)
    device.launched.clear()
    yield backend
    backend.synchronize()  # raises what was refused and nobody asked for


@pytest.fixture
def device(emulated_backend):
    """That backend's device, which tells what it launched."""
    return emulated_backend[1]
