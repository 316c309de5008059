"""Every CPU kernel by its contract: the calls in its own file, compared with its reference.

CI runs this folder twice, the second time with NUMBA_DISABLE_JIT=1, so that coverage sees inside
the kernels; that is why arrays are small and why the tests of the compiler skip without it.
"""

import functools
import itertools
import math
import os
import signal
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from contract import (
    COMPILED,
    FLOATS,
    LOOPS,
    OPS,
    TOLERANCE,
    as_tuple,
    assert_declines,
    assert_same,
    bits_of,
    called,
    calls,
    compiler,
    computed,
    cpu,
    floats,
    kernels,
    needs_compiler,
    numba,
    python,
    random,
    referenced,
    written,
)

import minigrad as mg
from minigrad.engine import TABLE
from minigrad.nn import CrossEntropyLoss
from minigrad.nn import functional as F
from minigrad.optim import Adam
from minigrad.plans import parameters_of
from minigrad.train import mlp


@kernels
def test_a_kernel_is_called_like_its_reference(name):
    inputs, variadic, params, _ = parameters_of(cpu.TABLE[name])
    op = OPS[name]
    assert (inputs, variadic, params) == (op.inputs, op.variadic, op.params)


def misaligned(x):
    shifted = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    shifted[...] = x
    return shifted


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LENGTH = 1001 if COMPILED else 20  # several chunks, blocks and rows for each thread

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


@kernels
@floats
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_each_input(name, layout, dtype):
    for number, (plain, params) in enumerate(calls(name, dtype)):
        for i, array in enumerate(plain):
            if isinstance(array, np.ndarray) and array.ndim:
                arrays = calls(name, dtype)[number][0]
                arrays[i] = LAYOUTS[layout](array)
                wanted = referenced(name, arrays, params)
                found = computed(name, arrays, params)
                if found is None:
                    assert i in written(name, arrays)
                else:
                    assert_same(found, wanted, TOLERANCE[dtype])


@kernels
@floats
@pytest.mark.parametrize("n", [0, 1, 2, 33])
def test_every_length(name, n, dtype):
    for number, (arrays, params) in enumerate(calls(name, dtype, n)):
        wanted = referenced(name, calls(name, dtype, n)[number][0], params)
        assert_same(computed(name, arrays, params), wanted, TOLERANCE[dtype])


@kernels
def test_what_may_be_a_gradient_of_the_largest_input_is_no_view(name):
    # Whoever keeps a gradient copies one that may be part of another array.
    for arrays, params in calls(name, np.float32):
        largest = max(a.size for a in arrays if a is not None)
        for array in as_tuple(called(name, arrays, params)):
            if getattr(array, "dtype", None) == np.float32 and array.size >= largest:
                assert array.base is None


IMAGES = (3, 4, 6, 6)
#: what models are made of, on inputs of these shapes
PARTS_OF_MODELS = {
    "linear": (F.linear, (9, 4, 5), (3, 5), (3,)),
    "linear, of weights": (F.linear, (2, 5), (3, 5), (3,)),
    "matmul": (mg.matmul, (9, 4, 5), (5, 3)),
    "matmul, of weights": (mg.matmul, (2, 5), (5, 3)),
    "conv2d": (F.conv2d, IMAGES, (2, 4, 3, 3), (2,)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), IMAGES),
    "softmax": (lambda x: F.softmax(x, axis=1), IMAGES),
    "layer_norm": (lambda x, *weights: F.layer_norm(x, 5, *weights), (9, 4, 5), (5,), (5,)),
    "rms_norm": (lambda x, weight: F.rms_norm(x, 5, weight), (9, 4, 5), (5,)),
    "group_norm": (lambda x, *weights: F.group_norm(x, 2, *weights), IMAGES, (4,), (4,)),
    "batch_norm": (lambda x: F.batch_norm(x, None, None, training=True), IMAGES),
    "attention": (F.scaled_dot_product_attention, *[(2, 3, 4, 5)] * 3),
}


@pytest.mark.parametrize("name", PARTS_OF_MODELS)
def test_nothing_is_copied_to_keep_the_gradient_of_the_largest_input(name, monkeypatch):
    # As above, but a function may rearrange what its kernel returned.
    f, *shapes = PARTS_OF_MODELS[name]
    copied, copy = [], TABLE["copy"]
    monkeypatch.setitem(TABLE, "copy", lambda g: copied.append(g.size) or copy(g))
    with mg.use_backend("numba"):
        xs = [mg.tensor(random(*s, seed=i), requires_grad=True) for i, s in enumerate(shapes)]
        y = f(*xs)
        y.backward(mg.tensor(random(*y.shape)))
    assert max(copied, default=0) < max(x.size for x in xs)


@kernels
def test_declines_float16(name):
    for arrays, params in calls(name, np.float16):
        if any(a is not None and a.dtype == np.float16 for a in arrays):
            assert_declines(name, arrays, params)


@needs_compiler
def test_layouts_and_kinds_of_numbers_are_not_compiled_anew():
    def compilations():
        return [len(loop.serial.signatures) for loop in LOOPS.values()]

    for name, dtype in itertools.product(cpu.TABLE, FLOATS):
        for arrays, params in calls(name, dtype):
            computed(name, arrays, params)
    before = compilations()
    for name, layout in itertools.product(cpu.TABLE, LAYOUTS.values()):
        for arrays, params in calls(name, np.float32):
            computed(name, [a if a is None or not a.ndim else layout(a) for a in arrays], params)
    assert compilations() == before


@kernels
@floats
def test_serial_and_parallel_loops_give_the_same_bits(name, dtype, parallel_from):
    found = []
    for limit in (math.inf, 0, 0):
        parallel_from(limit)
        found.append([bits_of(computed(name, *call)) for call in calls(name, dtype, LENGTH)])
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

    def results(first):
        turns = itertools.islice(itertools.cycle(names), first, first + times * len(names))
        return [bits_of(computed(n, *call)) for n in turns for call in calls(n, np.float32, LENGTH)]

    parallel_from(math.inf)
    alone = [results(first) for first in range(4)]
    parallel_from(0)
    assert at_once([functools.partial(results, first) for first in range(4)]) == alone


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
        return [
            bits_of(computed(name, *call))
            for name in sorted(cpu.TABLE)
            for call in calls(name, np.float32, LENGTH)
        ]

    for loop in LOOPS.values():
        loop.pays_from = loop.parallel_from = 0
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
    ran = python("import test_contract; test_contract.compute_in_a_forked_child()")
    assert (ran.returncode, ran.stderr) == (0, "")


@needs_compiler
def test_warmup_leaves_nothing_to_compile():
    code = """
import numpy as np
from minigrad.kernels import cpu
# Not the product of matrices that is there to be read.
LOOPS = [l for l in cpu.compiler.LOOPS if not l.serial.__module__.endswith("gemm")]
cpu.warmup()
def compiled():
    return [len(f.signatures) for loop in LOOPS for f in (loop.serial, loop.parallel)]
before = compiled()
for name, calls in cpu.compiler.CALLS.items():
    for dtype in cpu.compiler.FLOATS:
        for arrays, params in calls(dtype, 3):
            cpu.TABLE[name](*arrays, **params)
print(compiled() == before, min(before[::2]) > 0)
"""
    ran = python(code)
    assert ran.stdout == "True True\n", ran.stderr
