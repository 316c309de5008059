"""Every GPU kernel by its contract, run on the CPU and compared with its reference."""

from functools import partial
from pathlib import Path

import emulator
import numpy as np
import pytest
from strict import StrictArray
from test_ops import CASES, DIFFERENTIABLE, ROWS, assert_close, gradients, of_free, run, tensors

from minigrad import backends
from minigrad.engine import TABLE
from minigrad.kernels import gpu
from minigrad.kernels.gpu import launcher
from minigrad.ops.fused import FORMULAS
from minigrad.ops.indexing import Array, Slice
from minigrad.plans import parameters_of

OPS = {**TABLE, **FORMULAS}
XP = backends.get("numpy").xp
# Of float16, one unit in the last place: that is what differs where float32 is rounded.
TOLERANCE = {np.float16: 2**-10, np.float32: 2e-6, np.float64: 1e-14}
SOURCES = sorted(file.stem for file in Path(launcher.__file__).parent.glob("*.cu"))

kernels = pytest.mark.parametrize("name", sorted(gpu.KERNELS))
floats = pytest.mark.parametrize("dtype", list(TOLERANCE))


def calls(name, dtype, n):
    """Return a kernel's own calls, of new arrays each time."""
    return list(gpu.CALLS[name](dtype, n))


def numbers(values, dtype):
    """Return an array, of which some are inf where they are too large for the dtype."""
    with np.errstate(over="ignore"):
        return np.array(values, float).astype(dtype)


def results_of(name, function, arrays, params):
    """Return what a call makes and changes."""
    made = function(*arrays, **params)
    made = made if isinstance(made, tuple) else () if made is None else (made,)
    changed = [arrays[i] for i in OPS[name].written(len(arrays))]
    return [*made, *(a for a in changed if a is not None)]


def computed(backend, name, arrays, params):
    """Return what a kernel makes and changes, having checked that it changes nothing else.

    None if it declined.
    """
    given = [None if a is None else StrictArray(a) for a in arrays]
    before = [None if a is None else a.copy() for a in arrays]
    declined = False

    def kernel(*arrays, **params):
        nonlocal declined
        made = backend.kernels[name](*arrays, **params)
        declined = made is NotImplemented
        return None if declined else made

    results = [a._host for a in results_of(name, kernel, given, params)]
    for i, (array, old) in enumerate(zip(arrays, before, strict=True)):
        if array is not None and (declined or i not in OPS[name].written(len(arrays))):
            np.testing.assert_array_equal(array, old)
    return None if declined else results


def as_ops_have_it(key):
    """Return a key, of which kernels, which know nothing of ops, have plain tuples."""
    return tuple(
        k if not isinstance(k, tuple) else Array(*k) if len(k) == 1 else Slice(*k) for k in key
    )


def referenced(name, arrays, params):
    """Return what the op's forward makes and changes, given copies: of float16, as float32 rounded.

    Where the op itself rounds on the way, kernels do better.
    """
    if "key" in params:
        params = params | {"key": as_ops_have_it(params["key"])}

    def run(copy):
        copies = [None if a is None else copy(a) for a in arrays]
        made = results_of(name, partial(OPS[name].forward, XP), copies, params)
        return [np.asarray(array) for array in made]

    with np.errstate(all="ignore"):  # a GPU reports no floating-point errors
        own, wide = run(np.copy), run(widened)
        return [x.astype(y.dtype) for x, y in zip(wide, own, strict=True)]


def widened(x):
    """Return a copy, of float16 in float32."""
    return x.astype(np.float32 if x.dtype == np.float16 else x.dtype)


def assert_same(found, wanted, dtype, room=1, name=""):
    tolerance = room * TOLERANCE[dtype]
    for x, y in zip(found, wanted, strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        near_zero = min(tolerance, room * TOLERANCE[np.float32])
        if y.dtype == np.float16:
            x, y = x.astype(float), y.astype(float)
            # Layers round their product before the bias, and d before the next products.
            if name.startswith("linear") and y.size:
                near_zero = 2 * tolerance * abs(y).max()
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=near_zero)


@kernels
def test_a_kernel_is_called_like_its_reference(name):
    (device, *ours), *our_others, _ = parameters_of(gpu.KERNELS[name])
    (_, *theirs), *their_others, _ = parameters_of(OPS[name].forward)
    assert (device, ours, our_others) == ("device", theirs, their_others)


@kernels
@floats
@pytest.mark.parametrize("n", [0, 1, 31, 33, 257, 1001])
def test_every_length_in_either_order_of_threads(name, n, dtype, emulated, device, monkeypatch):
    for number, (arrays, params) in enumerate(calls(name, dtype, n)):
        wanted = referenced(name, arrays, params)
        again = calls(name, dtype, n)[number][0]
        found = computed(emulated, name, arrays, params)
        assert_same(found, wanted, dtype, name=name)
        with monkeypatch.context() as patch:
            patch.setattr(device, "backwards", True)
            other = computed(emulated, name, again, params)
        assert [x.tobytes() for x in found] == [x.tobytes() for x in other]


@kernels
@floats
@pytest.mark.parametrize(
    ("where", "n"),
    [("emulated", 33), *(pytest.param("cupy", n, marks=pytest.mark.gpu) for n in (0, 33, 1001))],
)
def test_on_a_card(name, dtype, where, n, request):
    """Of the CPU is asked once what a card would be asked, so that the test itself is tested."""
    if where == "cupy" and not backends.status()["cupy"].usable:
        pytest.skip(backends.status()["cupy"].reason)
    backend = backends.get("cupy") if where == "cupy" else request.getfixturevalue("emulated")
    for arrays, params in calls(name, dtype, n):
        given = [None if a is None else backend.from_numpy(a) for a in arrays]
        found = results_of(name, backend.kernels[name], given, params)
        wanted = referenced(name, arrays, params)
        # A GPU's own exponentials and products are good to a few more units in the last place.
        assert_same([backend.to_numpy(a) for a in found], wanted, dtype, room=4, name=name)


LAYOUTS = {
    "fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "reversed": lambda x: x[::-1].copy()[::-1],
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    # Contiguous, but no vector starts where it does.
    "shifted": lambda x: np.concatenate([x.ravel()[:1], x.ravel()])[1:].reshape(x.shape),
}


@kernels
@floats
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_each_input(name, layout, dtype, emulated):
    for number, (plain, params) in enumerate(calls(name, dtype, 5)):
        for i, array in enumerate(plain):
            if array is not None and array.ndim:
                arrays = calls(name, dtype, 5)[number][0]
                arrays[i] = LAYOUTS[layout](array)
                wanted = referenced(name, arrays, params)
                found = computed(emulated, name, arrays, params)
                if found is None:
                    assert i in OPS[name].written(len(arrays))
                else:
                    assert_same(found, wanted, dtype, name=name)


@kernels
def test_declines_other_dtypes(name, emulated, device):
    for arrays, params in calls(name, np.complex64, 5):
        if any(a is not None and a.dtype == np.complex64 for a in arrays):
            assert computed(emulated, name, arrays, params) is None
            assert not device.launched


@pytest.mark.skipif(bool(emulator.MISSING), reason=emulator.MISSING)
def test_the_calls_launch_every_function_of_every_source(emulated, device):
    assert SOURCES
    for name in gpu.KERNELS:
        for dtype in TOLERANCE:
            for arrays, params in calls(name, dtype, 5):
                computed(emulated, name, arrays, params)
    # Not the product of matrices that is there to be read.
    sources = [launcher.source_of(source) for source in SOURCES if source != "gemm"]
    written = [f for text in sources for f in emulator.functions_of(text)]
    assert sorted(written) == sorted(set(device.launched))


def with_kernels(pairs):
    """Return those of rows that have a GPU kernel, forward or of their derivative."""
    return [(name, case) for name, case in pairs if {name, f"{name}_backward"} & set(gpu.KERNELS)]


@pytest.mark.parametrize(("name", "case"), with_kernels(CASES), ids=str)
@floats
def test_the_sample_table(name, case, dtype, emulated):
    found, wanted = (
        [t.numpy() for t in (*xs, *run(ROWS[name], xs, case.params, None)) if t is not None]
        for backend in (emulated, backends.get("numpy"))
        for xs in [tensors(case.arrays(dtype), backend)]
    )
    for x, y in zip(found, wanted, strict=True):
        assert x.dtype == y.dtype
        assert_close(x, y, np.dtype(dtype))


@pytest.mark.parametrize(("name", "case"), with_kernels(DIFFERENTIABLE), ids=str)
@floats
def test_derivatives_of_the_sample_table(name, case, dtype, emulated):
    found, wanted = (
        [g.numpy() for g in gradients(*of_free(name, case, xs, backend))]
        for backend in (emulated, backends.get("numpy"))
        for xs in [tensors(case.arrays(dtype), backend)]
    )
    for x, y in zip(found, wanted, strict=True):
        assert x.dtype == y.dtype
        assert_close(x, y, np.dtype(dtype))
