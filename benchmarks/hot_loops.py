"""Kernels at telling shapes, on one thread and on all, or on a GPU: beside others and yardsticks.

A yardstick is what cannot be done without, or what one would use instead: a copy that moves as many
bytes as must be read and written, counted without temporaries; the products of a layer through BLAS
into ready buffers; one `np.exp` of the logits; a bare loop over a parameter and its state;
`np.add.at`. Copies and bare loops are compiled by Numba, and parallel on several threads. On a GPU
a copy is the driver's own, from the card's memory to itself, and products are those of cuBLAS.
"""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any

import cards
import numpy as np
from arena import Arena, say
from devices import CPU, GPU, jax_in_float32, torch_on
from targets import Verdict
from turns import Contestant, Failed, Lost, take_turns

COPY, EXP, BARE, ADD_AT = "a copy", "np.exp", "a bare loop", "np.add.at"
BLAS, BLAS_OF_HEADS = "its products", "its heads' products"
LARGE = 1 << 22  # elements from which arrays are in no cache
SMALL = 1 << 16  # elements below which the cost of a call hides that of a loop
YARDSTICK = "yardstick"
LOSSES = 2  # who has died or hung so many times plays no more


@dataclass(frozen=True)
class Case:
    """A function in every library, alone or with derivatives.

    inputs: shapes of normal float32, or arrays. call: takes `nn.functional` of minigrad or PyTorch
    and the inputs; theirs: the same of PyTorch where it is written otherwise. jax: takes JAX and
    the inputs. wrt: the inputs to differentiate by. only_backward: the forward is done once,
    before. moved: how often the first input's bytes must be read or written, forward and backward;
    0 where memory does not decide. yardstick: one beside a copy. one, all: beside whom LIMITS have
    to be kept on one thread, and on all.
    """

    name: str
    inputs: tuple[Any, ...]
    call: Callable[..., Any]
    jax: Callable[..., Any]
    wrt: tuple[int, ...] = (0,)
    theirs: Callable[..., Any] | None = None
    only_backward: bool = False
    moved: float = 0
    yardstick: str | None = None
    one: tuple[str, ...] = ()
    all: tuple[str, ...] = ()

    @property
    def yardsticks(self) -> list[str]:
        sizes = [math.prod(x if isinstance(x, tuple) else x.shape) for x in self.inputs]
        if max(sizes) < SMALL:
            return []
        copied = [COPY] if self.moved and max(sizes) >= LARGE else []
        return copied + ([self.yardstick] if self.yardstick else [])


@dataclass(frozen=True)
class Update:
    """A step of an optimizer on one parameter.

    options: of the optimizer of that name in `optim` of minigrad and PyTorch. formula: takes sqrt
    and returns what takes and returns an element of the parameter, the gradient and each state
    (the gradient is not returned).
    """

    name: str
    size: int
    options: Mapping[str, Any]
    formula: Callable[[Any], Callable[..., tuple[Any, ...]]]
    states: int

    @property
    def yardsticks(self) -> list[str]:
        return [COPY, BARE] if self.size >= LARGE else [BARE]

    @property
    def moved(self) -> int:
        return 3 + 2 * self.states

    @property
    def one(self) -> tuple[str, ...]:
        return tuple(self.yardsticks)

    all = one


def labels(high: int, *shape: int) -> Any:
    return np.random.default_rng(1).integers(0, high, shape)


# Functions

MEMORY = {"one": (COPY,), "all": (COPY,)}  # what memory limits


def cross_entropy(rows: int, classes: int, **targets: tuple[str, ...]) -> Case:
    return Case(
        "softmax cross-entropy",
        ((rows, classes), labels(classes, rows)),
        lambda f, x, y: f.cross_entropy(x, y),
        lambda jax, x, y: -jax.numpy.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1).mean(),
        moved=3,
        yardstick=EXP,
        **targets,
    )


def linear(activation: str, rows: int, inputs: int, outputs: int) -> Case:
    def in_jax(jax: Any, x: Any, weight: Any, bias: Any) -> Any:
        exact = {"approximate": False} if activation == "gelu" else {}
        return getattr(jax.nn, activation)(x @ weight.T + bias, **exact)

    return Case(
        f"linear, bias, {activation}",
        ((rows, inputs), (outputs, inputs), (outputs,)),
        lambda f, x, weight, bias: f.linear(x, weight, bias, activation),
        in_jax,
        theirs=lambda f, x, weight, bias: getattr(f, activation)(f.linear(x, weight, bias)),
        wrt=(0, 1, 2),
        yardstick=BLAS,
    )


def activation(name: str, rows: int, width: int, **targets: tuple[str, ...]) -> Case:
    exact = {"approximate": False} if name == "gelu" else {}
    return Case(
        name,
        ((rows, width),),
        lambda f, x: getattr(f, name)(x),
        lambda jax, x: getattr(jax.nn, name)(x, **exact),
        moved=5,
        **targets,
    )


def softmax(rows: int, width: int, **targets: tuple[str, ...]) -> Case:
    return Case(
        "softmax",
        ((rows, width),),
        lambda f, x: f.softmax(x, -1),
        lambda jax, x: jax.nn.softmax(x),
        moved=5,
        **targets,
    )


def scaled(jax: Any, x: Any, axes: tuple[int, ...], center: bool = True) -> Any:
    """Return x by its deviation along axes, or by its mean square."""
    x = x - x.mean(axes, keepdims=True) if center else x
    return x * jax.lax.rsqrt((x * x).mean(axes, keepdims=True) + 1e-5)


def layer_norm(rows: int, width: int, **targets: tuple[str, ...]) -> Case:
    return Case(
        "layer norm",
        ((rows, width), (width,), (width,)),
        lambda f, x, weight, bias: f.layer_norm(x, (width,), weight, bias),
        lambda jax, x, weight, bias: scaled(jax, x, (1,)) * weight + bias,
        wrt=(0, 1, 2),
        moved=5,
        **targets,
    )


def rms_norm(rows: int, width: int, **targets: tuple[str, ...]) -> Case:
    return Case(
        "rms norm",
        ((rows, width), (width,)),
        lambda f, x, weight: f.rms_norm(x, (width,), weight, 1e-5),
        lambda jax, x, weight: scaled(jax, x, (1,), center=False) * weight,
        wrt=(0, 1),
        moved=5,
        **targets,
    )


def batch_norm(shape: tuple[int, ...], **targets: tuple[str, ...]) -> Case:
    channels = shape[1:2]
    column = (channels[0], 1, 1)
    return Case(
        "batch norm",
        (shape, channels, channels),
        lambda f, x, weight, bias: f.batch_norm(x, None, None, weight, bias, training=True),
        lambda jax, x, weight, bias: (
            scaled(jax, x, (0, 2, 3)) * weight.reshape(column) + bias.reshape(column)
        ),
        wrt=(0, 1, 2),
        moved=5,
        **targets,
    )


def group_norm(groups: int, shape: tuple[int, ...], **targets: tuple[str, ...]) -> Case:
    channels = shape[1:2]
    column = (channels[0], 1, 1)

    def in_jax(jax: Any, x: Any, weight: Any, bias: Any) -> Any:
        found = scaled(jax, x.reshape(shape[0], groups, -1), (2,)).reshape(shape)
        return found * weight.reshape(column) + bias.reshape(column)

    return Case(
        "group norm",
        (shape, channels, channels),
        lambda f, x, weight, bias: f.group_norm(x, groups, weight, bias),
        in_jax,
        wrt=(0, 1, 2),
        moved=5,
        **targets,
    )


def dropout(rows: int, width: int, **targets: tuple[str, ...]) -> Case:
    def in_jax(jax: Any, x: Any) -> Any:
        kept = jax.random.bernoulli(jax.random.key(0), 0.5, x.shape)
        return jax.numpy.where(kept, 2 * x, 0)

    return Case(
        "dropout", ((rows, width),), lambda f, x: f.dropout(x, 0.5), in_jax, moved=4, **targets
    )


def total(axis: int | None, rows: int, width: int) -> Case:
    said = "all" if axis is None else f"axis {axis}"
    return Case(
        f"sum, {said}",
        ((rows, width),),
        lambda f, x: x.sum(axis) if axis is not None else x.sum(),
        lambda jax, x: x.sum(axis),
        wrt=(),
        moved=1,
        **MEMORY,
    )


def embedding(count: int, rows: int, width: int) -> Case:
    return Case(
        "embedding, backward",
        ((rows, width), labels(rows, count)),
        lambda f, weight, places: f.embedding(places, weight),
        lambda jax, weight, places: weight[places],
        only_backward=True,
        yardstick=ADD_AT,
        one=(ADD_AT,),
        all=(ADD_AT,),
    )


def gather(count: int, size: int) -> Case:
    return Case(
        "x[indices], backward",
        ((size,), labels(size, count)),
        lambda f, x, places: x[places],
        lambda jax, x, places: x[places],
        only_backward=True,
        yardstick=ADD_AT,
        one=(ADD_AT,),
        all=(ADD_AT,),
    )


def conv2d(samples: int, channels: int, outputs: int, side: int) -> Case:
    def in_jax(jax: Any, x: Any, weight: Any, bias: Any) -> Any:
        return jax.lax.conv_general_dilated(x, weight, (1, 1), "SAME") + bias[:, None, None]

    return Case(
        "conv2d, 3×3",
        ((samples, channels, side, side), (outputs, channels, 3, 3), (outputs,)),
        lambda f, x, weight, bias: f.conv2d(x, weight, bias, padding=1),
        in_jax,
        wrt=(0, 1, 2),
    )


def pooling(name: str, *shape: int) -> Case:
    def in_jax(jax: Any, x: Any) -> Any:
        windows = (1, 1, 2, 2)
        if name == "max_pool2d":
            lowest = -jax.numpy.inf
            return jax.lax.reduce_window(x, lowest, jax.lax.max, windows, windows, "VALID")
        return jax.lax.reduce_window(x, 0.0, jax.lax.add, windows, windows, "VALID") / 4

    return Case(f"{name}, 2×2", (shape,), lambda f, x: getattr(f, name)(x, 2), in_jax)


def attention(samples: int, heads: int, length: int, width: int) -> Case:
    shape = (samples, heads, length, width)

    def in_jax(jax: Any, *qkv: Any) -> Any:
        q, k, v = (x.swapaxes(1, 2) for x in qkv)
        return jax.nn.dot_product_attention(q, k, v, is_causal=True).swapaxes(1, 2)

    return Case(
        "attention, causal",
        (shape, shape, shape),
        lambda f, q, k, v: f.scaled_dot_product_attention(q, k, v, is_causal=True),
        in_jax,
        wrt=(0, 1, 2),
        yardstick=BLAS_OF_HEADS,
    )


# Optimizers. Their rate is so small that the parameter stays where it is. The constants are
# float32, so that Numba computes in it.

RATE, EPS, ONE = np.float32(1e-8), np.float32(1e-8), np.float32(1)
BETA1, BETA2, ALPHA, DECAY = map(np.float32, (0.9, 0.999, 0.99, 0.01))


def sgd(sqrt: Any) -> Callable[..., tuple[Any, ...]]:
    def update(p: Any, g: Any, m: Any) -> tuple[Any, Any]:
        m = BETA1 * m + g
        return p - RATE * m, m

    return update


def adam(sqrt: Any, keep: Any = ONE) -> Callable[..., tuple[Any, ...]]:
    def update(p: Any, g: Any, m: Any, v: Any) -> tuple[Any, Any, Any]:
        m = BETA1 * m + (ONE - BETA1) * g
        v = BETA2 * v + (ONE - BETA2) * g * g
        return keep * p - RATE * m / (sqrt(v) + EPS), m, v

    return update


adamw = partial(adam, keep=ONE - RATE * DECAY)


def rmsprop(sqrt: Any) -> Callable[..., tuple[Any, ...]]:
    def update(p: Any, g: Any, v: Any) -> tuple[Any, Any]:
        v = ALPHA * v + (ONE - ALPHA) * g * g
        return p - RATE * g / (sqrt(v) + EPS), v

    return update


def adagrad(sqrt: Any) -> Callable[..., tuple[Any, ...]]:
    def update(p: Any, g: Any, v: Any) -> tuple[Any, Any]:
        v = v + g * g
        return p - RATE * g / (sqrt(v) + EPS), v

    return update


def updates(size: int) -> list[Update]:
    return [
        Update("SGD", size, {"momentum": 0.9}, sgd, 1),
        Update("Adam", size, {}, adam, 2),
        Update("AdamW", size, {"weight_decay": 0.01}, adamw, 2),
        Update("RMSprop", size, {}, rmsprop, 1),
        Update("Adagrad", size, {}, adagrad, 1),
    ]


# What is measured

CASES: list[Case | Update] = [
    cross_entropy(1024, 1000, one=(EXP,), all=("numpy",)),
    cross_entropy(128, 10),
    linear("relu", 128, 784, 256),
    linear("relu", 1024, 784, 256),
    linear("gelu", 1024, 64, 256),
    layer_norm(4096, 1024, **MEMORY),
    rms_norm(4096, 1024, **MEMORY),
    batch_norm((64, 64, 32, 32), **MEMORY),
    group_norm(8, (64, 64, 32, 32), **MEMORY),
    activation("relu", 1024, 4096, **MEMORY),
    activation("gelu", 1024, 4096),
    activation("silu", 1024, 4096),
    softmax(4096, 1024),
    dropout(1024, 4096, **MEMORY),
    *updates(235_146)[:2],
    *updates(10_000_000),
    embedding(8192, 10_000, 64),
    gather(1_000_000, 10_000),
    total(None, 4096, 1024),
    total(0, 4096, 1024),
    total(1, 4096, 1024),
    conv2d(64, 1, 16, 28),
    conv2d(64, 16, 32, 14),
    pooling("max_pool2d", 64, 16, 28, 28),
    attention(16, 4, 64, 16),
    attention(8, 8, 256, 64),
]
QUICK = (1, 2, 15, 17)

# So large that no card has them in its cache, and that they hide what a call costs the host; and
# such as small networks have. What has a target comes first, should the time not last.
GPU_CASES: list[Case | Update] = [
    cross_entropy(8192, 8192, **MEMORY),
    cross_entropy(128, 10),
    layer_norm(8192, 4096, **MEMORY),
    *updates(1 << 25)[1:2],
    softmax(8192, 4096, **MEMORY),
    rms_norm(8192, 4096, **MEMORY),
    activation("relu", 8192, 4096, **MEMORY),
    activation("gelu", 8192, 4096, **MEMORY),
    activation("silu", 8192, 4096, **MEMORY),
    linear("relu", 1024, 784, 256),
    linear("relu", 8192, 1024, 4096),
    linear("gelu", 8192, 1024, 4096),
    dropout(8192, 4096, **MEMORY),
    *updates(235_146)[1:2],
    *updates(1 << 25)[:3:2],
]
GPU_QUICK = (1, 9, 13)


def shape_of(case: Case | Update) -> str:
    if isinstance(case, Update):
        return f"{case.size:,}"
    shapes = ["×".join(map(str, x if isinstance(x, tuple) else x.shape)) for x in case.inputs]
    return ", ".join(dict.fromkeys(shapes))


def title(case: Case | Update) -> str:
    return f"{case.name} ({shape_of(case)})"


KNOWN = {title(case): case for case in [*CASES, *GPU_CASES]}


@lru_cache(maxsize=1)
def drawn(name: str) -> list[Any]:
    """Return the inputs of a case; of an update, the parameter and the gradient."""
    rng, case = np.random.default_rng(0), KNOWN[name]
    if isinstance(case, Update):
        return [rng.standard_normal(case.size, np.float32) for _ in range(2)]
    return [rng.standard_normal(x, np.float32) if isinstance(x, tuple) else x for x in case.inputs]


# The libraries

Build = Callable[[Case | Update, list[Any]], Callable[[], Any]]
Player = tuple[Build, Callable[[], None]]  # what builds calls, and what waits for their device


def cotangent_of(shape: tuple[int, ...]) -> Any:
    return np.asarray(np.random.default_rng(1).standard_normal(shape), np.float32)


def differentiated(case: Case, grad: Any, forward: Callable[[], Any], xs: Any, given: Any) -> Any:
    """Return what runs a case as minigrad and PyTorch both write it."""
    if not case.wrt:
        return forward
    wanted = [xs[i].requires_grad_() for i in case.wrt]
    out = forward()
    cotangent = given(cotangent_of(tuple(out.shape)))
    if case.only_backward:
        return lambda: grad(out, wanted, cotangent, retain_graph=True)
    return lambda: grad(forward(), wanted, cotangent)


def stepping(update: Update, optim: Any, p: Any, g: Any, **more: Any) -> Any:
    p.requires_grad_()
    p.grad = g
    return getattr(optim, update.name)([p], lr=float(RATE), **update.options, **more).step


def of_minigrad(backend: str) -> Player:
    import minigrad as mg

    def build(case: Case | Update, arrays: list[Any]) -> Callable[[], Any]:
        xs = [mg.tensor(array, backend=backend) for array in arrays]
        if isinstance(case, Update):
            return stepping(case, mg.optim, *xs)
        call = partial(case.call, mg.nn.functional, *xs)
        return differentiated(case, mg.autograd.grad, call, xs, partial(mg.tensor, backend=backend))

    return build, mg.backends.get(backend).synchronize


def of_torch(threads: int, device: str = CPU) -> Player:
    torch, wait = torch_on(device)
    torch.set_num_threads(threads)
    given = partial(torch.tensor, device=device)

    def build(case: Case | Update, arrays: list[Any]) -> Callable[[], Any]:
        xs = list(map(given, arrays))
        if isinstance(case, Update):
            fused = {"fused": True} if case.name != "RMSprop" else {}
            return stepping(case, torch.optim, *xs, **fused)
        call = partial(case.theirs or case.call, torch.nn.functional, *xs)
        return differentiated(case, torch.autograd.grad, call, xs, given)

    return build, wait


def of_jax(device: str = CPU) -> Player:
    jax = jax_in_float32()
    latest: Any = None

    def finish(results: Any) -> Any:
        """Wait for results, but on a GPU no sooner than for the others'."""
        nonlocal latest
        latest = jax.block_until_ready(results) if device == CPU else results
        return latest

    def of_update(case: Update, p: Any, g: Any) -> Callable[[], Any]:
        states = [jax.numpy.ones_like(p) for _ in range(case.states)]
        update = case.formula(jax.numpy.sqrt)

        @partial(jax.jit, donate_argnums=0)
        def step(held: Any, g: Any) -> Any:
            p, *states = held
            return update(p, g, *states)

        held: Any = (p, *states)

        def again() -> None:
            nonlocal held
            held = finish(step(held, g))

        return again

    def build(case: Case | Update, arrays: list[Any]) -> Callable[[], Any]:
        xs = [jax.numpy.asarray(array) for array in arrays]
        if isinstance(case, Update):
            return of_update(case, *xs)

        @jax.jit
        def run(cotangent: Any, *xs: Any) -> Any:
            def of_wanted(*wanted: Any) -> Any:
                given = dict(zip(case.wrt, wanted, strict=True))
                return case.jax(jax, *(given.get(i, x) for i, x in enumerate(xs)))

            if not case.wrt:
                return of_wanted()
            out, pull = jax.vjp(of_wanted, *(xs[i] for i in case.wrt))
            grads = pull(cotangent)
            return grads if case.only_backward else (out, grads)

        like = jax.eval_shape(partial(case.jax, jax), *xs)
        cotangent = jax.numpy.asarray(cotangent_of(like.shape))
        return lambda: finish(run(cotangent, *xs))

    return build, lambda: jax.block_until_ready(latest)


# Yardsticks, built from a case, its arrays and the number of threads


def compiled(threads: int, body: Callable[..., None]) -> Callable[..., None]:
    """Compile a loop; its threads start and lie as those of the kernels do."""
    import numba

    from minigrad.kernels.cpu import compiler

    made: Callable[..., None] = numba.njit(error_model="numpy", parallel=threads > 1)(body)

    def run(*args: Any) -> None:
        compiler.part(threads)
        made(*args)

    return run


@cache
def copy_loop(threads: int) -> Callable[..., None]:
    from numba import prange

    def loop(source: Any, out: Any) -> None:
        for i in prange(source.size):
            out[i] = source[i]

    return compiled(threads, loop)


def copied(case: Case | Update, arrays: list[Any], threads: int) -> Callable[[], Any]:
    source = np.ones(math.ceil(case.moved * arrays[0].size / 2), np.float32)
    return partial(copy_loop(threads), source, np.zeros_like(source))


@cache
def update_loop(formula: Callable[[Any], Any], states: int, threads: int) -> Callable[..., None]:
    from numba import njit, prange

    element = njit(error_model="numpy")(formula(np.sqrt))

    def with_one(p: Any, g: Any, m: Any) -> None:
        for i in prange(p.size):
            p[i], m[i] = element(p[i], g[i], m[i])

    def with_two(p: Any, g: Any, m: Any, v: Any) -> None:
        for i in prange(p.size):
            p[i], m[i], v[i] = element(p[i], g[i], m[i], v[i])

    return compiled(threads, with_one if states == 1 else with_two)


def bare_loop(update: Update, arrays: list[Any], threads: int) -> Callable[[], Any]:
    p, g = (array.copy() for array in arrays)
    states = [np.ones_like(p) for _ in range(update.states)]
    return partial(update_loop(update.formula, update.states, threads), p, g, *states)


def exponential(case: Case, arrays: list[Any], threads: int) -> Callable[[], Any]:
    return partial(np.exp, arrays[0], out=np.empty_like(arrays[0]))


def added_at(case: Case, arrays: list[Any], threads: int) -> Callable[[], Any]:
    like, places = arrays
    g = np.ones((*places.shape, *like.shape[1:]), np.float32)
    return lambda: np.add.at(np.zeros_like(like), places, g)


def products_of_linear(
    case: Case, arrays: list[Any], threads: int, xp: Any = np
) -> Callable[[], Any]:
    x, weight, _ = arrays
    out, dx, dweight = x @ weight.T, xp.empty_like(x), xp.empty_like(weight)

    def run() -> None:
        xp.matmul(x, weight.T, out=out)
        xp.matmul(out, weight, out=dx)
        xp.matmul(out.T, x, out=dweight)

    return run


def products_of_attention(case: Case, arrays: list[Any], threads: int) -> Callable[[], Any]:
    q, k, v = arrays
    scores, out, grad = q @ k.mT, np.empty_like(q), np.empty_like(q)

    def run() -> None:
        np.matmul(q, k.mT, out=scores)
        np.matmul(scores, v, out=out)
        np.matmul(scores.mT, out, out=grad)
        np.matmul(out, v.mT, out=scores)
        np.matmul(scores, k, out=grad)
        np.matmul(scores.mT, q, out=grad)

    return run


def copied_on_gpu(case: Case | Update, arrays: list[Any], threads: int) -> Callable[[], Any]:
    return cards.copy(math.ceil(case.moved * arrays[0].nbytes / 2))


def products_on_gpu(case: Case, arrays: list[Any], threads: int) -> Callable[[], Any]:
    import cupy

    return products_of_linear(case, list(map(cupy.asarray, arrays)), threads, cupy)


@dataclass(frozen=True)
class Field:
    """What is measured on one kind of device.

    own: the backend whose kernels these are, others: who plays beside it. limits: the most that it
    may take of the time of a yardstick or of another, goals: what that means.
    """

    part: str
    device: str
    own: str
    others: tuple[str, ...]
    cases: list[Case | Update]
    quick: tuple[int, ...]
    yardsticks: Mapping[str, Callable[..., Callable[[], Any]]]
    limits: Mapping[str, float]
    goals: Mapping[str, str]


ON_CPU = Field(
    "kernels",
    CPU,
    "numba",
    ("numpy", "torch", "jax"),
    CASES,
    QUICK,
    {
        COPY: copied,
        EXP: exponential,
        BARE: bare_loop,
        ADD_AT: added_at,
        BLAS: products_of_linear,
        BLAS_OF_HEADS: products_of_attention,
    },
    limits={
        EXP: 2.0,
        "numpy": 1 / 3,
        BARE: 1.1,
        ADD_AT: 0.2,
        COPY: 1.25,  # at least 80 % of its bandwidth
    },
    goals={
        EXP: "cross-entropy with its gradient, on one thread, beside np.exp of the logits",
        "numpy": "cross-entropy with its gradient, on all threads, beside NumPy",
        BARE: "a step of an optimizer beside a bare loop",
        ADD_AT: "scatter-add beside np.add.at",
        COPY: "what memory limits beside a copy of as many bytes",
    },
)
ON_GPU = Field(
    "gpu_kernels",
    GPU,
    "cupy",
    ("torch", "jax"),
    GPU_CASES,
    GPU_QUICK,
    {COPY: copied_on_gpu, BLAS: products_on_gpu},
    limits={COPY: 1 / 0.85},
    goals={COPY: "what memory limits on the GPU beside a copy of as many bytes"},
)


CARD = "card"


def contestant(
    name: str, threads: int, field: Field = ON_CPU
) -> tuple[Callable[[str], Callable[[], Any]], Callable[[], None]]:
    """Return the tasks of a contestant, as `turns.serve` wants them: cases by their titles.

    Those of the yardsticks are `TITLE|YARDSTICK`, and `card|NAME` of what a card does at most.
    """
    makers = {
        "torch": partial(of_torch, threads, field.device),
        "jax": partial(of_jax, field.device),
    }
    backend = field.own if name == YARDSTICK else name
    build, wait = makers.get(name, partial(of_minigrad, backend))()

    # One case at a time, since its arrays take hundreds of megabytes, by both its yardsticks.
    @lru_cache(maxsize=2 if name == YARDSTICK else 1)
    def task(wanted: str) -> Callable[[], Any]:
        known, _, which = wanted.partition("|")
        if known == CARD:
            return cards.RATES[which][0]()
        case, arrays = KNOWN[known], drawn(known)
        return field.yardsticks[which](case, arrays, threads) if which else build(case, arrays)

    return task, wait


# The comparison


@dataclass(frozen=True)
class Measured:
    """A contestant that measures a case by one of its yardsticks."""

    process: Contestant
    which: str

    def time(self, task: str, seconds: float) -> float:
        return self.process.time(f"{task}|{self.which}", seconds)


def measure(arena: Arena, found: dict[str, Any], field: Field = ON_CPU) -> None:
    """Fill `found` with a row for each case and number of threads."""
    found.update(rows=[], failed=[])
    names = [n for n in (field.own, *field.others) if n in (*arena.backends, *arena.peers)]
    names += [YARDSTICK] if field.own in names else []
    cases = [field.cases[i] for i in field.quick] if arena.quick else field.cases
    counts = {arena.threads} if arena.quick or field.device == GPU else {1, arena.threads}
    with ExitStack() as stack:
        playing: dict[tuple[str, int], Contestant] = {}
        losses: Counter[tuple[str, int]] = Counter()

        def start(name: str, threads: int) -> None:
            if (name, threads) in playing:
                playing[name, threads].close(kill=True)
            playing[name, threads] = stack.enter_context(arena.start(field.part, name, threads))

        for threads in sorted(counts):
            for name in names:
                start(name, threads)
        if field.device == GPU:
            try:
                found["rates"] = rates(playing[YARDSTICK, arena.threads], arena.block)
            except (Failed, Lost) as error:
                found["failed"].append({"contestant": "the card's rates", "reason": str(error)})
                start(YARDSTICK, arena.threads)
        for number, case in enumerate(cases, 1):
            arena.require_time()
            say(f"{field.part}: {title(case)} ({number} of {len(cases)})")
            rows, failed, lost = compared(arena, playing, case, field)
            found["rows"] += rows
            found["failed"] += [
                {"case": title(case), "contestant": f"{name}, {threads} threads", "reason": why}
                for (name, threads), why in failed.items()
            ]
            losses.update(lost)
            # What goes wrong on a GPU can stay with the process.
            for who in failed if field.device == GPU else lost:
                if losses[who] < LOSSES:
                    start(*who)
                else:
                    playing.pop(who).close(kill=True)


def rates(card: Contestant, seconds: float) -> dict[str, float]:
    """Return what a card does at most, the median of three blocks each."""
    return {
        name: amount / statistics.median(card.time(f"{CARD}|{name}", seconds) for _ in range(3))
        for name, (_, amount) in cards.RATES.items()
    }


def compared(
    arena: Arena,
    playing: Mapping[tuple[str, int], Contestant],
    case: Case | Update,
    field: Field = ON_CPU,
) -> tuple[list[dict[str, Any]], dict[tuple[str, int], str], set[tuple[str, int]]]:
    """Return the rows of a case, who failed and why, and whose process is lost."""
    who: dict[str, tuple[str, int]] = {}
    ready: dict[str, Any] = {}
    for (name, threads), process in playing.items():
        measured = {name: process}
        if name == YARDSTICK:
            measured = {
                which: Measured(process, which)
                for which in case.yardsticks
                if which in field.yardsticks
            }
        for one, player in measured.items():
            key = f"{one}, {threads}"
            who[key], ready[key] = (name, threads), player
    task = title(case)
    turns = take_turns(ready, [task], arena.rounds(3), arena.control, arena.block / 5)
    us, rows = turns.us(task), []
    for threads in sorted({threads for _, threads in playing}):
        mine = f"{field.own}, {threads}"
        times = {k.rpartition(", ")[0]: t for k, t in us.items() if who[k][1] == threads}
        others = [name for name in times if name != field.own] if mine in us else []
        rows.append(
            {
                "case": task,
                "name": case.name,
                "shape": shape_of(case),
                "threads": threads,
                "us": times,
                "ratio": {n: turns.ratio(task, mine, f"{n}, {threads}") for n in others},
                "slow_rounds": turns.slow,
            }
        )
    failed = {who[key]: why for key, why in {**turns.failed, **turns.lost}.items()}
    return rows, failed, {who[key] for key in turns.lost}


def verdicts(found: dict[str, Any], field: Field = ON_CPU) -> list[Verdict]:
    said = []
    for row in found["rows"]:
        case, alone = KNOWN[row["case"]], field.device == CPU and row["threads"] == 1
        what = row["case"]
        if field.device == CPU:
            what += ", one thread" if alone else ", all threads"
        said += [
            Verdict(field.goals[other], what, row["ratio"][other], field.limits[other])
            for other in (case.one if alone else case.all)
            if other in row["ratio"] and other in field.limits
        ]
    return said
