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


@pytest.mark.parametrize("function", ["rfft", "rfftn", "ihfft"])
def test_transforms_of_real_numbers_refuse_complex_ones(function):
    with pytest.raises(TypeError, match="rfftn: expected real numbers, not complex128"):
        getattr(mg.fft, function)(tensor(np.ones(3) + 1j))


def test_errors_name_the_function_that_was_called():
    x = tensor(np.ones((2, 3)))
    with pytest.raises(np.exceptions.AxisError, match=r"^hfft: axis 2 .*\(2, 3\)"):
        mg.fft.hfft(x, axis=2)
    with pytest.raises(ValueError, match=r"^irfft: .* lengths \(0,\) for shape \(2, 1\)"):
        mg.fft.irfft(x[:, :1])
    with pytest.raises(ValueError, match=r"^ihfft: expected a length n of at least 1, got -1"):
        mg.fft.ihfft(x, n=-1)
    with pytest.raises(TypeError, match="dim"):
        mg.fft.fft(x, dim=0)


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
