import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import utils

FLOATS = ["float16", "float32", "float64"]
SHAPES = [(3, 4), (), (0,), (5,)]


pytestmark = pytest.mark.usefixtures("on_each_backend")


def params_of(arrays):
    """Parameters with these gradients; None: none."""
    params = []
    for array in arrays:
        p = mg.zeros(() if array is None else array.shape, requires_grad=True)
        if array is not None:
            p = mg.zeros(array.shape, dtype=array.dtype, requires_grad=True)
            p.grad = mg.tensor(array, backend=p.backend)
        params.append(p)
    return params


def gradients(dtype="float64"):
    rng = np.random.default_rng(0)
    return [*(np.asarray(rng.normal(size=shape), dtype) for shape in SHAPES), None]


def grads(params):
    return [None if p.grad is None else p.grad.numpy() for p in params]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("max_norm", [0.0, 0.1, 3.0, 1e6, math.inf])
@pytest.mark.parametrize("norm_type", [1, 2, 3.5, math.inf, "inf"])
def test_norms_by_the_formula(norm_type, max_norm, dtype):
    arrays = gradients(dtype)
    params = params_of(arrays)
    held = [p.grad for p in params]
    norm = utils.clip_grad_norm_(params, max_norm, norm_type)
    everything = np.concatenate([a.ravel() for a in arrays if a is not None]).astype(np.float64)
    wanted = np.linalg.norm(everything, float(norm_type))
    assert (norm.dtype, norm.shape, norm.backend) == (np.float64, (), params[0].backend)
    np.testing.assert_allclose(norm.item(), wanted, rtol=1e-14)
    factor = min(max_norm / (wanted + 1e-6), 1)
    tolerance = {"float16": 1e-3, "float32": 3e-7, "float64": 1e-14}[dtype]
    for p, array, same in zip(params, arrays, held, strict=True):
        if array is None:
            assert p.grad is None
            continue
        assert p.grad.dtype == dtype
        np.testing.assert_allclose(p.grad.numpy(), array * factor, rtol=tolerance, atol=1e-7)
        np.testing.assert_array_equal(same.numpy(), p.grad.numpy())  # the same memory


@pytest.mark.parametrize("max_norm", [0.1, 3.0, 1e6])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5, math.inf])
def test_norms_agree_with_torch(norm_type, max_norm):
    torch = pytest.importorskip("torch", reason="compares with PyTorch (the extra compare)")
    arrays = [a for a in gradients() if a is None or a.size]
    params = params_of(arrays)
    theirs = [torch.zeros(() if a is None else a.shape, dtype=torch.float64) for a in arrays]
    for p, array in zip(theirs, arrays, strict=True):
        p.grad = None if array is None else torch.tensor(array)
    norm = utils.clip_grad_norm_((p for p in params), max_norm, norm_type)
    other = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    np.testing.assert_allclose(norm.item(), other.item(), rtol=1e-12)
    for p, q in zip(params, theirs, strict=True):
        if q.grad is not None:
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "value", "n"),
    [("float16", 3e4, 100), ("float16", 1e-6, 100), ("float32", 1e30, 9), ("float32", 1e-30, 9)],
)
def test_squares_neither_overflow_nor_vanish(dtype, value, n):
    array = np.full(n, value, dtype)
    (p,) = params_of([array])
    norm = utils.clip_grad_norm_(p, 0.5 * float(array[0]))
    np.testing.assert_allclose(norm.item(), float(array[0]) * math.sqrt(n), rtol=1e-12)
    if value > 1:
        wanted = 0.5 * value / math.sqrt(n)
        np.testing.assert_allclose(p.grad.numpy(), wanted, rtol=1e-3)


def test_a_long_sum_keeps_its_digits():
    (p,) = params_of([np.full(2**20 + 1, 0.1, np.float32)])
    wanted = float(np.float32(0.1)) * math.sqrt(2**20 + 1)
    np.testing.assert_allclose(utils.get_total_norm(p.grad).item(), wanted, rtol=1e-12)


def test_a_small_factor_does_not_vanish_in_float16():
    (p,) = params_of([np.full(4, 6e4, np.float16)])
    utils.clip_grad_norm_(p, 1e-3)
    np.testing.assert_allclose(p.grad.numpy(), 5e-4, rtol=1e-2)


def test_without_a_gradient_there_is_nothing_to_do():
    for params in ([], params_of([None, None]), params_of([None])[0]):
        norm = utils.clip_grad_norm_(params, 1.0)
        assert (norm.item(), norm.dtype) == (0, np.float64)
        utils.clip_grad_value_(params, 1.0)
        utils.clip_grads_with_norm_(params, 1.0, norm)


def test_parts_of_clipping_by_norm():
    params = params_of(gradients())
    norm = utils.get_total_norm(p.grad for p in params if p.grad is not None)
    before = grads(params)[0].copy()
    utils.clip_grads_with_norm_(params, 0.5, 1.0)  # a number will do
    np.testing.assert_allclose(grads(params)[0], before * 0.5, rtol=1e-5)
    np.testing.assert_allclose(
        utils.get_total_norm([p.grad for p in params[:4]]).item(), norm.item() / 2, rtol=1e-5
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("limit", [0, 0.25, 1e5, 1e300, math.inf])
def test_values(limit, dtype):
    arrays = gradients(dtype)
    params = params_of(arrays)
    utils.clip_grad_value_(params, limit)
    for p, array in zip(params, arrays, strict=True):
        if array is not None:
            assert p.grad.dtype == dtype
            wanted = np.clip(array.astype(np.float64), -limit, limit).astype(dtype)
            np.testing.assert_array_equal(p.grad.numpy(), wanted)


def test_gradients_that_are_not_contiguous():
    p = mg.zeros((3, 4), dtype=np.float64, requires_grad=True)
    array = np.arange(12.0).reshape(4, 3)
    p.grad = mg.tensor(array, backend=p.backend).T
    norm = utils.clip_grad_norm_(p, 1.0)
    np.testing.assert_allclose(norm.item(), np.linalg.norm(array))
    np.testing.assert_allclose(p.grad.numpy(), array.T / norm.item(), rtol=1e-6)
    utils.clip_grad_value_([p], 0.25)
    assert p.grad.numpy().max() == 0.25


def test_nothing_is_read_from_the_device(backend):
    class Reads:
        synchronizes = False
        count = 0

        def ran(self, call): ...

        def entered(self, node): ...

        def read(self, tensor):
            self.count += 1

    params, reads = params_of(gradients()), Reads()
    with mg.engine.observe(reads):
        utils.clip_grad_norm_(params, 0.1)
        utils.clip_grad_value_(params, 0.1)
        assert reads.count == 0
        utils.clip_grad_norm_(params, 0.1, error_if_nonfinite=True)
        assert reads.count > 0


def test_after_backward_and_before_a_step():
    model = nn.Linear(3, 2)
    (1e3 * model(mg.ones((4, 3)))).sum().backward()
    norm = utils.clip_grad_norm_(model.parameters(), 1.0)
    assert norm.item() > 1e3
    left = utils.get_total_norm([p.grad for p in model.parameters()])
    np.testing.assert_allclose(left.item(), 1, rtol=1e-5)


@pytest.mark.parametrize("norm_type", [1, 2, 3.5, math.inf])
def test_a_nan_in_any_gradient_is_in_the_norm(norm_type):
    for position in range(3):
        arrays = [np.ones(2), -np.ones((2, 2)), np.ones(())]
        arrays[position][...] = math.nan
        norm = utils.get_total_norm([p.grad for p in params_of(arrays)], norm_type)
        assert math.isnan(norm.item())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite(bad):
    (p,) = params_of([np.array([1.0, bad])])
    with pytest.raises(RuntimeError, match=rf"^get_total_norm: the norm of order 2.0 is {bad};"):
        utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert p.grad.numpy()[0] == 1
    with np.errstate(all="ignore"):
        norm = utils.clip_grad_norm_(p, 1.0)
        assert str(norm.item()) == str(bad)
        assert np.isnan(p.grad.numpy()[1])


PARAM = mg.ones(2, requires_grad=True, backend="numpy")


def elsewhere():
    there = mg.ones(2, requires_grad=True, backend="strict")
    return [PARAM, there]


MISUSES = {
    "a number": (
        lambda: utils.clip_grad_norm_(3.0, 1.0),
        TypeError,
        "clip_grad_norm_: expected a tensor or an iterable of them, got a float",
    ),
    "no tensor": (
        lambda: utils.clip_grad_value_([PARAM, 3.0], 1.0),
        TypeError,
        "clip_grad_value_: parameter 1 is no Tensor but a float",
    ),
    "two devices": (
        lambda: utils.clip_grad_norm_(elsewhere(), 1.0),
        ValueError,
        "clip_grad_norm_: parameter 1 is on strict:0, the first on cpu; clip those of each device",
    ),
    "negative norm": (
        lambda: utils.clip_grad_norm_(PARAM, -1.0),
        ValueError,
        "clip_grad_norm_: max_norm must be a number >= 0, got -1.0",
    ),
    "nan": (
        lambda: utils.clip_grad_value_(PARAM, math.nan),
        ValueError,
        "clip_grad_value_: clip_value must be a number >= 0, got nan",
    ),
    "norm of order 0": (
        lambda: utils.clip_grad_norm_(PARAM, 1.0, 0),
        ValueError,
        "get_total_norm: norm_type must be a number > 0 or inf, got 0",
    ),
}


@pytest.mark.parametrize(("misuse", "error", "message"), MISUSES.values(), ids=MISUSES)
def test_misuse(misuse, error, message):
    with pytest.raises(error, match=f"^{message}"):
        misuse()
