"""The fft extension: what the sample rows do not reach."""

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg

pytestmark = pytest.mark.usefixtures("on_each_backend")

NORMS = ["backward", "ortho", "forward"]
PAIRS = [("fft", "ifft"), ("fftn", "ifftn"), ("rfft", "irfft"), ("rfftn", "irfftn")]
PAIRS += [("ihfft", "hfft")]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("there", "back"), PAIRS)
def test_inverses(there, back, norm):
    x = np.random.default_rng(4).normal(size=(3, 4, 6)).astype(np.float32)
    spectrum = getattr(mg.fft, there)(tensor(x), norm=norm)
    again = getattr(mg.fft, back)(spectrum, norm=norm)
    assert (spectrum.dtype, again.real.dtype) == (mg.complex64, mg.float32)
    np.testing.assert_allclose(again.real.numpy(), x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn"])
@pytest.mark.parametrize("axes", [(1, 2), (2, 1), (1,)])
def test_a_batch_of_none_has_a_transform_of_none(name, axes):
    x = np.ones((0, 4, 6))
    found, expected = (
        getattr(t, name)(y, axes=axes) for t, y in ((mg.fft, tensor(x)), (np.fft, x))
    )
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize("function", ["rfft", "rfftn", "ihfft"])
def test_transforms_of_real_numbers_refuse_complex_ones(function):
    with pytest.raises(TypeError, match=rf"^{function}: expected real numbers, not complex128"):
        getattr(mg.fft, function)(tensor(np.ones(3) + 1j))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_gradients_are_the_adjoint_at_every_length(name, norm):
    rng = np.random.default_rng(5)

    def f(a, b, n):
        y = getattr(mg.fft, name)(
            a + b if name in ("rfft", "ihfft") else a + 1j * b, n=n, norm=norm
        )
        return mg.stack([y.real, y.imag])

    for m in range(1, 5):
        for n in range(1, 6):
            a, b, c, d = (tensor(x) for x in rng.normal(size=(4, m)))
            a.requires_grad = b.requires_grad = True
            y = f(a, b, n)
            g = tensor(rng.normal(size=y.shape))
            y.backward(g)
            product = (a.grad * c + b.grad * d).sum().item()
            assert product == pytest.approx((g * f(c, d, n)).sum().item(), abs=1e-12), (m, n)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_a_real_signal_depends_on_no_imaginary_part_that_has_no_pair(n):
    rng = np.random.default_rng(6)
    parts = rng.normal(size=(2, 3, n // 2 + 1))
    a, b = (tensor(part).requires_grad_() for part in parts)
    x = mg.fft.irfftn(a + 1j * b, s=(3, n))
    expected = np.fft.irfftn(parts[0] + 1j * parts[1], s=(3, n), axes=(0, 1))
    np.testing.assert_allclose(x.detach().numpy(), expected, atol=1e-12)
    (x.sum(axis=0) * tensor(rng.normal(size=n))).sum().backward()
    assert [bool(column.any()) for column in b.grad.numpy().T.round(12)] == [
        0 < k < n / 2 for k in range(n // 2 + 1)
    ]


def test_the_tape_keeps_no_array():
    x = mg.ones((3, 4), requires_grad=True)
    y = mg.fft.ifft(mg.fft.rfftn(mg.fft.irfftn(mg.fft.fftn(x, s=(2, 5)))))
    node, names = y.node, []
    while node.op is not None:
        names.append(node.op.name)
        assert not any(isinstance(kept, mg.Tensor) for kept in node.saved)
        (node,) = node.parents
    assert {"fftn", "ifftn", "rfftn", "irfftn"} <= set(names)


def test_a_filter_is_designed():
    """The 21 taps of a filter that lets pass what is below 1/8 and stops what is above 7/40."""
    frequencies = mg.fft.rfftfreq(128, dtype=mg.float64)
    passes, stops = frequencies < 1 / 8, frequencies > 7 / 40
    taps = tensor(np.eye(21)[10]).requires_grad_()
    optimizer = mg.optim.Adam([taps], lr=0.01)

    def misses():
        response = mg.abs(mg.fft.rfft(taps, n=128))
        return mg.where(passes, response - 1, mg.where(stops, response, 0.0))

    for _ in range(200):
        optimizer.zero_grad()
        loss = (misses() ** 2).mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 5e-4  # from 0.65
    assert mg.max(mg.abs(misses())).item() < 0.1
    assert mg.max(mg.abs(taps - mg.flip(taps))).item() < 1e-6  # of linear phase


def test_errors_name_the_function_that_was_called():
    x = tensor(np.ones((2, 3)))
    with pytest.raises(np.exceptions.AxisError, match=r"^hfft: axis 2 .*\(2, 3\)"):
        mg.fft.hfft(x, axis=2)
    with pytest.raises(ValueError, match=r"^irfft: .* lengths \(0,\) for shape \(2, 1\)"):
        mg.fft.irfft(x[:, :1])
    with pytest.raises(ValueError, match=r"^ihfft: expected a length n of at least 1, got -1"):
        mg.fft.ihfft(x, n=-1)


@pytest.mark.parametrize("name", [name for name in mg.fft.__all__ if "freq" not in name])
def test_dim_is_answered_by_minigrads_keyword(name):
    keyword = "axes" if name.endswith(("n", "shift")) else "axis"
    says = rf"^{name}: unexpected keyword 'dim'; minigrad calls it {keyword}=$"
    with pytest.raises(TypeError, match=says):
        getattr(mg.fft, name)(tensor(np.ones((2, 3))), dim=0)


@pytest.mark.parametrize("axes", [None, 1, (0, -1), ()])
@pytest.mark.parametrize("name", ["fftshift", "ifftshift"])
def test_shifts(name, axes):
    x = np.arange(30.0).reshape(2, 5, 3)
    found = getattr(mg.fft, name)(tensor(x), axes=axes)
    np.testing.assert_array_equal(found.numpy(), getattr(np.fft, name)(x, axes=axes))
    assert mg.gradcheck(lambda x: (getattr(mg.fft, name)(x, axes=axes) * x).sum(), [tensor(x)])


def test_frequencies():
    assert mg.fft.fftfreq(4).dtype == mg.float32
    assert mg.fft.rfftfreq(4, d=0.5, dtype=mg.float16).tolist() == [0, 0.5, 1]
    assert mg.fft.fftfreq(3, dtype=mg.float64).tolist() == np.fft.fftfreq(3).tolist()
    with pytest.raises(TypeError, match="fftfreq: expected a real floating dtype, got int64"):
        mg.fft.fftfreq(4, dtype=mg.int64)
