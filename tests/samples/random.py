"""Random numbers, in Python's integers."""

import numpy as np

from minigrad.engine import TABLE

from .rows import *

LOW = 0xFFFFFFFF


def philox(counter, stream, key):
    """Return the four words of a block: Salmon et al. (2011), section 5.3."""
    c = [counter & LOW, counter >> 32, stream & LOW, stream >> 32]
    k = [key & LOW, key >> 32]
    for _ in range(10):
        left, right = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [right >> 32 ^ c[1] ^ k[0], right & LOW, left >> 32 ^ c[3] ^ k[1], left & LOW]
        k = [k[0] + 0x9E3779B9 & LOW, k[1] + 0xBB67AE85 & LOW]
    return c


def reference_bits(state, size):
    key, stream, counter = map(int, state)
    blocks = -(-size // 4)
    words = [w for i in range(blocks) for w in philox(counter + i, stream, key)][:size]
    return np.array(words, np.uint32), np.array([key, stream, counter + blocks], np.uint64)


def drawn(state, size):
    return TABLE["random_bits"](state, size=size), state


def pairs_of(bits):
    return [(int(a) << 32) + int(b) for a, b in bits.reshape(-1, 2)]


def reserved(state, size):
    return TABLE["random_reserve"](state, size=size), state


def reference_unit(bits, dtype):
    if dtype == DOUBLE:
        return np.array([((p >> 37 << 26) + ((p & LOW) >> 6)) / 2**53 for p in pairs_of(bits)])
    keep = {HALF: 11, SINGLE: 24}[dtype]
    return np.array([(int(b) >> 32 - keep) / 2**keep for b in bits], dtype)


def reference_normal(bits, dtype):
    first, second = bits[: len(bits) // 2].astype(float), bits[len(bits) // 2 :].astype(float)
    point = np.sqrt(-2 * np.log((first + 1) / 2**32)) * np.exp(2j * np.pi * second / 2**32)
    return np.concatenate([point.real, point.imag]).astype(dtype)


WORDS = Ints((6,), 0, 2**32, np.uint32)
RANDOM = {
    "random_bits": Row(
        drawn,
        reference_bits,
        tuple(
            Case((Given(np.array(state, np.uint64)),), {"size": size})
            for state, size in [
                ((0, 0, 0), 4),
                ((2**64 - 1, 7, 2**32 - 1), 9),
                ((5, 2**40, 2**40), 3),
                ((1, 2, 3), 0),
            ]
        ),
        order=0,
        result=None,
        writes=(0,),
    ),
    "random_reserve": Row(
        reserved,
        lambda state, size: (state, reference_bits(state, size)[1]),
        tuple(
            Case((Given(np.array([5, 2**40, 2**32 - 1], np.uint64)),), {"size": size})
            for size in (0, 1, 4, 9)
        ),
        order=0,
        result=None,
        writes=(0,),
    ),
    "random_unit": Row(
        TABLE["random_unit"],
        reference_unit,
        tuple(
            Case((words,), {"dtype": dtype})
            for words in (WORDS, Given(np.array([0, LOW] * 2, np.uint32)))
            for dtype in FLOATS
        ),
        order=0,
        result=None,
    ),
    "random_normal": Row(
        TABLE["random_normal"],
        reference_normal,
        (
            Case((WORDS,), {"dtype": DOUBLE}),
            Case((Given(np.array([0, LOW], np.uint32)),), {"dtype": DOUBLE}),
            Case((WORDS,), {"dtype": SINGLE}),
        ),
        order=0,
        result=None,
    ),
    "random_integers": Row(
        TABLE["random_integers"],
        lambda bits, low, high, dtype: np.array(
            [low + p % (high - low) for p in pairs_of(bits)], dtype
        ),
        (
            Case((WORDS,), {"low": -3, "high": 4, "dtype": np.dtype(np.int64)}),
            Case((WORDS,), {"low": 0, "high": 2**40, "dtype": np.dtype(np.int64)}),
            Case((WORDS,), {"low": 0, "high": 10, "dtype": np.dtype(np.int8)}),
        ),
        order=0,
        result=None,
    ),
    "random_order": Row(
        TABLE["random_order"],
        lambda bits: np.argsort(np.array(pairs_of(bits), np.uint64)),
        (Case((WORDS,)), Case((Given(np.empty(0, np.uint32)),))),
        order=0,
        result=index,
    ),
}
