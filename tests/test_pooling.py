"""Pooling and interpolation where inputs are special: non-finite, tied, integer, empty, large."""

import math
import re

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg
from minigrad import nn

pytestmark = pytest.mark.usefixtures("on_each_backend")

INF, NAN = math.inf, math.nan


def plane(rows, dtype=np.float64):
    return tensor(np.array([[rows]], dtype), requires_grad=np.dtype(dtype).kind == "f")


def gradient(f, x):
    f(x).sum().backward()
    return x.grad.numpy()[0, 0].tolist()


def test_windows_of_minus_infinity_alone_have_a_maximum_and_a_gradient():
    x = plane([[-INF, -INF, -INF], [-INF, -INF, 1]])
    out, at = mg.max_pool2d(x, 2, 1, padding=1, return_indices=True)
    assert out[0, 0].tolist() == [[-INF] * 4, [-INF, -INF, 1, 1], [-INF, -INF, 1, 1]]
    assert at[0, 0].tolist() == [[0, 0, 1, 2], [0, 0, 5, 5], [3, 3, 5, 5]]
    assert gradient(lambda x: mg.max_pool2d(x, 2, 1, padding=1), x) == [[4, 1, 1], [2, 0, 4]]


def test_a_nan_wins_and_the_last_of_a_window_has_the_gradient():
    x = plane([[NAN, 2, 3, INF], [NAN, 1, -INF, 4]])
    out, at = mg.max_pool2d(x, 2, return_indices=True)
    np.testing.assert_array_equal(out.detach().numpy(), [[[[NAN, INF]]]])
    assert at[0, 0].tolist() == [[4, 3]]
    assert gradient(lambda x: mg.max_pool2d(x, 2), x) == [[0, 0, 0, 1], [1, 0, 0, 0]]


def test_an_infinite_cotangent_reaches_the_maximum_alone():
    x = plane([[1, 2, 3, 4]])
    (g,) = mg.autograd.grad(mg.max_pool2d(x, (1, 2)), x, tensor(np.array([[[[INF, NAN]]]])))
    np.testing.assert_array_equal(g.numpy(), [[[[0, INF, 0, NAN]]]])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_integers_have_maxima_and_means(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = plane([[low, low, high, 1], [low, low, 3, 2]], dtype)
    out = mg.max_pool2d(x, 2, padding=(0, 1), stride=(2, 1))
    assert out.dtype == x.dtype
    assert out[0, 0].tolist() == [[low, low, high, high, 2]]
    assert mg.avg_pool2d(x, (1, 2))[0, 0, 1].tolist() == [low, 2.5]
    assert mg.avg_pool2d(x, 2).dtype == mg.get_default_dtype()
    assert mg.interpolate(x, size=1).dtype == mg.get_default_dtype()


@pytest.mark.parametrize("kernel", [16, (16, 17)], ids=str)
def test_places_in_large_windows_are_counted(kernel):
    x = tensor(np.arange(17.0 * 17).reshape(1, 17, 17), requires_grad=True)
    out, at = mg.max_pool2d(x, kernel, 1, return_indices=True)
    np.testing.assert_array_equal(out.detach().numpy(), at.numpy())
    out.sum().backward()
    assert x.grad.numpy().ravel()[at.numpy().ravel()].tolist() == [1] * out.size


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(2),
        nn.AvgPool2d(3, 2, 1),
        nn.AdaptiveAvgPool2d(2),
        nn.AdaptiveAvgPool2d(3),
        nn.Upsample(scale_factor=2, mode="bilinear"),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (2, 0, 4, 4)], ids=str)
def test_no_image_or_no_channel_gives_none(layer, shape):
    x = tensor(np.empty(shape), requires_grad=True)
    out = layer(x)
    assert out.shape[:2] == shape[:2]
    out.sum().backward()
    assert x.grad.shape == shape


def test_ceil_mode_begins_no_window_outside():
    x = plane([[1, 2, 3, 4]])
    assert mg.max_pool2d(x, 1, 3, ceil_mode=True)[0, 0].tolist() == [[1, 4]]
    assert mg.max_pool2d(x, (1, 2), (1, 3), (0, 1), ceil_mode=True)[0, 0].tolist() == [[1, 4]]
    assert mg.avg_pool2d(x, (1, 3), ceil_mode=True)[0, 0].tolist() == [[2, 4]]
    assert mg.max_pool2d(x, (2, 5), ceil_mode=True)[0, 0].tolist() == [[4]]


def test_points_far_away_do_not_spoil_a_mean_or_an_interpolation():
    x = plane([[INF, 1, 2, 3, 4]])
    assert mg.avg_pool2d(x, (1, 2), 1)[0, 0].tolist() == [[INF, 1.5, 2.5, 3.5]]
    assert mg.adaptive_avg_pool2d(x, (1, 3))[0, 0].tolist() == [[INF, 2, 3.5]]
    assert mg.interpolate(x, size=(2, 5))[0, 0].tolist() == [[INF, 1, 2, 3, 4]] * 2
    wide = mg.interpolate(x, size=(1, 9), mode="bilinear", align_corners=True)
    assert wide[0, 0].tolist() == [[INF, INF, 1, 1.5, 2, 2.5, 3, 3.5, 4]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_nearest_point_is_pytorchs_where_a_quotient_is_nearly_whole(dtype):
    x = np.arange(31, dtype=dtype)
    found = mg.interpolate(tensor(x[None, None]), scale_factor=1.1)
    assert found[0, 0, -3:].tolist() == [28, 29, 30]
    torch = pytest.importorskip("torch", reason="compares with torch (the extra minigrad[compare])")
    for n in (13, 24, 31):
        x = np.arange(n, dtype=dtype)[None, None]
        options = [{"scale_factor": f} for f in (0.3, 0.7, 1.1, 1.7, 2.3, 10 / 3, 7, 49)]
        for option in [*options, *({"size": size} for size in (7, 29, 41, 58, 61, 130))]:
            found = mg.interpolate(tensor(x), **option)
            wanted = torch.nn.functional.interpolate(torch.from_numpy(x), **option)
            assert found.tolist() == wanted.tolist(), (n, option)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_an_axis_that_keeps_its_length_stays_as_it_is(mode):
    x = np.array([[[[0.0, 1.0]]]])
    found = mg.interpolate(tensor(x), scale_factor=(2, 1.3), mode=mode)
    assert found[0, 0].tolist() == [[0, 1], [0, 1]]
    kept = tensor(x)
    assert mg.interpolate(kept, scale_factor=(1, 1.3), mode=mode) is not kept
    assert mg.interpolate(tensor(x[0]), scale_factor=1.3, mode="linear").tolist() == [[[0, 1]]]


def test_half_precision_is_summed_in_single():
    x = plane(np.full((64, 64), 40.0), np.float16)
    pooled = mg.avg_pool2d(x, 64)
    assert (pooled.dtype, pooled.item()) == (np.float16, 40)
    assert mg.avg_pool2d(plane(np.full((2, 2), 40000.0), np.float16), 2).item() == 40000
    many = mg.max_pool1d(tensor(np.ones((1, 3, 1), np.float16), requires_grad=True), 1)
    assert many.dtype == np.float16


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_mean_over_all_is_a_mean_of_parts(size):
    x = tensor(np.random.default_rng(0).normal(size=(2, 3, 15, 15)))
    parts = mg.adaptive_avg_pool2d(x, size)
    np.testing.assert_allclose(parts.numpy(), mg.avg_pool2d(x, 15 // size).numpy())
    np.testing.assert_allclose(parts.mean(axis=(2, 3)).numpy(), x.mean(axis=(2, 3)).numpy())


def test_the_tape_keeps_a_byte_for_each_maximum_and_shapes_for_means():
    x = tensor(np.ones((1, 1, 4, 4)), requires_grad=True)
    assert [t.dtype for t in mg.max_pool2d(x, 2).node.saved if isinstance(t, mg.Tensor)] == ["u1"]
    assert not mg.avg_pool2d(x, 2).node.saved
    assert not mg.interpolate(x, size=3).node.saved


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (nn.MaxPool2d(2, padding=1), "stride=2, padding=1, dilation=1, ceil_mode=False"),
        (nn.AvgPool2d((2, 3)), r"kernel_size=\(2, 3\), stride=\(2, 3\), padding=0"),
        (nn.MaxPool1d(2, return_indices=True), "ceil_mode=False, return_indices=True"),
        (
            nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False, divisor_override=3),
            "padding=0, ceil_mode=True, count_include_pad=False, divisor_override=3",
        ),
        (
            nn.Upsample((2, 3), mode="bilinear", align_corners=True),
            r"size=\(2, 3\), mode='bilinear', align_corners=True",
        ),
        (nn.AvgPool1d(2), "AvgPool1d.kernel_size=2, stride=2, padding=0"),
        (nn.AdaptiveAvgPool1d(1), "output_size=1"),
        (nn.AdaptiveAvgPool2d((None, 1)), r"output_size=\(None, 1\)"),
        (nn.Upsample(scale_factor=2.0), "scale_factor=2.0, mode='nearest'"),
        (nn.Upsample((2, 3), mode="bilinear"), r"size=\(2, 3\), mode='bilinear'"),
    ],
    ids=str,
)
def test_layers_say_what_they_do(layer, says):

    assert re.search(says, repr(layer))
    assert list(layer.parameters()) == []
