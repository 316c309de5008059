"""Names of other libraries: the error says what minigrad calls the thing."""

import re

import pytest

import minigrad as mg
from minigrad.spellings import FUNCTIONS, METHODS


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_that_are_meant_exist(name):
    assert callable(getattr(mg, FUNCTIONS[name]))
    assert not hasattr(mg, name)


@pytest.mark.parametrize("name", METHODS)
def test_expressions_that_are_meant_exist(name):
    for attribute in re.findall(r"x\.(\w+)", METHODS[name]):
        assert hasattr(mg.Tensor, attribute)
    assert not hasattr(mg.ones(2), name)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda x: mg.cat, r"mg\.concat"),
        (lambda x: mg.onse, "mean 'ones'"),
        (lambda x: mg.nothing_like_it, "attribute 'nothing_like_it'$"),
        (lambda x: x.unsqueeze, r"x\.expand_dims"),
        (lambda x: x.cat, r"function: mg\.concat\(x\)"),
        (lambda x: x.float, r"x\.astype\(mg\.float32\)"),
        (lambda x: x.shap, "mean 'shape'"),
        (lambda x: x._private, "^_private$"),
    ],
)
def test_what_the_error_says(ask, says):
    with pytest.raises(AttributeError, match=says):
        ask(mg.ones(2))
