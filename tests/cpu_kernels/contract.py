"""What the tests of CPU kernels share: calling a kernel and its reference, and comparing them."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minigrad import backends
from minigrad.engine import TABLE
from minigrad.ops.fused import FORMULAS
from minigrad.ops.indexing import Array, Slice
from minigrad.ops.windows import Windows

numba = pytest.importorskip("numba", reason="the CPU kernels need Numba")
cpu = pytest.importorskip("minigrad.kernels.cpu")
compiler = cpu.compiler

COMPILED = not numba.config.DISABLE_JIT
needs_compiler = pytest.mark.skipif(not COMPILED, reason="NUMBA_DISABLE_JIT: nothing is compiled")

LOOPS = {f"{loop.serial.__module__}.{loop.serial.__name__}": loop for loop in compiler.LOOPS}
OPS = {**TABLE, **FORMULAS}
XP = backends.get("numpy").xp
FLOATS = [np.float32, np.float64]
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-14}
floats = pytest.mark.parametrize("dtype", FLOATS)
kernels = pytest.mark.parametrize("name", sorted(cpu.TABLE))


def random(*shape, seed=0, dtype=np.float64):
    return np.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def calls(name, dtype, n=5):
    """Return the calls that a kernel's own file gives, new arrays each time."""
    return [
        (arrays, {param: as_ops_have_it(param, value) for param, value in params.items()})
        for arrays, params in compiler.CALLS[name](dtype, n)
    ]


def as_ops_have_it(param, value):
    """Return a param's value; kernels, which know nothing of ops, have plain tuples and fields."""
    if param == "key":
        return tuple((Array if len(k) == 1 else Slice)(*k) for k in value)
    return Windows(**vars(value)) if isinstance(value, SimpleNamespace) else value


def written(name, arrays):
    """Return the positions of the inputs that a kernel is to change."""
    return set(OPS[name].written(len(arrays)))


def changed(name, arrays):
    """Return the arrays that a kernel is to change, but for those that are absent."""
    return [arrays[i] for i in sorted(written(name, arrays)) if arrays[i] is not None]


def as_tuple(results):
    return results if isinstance(results, tuple) else () if results is None else (results,)


def called(name, arrays, params):
    """Return what a kernel returns."""
    with np.errstate(all="ignore"):  # compiled, it reports no floating-point errors either
        return cpu.TABLE[name](*arrays, **params)


def computed(name, arrays, params):
    """Return what a kernel made and changed, having checked that it changed nothing else.

    None if it declined, having changed nothing at all.
    """
    before = [None if a is None else a.copy() for a in arrays]
    results = called(name, arrays, params)
    declined = results is NotImplemented
    for i, (array, old) in enumerate(zip(arrays, before, strict=True)):
        if array is not None and (declined or i not in written(name, arrays)):
            np.testing.assert_array_equal(array, old)
    if declined:
        return None
    results = as_tuple(results)
    given = [a for a in arrays if a is not None]
    assert not any(np.shares_memory(r, a) for r in results for a in given)
    return [*results, *changed(name, arrays)]


def referenced(name, arrays, params):
    """Return what the op's forward makes and changes, given copies."""
    arrays = [None if a is None else a.copy() for a in arrays]
    with np.errstate(all="ignore"):  # kernels, compiled, report no floating-point errors either
        results = as_tuple(OPS[name].forward(XP, *arrays, **params))
    return [*results, *changed(name, arrays)]


def assert_same(found, wanted, rtol=0.0):
    assert len(found) == len(wanted)
    for x, y in zip(found, wanted, strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)


def bits_of(arrays):
    return [array.tobytes() for array in arrays]


def assert_declines(name, arrays, params):
    assert computed(name, arrays, params) is None


def to(dtype):
    return lambda x: x.astype(dtype)


def one_more(x):
    return np.concatenate([x, x[:1]])


def python(code, cwd=Path(__file__).parent, without=(), **env):
    """Run code in a new process, which imports from the folder cwd first."""
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=kept | env,
        capture_output=True,
        text=True,
        timeout=300,  # ends a run that hangs; nothing is measured
    )
