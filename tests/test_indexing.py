"""Every form of key that NumPy takes, read, written and differentiated; keys that it refuses."""

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg

pytestmark = pytest.mark.usefixtures("on_each_backend")

ROWS, COLUMNS = np.array([True, False]), np.array([True, False, True])
MATRIX = np.array([[True, False, True], [False, True, True]])
ALL = slice(None)

# What arrays in a key are, tensors and lists must be as well.
KEYS = {
    "an integer": -1,
    "a NumPy integer": np.uint8(1),
    "a 0-d array": np.array(1),
    "a 0-d array after a slice": (ALL, np.array(-1)),
    "0-d arrays": (np.array(0), np.array(1), np.array(2)),
    "a 0-d array beside a vector": (np.array(0), np.array([0, 1])),
    "all integers": (0, 1, 2),
    "nothing": (),
    "an ellipsis": (0, ..., 1),
    "new axes": (None, 0, mg.newaxis, ..., None, 1),
    "a negative step": (slice(None, None, -1), slice(2, 0, -2)),
    "a slice that is too long": slice(-100, 100, 7),
    "a slice of NumPy integers": slice(np.int64(0), np.int8(1)),
    "a slice of 0-d arrays": slice(np.array(0), np.array(1)),
    "a narrow unsigned array": np.array([1, 0], np.uint8),
    "a narrow array": np.array([-1, 0], np.int8),
    "a wide unsigned array": np.array([1], np.uint64),
    "a nested array": np.array([[0, -1], [1, 0]]),
    "arrays that broadcast": (np.array([[0], [1]]), np.array([0, 1, 2])),
    "arrays around a slice": (np.array([0, 1]), ALL, np.array([3, 3])),
    "arrays around a new axis": (np.array([0, 1]), None, np.array([1, 2])),
    "an array and an integer around a slice": (0, ALL, np.array([1, 2])),
    "an array after a negative step": (slice(None, None, -1), np.array([0, 2])),
    "an empty array": np.empty(0, np.int64),
    "a read-only view": (ALL, np.broadcast_to(np.arange(3)[::-1], (2, 3))),
    "a list": [0, -1],
    "nested lists": ([[0, 1], [1, 0]], [[2], [0]]),
    "a tuple in a tuple": ((0, 1),),
    "a list of booleans": [True, False],
    "an empty list": [],
    "an empty list after a slice": (ALL, []),
    "an empty tuple in a tuple": ((),),
    "an empty nested list": [[]],
    "a range": range(2),
    "a mask of the first axis": ROWS,
    "a mask of two axes": MATRIX,
    "a mask of all": np.zeros((2, 3, 4), bool),
    "a mask after a slice": (ALL, COLUMNS),
    "a mask after an integer": (0, COLUMNS),
    "a mask after an ellipsis": (..., np.array([True, False, False, True])),
    "a mask, a slice and an array": (ROWS, ALL, np.array([3])),
    "a mask, a new axis and an integer": (ROWS, None, 1),
    "masks": (ROWS, np.array([False, True, False])),
    "True": True,
    "False": np.False_,
    "a 0-d mask": np.array(True),
    "a 0-d mask before an integer": (np.array(False), 0),
    "a boolean between integers": (0, True, [0, 1]),
}


def moved(key):
    """Return the key with its arrays as tensors."""
    if isinstance(key, tuple):
        return tuple(map(moved, key))
    if isinstance(key, slice):
        return slice(*map(moved, (key.start, key.stop, key.step)))
    return tensor(key) if isinstance(key, np.ndarray) else key


@pytest.mark.parametrize("form", [moved, lambda key: key], ids=["tensors", "arrays"])
@pytest.mark.parametrize("name", KEYS)
def test_a_key_means_what_it_means_to_numpy(name, form):
    key, array = KEYS[name], np.arange(24.0).reshape(2, 3, 4)
    x, part = tensor(array, requires_grad=True), array[key]
    values = np.arange(float(part.size)).reshape(part.shape)

    y = x[form(key)]
    np.testing.assert_array_equal(y.detach().numpy(), part, strict=True)
    y.sum().backward()
    counts = np.zeros_like(array)
    np.add.at(counts, key, 1.0)
    np.testing.assert_array_equal(x.grad.numpy(), counts)

    # Where a key names an element twice, a GPU keeps either value.
    is_open = x.device == "cuda:0" and counts.max() > 1
    for value in (7,) if is_open else (7, values):
        expected, written, again = array.copy(), tensor(array), tensor(array)
        expected[key] = again[form(key)] = value
        np.testing.assert_array_equal(again.numpy(), expected)
        moved_value = tensor(value) if value is values else value
        written[form(key)] = moved_value
        np.testing.assert_array_equal(written.numpy(), expected)
        np.testing.assert_array_equal(x.detach().at[form(key)].set(moved_value).numpy(), expected)

    expected = array.copy()
    np.add.at(expected, key, values)
    np.testing.assert_array_equal(x.detach().at[form(key)].add(tensor(values)).numpy(), expected)


DTYPES = ["bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))]


@pytest.mark.parametrize("dtype", [*DTYPES, "float16", "float32", "complex64", "complex128"])
def test_what_is_added_twice_is_added_in_every_dtype(dtype):
    x, v, key = (np.array(a) for a in ([0, 100, 1, 0], [100, 30, 1, 0], [1, 1, 0, 3]))
    x, v = x.astype(dtype), (v * (1 - 2j) if "complex" in dtype else v).astype(dtype)
    for value in (v, True if dtype == "bool" else 2):
        found = tensor(x).at[key].add(tensor(v) if value is v else value)
        expected = x.copy()
        np.add.at(expected, key, value)  # integers wrap around
        np.testing.assert_array_equal(found.numpy(), expected, strict=True)


BAD_KEYS = {
    "a float": (1.0, IndexError, "float"),
    "floats": ([0.5], IndexError, "float"),
    "an empty array of floats": (np.empty(0), IndexError, "float64"),
    "nan": (np.nan, IndexError, "float"),
    "a complex number": (1j, IndexError, "complex"),
    "a string": ("a", IndexError, "'a'"),
    "a dict": ({}, IndexError, "dict"),
    "a slice in a list": ([0, slice(None)], IndexError, "slice"),
    "a ragged list": ([[0], [0, 1]], IndexError, "regular"),
    "a slice between floats": (slice(0.5, None), TypeError, "float"),
    "a step of 0": (slice(None, None, 0), ValueError, "zero"),
    "out of bounds": (2, IndexError, r"[Ii]ndex 2 .*axis 0.*\(2, 3, 4\)"),
    "far out of bounds": (2**70, IndexError, "integer"),
    "too many": ((0, 0, 0, 0), IndexError, "3-dimensional"),
    "two ellipses": ((..., ...), IndexError, "ellipsis"),
    "a mask of another shape": (COLUMNS, IndexError, r"\(3,\) at axis 0.*\(2, 3, 4\)"),
    "a mask of more axes": (np.ones((2, 3, 4, 1), bool), IndexError, r"\(2, 3, 4, 1\)"),
    "arrays that do not broadcast": (([0, 1], [0, 1, 2]), IndexError, "broadcast"),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_a_key_that_does_not_fit_is_refused(name):
    key, error, says = BAD_KEYS[name]
    x = tensor(np.arange(24.0).reshape(2, 3, 4))
    with pytest.raises(error, match=says):
        x[key]
    with pytest.raises(error, match=says):
        x[key] = 0.0
    with pytest.raises(error, match=says):
        x.at[key].add(1.0)
    assert x.tolist() == np.arange(24.0).reshape(2, 3, 4).tolist()


def test_what_is_written_is_read_before():
    x = tensor(np.arange(5))
    x[1:] = x[:-1]
    assert x.tolist() == [0, 0, 1, 2, 3]
    x[...] = x[::-1]
    assert x.tolist() == [3, 2, 1, 0, 0]


def test_only_tensors_are_written_into():
    with pytest.raises(TypeError, match="ndarray"):
        mg.setitem(np.zeros(2), 0, 1.0)


@pytest.mark.parametrize("made", [np.array, tensor, float])
def test_changed_elements_keep_the_dtype(made):
    x, value = mg.zeros(3, dtype=np.float32, requires_grad=True), made(np.float64(1.5))
    for y in (x.at[1].set(value), x.at[[1]].add(value)):
        assert (y.dtype, y.tolist()) == (np.float32, [0.0, 1.5, 0.0])
    v = tensor(np.array([1.5]), requires_grad=True)
    x.at[:1].set(v).sum().backward()
    assert (v.grad.dtype, v.grad.tolist()) == (np.float64, [1.0])
