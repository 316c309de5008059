"""Names of other libraries: the error says what minigrad calls the thing."""

from operator import attrgetter

import pytest

import minigrad as mg
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
