"""Random numbers: the same seed gives the same bits on every backend."""

from .ops.random import (
    Generator,
    bernoulli,
    categorical,
    get_state,
    manual_seed,
    normal,
    permutation,
    rand,
    randint,
    randn,
    set_state,
    uniform,
)

__all__ = [
    "Generator",
    "bernoulli",
    "categorical",
    "get_state",
    "manual_seed",
    "normal",
    "permutation",
    "rand",
    "randint",
    "randn",
    "set_state",
    "uniform",
]
