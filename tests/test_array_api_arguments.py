"""Any argument to any function of the standard: a result whose gradients have the inputs' shapes
and dtypes, or an error that says what is wrong.
"""

import hypothesis.strategies as st
import numpy as np
from against_numpy import numbers
from hypothesis import given, settings
from standard import DTYPES, SIGNATURES

import minigrad as mg
from minigrad import backends

ALL_DTYPES = ["float16", *DTYPES]
SHAPES = [(), (0,), (1,), (3,), (2, 3), (3, 3), (2, 0), (1, 1), (2, 3, 3), (2, 1, 3), (2, 0, 0)]
AXES = [None, 0, 1, -1, 2, -3, 5, (0, 1), (0, -1), (), (0, 0), 1.5, "a", np.int64(0)]
FLAGS = [False, True]

#: What may stand for a parameter: good values and bad ones.
VALUES = {
    "axes": [*AXES, ((0,), (1,)), ([-1], [0])],
    "axis": AXES,
    "copy": [*FLAGS, None],
    "correction": [0, 1, 0.5, 7],
    "descending": FLAGS,
    "destination": AXES,
    "dtype": [None, *map(np.dtype, ALL_DTYPES)],
    "fill_value": [1, 0.5, True, 1j, 300],
    "full_matrices": FLAGS,
    "include_initial": FLAGS,
    "indexing": ["xy", "ij", "yx"],
    "k": [0, 1, -1, 9, -9],
    "keepdims": FLAGS,
    "mode": ["reduced", "complete", "r"],
    "n": [0, 1, 2, 5, -1],
    "norm": ["backward", "ortho", "forward", "sideways"],
    "offset": [0, 1, -1, 9, -9],
    "ord": [0, 1, 2, 3, 0.5, -1, -2, np.inf, -np.inf, "fro", "nuc", "x"],
    "repeats": [2, 0, -1, 1.5],
    "repetitions": [(2,), (1, 2), (0,), (), (2, 1, 2), (-1,)],
    "rtol": [None, 0.1, 0.0],
    "s": [None, (2,), (3, 2), (0,)],
    "shape": [(6,), (-1,), (3, -1), (0,), (), 6, (1, 3), (-1, -1), (4, 2, 3, 3)],
    "shift": [1, -2, (1, 2), 0],
    "side": ["left", "right", "middle"],
    "source": AXES,
    "stable": FLAGS,
    "upper": FLAGS,
}
#: Not drawn: devices, and what is an order of another array.
LEFT_OUT = {"device", "sorter"}

FUNCTIONS = [
    name
    for name, signature in SIGNATURES.items()
    if {"x", "x1", "arrays", "condition"} & {*signature.parameters} and name != "from_dlpack"
]
REFUSALS = (TypeError, ValueError, IndexError, OverflowError)


def function(name):
    namespace = mg
    for part in name.split("."):
        namespace = getattr(namespace, part)
    return namespace


@st.composite
def calls(draw, name, backend):
    """Draw the arguments of a function; the arrays mostly have one shape and one dtype."""
    shape, dtype = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(ALL_DTYPES))
    shapes = st.just(shape) | st.sampled_from(SHAPES)
    dtypes = st.just(dtype) | st.sampled_from(ALL_DTYPES)

    def array():
        values = numbers(draw(shapes), draw(dtypes), draw(st.integers(0, 3)))
        x = mg.tensor(values, backend=backend)
        return x.requires_grad_() if values.dtype.kind == "f" and draw(st.booleans()) else x

    def value(parameter):
        if parameter.name in VALUES:
            return draw(st.sampled_from(VALUES[parameter.name]))
        if parameter.name == "indices":
            return mg.asarray(draw(st.sampled_from([[0, 1], [[0]], [9], [-1], [0.5]])))
        return array()

    given_by_place, given_by_name = [], {}
    for parameter in SIGNATURES[name].parameters.values():
        if parameter.name in LEFT_OUT:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            given_by_place += [array() for _ in range(draw(st.integers(1, 3)))]
        elif parameter.name == "arrays":
            given_by_place.append([array() for _ in range(draw(st.integers(0, 3)))])
        elif parameter.default is parameter.empty:
            given_by_place.append(value(parameter))
        elif draw(st.booleans()):
            given_by_name[parameter.name] = value(parameter)
    return given_by_place, given_by_name


def arrays_in(arguments):
    """Return the tensors among arguments and their lists, and among results."""
    for argument in arguments:
        if isinstance(argument, list | tuple):
            yield from arrays_in(argument)
        elif isinstance(argument, mg.Tensor):
            yield argument


@settings(max_examples=600)
@given(st.sampled_from(FUNCTIONS), st.data())
def test_gradients_are_like_the_inputs_or_an_error_says_why_not(backend, name, data):
    by_place, by_name = data.draw(calls(name, backend))
    with np.errstate(all="ignore"):
        try:
            result = function(name)(*by_place, **by_name)
            backends.get(backend).synchronize()  # a device refuses bad values when asked
        except REFUSALS as error:
            assert len(str(error)) > 10
            return
        for y in arrays_in([result]):
            if y.requires_grad and y.dtype.kind == "f":
                y.backward(mg.ones_like(y), retain_graph=True)
    for x in arrays_in([*by_place, *by_name.values()]):
        if x.grad is not None:
            assert (x.grad.shape, x.grad.dtype) == (x.shape, x.dtype)


def test_every_parameter_can_be_drawn():
    arrays = {"x", "x1", "x2", "arrays", "condition", "indices", "min", "max", "prepend", "append"}
    parameters = {p for name in FUNCTIONS for p in SIGNATURES[name].parameters}
    assert parameters - arrays - LEFT_OUT == {*VALUES}
