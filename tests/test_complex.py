"""Complex numbers between real leaves and a real result: values, derivatives, refusals."""

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F

pytestmark = pytest.mark.usefixtures("on_each_backend")

#: Real functions of two real leaves a, b with complex numbers on the way: a + ib = z.
FUNCTIONS = {
    "sum of parts": lambda z, a: (z.real * 2 + z.imag).sum(),
    "modulus": lambda z, a: mg.abs(z).sum(),
    "squared modulus": lambda z, a: (z * mg.conj(z)).real.sum(),
    "product": lambda z, a: (z * z * (1 + 2j)).imag.sum(),
    "real times complex": lambda z, a: (z * a).real.sum() + (a * z).imag.sum(),
    "quotient": lambda z, a: (1 / z + z / (a + 3j)).real.sum(),
    "square and reciprocal": lambda z, a: (mg.square(z) * mg.reciprocal(z + a)).imag.sum(),
    "exp": lambda z, a: mg.exp(z * 1j).real.sum(),
    "difference": lambda z, a: mg.abs(z - 2j * a - 1).sum(),
    "negative": lambda z, a: (-z + +z * 2j).imag.sum(),
    "product of matrices": lambda z, a: mg.abs(z @ (z.mT + a.mT)).sum(),
    "products of vectors": lambda z, a: mg.abs(
        mg.vecdot(z, 2j * z + a) * mg.linalg.cross(z, a - 1j * z).sum()
    ).sum(),
    "norm of a matrix": lambda z, a: mg.linalg.matrix_norm(
        mg.tensordot(z, z * 1j, axes=((0,), (0,)))
    ),
    "trace of a power": lambda z, a: mg.linalg.trace(mg.linalg.matrix_power(z @ a.mT, 3)).imag,
    "product with a vector": lambda z, a: mg.abs(mg.conj(z) @ z[0]).sum(),
    "indices": lambda z, a: mg.abs(z[[0, 0, 1], 1:] * z[..., :2].reshape((2, 1, 2))).sum(),
    "rolled": lambda z, a: mg.abs(mg.roll(z, (1, 2), (0, 1)) * z + mg.roll(z, 1)).sum(),
    "repeated": lambda z, a: mg.abs(mg.tile(z, 2) * mg.repeat(z, [1, 3, 2], axis=1)).sum(),
    "triangles": lambda z, a: mg.abs(mg.tril(z) * 2j + mg.triu(z * z, k=1)).sum(),
    "diagonal": lambda z, a: mg.abs(mg.diagonal(z, offset=1) * z[0, :2]).sum(),
    "padded": lambda z, a: mg.abs(mg.pad(z, 1) * mg.pad(z * z, 1, "reflect")).sum(),
    "taken": lambda z, a: mg.abs(mg.take(z, tensor([0, 0]), axis=1) * z[:, 1:]).sum(),
    "taken along": lambda z, a: mg.abs(mg.take_along_axis(z, tensor([[2], [0]])) * z).sum(),
    "gridded": lambda z, a: mg.abs(mg.meshgrid(z[0], z[1])[0] * mg.unstack(z)[1]).sum(),
    "joined": lambda z, a: mg.abs(mg.concat([z, a]).T * mg.stack([z, z])[0, 0, 0]).sum(),
    "mean": lambda z, a: mg.abs(mg.mean(z, axis=0) * mg.flip(z)).sum(),
    "variance": lambda z, a: (mg.var(z, axis=0) + mg.std(z, axis=0, correction=0.5)).sum(),
    "norm": lambda z, a: mg.norm(z) + mg.norm(z, 3, axis=0).sum() + mg.norm(z, 1),
    "product of all": lambda z, a: mg.prod(z).imag + mg.abs(mg.prod(z, axis=0)).sum(),
    "scans": lambda z, a: (mg.cumulative_prod(z, axis=1) * mg.cumulative_sum(z, axis=0)).real.sum(),
    "differences": lambda z, a: mg.abs(mg.diff(z, prepend=a[:, :1])).sum(),
    "chosen": lambda z, a: mg.where(a > 0, z * z, 1j * z).imag.sum(),
    "written": lambda z, a: mg.abs(z.at[0].set(a[1] * 2j).at[1].add(z[0])).sum(),
    "transform": lambda z, a: mg.abs(
        mg.fft.fft(z, n=4, axis=0) * mg.fft.ifft(a, n=4, axis=0)
    ).sum(),
    "transforms of several axes": lambda z, a: mg.abs(
        mg.fft.fftn(z * a, norm="ortho") * mg.fft.ifftn(z, norm="forward")
    ).sum(),
    "real transforms": lambda z, a: (
        mg.fft.rfft(mg.fft.irfft(z * z, n=5)) * mg.fft.rfftn(mg.fft.irfftn(z, s=(2, 4)))
    ).imag.sum(),
    "Hermitian signal": lambda z, a: (
        mg.abs(mg.fft.ihfft(mg.fft.hfft(z * a, norm="ortho"))) * mg.abs(mg.fft.fftshift(z))
    ).sum(),
    "masked": lambda z, a: mg.where(a > 9, mg.exp(1000 * z) + 1 / (z - z), z).real.sum(),
}


def leaves():
    rng = np.random.default_rng(5)
    return [tensor(rng.uniform(0.3, 1.5, (2, 3)) * sign) for sign in (1, -1)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name):
    def f(a, b):
        with np.errstate(all="ignore"):
            return FUNCTIONS[name](a + 1j * b, a)

    assert mg.gradcheck(f, leaves(), order=2)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_keep_the_dtype(name):
    for dtype in (np.float32, np.float64):
        a, b = (mg.astype(x, dtype).detach().requires_grad_() for x in leaves())
        with np.errstate(all="ignore"):
            FUNCTIONS[name](a + 1j * b, a).backward()
        assert a.grad.dtype == b.grad.dtype == dtype


def test_numbers_are_weak():
    single, half = mg.ones(2, dtype=mg.float32), mg.ones(2, dtype=mg.float16)
    assert (single * 1j).dtype == (half + 1j).dtype == mg.complex64
    assert (mg.ones(2, dtype=mg.float64) * 1j).dtype == mg.complex128
    assert (mg.ones(2, dtype=mg.int64) * 1j).dtype == mg.complex64
    assert (single * mg.tensor(1j, dtype=mg.complex128)).dtype == mg.complex128


def test_the_modulus_has_derivative_0_at_0():
    x = mg.zeros(2, dtype=mg.float64, requires_grad=True)
    mg.abs(x * 1j).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]


def test_parts_of_real_numbers():
    x = mg.ones(2, requires_grad=True)
    (x.real + 3 * x.imag + x.conj()).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


REFUSED = {
    "pow": lambda z: z**2,
    "tanh": mg.tanh,
    "log": mg.log,
    "sqrt": mg.sqrt,
    "sin": mg.sin,
    "log1p": mg.log1p,
    "round": mg.round,
    "max": mg.max,
    "sign": mg.sign,
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_functions_are_refused_on_the_tape(name):
    z = 1j * mg.ones(2, requires_grad=True)
    with pytest.raises(TypeError, match=rf"{name}: no derivative for complex inputs.*complex64"):
        REFUSED[name](z)
    assert REFUSED[name](z.detach()).shape in ((), (2,))


def per_channel(f, **options):
    return lambda z: f(z, mg.zeros(2), mg.ones(2), **options)


def beside_ones(loss):
    return lambda z: loss(z, mg.ones((2, 2)))


LABELS = np.array([0, 1])
OF_REALS = {
    "relu": mg.relu,
    "sigmoid": mg.sigmoid,
    **{
        name: getattr(F, name)
        for name in (
            *("gelu", "silu", "mish", "elu", "selu", "celu", "leaky_relu", "hardtanh", "relu6"),
            *("hardsigmoid", "hardswish", "glu", "softmax", "log_softmax", "softplus"),
            "logsigmoid",
        )
    },
    "prelu": lambda z: F.prelu(z, 0.5),
    "layer_norm": lambda z: F.layer_norm(z, 2),
    "weights": lambda z: F.layer_norm(mg.ones((2, 2)), (2, 2), z),
    "rms_norm": lambda z: F.rms_norm(z, 2),
    "group_norm": lambda z: F.group_norm(z, 2),
    "batch_norm": per_channel(F.batch_norm),
    "batch_norm, training": per_channel(F.batch_norm, training=True),
    **{
        loss.__name__: beside_ones(loss)
        for loss in (
            *(F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.kl_div),
            *(F.binary_cross_entropy, F.binary_cross_entropy_with_logits),
        )
    },
    "a complex target": lambda z: F.mse_loss(mg.ones((2, 2)), z),
    "factors": lambda z: F.binary_cross_entropy_with_logits(mg.ones((2, 2)), mg.ones((2, 2)), z),
    "cross_entropy": lambda z: F.cross_entropy(z, LABELS),
    "cross_entropy of probabilities": beside_ones(F.cross_entropy),
    "nll_loss": lambda z: F.nll_loss(z, LABELS),
    "attention": lambda z: F.scaled_dot_product_attention(z, z, z),
    "an RNN": lambda z: nn.RNN(2, 3)(z),
    "an LSTM": lambda z: nn.LSTM(2, 3)(z),
    "a GRU": lambda z: nn.GRU(2, 3)(z),
}


@pytest.mark.parametrize("f", OF_REALS.values(), ids=OF_REALS)
def test_what_neural_networks_compute_is_of_real_numbers(f):
    z = mg.ones((2, 2)) + 1j
    with (
        mg.no_grad(),
        pytest.raises(TypeError, match=r"^\w+: expected real numbers, not complex64; take real"),
    ):
        f(z)


def test_what_is_linear_takes_complex_numbers():
    z = mg.ones((2, 2)) + 1j
    assert F.linear(z, mg.eye(2)).tolist() == z.tolist()
    assert F.dropout(z).dtype == F.embedding([0], z).dtype == mg.complex64


def test_backward_starts_from_a_real_number():
    y = 1j * mg.ones(1, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"real number, not complex64.*real\(\)"):
        y.backward()


def test_leaves_are_real():
    with pytest.raises(TypeError, match="only floating tensors"):
        mg.tensor([1j], requires_grad=True)
