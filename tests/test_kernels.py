"""The CPU kernels by themselves: their contract, their numbers, their threads and their cache.

CI runs this file twice, the second time with NUMBA_DISABLE_JIT=1, so that coverage sees inside the
kernels; that is why arrays are small and why the tests of the compiler skip without it.
"""

import functools
import inspect
import itertools
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minigrad as mg
from minigrad import backends
from minigrad.engine import TABLE
from minigrad.nn import CrossEntropyLoss
from minigrad.ops.windows import Windows
from minigrad.optim import Adam
from minigrad.train import mlp

numba = pytest.importorskip("numba", reason="the CPU kernels need Numba")
cpu = pytest.importorskip("minigrad.kernels.cpu")
adam, compiler, cross_entropy, philox = cpu.adam, cpu.compiler, cpu.cross_entropy, cpu.philox
norm, pooling = cpu.norm, cpu.pooling

COMPILED = not numba.config.DISABLE_JIT
needs_compiler = pytest.mark.skipif(not COMPILED, reason="NUMBA_DISABLE_JIT: nothing is compiled")

LOOPS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in (adam, cross_entropy, norm, philox, pooling)
    for name, value in vars(module).items()
    if isinstance(value, compiler.Loop)
}
XP = backends.get("numpy").xp
FLOATS = [np.float32, np.float64]
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-14}
ANNOUNCEMENT = "minigrad: compiling CPU kernels (each once; they are cached on disk)\n"

floats = pytest.mark.parametrize("dtype", FLOATS)
kernels = pytest.mark.parametrize("name", sorted(cpu.TABLE))


def random(*shape, seed=0, dtype=np.float64):
    return np.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def cross_entropy_call(dtype, n=5, c=7, ignore_index=-1, label_smoothing=0.1):
    """Return arrays and params of a call in which one row is ignored."""
    labels = np.arange(n) % c
    labels[1:2] = ignore_index
    weight = np.linspace(0.5, 2, c, dtype=dtype)
    params = dict(ignore_index=ignore_index, label_smoothing=label_smoothing)
    return [3 * random(n, c, dtype=dtype), labels, weight], params


def adam_call(dtype, shape=(5, 6), step=3, weight_decay=0.1, decoupled=False, l1=None):
    p, g, m = (random(*shape, seed=seed, dtype=dtype) for seed in range(3))
    values = (step, 1e-2, 0.9, 0.99, 1e-8, weight_decay, l1)
    scalars = [None if x is None else np.array(float(x)) for x in values]
    return [p, g, m, np.asarray(m * m), *scalars], dict(decoupled=decoupled)


def bits_call(dtype, size=11, counter=5):
    return [np.array([2**63 + 1, 7, counter], np.uint64)], dict(size=size)


def norm_call(dtype, shapes=((5, 6), (7,))):
    return [random(*shape, dtype=dtype) for shape in shapes], {}


def windows_of(images):
    """Overlapping windows that hang over every edge."""
    return Windows((3, 2), (2, 1), (1, 1), (1, 2), images.shape[-2:], (3, 4))


def max_pool_call(dtype, images=2):
    x = random(images, 3, 5, 4, dtype=dtype)
    return [x], dict(windows=windows_of(x))


def max_unpool_call(dtype, images=2):
    (x,), params = max_pool_call(dtype, images)
    v, place = TABLE["max_pool"].forward(XP, x, **params)
    return [v, place], params


CALLS = {
    "adam_update": adam_call,
    "max_pool": max_pool_call,
    "max_unpool": max_unpool_call,
    "random_bits": bits_call,
    "softmax_cross_entropy": cross_entropy_call,
    "total_norm": norm_call,
}
LARGER = {  # several chunks, blocks and rows for each thread
    "adam_update": dict(shape=(1001,) if COMPILED else (20,)),
    "max_pool": dict(images=20 if COMPILED else 3),
    "max_unpool": dict(images=20 if COMPILED else 3),
    "random_bits": dict(size=13 * philox.CHUNK - 3 if COMPILED else 41),
    "softmax_cross_entropy": dict(n=37, c=1100) if COMPILED else dict(n=3, c=20),
    "total_norm": dict(shapes=[(3 * norm.BLOCK + 7,), (5,)] if COMPILED else [(20,), (5,)]),
}


def written(name):
    """Return the positions of the inputs that a kernel is to change."""
    return set(TABLE[name].writes)


def as_tuple(results):
    return results if isinstance(results, tuple) else () if results is None else (results,)


def computed(name, arrays, params):
    """Return what a kernel made and changed, having checked that it changed nothing else.

    None if it declined, having changed nothing at all.
    """
    before = [None if a is None else a.copy() for a in arrays]
    results = cpu.TABLE[name](*arrays, **params)
    declined = results is NotImplemented
    for i, (array, old) in enumerate(zip(arrays, before, strict=True)):
        if array is not None and (declined or i not in written(name)):
            np.testing.assert_array_equal(array, old)
    if declined:
        return None
    results = as_tuple(results)
    given = [a for a in arrays if a is not None]
    assert not any(np.shares_memory(r, a) for r in results for a in given)
    return [*results, *(arrays[i] for i in sorted(written(name)))]


def referenced(name, arrays, params):
    """Return what the op's forward makes and changes, given copies."""
    arrays = [None if a is None else a.copy() for a in arrays]
    with np.errstate(all="ignore"):  # kernels, compiled, report no floating-point errors either
        results = as_tuple(TABLE[name].forward(XP, *arrays, **params))
    return [*results, *(arrays[i] for i in sorted(written(name)))]


def assert_same(found, wanted, rtol=0.0):
    assert len(found) == len(wanted)
    for x, y in zip(found, wanted, strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)


def bits_of(arrays):
    return [array.tobytes() for array in arrays]


@pytest.fixture
def parallel_from(monkeypatch):
    """Set the amount of work from which every loop is parallel."""

    def set_limit(limit):
        for loop in LOOPS.values():
            monkeypatch.setattr(loop, "parallel_from", limit)

    return set_limit


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


@kernels
def test_a_kernel_is_called_like_its_reference(name):
    def names_and_kinds(function):
        return [(p.name, p.kind) for p in inspect.signature(function).parameters.values()]

    assert names_and_kinds(cpu.TABLE[name]) == names_and_kinds(TABLE[name].forward)[1:]


def misaligned(x):
    shifted = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    shifted[...] = x
    return shifted


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {
    "plain": np.copy,
    "fortran": lambda x: np.asfortranarray(x) if x.ndim > 1 else x.copy(),
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "reversed": lambda x: x[::-1].copy()[::-1],
    "both axes reversed": lambda x: np.flip(np.flip(x).copy()),
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "read-only": read_only,
    "misaligned": misaligned,
}
UNWRITABLE = {"broadcast", "read-only"}
ONE_ORDER_ONLY = {*UNWRITABLE, "strided", "reversed", "both axes reversed", "misaligned", "fortran"}
DECLINED_LAYOUTS = {"adam_update": ONE_ORDER_ONLY, "random_bits": UNWRITABLE}


@kernels
@floats
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_each_input(name, layout, dtype):
    plain, params = CALLS[name](dtype)
    for i, array in enumerate(plain):
        if array is not None and array.ndim:
            arrays, params = CALLS[name](dtype)
            arrays[i] = LAYOUTS[layout](array)
            wanted = referenced(name, arrays, params)
            found = computed(name, arrays, params)
            if i in written(name) and layout in DECLINED_LAYOUTS[name]:
                assert found is None
            else:
                assert_same(found, wanted, TOLERANCE[dtype])


@floats
@pytest.mark.parametrize("shape", [(), (0,), (1, 1), (4,), (2, 3, 4)], ids=str)
def test_adam_of_any_shape_in_either_order(shape, dtype):
    arrays, params = adam_call(dtype, shape)
    wanted = referenced("adam_update", arrays, params)
    assert_same(computed("adam_update", arrays, params), wanted, TOLERANCE[dtype])
    # Parameter and moments in the other order; the gradient as it was.
    arrays, params = adam_call(dtype, shape)
    for i in written("adam_update"):
        arrays[i] = np.asarray(arrays[i], order="F")
    assert_same(computed("adam_update", arrays, params), wanted, TOLERANCE[dtype])


def altered(name, position, change, **call):
    """Return a call of float32 with one input changed."""
    arrays, params = CALLS[name](np.float32, **call)
    arrays[position] = change(arrays[position])
    return arrays, params


def to(dtype):
    return lambda x: x.astype(dtype)


def one_more(x):
    return np.concatenate([x, x[:1]])


def label(value):
    return lambda labels: np.where(labels == 3, value, labels)


DECLINED = {
    "max_pool": [
        (0, to(np.float16)),
        (0, to(np.int64)),
        (0, lambda x: x[..., :-1]),
    ],
    "max_unpool": [
        (0, to(np.float16)),
        (0, lambda v: v[..., :-1]),
        (1, to(np.int64)),
        (1, lambda place: place[:1]),
    ],
    "adam_update": [
        *[(i, to(np.float16)) for i in range(4)],
        *[(i, to(np.float64)) for i in range(4)],
        *[(i, to(np.dtype(np.float32).newbyteorder())) for i in range(4)],
        *[(i, one_more) for i in range(4)],
        (0, to(np.int64)),
        (1, np.transpose),
    ],
    "random_bits": [
        (0, to(np.int64)),
        (0, to(np.uint32)),
        (0, to(np.float64)),
        (0, to(np.dtype(np.uint64).newbyteorder())),
        (0, one_more),
        (0, lambda state: state[None]),
    ],
    "softmax_cross_entropy": [
        (0, to(np.float16)),
        (0, to(np.int64)),
        (0, to(np.float64)),  # the weight is float32
        (0, to(np.dtype(np.float32).newbyteorder())),
        (0, one_more),
        (0, lambda logits: logits[0]),
        (0, lambda logits: logits[None]),
        (0, lambda logits: logits[:, :0]),
        (0, lambda logits: logits[:, :-1]),
        (1, to(np.float64)),
        (1, to(np.uint64)),
        (1, to(bool)),
        (1, one_more),
        (1, lambda labels: labels[:, None]),
        (1, label(7)),
        (1, label(-2)),
        (1, label(2**62)),
        (1, label(np.iinfo(np.int64).min)),
        (2, to(np.float16)),
        (2, to(np.float64)),
        (2, one_more),
        (2, lambda weight: weight[None]),
        # The reference gives 0 * inf = nan in the rows of every other class.
        (2, lambda weight: np.where(weight == weight.max(), np.inf, weight)),
        (2, lambda weight: np.where(weight == weight.max(), np.float32(np.nan), weight)),
    ],
    "total_norm": [
        (1, to(np.float16)),
        (0, to(np.float32().dtype.newbyteorder())),
        (0, to(np.longdouble)),
    ],
}


@pytest.mark.parametrize(
    ("name", "position", "change"),
    [(name, *row) for name, rows in DECLINED.items() for row in rows],
)
def test_declines_and_leaves_everything_as_it_was(name, position, change):
    arrays, params = altered(name, position, change)
    assert computed(name, arrays, params) is None


def test_declines_float16_throughout():
    for name in sorted(set(cpu.TABLE) - {"random_bits"}):
        arrays, params = CALLS[name](np.float16)
        assert computed(name, arrays, params) is None


@pytest.mark.parametrize("fill", [-np.inf, np.nan, 1.0], ids=str)
def test_maxima_of_special_numbers(fill):
    (x,), params = max_pool_call(np.float32)
    x[:, :, 1:4, 1:] = fill
    x[0, 1] = fill
    assert_same(computed("max_pool", [x], params), referenced("max_pool", [x], params))


def test_windows_of_three_axes_and_of_many_points_are_left_to_the_reference():
    for kernel, lengths in ([(16, 17), (16, 17)], [(2, 2, 2), (2, 2, 2)]):
        ones = (1,) * len(kernel)
        windows = Windows(kernel, ones, (0,) * len(kernel), ones, lengths, ones)
        x = random(2, *lengths, dtype=np.float32)
        assert computed("max_pool", [x], dict(windows=windows)) is None
        v, place = TABLE["max_pool"].forward(XP, x, windows=windows)
        assert computed("max_unpool", [v, place], dict(windows=windows)) is None


def test_what_the_reference_refuses_is_declined():
    labels, params = np.zeros(0, np.int64), dict(ignore_index=-100, label_smoothing=0.0)
    nothing = np.zeros((0, 0), np.float32)
    assert computed("softmax_cross_entropy", [nothing, labels, None], params) is None
    with mg.use_backend("numba"):
        logits = mg.zeros((2, 3))
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\).*got 3 at position 1"):
            mg.cross_entropy(logits, mg.tensor([0, 3]))
        with pytest.raises(ValueError, match="at least one class"):
            mg.cross_entropy(mg.zeros((0, 0)), mg.zeros((0,), dtype=np.int64))


@needs_compiler
def test_layouts_and_kinds_of_numbers_are_not_compiled_anew():
    def compilations():
        return [len(loop.serial.signatures) for loop in LOOPS.values()]

    for name in cpu.TABLE:
        for dtype in FLOATS:
            computed(name, *CALLS[name](dtype))
    before = compilations()
    for name, layout in itertools.product(cpu.TABLE, LAYOUTS.values()):
        arrays, params = CALLS[name](np.float32)
        computed(name, [a if a is None or not a.ndim else layout(a) for a in arrays], params)
    for integer in (np.int8, np.int32, np.uint32):
        (logits, labels, _), params = cross_entropy_call(np.float32, ignore_index=6)
        computed("softmax_cross_entropy", [logits, labels.astype(integer), None], params)
    for smoothing in (0, 1, np.float32(0.5)):
        for ignored in (-1, np.int32(-1)):
            arrays, params = cross_entropy_call(np.float32, label_smoothing=smoothing)
            computed("softmax_cross_entropy", arrays, params | dict(ignore_index=ignored))
    assert compilations() == before


def exponentials(x):
    """Return the exponentials that the vectorised loop over a row makes."""
    out = np.empty_like(x)[None]
    cross_entropy._exponentials(x[None], 0, 0, x.size, x.dtype.type(0), out)
    return out[0]


def has_fused_multiply_add():
    from llvmlite import binding

    x86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
    return not x86 or binding.get_host_cpu_features().get("fma", False)


def points(dtype):
    """Return x <= 0 over the whole range where exp(x) is normal, and where rounding is hardest."""
    least = math.log(np.finfo(dtype).tiny)
    n = 1_000_000 if COMPILED else 500
    halves = (np.arange(math.floor(least / math.log(2)), 0) + 0.5) * math.log(2)  # k changes there
    tiny = -np.logspace(-45 if dtype == np.float32 else -300, 0, n // 10)
    near = [np.nextafter(dtype(x), dtype(to)) for x in halves for to in (-np.inf, 0)]
    x = np.concatenate([np.linspace(least, 0, n), halves, tiny, near]).astype(dtype)
    return x[np.exp(x.astype(np.longdouble)) >= np.finfo(dtype).tiny]


@floats
def test_exp_is_within_its_ulps_over_the_whole_range(dtype):
    x = points(dtype)
    # Without a wider type, as on some ARM machines, the reference itself is half an ulp off.
    wide = np.float64 if dtype == np.float32 else np.longdouble
    exact = np.exp(x.astype(wide))
    ulps = np.abs(exponentials(x) - exact) / np.spacing(exact.astype(dtype)).astype(wide)
    allowed = 1 if COMPILED and has_fused_multiply_add() else 2
    allowed += 0.5 * (np.finfo(wide).eps >= np.finfo(dtype).eps)
    assert ulps.max() <= allowed, f"{ulps.max():.3f} ulps at {x[ulps.argmax()]!r}"


@floats
def test_exp_of_special_numbers(dtype):
    least = cross_entropy.LEAST32 if dtype == np.float32 else cross_entropy.LEAST64
    below = np.nextafter(least, dtype(-np.inf))
    tiny = np.finfo(dtype).tiny
    pairs = [(0, 1), (-0.0, 1), (-np.inf, 0), (np.finfo(dtype).min, 0), (below, 0), (2 * least, 0)]
    pairs += [(np.nan, np.nan), (-np.nan, np.nan), (-tiny, 1)]
    x, wanted = (np.array(column, dtype) for column in zip(*pairs, strict=True))
    np.testing.assert_array_equal(exponentials(x), wanted)
    # As near to the smallest normal number as a rounded argument can come.
    rounding = abs(least) * np.finfo(dtype).eps
    np.testing.assert_allclose(exponentials(np.array([least])), tiny, rtol=rounding)
    scalar = [cross_entropy.exp(value) for value in x]
    assert {type(y) for y in scalar} <= {dtype, float}
    np.testing.assert_array_equal(scalar, wanted)


INF, NAN = np.inf, np.nan
LOG2 = math.log(2)
# Logits, label, loss, dlogits.
EXACT_ROWS = [
    ([1000, -1000, 0], 0, 0, [0, 0, 0]),
    ([1000, -1000, 0], 1, 2000, [1, -1, 0]),
    ([-1000, -1000, 1000], 2, 0, [0, 0, 0]),
    ([-1000, -1000, -INF], 0, LOG2, [-0.5, 0.5, 0]),
    ([0, -INF, -INF], 0, 0, [0, 0, 0]),
    ([0, -INF, 0], 0, LOG2, [-0.5, 0, 0.5]),
    ([0, -INF, 0], 1, INF, [0.5, -1, 0.5]),
    ([1000, 1000, -1000], -100, 0, [0, 0, 0]),
    ([NAN, INF, -INF], -100, 0, [0, 0, 0]),
]
BROKEN_ROWS = [
    [-INF, -INF, -INF],
    [NAN, 0, 1],
    [0, 1, -NAN],
    [NAN, -NAN, NAN],
    [INF, 0, 1],
    [INF, INF, -INF],
    [NAN, INF, -INF],
]


def rows(dtype, logits, labels, weight=None, ignore_index=-100, label_smoothing=0.0):
    """Return loss and dlogits, having compared them with the reference's."""
    arrays = [
        np.array(logits, dtype),
        np.array(labels, np.int64),
        None if weight is None else np.array(weight, dtype),
    ]
    params = dict(ignore_index=ignore_index, label_smoothing=label_smoothing)
    with np.errstate(all="ignore"):  # without the compiler NumPy reports inf - inf
        found = computed("softmax_cross_entropy", arrays, params)
    assert_same(found, referenced("softmax_cross_entropy", arrays, params), TOLERANCE[dtype])
    return found


@floats
def test_cross_entropy_of_extreme_logits(dtype):
    logits, labels, losses, gradients = zip(*EXACT_ROWS, strict=True)
    loss, dlogits = rows(dtype, logits, labels)
    np.testing.assert_array_equal(loss, np.array(losses, dtype))
    np.testing.assert_array_equal(dlogits, np.array(gradients, dtype))


@floats
def test_cross_entropy_whose_differences_overflow(dtype):
    most = np.finfo(dtype).max
    loss, dlogits = rows(dtype, [[most, -most, 0], [most, -most, 0]], [0, 1])
    np.testing.assert_array_equal(loss, [0, INF])
    np.testing.assert_array_equal(dlogits, [[0, 0, 0], [1, -1, 0]])


@floats
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("weight", [None, [0, 0.5, 2]], ids=str)
@pytest.mark.parametrize("broken", BROKEN_ROWS, ids=str)
def test_a_broken_row_is_nan_and_leaves_the_others_alone(broken, weight, label_smoothing, dtype):
    options = dict(weight=weight, label_smoothing=label_smoothing)
    sound = random(2, 3)
    logits = [sound[0], broken, sound[1], broken, sound[0]]
    loss, dlogits = rows(dtype, logits, [0, 1, 2, -100, 1], **options)
    assert np.isnan(loss[1])
    assert np.isnan(dlogits[1]).all()
    assert loss[3] == 0
    assert not dlogits[3].any()
    others = [0, 2, 4]
    alone = rows(dtype, np.array(logits)[others], [0, 2, 1], **options)
    assert bits_of([loss[others], dlogits[others]]) == bits_of(alone)


@floats
def test_a_weight_of_0_counts_for_0_where_the_probability_is_0(dtype):
    logits = [[0, -INF, 0], [1, 2, -INF], [-INF, 0, 0]]
    for label_smoothing in (0.0, 0.3, 1.0):
        loss, dlogits = rows(dtype, logits, [1, 0, 1], [1, 0, 1], label_smoothing=label_smoothing)
        assert loss[0] < INF
        assert np.isfinite(dlogits).all()
    rows(dtype, logits, [1, 1, 1], [0, 0, 0], label_smoothing=0.3)


@floats
@pytest.mark.parametrize("label_smoothing", [0, 0.1, 1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore_index", [-100, -1, 0, 2])
def test_cross_entropy_options(ignore_index, weighted, label_smoothing, dtype):
    logits, labels = 3 * random(6, 4), [0, 1, 2, 3, 2, 0]
    labels = np.where(np.arange(6) == 4, ignore_index, labels)
    weight = [0.5, 0, 3, 1] if weighted else None
    loss, dlogits = rows(dtype, logits, labels, weight, ignore_index, label_smoothing)
    ignored = labels == ignore_index
    assert not loss[ignored].any()
    assert not dlogits[ignored].any()
    # Softmax is unchanged when every logit grows alike, so the gradient sums to 0.
    np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=4 * TOLERANCE[dtype])


@floats
@pytest.mark.parametrize("classes", [1, 2, 10, 511, 512, 513, 1100])
def test_cross_entropy_of_rows_of_any_length(classes, dtype):
    # Negative rows and a maximum at either end: floats that are ordered as integers.
    logits = np.stack([random(classes), np.arange(classes) - 2.0 * classes, -np.arange(classes)])
    rows(dtype, logits, [0, classes - 1, classes // 2])


@floats
def test_cross_entropy_of_no_rows(dtype):
    loss, dlogits = rows(dtype, np.zeros((0, 3)), [])
    assert (loss.shape, dlogits.shape) == ((0,), (0, 3))
    loss, dlogits = rows(dtype, [[1, 2], [3, 4]], [-100, -100])
    assert not loss.any()
    assert not dlogits.any()


def test_cross_entropy_of_integer_labels_of_every_width():
    logits, params = random(3, 4, dtype=np.float32), dict(ignore_index=0, label_smoothing=0.1)
    wanted = computed("softmax_cross_entropy", [logits, np.array([1, 0, 3]), None], params)
    for code in (*"bBhHiIl", ">i2", ">i8"):
        found = computed("softmax_cross_entropy", [logits, np.array([1, 0, 3], code), None], params)
        assert bits_of(found) == bits_of(wanted)


def textbook_adam(p, g, m, v, step, lr, beta1, beta2, eps, weight_decay, l1, decoupled):
    """Algorithm 1 of Kingma and Ba (2015), or 2 of Loshchilov and Hutter (2019), in float64."""
    p, g, m, v = (x.astype(np.float64) for x in (p, g, m, v))
    weight_decay, l1 = (0 if x is None else x for x in (weight_decay, l1))
    g = g + l1 * np.sign(p)
    if not decoupled:
        g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    corrected = (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + eps)
    return [p - lr * corrected - (lr * weight_decay * p if decoupled else 0), m, v]


@floats
@pytest.mark.parametrize("decoupled", [False, True], ids=["Adam", "AdamW"])
@pytest.mark.parametrize(("weight_decay", "l1"), [(None, None), (0, 0), (0.3, None), (None, 0.2)])
@pytest.mark.parametrize("step", [1, 2, 1000, 1_000_000])
def test_adam_is_the_textbook_s(step, weight_decay, l1, decoupled, dtype):
    arrays, params = adam_call(dtype, (3, 4), step, weight_decay, decoupled, l1)
    if step == 1:
        arrays[2], arrays[3] = np.zeros((2, 3, 4), dtype)
    wanted = textbook_adam(*arrays, **params)
    for x, y in zip(computed("adam_update", arrays, params), wanted, strict=True):
        assert x.dtype == dtype
        np.testing.assert_allclose(x, y, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@floats
def test_adam_s_first_step_is_the_learning_rate(dtype):
    (p, g, m, v, *scalars), params = adam_call(dtype, step=1, weight_decay=0)
    before, lr = p.copy(), float(scalars[1])
    computed("adam_update", [p, g, np.zeros_like(m), np.zeros_like(v), *scalars], params)
    np.testing.assert_allclose(before - p, lr * np.sign(g), rtol=1e-3)


@floats
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_of_non_finite_gradients(decoupled, dtype):
    arrays, params = adam_call(dtype, (6,), decoupled=decoupled)
    huge = np.finfo(dtype).max
    arrays[1] = np.array([NAN, INF, -INF, huge, -huge, 1], dtype)
    wanted = referenced("adam_update", arrays, params)
    with np.errstate(all="ignore"):
        found = computed("adam_update", arrays, params)
    assert_same(found, wanted, TOLERANCE[dtype])
    assert np.isnan(found[0][:3]).all()
    assert np.isfinite(found[0][3:]).all()


@floats
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize(("weight_decay", "l1"), [(None, None), (0, 0), (0.1, 0.1)])
def test_adam_of_non_finite_parameters(weight_decay, l1, decoupled, dtype):
    arrays, params = adam_call(dtype, (4,), 3, weight_decay, decoupled, l1)
    arrays[0] = np.array([NAN, INF, -INF, 1], dtype)
    wanted = referenced("adam_update", arrays, params)
    with np.errstate(all="ignore"):
        found = computed("adam_update", arrays, params)
    assert_same(found, wanted, TOLERANCE[dtype])


@floats
def test_norm_of_lengths_around_a_block(dtype):
    sizes = [norm.BLOCK + d for d in (-1, 0, 1)] if COMPILED else [3]
    for n in (0, 1, *sizes):
        x = random(n, dtype=dtype)
        wanted = math.sqrt(math.fsum(float(value) ** 2 for value in x))
        for arrays in ([x], [x[: n // 3], np.zeros((0, 2), dtype), x[n // 3 :, None]]):
            (found,) = computed("total_norm", arrays, {})
            assert (found.dtype, found.shape) == (np.float64, ())
            np.testing.assert_allclose(found, wanted, rtol=1e-14)


def test_norm_of_both_dtypes_and_of_huge_and_tiny_numbers():
    for value in (1e30, 1e-30):
        arrays = [np.full((2, 2), value, np.float32), np.full(5, np.float32(value), np.float64)]
        (found,) = computed("total_norm", arrays, {})
        np.testing.assert_allclose(found, 3 * float(np.float32(value)), rtol=1e-14)


@floats
@pytest.mark.parametrize("broken", [NAN, INF, -INF])
def test_norm_of_what_is_not_finite(broken, dtype):
    arrays, params = norm_call(dtype)
    arrays[1][3] = broken
    (found,) = computed("total_norm", arrays, params)
    assert_same([found], referenced("total_norm", arrays, params))


def philox_bits(key, stream, counter, size=4):
    state = np.array([key, stream, counter], np.uint64)
    return cpu.TABLE["random_bits"](state, size=size), state


# Counter, key, words: from the file kat_vectors of the authors' Random123.
KNOWN = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_known_answers(counter, key, words):
    c0, c1, c2, c3 = (int(word, 16) for word in counter.split())
    k0, k1 = (int(word, 16) for word in key.split())
    found, _ = philox_bits(k1 << 32 | k0, c3 << 32 | c2, c1 << 32 | c0)
    assert [f"{word:08x}" for word in found] == words.split()


@pytest.mark.parametrize("counter", [0, 2**32 - 2, 2**63 - 2, 2**64 - 2])
def test_philox_counts_past_32_and_64_bits(counter):
    found, state = philox_bits(1, 2, counter, size=16)
    one_by_one = [philox_bits(1, 2, (counter + i) % 2**64)[0] for i in range(4)]
    np.testing.assert_array_equal(found, np.concatenate(one_by_one))
    assert state.tolist() == [1, 2, (counter + 4) % 2**64]


@pytest.mark.parametrize("size", range(10))
def test_philox_advances_by_whole_blocks(size):
    found, state = philox_bits(1, 2, 3, size)
    assert (found.dtype, found.shape) == (np.uint32, (size,))
    assert state.tolist() == [1, 2, 3 + math.ceil(size / 4)]
    np.testing.assert_array_equal(found, philox_bits(1, 2, 3, 12)[0][:size])


@pytest.mark.parametrize("carry", [0, 2**32, 2**64])
def test_philox_has_no_seam_between_chunks(carry, monkeypatch):
    if not COMPILED:
        monkeypatch.setattr(philox, "CHUNK", 4)  # 4096 blocks would take seconds
    counter = (carry - philox.CHUNK - 1) % 2**64
    arrays, params = bits_call(None, 12 * philox.CHUNK + 5, counter)
    assert_same(
        computed("random_bits", [a.copy() for a in arrays], params),
        referenced("random_bits", arrays, params),
    )


def test_numpy_and_numba_draw_the_same_bits():
    size = 100_003 if COMPILED else 203
    draws = []
    for name in ("numpy", "numba"):
        generator = mg.random.Generator(2**40 + 1, stream=2**35)
        generator.set_state(generator.get_state() + np.array([0, 0, 2**32 - 7], np.uint64))
        backend = backends.get(name)
        bits = [generator.bits(n, backend).numpy() for n in (size, 3)]
        normal = mg.random.normal((5,), generator=generator, backend=name).numpy()
        draws.append(bits_of([*bits, normal, generator.get_state()]))
    assert draws[0] == draws[1]


@pytest.fixture
def two_faced(monkeypatch):
    """A loop that answers with the name of the function that ran, on a machine of two cores."""
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    monkeypatch.setattr(compiler, "njit", lambda **options: lambda function: function)
    loop = compiler.loop(parallel_from=10)(lambda: None)
    monkeypatch.setattr(loop, "serial", lambda: "serial")
    monkeypatch.setattr(loop, "parallel", lambda: "parallel")
    return loop


def test_a_loop_is_parallel_from_its_limit(two_faced, monkeypatch):
    assert [two_faced(work) for work in (0, 9, 10, 11)] == ["serial"] * 2 + ["parallel"] * 2
    monkeypatch.setattr(numba, "get_num_threads", lambda: 1)
    assert two_faced(10**9) == "serial"


def test_a_loop_is_serial_while_another_is_parallel(two_faced, monkeypatch):
    monkeypatch.setattr(two_faced, "parallel", lambda: ("within", two_faced(10)))
    assert two_faced(10) == ("within", "serial")


def test_a_loop_that_fails_lets_the_next_be_parallel(two_faced, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(two_faced, "parallel", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            two_faced(10)
    assert two_faced(10) == "parallel"


def test_a_forked_child_forgets_a_lock_that_was_held(two_faced, monkeypatch):
    monkeypatch.setattr(compiler, "_parallel_lock", threading.Lock())
    with compiler._parallel_lock:
        assert two_faced(10) == "serial"
        compiler._renew_lock()
        assert two_faced(10) == "parallel"


@pytest.mark.parametrize("name", LOOPS)
def test_the_two_compilations_have_two_names_in_the_disk_cache(name):
    loop = LOOPS[name]
    functions = [getattr(f, "py_func", f) for f in (loop.serial, loop.parallel)]
    assert len({function.__qualname__ for function in functions}) == 2


@kernels
@floats
def test_serial_and_parallel_loops_give_the_same_bits(name, dtype, parallel_from):
    found = []
    for limit in (math.inf, 0, 0):
        parallel_from(limit)
        found.append(bits_of(computed(name, *CALLS[name](dtype, **LARGER[name]))))
    assert found[0] == found[1] == found[2]
    if COMPILED and numba.get_num_threads() > 1:
        assert any(loop.parallel.signatures for loop in LOOPS.values())


def at_once(functions):
    """Call each function in a thread of its own, all from one moment on; return their results."""
    start = threading.Barrier(len(functions))

    def call(function):
        start.wait()
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(call, functions))


def test_four_threads_at_once_get_the_serial_results(parallel_from):
    names = sorted(cpu.TABLE)
    times = 25 if COMPILED else 2

    def calls(first):
        turns = itertools.islice(itertools.cycle(names), first, first + times * len(names))
        return [bits_of(computed(n, *CALLS[n](np.float32, **LARGER[n]))) for n in turns]

    parallel_from(math.inf)
    alone = [calls(first) for first in range(4)]
    parallel_from(0)
    assert at_once([functools.partial(calls, first) for first in range(4)]) == alone


def trained(seed):
    """Return the bits of a small model after some steps on the numba backend."""
    with mg.use_backend("numba"):
        mg.manual_seed(seed)
        model = mlp(4, [8], 3)
        optimizer = Adam(model.parameters(), lr=0.05)
        criterion = CrossEntropyLoss(label_smoothing=0.1)
        x, y = mg.randn(12, 4), mg.random.randint(3, shape=(12,))
        for _ in range(60 if COMPILED else 3):
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
        return bits_of([p.detach().numpy() for p in model.parameters()])


def test_two_threads_train_two_models(parallel_from):
    parallel_from(0)
    one_after_the_other = [trained(seed) for seed in range(2)]
    assert one_after_the_other[0] != one_after_the_other[1]
    for _ in range(3 if COMPILED else 1):
        assert at_once([functools.partial(trained, s) for s in range(2)]) == one_after_the_other


def compute_in_a_forked_child():
    """For a process of its own: exit with 0 if a forked child gets its parent's results."""

    def everything():
        return [bits_of(computed(n, *CALLS[n](np.float32, **LARGER[n]))) for n in sorted(cpu.TABLE)]

    for loop in LOOPS.values():
        loop.parallel_from = 0
    wanted = everything()
    # From Python 3.12 on it warns of a fork beside threads, which Numba's are.
    warnings.simplefilter("ignore", DeprecationWarning)
    compiler._parallel_lock.acquire()  # as another thread may have done
    child = os.fork()
    if child == 0:
        signal.alarm(120)  # a child that hangs must not outlive the tests
        code = 1
        try:
            free = compiler._parallel_lock.acquire(blocking=False)
            compiler._parallel_lock.release()
            code = 0 if free and everything() == wanted else 2
        finally:
            os._exit(code)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


@needs_compiler
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_after_a_parallel_kernel():
    ran = python("import test_kernels; test_kernels.compute_in_a_forked_child()")
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("chosen", "in_code", "stands"),
    [
        (None, "", "workqueue"),
        ("omp", "", "omp"),
        ("default", "", "default"),
        (None, "numba.config.THREADING_LAYER = 'threadsafe'; ", "threadsafe"),
    ],
)
def test_the_threading_layer_is_the_user_s_choice(chosen, in_code, stands):
    code = (
        f"import numba; {in_code}import minigrad.kernels.cpu; print(numba.config.THREADING_LAYER)"
    )
    env = {} if chosen is None else {"NUMBA_THREADING_LAYER": chosen}
    ran = python(code, without=["NUMBA_THREADING_LAYER"], **env)
    assert (ran.stdout, ran.stderr) == (stands + "\n", "")


DRAW = """
import numpy as np
from {package} import cpu
print(cpu.__file__)
print([f"{{word:08x}}" for word in cpu.TABLE["random_bits"](np.zeros(3, np.uint64), size=4)])
"""
FIRST_WORDS = str(KNOWN[0][2].split())


@needs_compiler
def test_compilation_is_announced_once_and_only_when_cold(tmp_path):
    draw = DRAW.format(package="minigrad.kernels")
    for expected in (ANNOUNCEMENT, ""):
        ran = python(draw, NUMBA_CACHE_DIR=str(tmp_path))
        assert ran.stdout.splitlines() == [cpu.__file__, FIRST_WORDS]
        assert ran.stderr == expected


def test_only_kernels_are_announced_and_only_once(monkeypatch, capsys):
    fresh = functools.cache(compiler._announce.__wrapped__)
    monkeypatch.setattr(compiler, "_announce", fresh)
    event = numba.core.event

    def compile_something_in(module):
        function = SimpleNamespace(__module__=module)
        data = dict(dispatcher=SimpleNamespace(py_func=function))
        for status in (event.EventStatus.START, event.EventStatus.END):
            event.broadcast(event.Event("numba:compile", status, data))

    compile_something_in("somewhere.else")
    compile_something_in("minigrad.kernels.cpu_of_another")
    assert capsys.readouterr().err == ""
    compile_something_in(adam.__name__)
    compile_something_in(philox.__name__)
    assert capsys.readouterr() == ("", ANNOUNCEMENT)


@needs_compiler
def test_kernels_work_where_no_cache_can_be_written(tmp_path):
    # Also for root, who may write everywhere: files stand where the directories would have to be.
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(cpu.__file__).parents[1], tmp_path / "kernels", ignore=ignored)
    (tmp_path / "kernels/cpu/__pycache__").touch()
    (tmp_path / "home").touch()
    home = str(tmp_path / "home" / "nobody")
    ran = python(
        DRAW.format(package="kernels"),
        cwd=tmp_path,
        without=["NUMBA_CACHE_DIR"],
        **dict.fromkeys(["HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"], home),
    )
    copy = str(tmp_path / "kernels" / "cpu" / "__init__.py")
    assert ran.stdout.splitlines() == [copy, FIRST_WORDS], ran.stderr
    assert ran.stderr == ANNOUNCEMENT


def test_what_cannot_be_cached_is_compiled_all_the_same(monkeypatch):
    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: (function, options)

    monkeypatch.setattr(compiler, "njit", njit)
    function, options = compiler.jit("contract", parallel=True)(len)
    assert function is len
    assert options["parallel"]
    assert options["fastmath"] == {"contract"}
    assert options["error_model"] == "numpy"
