"""Calls (arrays, params) by which kernels for the CPU and for the GPU are tried and compiled."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .keys import FIRST, SECOND, WHOLE

Call = tuple[list[Any], dict[str, Any]]


def attention_calls(dtype: Any, n: int) -> Iterator[Call]:
    """Yield calls with and without masks, with heads of few features and of many."""
    rng = np.random.default_rng(0)
    few = min(n, 35)
    for length, steps, size, width, masked in (
        (n, 17, 5, 3, False),
        (17, n, 8, 4, True),
        (few, 40, 36, 40, False),
    ):
        query = rng.normal(size=(1, 2, length, size)).astype(dtype)
        key, value = (rng.normal(size=(1, 2, steps, m)).astype(dtype) for m in (size, width))
        mask = bias = keep = None
        if masked:
            mask = rng.random((2, 1, steps)) < 0.7
            mask[1:, :] = False  # queries that see nothing
            bias = rng.normal(size=(length, steps)).astype(dtype)
            keep = rng.random((1, 2, length, steps)) < 0.5
        params = {"scale": size**-0.5, "causal": not masked, "share": 2.0 if masked else 1.0}
        yield [query, key, value, mask, bias, keep], params


def attention_backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    """Yield the calls of backward after those of `attention_calls`."""
    for (query, key, value, *masks), params in attention_calls(dtype, n):
        shape = (*query.shape[:-1], value.shape[-1])
        g, out = np.random.default_rng(1).normal(size=(2, *shape)).astype(dtype)
        # Above all scores, and in float16's place float32.
        logsumexp = np.full((*shape[:-1], 1), 8, np.result_type(dtype, np.float32))
        arrays = [g, None, query, key, value, *masks, out, logsumexp]
        yield arrays, {**params, "wanted": ("query", "key", "value")}


def whole_numbers(dtype: Any, *shape: int) -> Any:
    """Return numbers whose sums are exact in any order."""
    return np.random.default_rng(0).integers(-8, 9, shape).astype(dtype)


def scatter_calls(dtype: Any, n: int) -> Iterator[Call]:
    """Yield calls with one index array and with two, of rows and of lone numbers."""
    index, other = np.arange(n) % 5 - 2, np.arange(2)[:, None]
    v = whole_numbers(dtype, 2, n, 3)
    yield [v, index], {"key": (WHOLE, FIRST), "shape": (2, 5, 3)}
    yield [v, other, index], {"key": (FIRST, SECOND), "shape": (2, 5, 3)}
    yield [v[0, :, 0].copy(), index], {"key": (FIRST,), "shape": (5,)}


def index_add_calls(dtype: Any, n: int) -> Iterator[Call]:
    """Yield the calls of `scatter_calls`, with what is added to."""
    for (v, *indices), params in scatter_calls(dtype, n):
        yield [np.ones(params["shape"], dtype), v, *indices], {"key": params["key"]}
