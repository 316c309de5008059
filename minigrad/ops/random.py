"""Random numbers: Philox 4x32-10, a function of a key and a counter, and what is made of its bits.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). The state is a uint64 tensor
(key, stream, counter); drawing advances the counter by a declared write.
"""

import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from operator import index
from typing import Any

import numpy as np

from .. import backends
from ..arrays import as_dtype, get_default_dtype
from ..backends import Backend
from ..engine import Op, Tensor
from .creation import shape_of, to
from .elementwise import log
from .reductions import argmax
from .shape import reshape
from .updates import assign

_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF


def _philox(xp: Any, counter: Any, stream: Any, key: Any) -> Any:
    """Return the words of the blocks whose 64-bit counters are given, shape (blocks, 4)."""
    low, shift = xp.asarray(_LOW, dtype=np.uint64), xp.asarray(32, dtype=np.uint64)
    c0, c1 = counter & low, counter >> shift
    c2, c3 = stream & low, stream >> shift
    k0, k1 = key & low, key >> shift
    m0, m1, w0, w1 = (xp.asarray(c, dtype=np.uint64) for c in (*_MULTIPLIERS, *_WEYL))
    for _ in range(_ROUNDS):
        product0, product1 = c0 * m0, c2 * m1
        c0, c1, c2, c3 = (
            (product1 >> shift) ^ c1 ^ k0,
            product1 & low,
            (product0 >> shift) ^ c3 ^ k1,
            product0 & low,
        )
        k0, k1 = (k0 + w0) & low, (k1 + w1) & low
    return xp.stack([c0, c1, c2, c3], axis=1)


def _words(xp: Any, state: Any, size: int) -> Any:
    blocks = -(-size // 4)
    counter = state[2] + xp.arange(blocks, dtype=np.uint64)
    words = _philox(xp, counter, state[1], state[0])
    return xp.astype(words, np.uint32).reshape(4 * blocks)[:size]


def _advance(xp: Any, state: Any, size: int) -> None:
    state[2:] += xp.asarray(-(-size // 4), dtype=np.uint64)


def _bits_forward(xp: Any, state: Any, *, size: int) -> Any:
    words = _words(xp, state, size)
    _advance(xp, state, size)
    return words


#: `size` uint32 words; advances the state by the blocks of four that they take.
random_bits = Op("random_bits", _bits_forward, writes=("state",))


def _reserve_forward(xp: Any, state: Any, *, size: int) -> Any:
    before = xp.array(state, copy=True)
    _advance(xp, state, size)
    return before


#: The state from which `random_bits` would draw, which advances as if it did.
_reserve = Op("random_reserve", _reserve_forward, writes=("state",))


def _unit_forward(xp: Any, bits: Any, *, dtype: Any) -> Any:
    """Return numbers in [0, 1), a multiple of the dtype's last place each."""
    if dtype == np.float64:
        pairs = xp.astype(bits, np.float64).reshape(-1, 2)
        return (xp.floor(pairs[:, 0] / 32) * 2.0**26 + xp.floor(pairs[:, 1] / 64)) * 2.0**-53
    keep = {2: 11, 4: 24}[dtype.itemsize]
    drop = xp.asarray(32 - keep, dtype=np.uint32)
    return xp.astype(xp.astype(bits >> drop, np.float32) * 2.0**-keep, dtype)


_unit = Op("random_unit", _unit_forward)


def mask_of(xp: Any, state: Any, keep: float, shape: tuple[int, ...]) -> Any:
    """Return raw booleans, true with probability keep: what `bernoulli` draws from the state."""
    bits = _words(xp, state, math.prod(shape))
    return (_unit_forward(xp, bits, dtype=np.dtype(np.float32)) < keep).reshape(shape)


def _normal_forward(xp: Any, bits: Any, *, dtype: Any) -> Any:
    """Return half as many normal numbers as there are words, by the Box-Muller transform."""
    words = xp.astype(bits, np.float64)
    half = words.shape[0] // 2
    radius = xp.sqrt(-2 * xp.log((words[:half] + 1) * 2.0**-32))
    angle = words[half:] * (2 * math.pi * 2.0**-32)
    return xp.astype(xp.concatenate([radius * xp.cos(angle), radius * xp.sin(angle)]), dtype)


_normal = Op("random_normal", _normal_forward)


def _integers_forward(xp: Any, bits: Any, *, low: int, high: int, dtype: Any) -> Any:
    wide = xp.astype(bits, np.uint64).reshape(-1, 2)
    shift = xp.asarray(32, dtype=np.uint64)
    value = (wide[:, 0] << shift | wide[:, 1]) % xp.asarray(high - low, dtype=np.uint64)
    return xp.astype(xp.astype(value, np.int64) + low, dtype)


#: Integers in [low, high) from 64 bits each: the bias is at most (high - low) / 2**64.
_integers = Op("random_integers", _integers_forward)


def _order_forward(xp: Any, bits: Any) -> Any:
    wide = xp.astype(bits, np.uint64).reshape(-1, 2)
    return xp.argsort(wide[:, 0] << xp.asarray(32, dtype=np.uint64) | wide[:, 1])


_order = Op("random_order", _order_forward)


class Generator:
    """A stream of random numbers: its state moves to the backend that draws.

    The same seed and stream give the same bits on every backend.
    """

    def __init__(self, seed: int | None = None, stream: int = 0) -> None:
        if seed is None:
            seed = int.from_bytes(os.urandom(8), "little")
        self.state = Tensor(np.array([seed % 2**64, stream % 2**64, 0], np.uint64), backend="numpy")

    def bits(self, size: int, backend: Backend) -> Tensor:
        """Return the next `size` uint32 words and advance past the block of four they end in."""
        words: Tensor = random_bits(self._state_on(backend), size=size)
        return words

    def reserve(self, size: int, backend: Backend) -> Tensor:
        """Return the state that `size` words can be drawn from, and advance as if they had been."""
        state: Tensor = _reserve(self._state_on(backend), size=size)
        return state

    def _state_on(self, backend: Backend) -> Tensor:
        if (drawn := _drawn.get()) is not None:
            key = None if self is _default.generator else self
            if key not in drawn:
                drawn[key] = self.get_state()
        if self.state.backend is not backend:
            self.state = to(self.state, backend)
        return self.state

    def get_state(self) -> np.ndarray[Any, Any]:
        """Return key, stream and counter as a uint64 array on the host."""
        return self.state.numpy(copy=True)

    def set_state(self, state: Any) -> None:
        """Go on from a state that `get_state` gave."""
        array = np.asarray(state)
        if array.shape != (3,) or array.dtype != np.uint64:
            raise ValueError(
                f"a random state is a uint64 array of shape (3,), got {array.dtype} {array.shape}"
            )
        assign(self.state, Tensor(array, backend=self.state.backend))


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.generator = Generator()


_default = _PerThread()

# Generators with the states they had when first drawn from; None stands for the thread's default.
_drawn: ContextVar[dict[Generator | None, Any] | None] = ContextVar("minigrad_drawn", default=None)


@contextmanager
def noting_draws() -> Iterator[dict[Generator | None, Any]]:
    """Note the state that each generator has before it is drawn from, for `redrawing`."""
    outer, drawn = _drawn.get(), dict[Generator | None, Any]()
    token = _drawn.set(drawn)
    try:
        yield drawn
    finally:
        _drawn.reset(token)
        if outer is not None:
            outer.update(drawn | outer)


@contextmanager
def redrawing(drawn: Mapping[Generator | None, Any]) -> Iterator[None]:
    """Draw the same numbers again; afterwards every generator goes on from where it is now."""
    default, now = _default.generator, {g: g.get_state() for g in drawn if g is not None}
    _default.generator = Generator(0)
    try:
        for generator, state in drawn.items():
            (generator or _default.generator).set_state(state)
        yield
    finally:
        _default.generator = default
        for generator, state in now.items():
            generator.set_state(state)


def manual_seed(seed: int) -> None:
    """Start this thread's default generator anew from an integer."""
    _default.generator = Generator(int(seed.__index__()))


def get_state() -> np.ndarray[Any, Any]:
    """Return the state of this thread's default generator: a uint64 array of shape (3,)."""
    return _default.generator.get_state()


def set_state(state: Any) -> None:
    """Set the state of this thread's default generator to one that `get_state` gave."""
    _default.generator.set_state(state)


def _draw(words: int, generator: Generator | None, backend: str | Backend | None) -> Tensor:
    return (generator or _default.generator).bits(words, backends.resolve(backend))


def reserve(words: int, backend: Backend) -> Tensor:
    """Return the state that so many words can be drawn from, as `Generator.reserve`."""
    return _default.generator.reserve(words, backend)


def _floating(dtype: Any) -> np.dtype[Any]:
    chosen = get_default_dtype() if dtype is None else as_dtype(dtype)
    if chosen.kind != "f":
        raise TypeError(f"random numbers of a floating dtype were asked for, not {chosen}")
    return chosen


def uniform(
    shape: Any = (),
    low: float = 0.0,
    high: float = 1.0,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return numbers spread evenly over [low, high)."""
    sizes, dtype = shape_of(shape), _floating(dtype)
    count = math.prod(sizes)
    bits = _draw(2 * count if dtype == np.float64 else count, generator, backend)
    unit = reshape(_unit(bits, dtype=dtype), sizes)
    numbers = unit if (low, high) == (0.0, 1.0) else unit * (high - low) + low
    return numbers.requires_grad_(requires_grad)


def normal(
    shape: Any = (),
    mean: float = 0.0,
    std: float = 1.0,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return normally distributed numbers, made from 32 random bits each."""
    sizes, dtype = shape_of(shape), _floating(dtype)
    count = math.prod(sizes)
    words = _draw(count + count % 2, generator, backend)
    numbers = reshape(_normal(words, dtype=dtype)[:count], sizes)
    numbers = numbers if (mean, std) == (0.0, 1.0) else numbers * std + mean
    return numbers.requires_grad_(requires_grad)


def bernoulli(
    p: float = 0.5,
    shape: Any = (),
    *,
    generator: Generator | None = None,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return booleans that are true with probability p. ValueError for p outside [0, 1]."""
    if not 0 <= p <= 1:
        raise ValueError(f"bernoulli: p must lie in [0, 1], got {p}")
    return uniform(shape, dtype=np.float32, generator=generator, backend=backend) < p


def randint(
    low: int,
    high: int | None = None,
    shape: Any = (),
    *,
    dtype: Any = None,
    generator: Generator | None = None,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return integers from [low, high), or from [0, low) with one bound. ValueError for none."""
    if high is None:
        low, high = 0, low
    try:
        low, high = index(low), index(high)
    except TypeError as error:
        raise TypeError(
            "randint: expected two integers, then the shape, as in mg.randint(0, 10, (3,)); got "
            f"{low!r} and {high!r}"
        ) from error
    if low >= high:
        raise ValueError(f"randint: there is no integer in [{low}, {high})")
    sizes = shape_of(shape)
    bits = _draw(2 * math.prod(sizes), generator, backend)
    chosen = as_dtype(np.int64 if dtype is None else dtype)
    if chosen.kind in "iu" and not np.iinfo(chosen).min <= low < high <= np.iinfo(chosen).max + 1:
        raise ValueError(f"randint: [{low}, {high}) does not fit {chosen}")
    return reshape(_integers(bits, low=low, high=high, dtype=chosen), sizes)


def permutation(
    n: int, *, generator: Generator | None = None, backend: str | Backend | None = None
) -> Tensor:
    """Return 0, ..., n - 1 in a random order, int64."""
    order: Tensor = _order(_draw(2 * n, generator, backend))
    return order


def categorical(logits: Tensor, shape: Any = (), *, generator: Generator | None = None) -> Tensor:
    """Return class indices drawn with the probabilities softmax(logits) along the last axis.

    Of shape `shape` + the batch axes of logits; by the Gumbel-max trick.
    """
    sizes = (*shape_of(shape), *logits.shape)
    unit = uniform(sizes, dtype=np.float64, generator=generator, backend=logits.backend)
    # 1 - unit lies in (0, 1]; its logarithm is finite, and 0 only gives the largest noise.
    noise = -log(-log(1 - unit) + 2.0**-1074)
    return argmax(logits.detach() + noise, axis=-1)


def rand(*shape: int, **options: Any) -> Tensor:
    """Return numbers spread evenly over [0, 1), as `uniform`."""
    return uniform(shape, **options)


def randn(*shape: int, **options: Any) -> Tensor:
    """Return normally distributed numbers, as `normal`."""
    return normal(shape, **options)
