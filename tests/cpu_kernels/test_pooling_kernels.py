"""Pooling on the CPU."""

import numpy as np
import pytest
from contract import OPS, XP, assert_declines, assert_same, computed, random, referenced, to

from minigrad.ops.windows import Windows


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


DECLINED = [
    ("max_pool", 0, to(np.float16)),
    ("max_pool", 0, to(np.int64)),
    ("max_pool", 0, lambda x: x[..., :-1]),
    ("max_unpool", 0, to(np.float16)),
    ("max_unpool", 0, lambda v: v[..., :-1]),
    ("max_unpool", 1, to(np.int64)),
    ("max_unpool", 1, lambda place: place[:1]),
]


@pytest.mark.parametrize(("name", "position", "change"), DECLINED)
def test_declines_and_leaves_everything_as_it_was(name, position, change):
    make = {"max_pool": max_pool_call, "max_unpool": max_unpool_call}[name]
    arrays, params = make(np.float32)
    arrays[position] = change(arrays[position])
    assert_declines(name, arrays, params)


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
        v, place = OPS["max_pool"].forward(XP, x, windows=windows)
        assert computed("max_unpool", [v, place], dict(windows=windows)) is None
