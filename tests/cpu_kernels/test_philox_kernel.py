"""Random bits on the CPU."""

import math

import numpy as np
import pytest
from contract import (
    COMPILED,
    assert_declines,
    assert_same,
    backends,
    bits_of,
    computed,
    cpu,
    one_more,
    referenced,
    to,
)

import minigrad as mg

philox = cpu.philox


def bits_call(dtype, size=11, counter=5):
    return [np.array([2**63 + 1, 7, counter], np.uint64)], dict(size=size)


DECLINED = [
    to(np.int64),
    to(np.uint32),
    to(np.float64),
    to(np.dtype(np.uint64).newbyteorder()),
    one_more,
    lambda state: state[None],
]


@pytest.mark.parametrize("change", DECLINED)
def test_declines_and_leaves_everything_as_it_was(change):
    (state,), params = bits_call(None)
    assert_declines("random_bits", [change(state)], params)


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
