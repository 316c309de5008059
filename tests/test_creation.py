"""New tensors: dtypes, devices and copies as the Array API has them."""

import array

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg
from minigrad import backends

pytestmark = pytest.mark.usefixtures("on_each_backend")

CREATORS = {
    "zeros": lambda **options: mg.zeros(2, **options),
    "ones": lambda **options: mg.ones((2,), **options),
    "empty": lambda **options: mg.empty(2, **options),
    "full": lambda **options: mg.full(2, 1, **options),
    "eye": lambda **options: mg.eye(2, **options),
    "arange": lambda **options: mg.arange(2, **options),
    "linspace": lambda **options: mg.linspace(0, 1, 2, **options),
    "asarray": lambda **options: mg.asarray([1, 2], **options),
    "asarray of an array": lambda **options: mg.asarray(np.ones(2), **options),
    "asarray of a tensor": lambda **options: mg.asarray(tensor([1, 2]), **options),
    "zeros_like": lambda **options: mg.zeros_like(tensor([1, 2]), **options),
    "ones_like": lambda **options: mg.ones_like(tensor([1, 2]), **options),
    "empty_like": lambda **options: mg.empty_like(tensor([1, 2]), **options),
    "full_like": lambda **options: mg.full_like(tensor([1, 2]), 1, **options),
}
each_creator = pytest.mark.parametrize("name", CREATORS)


@each_creator
def test_dtype_of_new_tensors(name):
    for dtype in (mg.int8, mg.uint64, mg.float16, mg.float64, mg.complex64, mg.bool):
        assert CREATORS[name](dtype=dtype).dtype == dtype
    with pytest.raises(TypeError, match="64 bits"):
        CREATORS[name](dtype=np.longdouble)


@each_creator
def test_device_of_new_tensors(name, backend):
    make, here = CREATORS[name], backends.get(backend)
    assert make().backend is here
    assert make(device=here.device).backend is here
    assert make(device=make().device).backend is here
    assert make(device="strict:0").backend.name == "strict"
    home = backend if here.device == "cpu" else "numpy"
    assert make(device="cpu").backend.name == home
    assert make(device="cpu", backend="numpy").backend.name == "numpy"
    with pytest.raises(ValueError, match=r"unknown device 'tpu': expected one of .*cpu"):
        make(device="tpu")
    with pytest.raises(ValueError, match=r"'numpy' is on 'cpu', not on 'cuda:0'"):
        make(device="cuda:0", backend="numpy")


@pytest.mark.parametrize("name", [name for name in CREATORS if not name.startswith("asarray")])
def test_new_tensors_can_be_leaves(name):
    assert CREATORS[name](dtype=mg.float32, requires_grad=True).requires_grad
    with pytest.raises(TypeError, match="only floating"):
        CREATORS[name](dtype=mg.int64, requires_grad=True)


@pytest.mark.parametrize(
    ("number", "dtype"),
    [(True, "bool"), (3, "int64"), (0.5, "float32"), (np.float64(2), "float32"), (1j, "complex64")],
)
def test_the_kind_of_a_number_gives_the_dtype(number, dtype):
    assert mg.full(2, number).dtype == mg.asarray([number], dtype=dtype).dtype == dtype
    assert mg.full(2, tensor(number)).dtype == dtype
    assert mg.full_like(mg.ones(2, dtype=mg.complex128), number).dtype == mg.complex128


def test_dtype_of_ranges():
    assert mg.arange(3).dtype == mg.arange(0, 3, 1).dtype == mg.arange(True).dtype == mg.int64
    assert mg.arange(3.0).dtype == mg.arange(0, 3, 0.5).dtype == mg.float32
    assert mg.arange(tensor(3)).tolist() == [0, 1, 2]
    assert mg.linspace(0, 1, 3).dtype == mg.float32
    assert mg.linspace(0, 1j, 3).dtype == mg.complex64


def test_a_fill_value_on_the_tape_is_refused():
    with pytest.raises(RuntimeError, match=r"detach\(\)"):
        mg.full(2, mg.ones((), requires_grad=True))
    with pytest.raises(TypeError, match="expected a number"):
        mg.full(2, np.ones(3))


def test_likeness_of_what_is_no_tensor():
    assert mg.zeros_like([[1, 2]]).shape == (1, 2)
    assert mg.ones_like(np.ones(2, np.int8)).dtype == mg.int8
    assert mg.full_like(1.5, 2).tolist() == 2.0


# asarray


def test_asarray_copies_where_it_must_or_may(backend):
    on_host = backends.get(backend).device == "cpu"
    x, data = tensor([1.0, 2.0]), np.ones(2)
    assert mg.asarray(x) is x and mg.asarray(x, copy=False) is x
    assert mg.asarray(x, dtype=x.dtype, device=x.device) is x
    copied = mg.asarray(x, copy=True)
    copied[0] = 9.0
    assert x.tolist() == [1.0, 2.0]
    for copy in (None, False) if on_host else ():
        mg.asarray(data, copy=copy)[0] = 5.0
        assert data[0] == 5.0
        data[0] = 1.0
    mg.asarray(data, copy=True)[0] = 5.0
    assert data[0] == 1.0
    for refused in (
        lambda: mg.asarray([1.0], copy=False),
        lambda: mg.asarray(1.0, copy=False),
        lambda: mg.asarray(data, dtype=mg.float32, copy=False),
        lambda: mg.asarray(x, dtype=mg.float64, copy=False),
        lambda: mg.asarray([x, x], copy=False),
        lambda: mg.asarray(tensor([1.0]), device="cpu" if not on_host else "strict:0", copy=False),
    ):
        with pytest.raises(ValueError, match="copy=False"):
            refused()


def test_asarray_takes_buffers(backend):
    numbers = array.array("d", [1.0, 2.0])
    for buffer in (numbers, memoryview(numbers)):
        x = mg.asarray(buffer)
        assert (x.dtype, x.tolist()) == (mg.float64, [1.0, 2.0])
        if backends.get(backend).device == "cpu":
            x[0] = 3.0
            assert numbers[0] == 3.0
            numbers[0] = 1.0
    assert mg.asarray(bytearray(b"ab")).tolist() == [97, 98]


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int8"])
@pytest.mark.parametrize(
    "bounds", [(7, 2, -2), (0.5, 3.5, 1.7), (0, 2, 0.5), (3.9, 0, -1.5), (3.5, 1, 1), (0.5, 1)]
)
def test_ranges_of_integers_step_as_numpys_do(bounds, dtype):
    expected = np.arange(*bounds, dtype=dtype)
    found = mg.arange(*bounds, dtype=dtype)
    assert (found.dtype, found.tolist()) == (expected.dtype, expected.tolist())


@pytest.mark.parametrize("bounds", [(300, 290, -3), (1.5, 400, 300.5), (-1.0, 3)])
def test_ranges_that_do_not_fit_are_refused(bounds):
    with pytest.raises(OverflowError):
        mg.arange(*bounds, dtype="uint8")


INTEGERS = [(300, "int8"), (-1, "uint8"), ([2**63], "int64"), (2**64, "uint64")]


@pytest.mark.parametrize(("data", "dtype"), INTEGERS)
def test_integers_that_do_not_fit_are_refused(data, dtype):
    for make in (mg.asarray, mg.tensor):
        with pytest.raises(OverflowError, match=f"fit into {dtype}"):
            make(data, dtype=dtype)
    with pytest.raises(OverflowError, match="fit into int64"):
        mg.asarray([0, 2**63])
    assert mg.asarray([0, 2**64 - 1], dtype=mg.uint64).tolist() == [0, 2**64 - 1]
    assert mg.asarray([2**63], dtype=mg.uint64).tolist() == [2**63]
    assert mg.asarray(2**63, dtype=mg.float64).tolist() == float(2**63)


@pytest.mark.parametrize("make", [mg.asarray, mg.tensor])
def test_nothing_is_lost_silently(make, backend):
    complex_numbers = np.array([1 + 2j])
    for data in (complex_numbers, complex_numbers.tolist(), mg.asarray(complex_numbers)):
        with pytest.raises(TypeError, match=r"complex.* cannot become float32"):
            make(data, dtype=mg.float32)
    assert make(complex_numbers, dtype=mg.bool).tolist() == [True]
    with pytest.raises(TypeError, match="filled"):
        make(np.ma.array([1.0, 2.0], mask=[False, True]))
    assert make(np.ma.array([1.0, 2.0])).tolist() == [1.0, 2.0]


def test_tensors_in_lists_are_stacked_on_the_tape(backend):
    a, b = tensor(1.0, requires_grad=True), tensor([2.0, 3.0], requires_grad=True)
    y = mg.asarray([[a, 4], b, (5.0, a)])
    assert (y.dtype, y.backend.name) == (mg.float32, backend)
    assert y.tolist() == [[1.0, 4.0], [2.0, 3.0], [5.0, 1.0]]
    (y * mg.asarray([[1.0, 1.0], [2.0, 3.0], [1.0, 10.0]])).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == (11.0, [2.0, 3.0])
    half = mg.ones((), dtype=mg.float16)
    assert mg.asarray([half, 1.5]).dtype == mg.float16
    assert mg.asarray([half, tensor(1)], dtype=mg.float64).dtype == mg.float64
    assert mg.stack([half, 1.5, np.float64(2)]).dtype == mg.float16
    assert mg.stack([1, 2.5]).tolist() == [1.0, 2.5]
    assert mg.asarray([tensor(1), 0.5]).dtype == mg.float32
    assert mg.tensor([tensor(1), tensor(2)]).tolist() == [1, 2]
    with pytest.raises(ValueError, match="stack"):
        mg.asarray([a, b])


def test_astype_keeps_copies_and_moves(backend):
    x = tensor([1.0, 2.0])
    assert mg.astype(x, x.dtype, copy=False) is x
    assert mg.astype(x, x.dtype) is not x
    assert mg.astype(x, mg.int8, device="strict:0").backend.name == "strict"
    assert mg.astype(1j * x, mg.bool).tolist() == [True, True]
    assert mg.astype(1j * x, mg.complex128).dtype == mg.complex128
    with pytest.raises(ValueError, match="unknown device"):
        mg.astype(x, mg.int8, device="tpu")
