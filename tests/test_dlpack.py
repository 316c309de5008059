"""Memory shared with NumPy, PyTorch, JAX and CuPy, both ways."""

import importlib

import numpy as np
import pytest

import minigrad as mg
from minigrad import backends

LIBRARIES = ["numpy", "torch", "jax.numpy"]
DTYPES = ["bool", "int8", "uint8", "int64", "float16", "float32", "float64", "complex64"]
SHAPES = [(), (0, 3), (4,), (2, 3)]


@pytest.fixture(params=LIBRARIES)
def library(request):
    found = pytest.importorskip(request.param, reason='needs the extra "compare"')
    if request.param != "jax.numpy":
        yield found
        return
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    yield found
    jax.config.update("jax_enable_x64", False)


def values(shape, dtype="float32"):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def address(array):
    if isinstance(array, mg.Tensor):
        array = array._array
    if hasattr(array, "data_ptr"):
        return array.data_ptr()
    return array.unsafe_buffer_pointer() if hasattr(array, "at") else array.ctypes.data


def aligned(array):
    """Return a copy whose memory starts where JAX wants it."""
    room = np.empty(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    out = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_others_see_a_tensors_memory(library, name, dtype, shape):
    if not backends.status()[name].usable:
        pytest.skip(f"needs {name}")
    array = aligned(values(shape, dtype))
    x = mg.asarray(array, backend=name)
    assert x.__dlpack_device__() == (1, 0)
    other = library.from_dlpack(x)
    np.testing.assert_array_equal(np.asarray(other), array, strict=True)
    assert address(other) == address(x) or not x.size


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_tensor_sees_the_memory_of_others(library, dtype, shape):
    other = library.asarray(values(shape, dtype))
    x = mg.from_dlpack(other)
    assert (x.backend, x.device) == (backends.default(), "cpu")
    np.testing.assert_array_equal(x.numpy(), values(shape, dtype), strict=True)
    assert address(other) == address(x) or not x.size


def test_writes_go_through():
    torch = pytest.importorskip("torch", reason='needs PyTorch (the extra "compare")')
    x = mg.zeros(3)
    torch.from_dlpack(x)[0] = 1
    there = torch.ones(3)
    y = mg.from_dlpack(there)
    y[1] = 5.0
    assert (x.tolist(), there.tolist()) == ([1, 0, 0], [1, 5, 1])


def test_writes_to_a_tensor_of_a_tensor_are_noticed():
    x, w = mg.ones(3), mg.ones(3, requires_grad=True)
    y = (w * x).sum()
    mg.from_dlpack(x)[0] = 5.0
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_copies_where_asked(library):
    x = mg.asarray(aligned(values((2, 3))))
    other = library.asarray(values((2, 3)))
    if library.__name__ != "jax.numpy":  # which does not ask for the copy, of nobody
        assert address(library.from_dlpack(x, copy=True)) != address(x)
    assert address(library.from_dlpack(x, copy=False)) == address(x)
    assert address(mg.from_dlpack(other, copy=True)) != address(other)
    assert address(mg.from_dlpack(other, copy=False, device="cpu")) == address(other)


@pytest.mark.parametrize(
    "view", [lambda a: a.T, lambda a: a[:, ::2], lambda a: a[1:]], ids=["T", "strided", "rest"]
)
def test_strides(view):
    torch = pytest.importorskip("torch", reason='needs PyTorch (the extra "compare")')
    array, there = values((4, 3)), torch.asarray(values((4, 3)))
    for found in (
        mg.from_dlpack(view(there)).numpy(),
        torch.from_dlpack(view(mg.asarray(array))).numpy(),
        np.from_dlpack(view(mg.asarray(array))),
    ):
        np.testing.assert_array_equal(found, view(array), strict=True)
        assert not found.flags.owndata
    np.testing.assert_array_equal(np.from_dlpack(mg.asarray(array)[::-1]), array[::-1])


def test_read_only_memory_stays_read_only():
    x = mg.broadcast_to(mg.ones(1), 3)
    assert not np.from_dlpack(x).flags.writeable
    y = mg.from_dlpack(np.broadcast_to(np.ones(1), 3))
    with pytest.raises(ValueError, match="read-only"):
        y[0] = 2.0


def test_a_tensor_on_the_tape_is_not_exported(library):
    x = mg.ones(3, requires_grad=True)
    for t in (x, 2 * x):
        with pytest.raises(RuntimeError, match=r"tape.*detach\(\)"):
            library.from_dlpack(t)
        assert np.asarray(library.from_dlpack(t.detach())).sum() in (3, 6)


def test_a_device_that_nobody_has_gives_the_host_a_copy():
    x = mg.tensor(values((2, 3)), backend="strict")
    np.testing.assert_array_equal(np.from_dlpack(x, device="cpu"), values((2, 3)))
    assert mg.from_dlpack(x, device="cpu").device == "cpu"
    with pytest.raises(BufferError, match="type 12"):
        mg.from_dlpack(x)
    with pytest.raises(BufferError, match="copy=False"):
        mg.from_dlpack(x, device="cpu", copy=False)
    there = mg.from_dlpack(values(3), device="strict:0")
    assert (there.device, there.tolist()) == ("strict:0", [0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="copy=False"):
        mg.from_dlpack(values(3), device="strict:0", copy=False)


def test_what_cannot_be_exchanged_is_named():
    with pytest.raises(AttributeError, match="__dlpack__, got list"):
        mg.from_dlpack([1, 2])
    with pytest.raises(ValueError, match=r"unknown device 'tpu'.*cpu"):
        mg.from_dlpack(values(3), device="tpu")
    torch = pytest.importorskip("torch", reason='needs PyTorch (the extra "compare")')
    with pytest.raises(BufferError, match="dtype"):
        mg.from_dlpack(torch.ones(2, dtype=torch.bfloat16))


@pytest.mark.gpu
@pytest.mark.skipif(not backends.status()["cupy"].usable, reason="needs a CUDA device")
def test_cupy():
    cupy = importlib.import_module("cupy")
    x, there = mg.tensor(values((2, 3)), backend="cupy"), cupy.ones(3)
    assert x.__dlpack_device__()[0] == 2
    assert cupy.from_dlpack(x).data.ptr == x._array.data.ptr
    y = mg.from_dlpack(there)
    assert (y.device, y._array.data.ptr) == ("cuda:0", there.data.ptr)
    np.testing.assert_array_equal(np.from_dlpack(x, device="cpu"), values((2, 3)))
    assert mg.from_dlpack(there, device="cpu").tolist() == [1.0, 1.0, 1.0]
