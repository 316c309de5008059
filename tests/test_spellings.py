"""Names and habits of other libraries: the error says what to write instead."""

from operator import attrgetter

import pytest

import minigrad as mg
from minigrad.nn import functional as F
from minigrad.spellings import FUNCTIONS


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_that_are_meant_exist(name):
    assert callable(attrgetter(FUNCTIONS[name])(mg))
    with pytest.raises(AttributeError, match=f"calls it mg.{FUNCTIONS[name]}$"):
        attrgetter(name)(mg)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: mg.cat, r"mg\.concat"),
        (lambda: mg.onse, "mean 'ones'"),
        (lambda: mg.nn.functional.pad, r"functional' has no attribute 'pad'; .* mg\.pad$"),
        (lambda: mg.nn.functional.cat, r"mg\.concat$"),
        (lambda: mg.nn.functional.conv4d, "mean 'conv"),
        (lambda: mg.nothing_like_it, "attribute 'nothing_like_it'$"),
    ],
)
def test_what_the_error_says(ask, says):
    with pytest.raises(AttributeError, match=says):
        ask()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: mg.zeros(2, 3),
            r"zeros: expected one shape, as in mg.zeros\(\(2, 3\)\), .*got 2, 3$",
        ),
        (lambda: mg.ones(2, 3), r"ones: expected one shape, as in mg.ones\(\(2, 3\)\)"),
        (lambda: mg.empty(2, 3), r"empty: expected one shape, as in mg.empty\(\(2, 3\)\)"),
        (
            lambda: mg.zeros((2, 3), mg.int8),
            r"by keyword, as dtype=; got \(2, 3\), dtype\('int8'\)",
        ),
        (
            lambda: mg.randint(10, (3,)),
            r"randint: .* as in mg.randint\(0, 10, \(3,\)\); got 10 and \(3",
        ),
        (lambda: mg.randint(0.5), "randint: expected two integers, then the shape"),
        *(
            (
                lambda function=function: function(mg.ones((1, 2, 3, 4)), inplace=True),
                f"^{function.__name__}: unexpected keyword 'inplace'; results are always new",
            )
            for function in (
                *(F.elu, F.selu, F.celu, F.leaky_relu, F.hardtanh, F.relu6),
                *(F.dropout, F.dropout1d, F.dropout2d),
            )
        ),
    ],
)
def test_what_the_error_for_arguments_says(call, says):
    with pytest.raises(TypeError, match=says):
        call()
