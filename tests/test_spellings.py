"""Names of other libraries: the error says what minigrad calls the thing."""

import pytest

import minigrad as mg
from minigrad.spellings import FUNCTIONS


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_that_are_meant_exist(name):
    assert callable(getattr(mg, FUNCTIONS[name]))
    assert not hasattr(mg, name)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: mg.cat, r"mg\.concat"),
        (lambda: mg.onse, "mean 'ones'"),
        (lambda: mg.nothing_like_it, "attribute 'nothing_like_it'$"),
    ],
)
def test_what_the_error_says(ask, says):
    with pytest.raises(AttributeError, match=says):
        ask()
