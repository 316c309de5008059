"""What holds for every shape and every index: Hypothesis looks for the ones where it does not."""

import math

import hypothesis.extra.numpy as arrays_of
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, reject

import minigrad as mg

BINARY = {
    "add": (mg.add, np.add),
    "subtract": (mg.subtract, np.subtract),
    "multiply": (mg.multiply, np.multiply),
    "divide": (mg.divide, np.divide),
    "maximum": (mg.maximum, np.maximum),
    "pow": (mg.pow, np.power),
}
REDUCTIONS = {"sum": np.sum, "mean": np.mean, "max": np.max, "var": np.var}

SHAPES = arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
FILLED = arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=4)
DTYPES = st.sampled_from([np.dtype(name) for name in ("float16", "float32", "float64")])


def numbers(shape, dtype=np.float64, seed=0):
    """Return distinct positive numbers, so that there are no ties, poles or kinks."""
    rng = np.random.default_rng(seed)
    return (0.5 + rng.permutation(math.prod(shape)) / 64).reshape(shape).astype(dtype)


def leaf(array, backend):
    return mg.tensor(array, requires_grad=True, backend=backend)


def assert_equal(found, expected, dtype=np.float64):
    precision = 32 * np.finfo(dtype).eps
    array = found.detach().numpy()
    assert (array.shape, array.dtype) == (np.shape(expected), np.result_type(dtype))
    np.testing.assert_allclose(array, expected, rtol=precision, atol=precision)


def summed_to(g, shape):
    """Un-broadcast, written out: sum over the axes that broadcasting has added or repeated."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    narrow = tuple(i for i, n in enumerate(shape) if n == 1)
    return g.sum(axis=narrow, keepdims=True)


@pytest.mark.parametrize("name", BINARY)
@given(arrays_of.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0), DTYPES)
def test_binary_ops_broadcast_as_numpy_does(backend, name, shapes, dtype):
    ours, numpys = BINARY[name]
    a, b = (numbers(shape, dtype, seed) for seed, shape in enumerate(shapes.input_shapes))
    y = ours(mg.tensor(a, backend=backend), mg.tensor(b, backend=backend))
    expected = numpys(a.astype(np.float64), b.astype(np.float64))
    assert_equal(y, expected, dtype)


@pytest.mark.parametrize("name", BINARY)
@given(arrays_of.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0))
def test_gradients_are_summed_back_to_the_inputs(backend, name, shapes):
    ours, _ = BINARY[name]
    a, b = (numbers(shape, seed=seed) for seed, shape in enumerate(shapes.input_shapes))
    g = numbers(shapes.result_shape, seed=2)

    def pulled_back(*arrays):
        xs = [leaf(array, backend) for array in arrays]
        ours(*xs).backward(mg.tensor(g, backend=backend))
        return [x.grad for x in xs]

    wide = pulled_back(*(np.broadcast_to(x, shapes.result_shape).copy() for x in (a, b)))
    for found, full, x in zip(pulled_back(a, b), wide, (a, b), strict=True):
        assert_equal(found, summed_to(full.numpy(), x.shape))


@st.composite
def indexed(draw):
    """A shape and a key that NumPy takes for it: basic, integer arrays, masks, and mixtures."""
    shape = draw(FILLED)
    kind = draw(st.sampled_from(["basic", "integers", "mask", "mixed"]))
    if kind == "basic":
        return shape, draw(
            arrays_of.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True, max_dims=6)
        )
    if kind == "mask" or not shape:
        axes = draw(st.integers(0, len(shape)))
        return shape, draw(arrays_of.arrays(bool, shape[:axes]))
    if kind == "integers":
        axes = draw(st.integers(1, len(shape)))
        result = draw(arrays_of.broadcastable_shapes((2, 3), max_dims=2, max_side=3))
        return shape, tuple(draw(integers(n, result)) for n in shape[:axes])
    return shape, tuple(
        draw(st.one_of(integers(n, (2,)), st.slices(n), st.integers(-n, n - 1))) for n in shape
    )


def integers(length, shape):
    return arrays_of.arrays(np.int64, shape, elements=st.integers(-length, length - 1))


def moved(key, backend):
    """Return the key with its arrays on the backend, as a user of a device has them."""
    if isinstance(key, tuple):
        return tuple(moved(k, backend) for k in key)
    return mg.tensor(key, backend=backend) if isinstance(key, np.ndarray) else key


@given(indexed())
def test_getitem_is_numpys_and_its_gradient_scatters(backend, shape_and_key):
    shape, key = shape_and_key
    array = numbers(shape)
    x = leaf(array, backend)
    y = x[moved(key, backend)]
    assert_equal(y, array[key])
    g, expected = numbers(y.shape, seed=1), np.zeros(shape)
    y.backward(mg.tensor(g, backend=backend))
    np.add.at(expected, key, g)
    assert_equal(x.grad, expected)


@given(indexed(), st.booleans())
def test_at_add_accumulates(backend, shape_and_key, scalar):
    shape, key = shape_and_key
    array = numbers(shape)
    v = numbers(() if scalar else array[key].shape, seed=1)
    x, t = leaf(array, backend), leaf(v, backend)
    y = x.at[moved(key, backend)].add(t)
    expected = array.copy()
    np.add.at(expected, key, v)
    assert_equal(y, expected)
    assert_equal(x, array)
    g = numbers(shape, seed=2)
    y.backward(mg.tensor(g, backend=backend))
    assert_equal(x.grad, g)
    assert_equal(t.grad, g[key].sum() if scalar else g[key])


@given(indexed(), st.booleans())
def test_setitem_and_at_set_write_what_numpy_writes(backend, shape_and_key, scalar):
    shape, key = shape_and_key
    array, expected = numbers(shape), numbers(shape)
    # One value, where elements named twice would leave the winner open.
    v = np.float64(7) if scalar else np.full(array[key].shape, 7.0)
    expected[key] = v
    x, t = leaf(array, backend), leaf(v, backend)
    y = x.at[moved(key, backend)].set(t)
    assert_equal(y, expected)
    g = numbers(shape, seed=2)
    y.backward(mg.tensor(g, backend=backend))
    kept = g.copy()
    kept[key] = 0
    assert_equal(x.grad, kept)
    written = x.detach()
    written[moved(key, backend)] = t.detach()
    assert_equal(written, expected)


@given(SHAPES, st.data())
def test_rearranging_is_numpys_and_its_gradient_goes_back(backend, shape, data):
    array = numbers(shape)
    axes = data.draw(st.permutations(range(len(shape))))
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    x = leaf(array, backend)
    y = mg.flip(mg.expand_dims(mg.permute_dims(x, tuple(axes)), axis)).reshape(-1)
    assert_equal(y, np.flip(np.expand_dims(array.transpose(axes), axis)).reshape(-1))
    y.backward(mg.tensor(y.detach().numpy(), backend=backend))
    assert_equal(x.grad, array)


@pytest.mark.parametrize("name", REDUCTIONS)
@given(FILLED, st.data(), st.booleans(), DTYPES)
def test_reductions_are_numpys(backend, name, shape, data, keepdims, dtype):
    every = st.integers(-len(shape), len(shape) - 1) if shape else st.nothing()
    some = st.lists(every, unique_by=lambda a: a % len(shape)).map(tuple) if shape else st.just(())
    axis = data.draw(st.one_of(st.none(), every, some))
    array = numbers(shape, dtype)
    found = getattr(mg, name)(mg.tensor(array, backend=backend), axis=axis, keepdims=keepdims)
    expected = REDUCTIONS[name](array.astype(np.float64), axis=axis, keepdims=keepdims)
    assert_equal(found, expected, dtype)


@given(FILLED, st.lists(st.integers(0, 3), min_size=1, max_size=4), st.data())
def test_concat_and_stack_join_and_split_again(backend, shape, lengths, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1)) if shape else 0
    parts = [numbers(shape, seed=i) for i in range(len(lengths))]
    xs = [leaf(part, backend) for part in parts]
    stacked = mg.stack(xs, axis=axis)
    assert_equal(stacked, np.stack(parts, axis=axis))
    stacked.backward(mg.tensor(np.stack(parts, axis=axis), backend=backend))
    for x, part in zip(xs, parts, strict=True):
        assert_equal(x.grad, part)
    if not shape:
        return
    parts = [
        np.repeat(part.take([0], axis), n, axis) for part, n in zip(parts, lengths, strict=True)
    ]
    xs = [leaf(part, backend) for part in parts]
    joined = mg.concat(xs, axis=axis)
    assert_equal(joined, np.concatenate(parts, axis=axis))
    joined.backward(mg.tensor(np.concatenate(parts, axis=axis), backend=backend))
    for x, part in zip(xs, parts, strict=True):
        assert_equal(x.grad, part)


# Rearrangements: a strategy draws the params for a shape.


def ints(low, high):
    return st.integers(low, high)


def axes(shape):
    return ints(-len(shape), len(shape) - 1)


def rolls(shape):
    both = st.lists(st.tuples(ints(-9, 9), axes(shape)), max_size=3)
    return both.map(lambda pairs: {"shift": [n for n, _ in pairs], "axis": [a for _, a in pairs]})


def some_counts(shape):
    def counts(axis):
        every = st.lists(ints(0, 3), min_size=shape[axis], max_size=shape[axis])
        one_or_every = ints(0, 3) if shape[axis] == 1 else st.one_of(ints(0, 3), every)
        return one_or_every.map(lambda n: {"repeats": n, "axis": axis})

    return axes(shape).flatmap(counts)


def paddings(shape):
    pairs = st.lists(st.tuples(ints(0, 5), ints(0, 5)), min_size=len(shape), max_size=len(shape))
    modes = st.sampled_from(["constant", "edge", "reflect", "symmetric", "wrap"])
    return st.fixed_dictionaries({"pad_width": pairs, "mode": modes})


def planes(shape):
    two = st.lists(axes(shape), min_size=2, max_size=2, unique_by=lambda a: a % len(shape))
    both = st.tuples(ints(-4, 4), two)
    return both.map(lambda drawn: {"offset": drawn[0], "axis1": drawn[1][0], "axis2": drawn[1][1]})


def cuts(shape):
    places = st.lists(ints(-5, 5), max_size=3)
    return st.fixed_dictionaries({"indices_or_sections": places, "axis": axes(shape)})


REARRANGEMENTS = {
    "roll": (lambda x, shift, axis: mg.roll(x, tuple(shift), tuple(axis)), np.roll, rolls),
    "repeat": (
        lambda x, repeats, axis: mg.repeat(x, repeats, axis=axis),
        np.repeat,
        some_counts,
    ),
    "tile": (
        lambda x, reps: mg.tile(x, tuple(reps)),
        np.tile,
        lambda shape: st.lists(ints(0, 3), max_size=4).map(lambda reps: {"reps": reps}),
    ),
    "pad": (mg.pad, np.pad, paddings),
    "diagonal": (mg.diagonal, np.diagonal, planes),
    "tril": (mg.tril, np.tril, lambda shape: st.fixed_dictionaries({"k": ints(-4, 4)})),
    "triu": (mg.triu, np.triu, lambda shape: st.fixed_dictionaries({"k": ints(-4, 4)})),
    "split": (mg.split, np.split, cuts),
    "unstack": (
        mg.unstack,
        lambda x, axis: tuple(np.moveaxis(x, axis, 0)),
        lambda shape: st.fixed_dictionaries({"axis": axes(shape)}),
    ),
}


def parts_of(result):
    """Return what a function gave as a tuple."""
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def assert_rearranged(ours, numpys, array, backend):
    """Compare values with NumPy's, and the gradient with how often each element is used."""
    x = leaf(array, backend)
    parts = parts_of(ours(x))
    for y, value in zip(parts, parts_of(numpys(array)), strict=True):
        np.testing.assert_array_equal(y.detach().numpy(), value, strict=True)
    mg.concat(parts, axis=None).sum().backward()
    assert (x.grad.shape, x.grad.dtype) == (array.shape, array.dtype)
    numbered = 1 + np.arange(array.size).reshape(array.shape)  # 0 is what was not in x
    used = np.concatenate([np.ravel(part) for part in parts_of(numpys(numbered))])
    counts = np.bincount(used, minlength=array.size + 1)[1:]
    np.testing.assert_array_equal(x.grad.numpy(), counts.reshape(array.shape))


@pytest.mark.parametrize("name", REARRANGEMENTS)
@given(st.data(), DTYPES)
def test_rearrangements_are_numpys_and_their_gradients_go_back(backend, name, data, dtype):
    ours, numpys, params = REARRANGEMENTS[name]
    low = 2 if name in ("diagonal", "tril", "triu") else 1
    shape = data.draw(arrays_of.array_shapes(min_dims=low, max_dims=3, min_side=1, max_side=4))
    keywords = data.draw(params(shape))
    assert_rearranged(
        lambda x: ours(x, **keywords),
        lambda x: numpys(x, **keywords),
        numbers(shape, dtype),
        backend,
    )


@given(FILLED.filter(bool), st.data(), DTYPES, st.booleans())
def test_taking_accumulates(backend, shape, data, dtype, along):
    axis = data.draw(axes(shape))
    if along:
        lengths = [data.draw(st.sampled_from([1, n])) for n in shape]
        lengths[axis] = data.draw(ints(0, 3))
    else:
        lengths = data.draw(arrays_of.array_shapes(min_dims=0, max_dims=2, max_side=3))
    index = data.draw(integers(shape[axis], tuple(lengths)))
    ours, numpys = (mg.take_along_axis, np.take_along_axis) if along else (mg.take, np.take)
    assert_rearranged(
        lambda x: ours(x, mg.tensor(index, backend=backend), axis=axis),
        lambda x: np.asarray(numpys(x, index, axis)),
        numbers(shape, dtype),
        backend,
    )


WRONG_KEYS = st.one_of(
    ints(-9, 9),
    st.floats(width=16),
    st.text(max_size=2),
    st.none(),
    st.booleans(),
    st.slices(3),
    st.lists(st.one_of(ints(-9, 9), st.booleans(), st.floats(width=16)), max_size=3),
    arrays_of.arrays(st.sampled_from([bool, np.uint8, np.int64]), SHAPES),
    st.just(...),
)


@given(SHAPES, st.one_of(WRONG_KEYS, st.tuples(WRONG_KEYS, WRONG_KEYS)))
def test_a_key_is_numpys_or_refused_with_numpys_error(backend, shape, key):
    array = numbers(shape)
    x = mg.tensor(array, backend=backend)
    try:
        expected = array[key]
    except DeprecationWarning:
        reject()  # NumPy 2.1 warns of an index into nothing, where later ones raise
    except (IndexError, ValueError, TypeError) as error:
        # A ragged list is an IndexError here, like all that is no index.
        with pytest.raises((type(error), IndexError)):
            x[moved(key, backend)].numpy()
    else:
        np.testing.assert_array_equal(x[moved(key, backend)].numpy(), expected, strict=True)
