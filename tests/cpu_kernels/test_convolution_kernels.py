"""Convolutions on the CPU."""

import itertools

import numpy as np
import pytest
from contract import TOLERANCE, assert_declines, assert_same, computed, cpu, random, referenced, to

from minigrad.ops.windows import Windows, windows_over

NAMES = ("convolution", "convolution_transpose", "convolution_weight")


def call_of(name, windows, groups=1, channels=2, outputs=4, samples=3, dtype=np.float64):
    x = random(samples, channels, *windows.lengths, dtype=dtype)
    y = random(samples, outputs, *windows.sizes, dtype=dtype, seed=1)
    weight = random(outputs, channels // groups, *windows.kernel, dtype=dtype, seed=2)
    biases = [random(n, dtype=dtype, seed=3) for n in (outputs, channels)]
    arrays = {
        "convolution": [x, weight, biases[0]],
        "convolution_transpose": [y, weight, biases[1]],
        "convolution_weight": [x, y],
    }
    return arrays[name], dict(windows=windows, groups=groups)


def windows_of(kernel=(3, 2), stride=(1, 1), padding=(1, 1), dilation=(1, 1), lengths=(5, 6)):
    around = [(n, n) for n in padding]
    return windows_over("", lengths, kernel, stride, around, dilation)


OPTIONS = [
    dict(),
    dict(stride=(2, 3)),
    dict(dilation=(2, 1), padding=(3, 0)),
    dict(stride=(2, 1), dilation=(2, 3), padding=(1, 2)),
    dict(stride=(3, 1), dilation=(2, 1)),
    dict(kernel=(1, 1), padding=(0, 0)),
    dict(kernel=(1, 1), stride=(2, 2), padding=(1, 1)),
    dict(kernel=(5, 6), padding=(0, 0)),
    dict(kernel=(2, 2), padding=(3, 4)),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("groups", "channels", "outputs"), [(1, 3, 2), (2, 2, 4), (2, 4, 2)])
def test_any_blocks_of_samples_and_rows(groups, channels, outputs, options, name, monkeypatch):
    arrays, params = call_of(name, windows_of(**options), groups, channels, outputs)
    wanted = referenced(name, arrays, params)
    for block, windows, many in itertools.product((1, 100, 1 << 20), (1, 100), (0, 1000)):
        monkeypatch.setattr(cpu.convolution, "BLOCK", block)
        monkeypatch.setattr(cpu.convolution, "WINDOWS", windows)
        monkeypatch.setattr(cpu.convolution, "SUMMED", windows)
        monkeypatch.setattr(cpu.convolution, "MANY", many)
        assert_same(computed(name, arrays, params), wanted, TOLERANCE[np.float64])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stride", [(1,), (2,)])
def test_one_axis_without_a_bias(stride, name):
    windows = windows_of((3,), stride, (1,), (1,), (7,))
    arrays, params = call_of(name, windows, dtype=np.float32)
    arrays = arrays[:2] if name == "convolution_weight" else [*arrays[:2], None]
    assert_same(
        computed(name, arrays, params), referenced(name, arrays, params), TOLERANCE[np.float32]
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
@pytest.mark.parametrize("empty", ["channels", "outputs", "samples"])
def test_nothing_to_add_up(empty, stride, name):
    arrays, params = call_of(name, windows_of(stride=stride), **{empty: 0})
    assert_same(computed(name, arrays, params), referenced(name, arrays, params))


@pytest.mark.parametrize("name", NAMES)
def test_images_of_padding_alone(name):
    windows = Windows((1, 2), (1, 1), (1, 1), (1, 1), (0, 3), (2, 4))
    arrays, params = call_of(name, windows)
    assert_same(
        computed(name, arrays, params), referenced(name, arrays, params), TOLERANCE[np.float64]
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("broken", [np.inf, np.nan])
def test_what_is_not_finite_reaches_those_that_see_it(broken, name):
    arrays, params = call_of(name, windows_of())
    arrays[0][1, 0, 2, 3] = broken
    with np.errstate(invalid="ignore"):
        found = computed(name, arrays, params)
    assert_same(found, referenced(name, arrays, params), TOLERANCE[np.float64])


@pytest.mark.parametrize("name", NAMES[:2])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
@pytest.mark.parametrize("lengths", [(5, 6), (9, 8)])
@pytest.mark.parametrize("outputs", [2, 5])
def test_what_padding_makes_of_an_infinite_weight(outputs, lengths, stride, name):
    arrays, params = call_of(name, windows_of(stride=stride, lengths=lengths), outputs=outputs)
    arrays[1][:, :, 0, 0] = np.inf
    with np.errstate(invalid="ignore"):
        found = computed(name, arrays, params)
    assert_same(found, referenced(name, arrays, params), TOLERANCE[np.float64])


DECLINED = [
    *[(name, i, to(np.float16)) for name in NAMES for i in range(2)],
    *[(name, i, to(np.float32)) for name in NAMES for i in range(2)],
    *[(name, 2, to(np.float32)) for name in NAMES[:2]],
    *[(name, 0, lambda x: x[..., :-1]) for name in NAMES],
    *[(name, 0, lambda x: x[:, :1]) for name in NAMES[:2]],
    ("convolution_weight", 1, lambda y: y[:1]),
]


@pytest.mark.parametrize(("name", "position", "change"), DECLINED)
def test_declines_and_leaves_everything_as_it_was(name, position, change):
    arrays, params = call_of(name, windows_of())
    arrays[position] = change(arrays[position])
    assert_declines(name, arrays, params)


@pytest.mark.parametrize("name", NAMES)
def test_three_axes_are_left_to_the_reference(name):
    windows = windows_of((2, 1, 2), (1, 1, 1), (0, 0, 1), (1, 1, 1), (3, 2, 4))
    assert_declines(name, *call_of(name, windows))
