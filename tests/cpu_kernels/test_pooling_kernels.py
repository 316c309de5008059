"""Pooling on the CPU."""

import itertools

import numpy as np
import pytest
from contract import (
    OPS,
    TOLERANCE,
    XP,
    assert_declines,
    assert_same,
    computed,
    random,
    referenced,
    to,
)

from minigrad.ops.windows import Windows, windows_over


def windows_of(images):
    """Overlapping windows that hang over every edge."""
    return Windows((3, 2), (2, 1), (1, 1), (1, 2), images.shape[-2:], (3, 4))


def max_pool_call(dtype, images=2):
    x = random(images, 3, 5, 4, dtype=dtype)
    return [x], dict(windows=windows_of(x))


def max_unpool_call(dtype, images=2):
    (x,), params = max_pool_call(dtype, images)
    v, place = OPS["max_pool"].forward(XP, x, **params)
    return [v, place], params


def avg_pool_call(dtype, images=2):
    (x,), params = max_pool_call(dtype, images)
    return [x], params | dict(count_padding=True, divisor=None)


def avg_unpool_call(dtype, images=2):
    arrays, params = avg_pool_call(dtype, images)
    return [OPS["avg_pool"].forward(XP, *arrays, **params)], params


CALLS = {
    "max_pool": max_pool_call,
    "max_unpool": max_unpool_call,
    "avg_pool": avg_pool_call,
    "avg_unpool": avg_unpool_call,
}

DECLINED = [
    ("max_pool", 0, to(np.float16)),
    ("max_pool", 0, to(np.int64)),
    ("max_pool", 0, lambda x: x[..., :-1]),
    ("max_unpool", 0, to(np.float16)),
    ("max_unpool", 0, lambda v: v[..., :-1]),
    ("max_unpool", 1, to(np.int64)),
    ("max_unpool", 1, lambda place: place[:1]),
    ("avg_pool", 0, to(np.float16)),
    ("avg_pool", 0, lambda x: x[..., :-1]),
    ("avg_unpool", 0, to(np.float16)),
    ("avg_unpool", 0, lambda v: v[..., :-1]),
]


@pytest.mark.parametrize(("name", "position", "change"), DECLINED)
def test_declines_and_leaves_everything_as_it_was(name, position, change):
    arrays, params = CALLS[name](np.float32)
    arrays[position] = change(arrays[position])
    assert_declines(name, arrays, params)


def side_by_side(lengths):
    """Windows of 2 x 2 points."""
    sizes = tuple(length // 2 for length in lengths)
    return Windows((2, 2), (2, 2), (0, 0), (1, 1), lengths, sizes)


def test_maxima_of_four_special_numbers_in_any_order():
    numbers = [-np.inf, np.nan, 1.0, 2.0]
    x = np.array(list(itertools.product(numbers, repeat=4)), np.float32).reshape(-1, 2, 2)
    arrays, params = [x], dict(windows=side_by_side((2, 2)))
    found, place = computed("max_pool", arrays, params)
    assert_same([found, place], referenced("max_pool", arrays, params))
    arrays = [np.where(found == 1, np.nan, found), place]
    assert_same(computed("max_unpool", arrays, params), referenced("max_unpool", arrays, params))


@pytest.mark.parametrize("lengths", [(2, 2), (5, 7), (6, 35)], ids=str)
def test_halves_of_odd_and_even_lengths(lengths):
    params = dict(windows=side_by_side(lengths))
    x = random(2, *lengths, dtype=np.float32)
    found = computed("max_pool", [x], params)
    assert_same(found, referenced("max_pool", [x], params))
    assert_same(computed("max_unpool", found, params), referenced("max_unpool", found, params))


@pytest.mark.parametrize("count_padding", [False, True])
@pytest.mark.parametrize("divisor", [None, 3])
@pytest.mark.parametrize("kernel", [(1, 4), (4, 1), (2, 3)], ids=str)
def test_means_of_windows_over_edges(kernel, divisor, count_padding):
    around = [(k // 2, k // 2) for k in kernel]
    windows = windows_over("", (6, 7), kernel, (2, 3), around, (1, 1), ceil_mode=True)
    params = dict(windows=windows, count_padding=count_padding, divisor=divisor)
    x, v = random(2, 6, 7, dtype=np.float32), random(2, *windows.sizes, dtype=np.float32)
    for name, array in (("avg_pool", x), ("avg_unpool", v)):
        wanted = referenced(name, [array], params)
        assert_same(computed(name, [array], params), wanted, TOLERANCE[np.float32])


@pytest.mark.parametrize("fill", [-np.inf, np.nan, 1.0], ids=str)
def test_maxima_of_special_numbers(fill):
    (x,), params = max_pool_call(np.float32)
    x[:, :, 1:4, 1:] = fill
    x[0, 1] = fill
    assert_same(computed("max_pool", [x], params), referenced("max_pool", [x], params))


def test_means_of_three_axes_and_of_single_windows_are_left_to_the_reference():
    for lengths, sizes in ([(4, 4), (1, 1)], [(2, 2, 4), (1, 1, 2)]):
        kernel = tuple(n // m for n, m in zip(lengths, sizes, strict=True))
        windows = Windows(kernel, kernel, (0,) * len(kernel), (1,) * len(kernel), lengths, sizes)
        params = dict(windows=windows, count_padding=True, divisor=None)
        assert_declines("avg_pool", [random(2, *lengths)], params)
        assert_declines("avg_unpool", [random(2, *sizes)], params)


def test_windows_of_three_axes_and_of_many_points_are_left_to_the_reference():
    for kernel, lengths in ([(16, 17), (16, 17)], [(2, 2, 2), (2, 2, 2)]):
        ones = (1,) * len(kernel)
        windows = Windows(kernel, ones, (0,) * len(kernel), ones, lengths, ones)
        x = random(2, *lengths, dtype=np.float32)
        assert computed("max_pool", [x], dict(windows=windows)) is None
        v, place = OPS["max_pool"].forward(XP, x, windows=windows)
        assert computed("max_unpool", [v, place], dict(windows=windows)) is None
