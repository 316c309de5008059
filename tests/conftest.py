"""Fixtures that every test runs under: strict floating-point errors, global state left as found."""

import importlib
import os
import sys
from pathlib import Path

# Small products gain nothing from BLAS threads, which wait for each other where others compute too:
# with one, tests/test_models.py takes a third of the CPU time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
import strict
from hypothesis import settings

import minigrad as mg
from minigrad import backends, engine
from minigrad.kernels.gpu import launcher

# On a GPU, JAX would take three quarters of the memory and leave CuPy in other processes none.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

settings.register_profile("minigrad", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("minigrad")

backends.register("strict", strict.load)

STATUS = backends.status()


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(name, marks=[pytest.mark.gpu] if name == "cupy" else [])
        for name, status in STATUS.items()
        if status.usable
    ],
)
def backend(request):
    """The name of each backend that is usable here; test_ops.py says which are not, and why."""
    return request.param


@pytest.fixture
def on_each_backend(backend):
    """Runs a test once on each backend, as the default one."""
    with mg.use_backend(backend):
        yield


@pytest.fixture
def cupy(monkeypatch):
    """The pretended CuPy, which is found from now on."""
    if STATUS["cupy"].usable:
        pytest.skip("stands in for CuPy, and here is a GPU")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)  # one that is installed, for nothing
    monkeypatch.setattr(launcher, "KERNELS", {})  # which the pretended one clears
    monkeypatch.syspath_prepend(Path(__file__).parent / "fake_cupy")
    yield importlib.import_module("cupy")
    sys.modules.pop("cupy")
    backends._loaded.pop("cupy", None)


@pytest.fixture
def however_small(monkeypatch):
    """Let kernels compute what is so small that they would leave it to NumPy."""
    if STATUS["numba"].usable:
        from minigrad.kernels.cpu.compiler import LOOPS, TABLE

        for loop in LOOPS:
            monkeypatch.setattr(loop, "pays_from", 0)
        for kernel in TABLE.values():
            monkeypatch.setattr(kernel, "pays_from", 0)


def global_state():
    """What a test must leave as it found it; the thread's random state is free to move on."""
    return {
        "recording": mg.is_grad_enabled(),
        "default backend": backends._default.get(),
        "default dtype": mg.get_default_dtype(),
        "observer": engine._observer.get(),
        "observers": engine._observing,
        "errstate": np.geterr(),
        "MINIGRAD_BACKEND": os.environ.get("MINIGRAD_BACKEND"),
        "backends": dict(backends._loaders),
    }


@pytest.fixture(autouse=True)
def strict_and_clean():
    """Make floating-point errors raise and fail a test that leaves something for the next.

    That is changed global state, or what a device refused without anybody asking it.

    Underflow alone is no error: to reach 0 is what softmax and exp are for.
    """
    with np.errstate(divide="raise", over="raise", invalid="raise", under="ignore"):
        before = global_state()
        yield
        for loaded in backends._loaded.values():
            loaded.synchronize()
        assert global_state() == before
