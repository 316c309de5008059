"""Launches updates.cu: the steps of Adam, AdamW and SGD, of all parameters of a group at once."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .launcher import FLOATS, NAMES, VECTOR, Array, Call, Device, kernel, plain

THREADS = 256  # of a block, as in the source
MOST = 64  # parameters of one launch, as in the source: their addresses are its argument
LEAST_CHUNK = THREADS * VECTOR  # bytes of a block's elements
# Blocks that fill today's cards a few times over. Not measured yet on a card.
MANY_BLOCKS = 1 << 12
PARAMETERS = np.dtype(
    [("arrays", np.uintp, (5, MOST)), ("sizes", np.int64, MOST), ("ends", np.int64, MOST)]
)


def _scalars(*values: float | None) -> list[Array | None]:
    return [None if value is None else np.array(float(value)) for value in values]


def _arrays(dtype: Any, n: int, count: int) -> list[Array]:
    """Return a parameter, its gradient and what is kept of it, each (n, 3) and positive."""
    return list(np.random.default_rng(0).uniform(0.1, 1, size=(count, n, 3)).astype(dtype))


def _second(dtype: Any, count: int) -> list[Array]:
    """Return another parameter with as many arrays, and its step."""
    return [*_arrays(dtype, 1000, count), np.array(5.0)]


def _launch(
    device: Device,
    function: str,
    *first: Array | None,
    more: tuple[Any, ...],
    scalars: list[Array | None],
    flag: bool,
) -> Any:
    """Launch a function for each parameter with its gradient, its state and its step.

    first: these of the first parameter; more: of all others. Declines unless all floats have one
    dtype, float16, float32 or float64, all of a parameter have one shape, and those that change,
    which are all but the gradient, are contiguous in one order; scalars and steps are float64.
    """
    dtype = first[0].dtype  # type: ignore[union-attr]
    doubles = [x for x in (*scalars, *first[-1:]) if x is not None]
    if dtype not in FLOATS or any(x.dtype != np.float64 or x.shape for x in doubles):
        return NotImplemented
    given, found = (*first, *more), []
    for at in range(0, len(given), len(first)):
        p, g, *states, step = given[at : at + len(first)]
        if not p.flags.c_contiguous:  # but its transpose may be
            p, g, states = p.T, g.T, [x if x is None else x.T for x in states]
        g = plain(g)
        changed = [p, *[x for x in states if x is not None]]
        if any(x.dtype != dtype or x.shape != p.shape for x in (g, *changed)):
            return NotImplemented
        if not all(x.flags.c_contiguous for x in changed):
            return NotImplemented
        states += [None] * (2 - len(states))
        found.append((p, g, *states, step))
    for at in range(0, len(found), MOST):
        group = found[at : at + MOST]
        _launch_group(device, f"{function}_{NAMES[dtype]}", group, scalars, flag)
    return None


def _launch_group(
    device: Device, function: str, group: Any, scalars: list[Array | None], flag: bool
) -> None:
    total = sum(x[0].size for x in group)
    least = LEAST_CHUNK // group[0][0].dtype.itemsize
    chunk = least * max(-(-total // (least * MANY_BLOCKS)), 1)
    table, end = np.zeros(1, PARAMETERS), 0
    for k, (p, *others) in enumerate(group):
        end += -(-p.size // chunk)
        table["arrays"][0, :, k] = [0 if x is None else device.address(x) for x in (p, *others)]
        table["sizes"][0, k], table["ends"][0, k] = p.size, end
    counter = device.counter()
    blocks = max(end, 1)  # one counts the step
    device.launch(
        "updates", function, blocks, THREADS, table, len(group), chunk, counter, *scalars, flag
    )


def _sgd_calls(dtype: Any, n: int) -> Iterator[Call]:
    for kept, nesterov, penalties in ((False, False, (None, 0.2)), (True, True, (0.1,))):
        p, g, velocity = _arrays(dtype, n, 3)
        step, *scalars = _scalars(2, 1e-2, 0.9, 0.5, *penalties)
        state = [velocity, step] if kept else [None, None]
        more = [None, *_second(dtype, 3)] if kept else []
        yield [p, g, *state, *scalars, *more], {"nesterov": nesterov}


@kernel(_sgd_calls)
def sgd_update(
    device: Device,
    p: Array,
    g: Array,
    velocity: Array | None,
    step: Array | None,
    lr: Array,
    momentum: Array,
    dampening: Array,
    weight_decay: Array | None,
    l1: Array | None = None,
    *more: Any,
    nesterov: bool,
) -> Any:
    """Move ``p`` against ``g``, or along ``velocity``, which is then updated as well."""
    return _launch(
        device,
        "sgd_update" if velocity is None else "sgd_update_moving",
        *(p, g, velocity, step),
        more=more,
        scalars=[lr, momentum, dampening, weight_decay, l1],
        flag=nesterov,
    )


def _adam_calls(dtype: Any, n: int) -> Iterator[Call]:
    for weight_decay, l1, decoupled in ((0.1, None, False), (None, 0.2, True)):
        scalars = _scalars(2, 1e-2, 0.9, 0.99, 1e-8, weight_decay, l1)
        yield [*_arrays(dtype, n, 4), *scalars, *_second(dtype, 4)], {"decoupled": decoupled}


@kernel(_adam_calls)
def adam_update(
    device: Device,
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    step: Array,
    lr: Array,
    beta1: Array,
    beta2: Array,
    eps: Array,
    weight_decay: Array | None,
    l1: Array | None = None,
    *more: Any,
    decoupled: bool,
) -> Any:
    """Move ``p`` against ``m`` over the root of ``v``, the running means of g and g², unbiased."""
    return _launch(
        device,
        "adam_update",
        *(p, g, m, v, step),
        more=more,
        scalars=[lr, beta1, beta2, eps, weight_decay, l1],
        flag=decoupled,
    )
