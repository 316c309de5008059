"""Convolutions beyond their rows: blocks of samples, accuracy, what the tape keeps, the layers."""

import itertools

import numpy as np
import pytest
from on_backend import tensor
from samples import DOUBLE, HALF, SINGLE
from samples.convolution import windows_over

import minigrad as mg
from minigrad import nn
from minigrad.engine import TABLE
from minigrad.ops import convolution

pytestmark = pytest.mark.usefixtures("on_each_backend")


def normal(*shape, dtype=DOUBLE):
    return tensor(np.random.default_rng(3).normal(size=shape).astype(dtype))


def test_one_channel_is_what_numpy_and_scipy_correlate():
    x, weight = normal(9), normal(4)
    found = mg.conv1d(x[None], weight[None, None])[0]
    np.testing.assert_allclose(found.numpy(), np.correlate(x.numpy(), weight.numpy()), rtol=1e-13)
    signal = pytest.importorskip("scipy.signal")
    x, weight = normal(5, 6), normal(3, 2)
    found = mg.conv2d(x[None], weight[None, None], padding=(2, 1))[0]
    wanted = signal.correlate2d(x.numpy(), weight.numpy())
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-13, atol=1e-13)


OPTIONS = list(itertools.product([1, 2, 3], [0, 1, 3], [1, 2], [1, 2]))


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), OPTIONS)
def test_the_three_products_are_one_sum(stride, padding, dilation, groups):
    """Σ conv(x, w) · y = Σ x · transpose(y, w) = Σ w · weight(x, y), however they are blocked."""
    windows = windows_over((7, 5), (3, 2), stride, padding, dilation)
    x, w = normal(5, 4, 7, 5), normal(6, 4 // groups, 3, 2)
    y = normal(5, 6, *windows.sizes)
    params = {"windows": windows, "groups": groups}
    sums = [
        (TABLE["convolution"](x, w, **params) * y).sum().item(),
        (TABLE["convolution_transpose"](y, w, **params) * x).sum().item(),
        (TABLE["convolution_weight"](x, y, **params) * w).sum().item(),
    ]
    np.testing.assert_allclose(sums[1:], sums[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", [1, 3])
def test_blocks_of_samples_change_nothing(kernel, monkeypatch):
    def results():
        x, w, b = normal(5, 2, 6, 4), normal(3, 2, kernel, kernel), normal(3)
        for leaf in (x, w, b):
            leaf.requires_grad = True
        y = mg.conv2d(x, w, b, padding=kernel // 2)
        up = mg.conv_transpose2d(y, w, padding=kernel // 2)
        ((y**2).sum() + (up**2).sum()).backward()
        columns = mg.unfold(x, kernel, padding=1)
        back = mg.fold(columns, (6, 4), kernel, padding=1)
        return [t.detach().numpy() for t in (y, up, columns, back, x.grad, w.grad, b.grad)]

    at_once = results()
    for size in (1, 200):
        monkeypatch.setattr(convolution, "_BLOCK", size)
        for found, wanted in zip(results(), at_once, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_an_even_kernel_that_keeps_the_lengths_looks_ahead():
    found = mg.conv1d([[1.0, 2.0, 3.0]], [[[1.0, 10.0]]], padding="same")
    assert found.tolist() == [[21, 32, 3]]


def test_folding_what_was_unfolded_counts_the_windows():
    counts = mg.fold(mg.unfold(mg.ones((1, 1, 4, 5)), (2, 3)), (4, 5), (2, 3))
    wanted = np.outer([1, 2, 2, 1], [1, 2, 3, 2, 1])
    np.testing.assert_array_equal(counts.numpy()[0, 0], wanted)


def test_elements_that_no_window_sees_have_no_derivative():
    x = normal(1, 1, 8)
    x.requires_grad = True
    mg.conv1d(x, mg.ones((1, 1, 2), dtype=DOUBLE), stride=3).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy()[0, 0], [1, 1, 0, 1, 1, 0, 1, 1])


def test_float16_is_added_in_float32():
    """In float16, 2048 + 1 is 2048."""
    x, w = mg.ones((1, 1000, 4), dtype=HALF), mg.ones((1, 1000, 4), dtype=HALF)
    assert mg.conv1d(x, w).item() == 4000
    y, w = mg.ones((1, 4000, 1), dtype=HALF), mg.ones((4000, 1, 1), dtype=HALF)
    assert mg.conv_transpose1d(y, w).item() == 4000
    w = mg.ones((1, 1, 1), dtype=HALF)
    w.requires_grad = True
    mg.conv1d(mg.ones((4, 1, 1000), dtype=HALF), w).sum().backward()
    assert (w.grad.item(), w.grad.dtype) == (4000, HALF)


def test_gradients_over_many_samples_are_accurate(monkeypatch):
    monkeypatch.setattr(convolution, "_BLOCK", 8)
    x, g = (mg.full((40_000, 1, 1), value, dtype=SINGLE) for value in (0.1, 0.3))
    w, b = mg.ones((1, 1, 1), dtype=SINGLE), mg.ones(1, dtype=SINGLE)
    w.requires_grad = b.requires_grad = True
    mg.conv1d(x, w, b).backward(g)
    np.testing.assert_allclose([w.grad.item(), b.grad.item()], [1200, 12_000], rtol=1e-6)


def test_the_tape_keeps_the_input_and_the_weight_alone():
    x, w, b = normal(2, 3, 5, 5), normal(4, 3, 3, 3), normal(4)
    for leaf in (x, w, b):
        leaf.requires_grad = True
    for y in (mg.conv2d(x, w, b, padding=1), mg.conv_transpose2d(x, normal(3, 4, 3, 3), b)):
        assert sum(a.size for a in y.node.saved if hasattr(a, "dtype")) <= x.size + w.size
    assert mg.unfold(x, 3).node.saved == ()


def test_a_kernel_of_one_looks_at_its_input_itself():
    x = normal(2, 4, 3, 3)._array
    xp = mg.backends.default().xp
    windows = windows_over((3, 3), (1, 1))
    ((_, columns),) = convolution._columns(xp, x, windows, 2, x.dtype)
    assert columns.shape == (2, 2, 2, 9)
    assert xp.may_share_memory(columns, x)


def test_integers_meet_floats_as_in_arithmetic():
    x, w = mg.ones((1, 1, 3), dtype=mg.int64), mg.ones((1, 1, 2), dtype=mg.int8)
    assert mg.conv1d(x, w).dtype == mg.int64
    assert mg.conv1d(x, normal(1, 1, 2, dtype=SINGLE)).dtype == SINGLE
    assert mg.conv1d([[1.0, 2.0, 3.0]], [[[1.0, -1.0]]]).tolist() == [[-1.0, -1.0]]


def test_complex_inputs_have_no_derivative():
    x = mg.ones((1, 1, 3), dtype=DOUBLE)
    x.requires_grad = True
    with pytest.raises(TypeError, match="convolution"):
        mg.conv1d(mg.exp(1j * x), mg.ones((1, 1, 2), dtype=DOUBLE))


@pytest.mark.parametrize(
    ("layer", "shown"),
    [
        (nn.Conv1d(1, 2, 3), "Conv1d(1, 2, kernel_size=(3,), stride=(1,))"),
        (
            nn.Conv2d(4, 2, 3, 2, (1, 0), groups=2, bias=False),
            "Conv2d(4, 2, kernel_size=(3, 3), stride=(2, 2), padding=(1, 0), groups=2, bias=False)",
        ),
        (
            nn.Conv2d(1, 1, 3, padding="same", padding_mode="reflect"),
            "Conv2d(1, 1, kernel_size=(3, 3), stride=(1, 1), padding='same', "
            "padding_mode='reflect')",
        ),
        (
            nn.Fold((4, 3), 2, padding=1),
            "Fold(output_size=(4, 3), kernel_size=(2, 2), dilation=(1, 1), padding=(1, 1), "
            "stride=(1, 1))",
        ),
        (
            nn.ConvTranspose2d(1, 1, 3, 2, output_padding=1, dilation=2),
            "ConvTranspose2d(1, 1, kernel_size=(3, 3), stride=(2, 2), dilation=(2, 2), "
            "output_padding=(1, 1))",
        ),
    ],
)
def test_layers_show_their_options(layer, shown):
    assert repr(layer) == shown


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, "groups must divide.*in_channels=3"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), ValueError, "groups must divide.*out_channels=3"),
        (lambda: nn.Conv2d(0, 3, 3), ValueError, "in_channels is an integer of at least 1, got 0"),
        (lambda: nn.Unfold((2, 2, 2)), ValueError, "Unfold: kernel_size .* or 2 of them"),
        (lambda: nn.Fold(4, 0), ValueError, "Fold: kernel_size is an integer of at least 1"),
        (lambda: nn.Conv2d(1.5, 3, 3), TypeError, "in_channels is an integer, got 1.5"),
        (lambda: nn.Conv2d(1, 1, (3, 3, 3)), ValueError, "kernel_size .* or 2 of them"),
        (lambda: nn.Conv1d(1, 1, 3, stride=0), ValueError, "stride is an integer of at least 1"),
        (lambda: nn.Conv1d(1, 1, 3, padding="full"), ValueError, '"same", "valid" or a number'),
        (lambda: nn.Conv1d(1, 1, 3, 2, "same"), ValueError, "a stride of 1"),
        (
            lambda: nn.Conv1d(1, 1, 3, padding_mode="reflected"),
            ValueError,
            "did you mean 'reflect'",
        ),
        (
            lambda: nn.ConvTranspose2d(1, 1, 3, padding_mode="reflect"),
            ValueError,
            'padding_mode is "zeros"',
        ),
        (lambda: nn.Conv2d(3, 1, 3)(mg.ones((2, 1, 5, 5))), ValueError, "takes 3 channels.* has 1"),
    ],
)
def test_layers_refuse_options_that_do_not_fit(make, error, says):
    with pytest.raises(error, match=says):
        make()


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_a_padding_that_is_changed_later_is_the_padding(mode):
    layer, wider = (
        nn.Conv1d(1, 1, 3, padding_mode=mode),
        nn.Conv1d(1, 1, 3, 1, 2, padding_mode=mode),
    )
    layer.load_state_dict(wider.state_dict())
    layer.padding = 2
    x = normal(1, 1, 4)
    assert layer(x).tolist() == wider(x).tolist()
