"""Test the tester: gradcheck passes right rules, fails wrong ones, and says where."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import GradcheckError, gradcheck
from minigrad.engine import TABLE, Op
from minigrad.methods import BINARY, UNARY


@pytest.fixture(autouse=True)
def on_backend(backend):
    """Every tensor below is made on the backend under test."""
    with mg.use_backend(backend):
        yield


def point(*shape, seed=0):
    """Return distinct numbers from 0.5 to 1.5, away from every kink below."""
    return mg.tensor(0.5 + np.random.default_rng(seed).random(shape))


def table(rows, names):
    """Parametrise by a dict: test id -> values."""
    values = [row if "," in names else (row,) for row in rows.values()]
    return pytest.mark.parametrize(names.split(", "), values, ids=list(rows))


MODES = {"full": {}, "fast": {"fast": True}, "second order": {"order": 2}}
MODES["fast, second order"] = {"fast": True, "order": 2}
modes = table(MODES, "options")


RIGHT = {
    "one input": (lambda x: mg.exp(x) * x, lambda: point(3)),
    "0-d": (lambda x: x**3, point),
    "no elements": (lambda x: x * x, lambda: point(0, 3)),
    "linear": (lambda x: x * 3 + 1, lambda: point(2)),
    "constant": (lambda x: mg.tensor(np.ones(2)), lambda: point(2)),
    "several inputs": (lambda x, y: x / y, lambda: [point(2, 1), point(3, seed=1)]),
    "several outputs": (lambda x: (mg.log(x), x * x), lambda: point(2)),
    "an output aside": (lambda x: (x * x, mg.argmax(x)), lambda: point(3)),
    "an unused input": (lambda x, y: x * x, lambda: [point(2), point(3)]),
    "matrices": (lambda x, y: x @ y, lambda: (point(2, 3), point(3, 2, seed=1))),
    "arrays": (lambda x: mg.sqrt(x), lambda: np.array([1.0, 2.0])),
    "transposed": (lambda x: mg.exp(x), lambda: point(3, 2).T),
    "strided": (lambda x: mg.exp(x), lambda: point(3, 4)[:, ::-2]),
    "broadcast, stride 0": (lambda x: x * x, lambda: point(3).broadcast_to((2, 3))),
    "integers passed on": (
        lambda x, i: x[i] * x[0],
        lambda: [point(4), mg.tensor([1, 1, 3])],
    ),
    "booleans passed on": (
        lambda x, m: mg.where(m, x * x, x),
        lambda: [point(2), np.array([True, False])],
    ),
    "around relu's kink": (lambda x: mg.relu(x - 1.0), lambda: np.array([0.5, 1.5])),
}


@table(RIGHT, "f, make")
@modes
def test_right_derivatives_pass(f, make, options):
    assert gradcheck(f, make(), **options) is True


def test_the_third_order_passes():
    assert gradcheck(lambda x: x**4, point(2), order=3)


def test_the_inputs_are_left_as_they_were():
    x = point(2).requires_grad_()
    before = x.tolist()
    x.grad = mg.tensor(np.ones(2))
    gradcheck(lambda x: x * x, x, order=2)
    assert (x.tolist(), x.grad.tolist()) == (before, [1, 1])
    y = point(2)
    gradcheck(lambda y: y * y, y)
    assert not y.requires_grad


def test_it_works_under_no_grad():
    with mg.no_grad():
        assert gradcheck(lambda x: mg.exp(x), point(2))


@pytest.fixture
def squared():
    """Return a function that defines x² with a rule, for one test."""
    ops = []

    def define(rule):
        ops.append(Op("squared", lambda xp, x: x * x, {"x": rule}))
        return ops[-1]

    yield define
    for op in ops:
        for names in (TABLE, UNARY, BINARY):
            names.pop(op.name)
        for loaded in mg.backends._loaded.values():
            loaded.runs.pop(op, None)


def one_element_off(g, x):
    return (g * x * 2).at[1].add(0.01)


WRONG = {
    "off by 1 %": lambda g, x: g * x * 2.02,
    "another sign": lambda g, x: g * x * -2,
    "zero": lambda g, x: mg.zeros_like(g),
    "missing": lambda g, x: None,
    "nan": lambda g, x: g * np.nan,
    "inf": lambda g, x: g * np.inf,
    "one element": one_element_off,
}


@table(WRONG, "rule")
@modes
def test_wrong_rules_fail(squared, rule, options):
    op = squared(rule)
    with pytest.raises(GradcheckError, match="derivatives are wrong"):
        gradcheck(op, point(3), **options)


def test_the_right_rule_passes(squared):
    assert gradcheck(squared(lambda g, x: g * x * 2), point(3), order=2)


@modes
def test_a_rule_of_a_wrong_shape_fails(squared, options):
    op = squared(lambda g, x: (g * x * 2).sum())
    with pytest.raises(RuntimeError, match=r"squared: the derivative rule for x returned shape"):
        gradcheck(op, point(3), **options)


@table(
    {
        "a constant of the point": lambda g, x: g * x.detach() * 2,
        "a constant of the cotangent": lambda g, x: g.detach() * x * 2,
        "off by 1 %": lambda g, x: g * (x * 2.02 - x.detach() * 0.02),
    },
    "rule",
)
@pytest.mark.parametrize("fast", [False, True])
def test_wrong_second_derivatives_fail_at_the_second_order(squared, rule, fast):
    op = squared(rule)
    assert gradcheck(op, point(3), fast=fast)
    with pytest.raises(GradcheckError, match="in the derivative: input"):
        gradcheck(op, point(3), order=2, fast=fast)


def test_a_result_cut_off_the_tape_fails():
    with pytest.raises(GradcheckError, match="analytic 0, numeric"):
        gradcheck(lambda x: (x * x).detach() + 0 * x, point(2))


@pytest.mark.parametrize("fast", [False, True])
def test_the_report_names_input_output_element_and_values(squared, fast):
    op = squared(one_element_off)
    x = mg.tensor(np.array([1.0, 2.0, 3.0]))
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda a, b: (a * b, op(b)), [x, x], fast=fast)
    text = str(caught.value)
    assert text.startswith("input 1, shape (3,): ")
    # The rule adds 0.01 to element 1 whatever the cotangent is: to every row of the Jacobian.
    assert "of 18 derivatives are wrong" in text
    assert "by element (1,): analytic" in text


def test_the_report_names_the_worst_element(squared):
    op = squared(lambda g, x: g * x * mg.tensor(np.array([[2.0, 2.0], [2.0, 2.5]])))
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda a, b: (a, op(b)), [point(1), mg.tensor(np.full((2, 2), 3.0))])
    assert str(caught.value) == (
        "input 1, shape (2, 2): 1 of 20 derivatives are wrong, most of all output 1 element (1, 1) "
        "by element (1, 1): analytic 7.5, numeric 6"
    )


def test_every_wrong_input_is_reported(squared):
    op = squared(lambda g, x: g * x * 2.02)
    with pytest.raises(GradcheckError, match=r"input 0, .*; input 1, "):
        gradcheck(lambda a, b: op(a) + op(b), [point(2), point(2, seed=1)])


@table(
    {
        "relu": (mg.relu, [1.0, 0.0], "is 0 before it and 1 after"),
        "abs": (abs, [1.0, 0.0], "is -1 before it and 1 after"),
        "maximum": (lambda x: mg.maximum(x, 2.0), [1.0, 2.0], "is 0 before it and 1 after"),
        "a pole": (lambda x: 1 / x, [1.0, 0.0], "near a kink or a pole"),
        "the edge of a domain": (mg.sqrt, [1.0, 0.0], "near a kink or a pole"),
    },
    "f, x, says",
)
def test_kinks_and_poles_are_refused(f, x, says):
    with np.errstate(all="ignore"), pytest.raises(GradcheckError, match=says) as caught:
        gradcheck(f, np.array(x))
    assert "input 0" in str(caught.value) and "element (1,)" in str(caught.value)


def test_a_jump_is_no_slope():
    with pytest.raises(GradcheckError, match="analytic 0, numeric 1000000"):
        gradcheck(mg.sign, np.array([1.0, 0.0]))


@modes
def test_a_random_function_is_refused(options):
    with pytest.raises(GradcheckError, match="different values when called twice: is it random"):
        gradcheck(lambda x: mg.dropout(x), point(20), **options)


@table(
    {
        "float32": (lambda x: x, [np.ones(2, np.float32)], "needs float64 inputs, got float32"),
        "float16 beside float64": (
            lambda x, y: x,
            [np.ones(2), np.ones(2, np.float16)],
            r"needs float64 inputs, got float16 of shape \(2,\)",
        ),
        "integers alone": (lambda x: x, [np.ones(2, np.int64)], "at least one float64 input"),
        "no inputs": (lambda: mg.tensor(1.0), [], "at least one float64 input"),
        "no result": (lambda x: None, [np.ones(2)], "f must return tensors, got None"),
        "a number": (lambda x: x.sum().item(), [np.ones(2)], "f must return tensors, got 2.0"),
    },
    "f, inputs, says",
)
def test_what_cannot_be_checked(f, inputs, says):
    with pytest.raises(TypeError, match=says):
        gradcheck(f, inputs)


def test_an_order_below_one():
    with pytest.raises(ValueError, match="order must be at least 1, got 0"):
        gradcheck(lambda x: x, point(1), order=0)


def test_tolerances_are_arguments(squared):
    op = squared(lambda g, x: g * x * 2.02)
    assert gradcheck(op, point(3), rtol=0.02)
    with pytest.raises(GradcheckError):
        gradcheck(op, point(3), rtol=0.005)


@pytest.mark.parametrize("f", [lambda x: x > 0, lambda x: (x, mg.tensor([1j]))])
def test_outputs_that_cannot_be_checked_are_refused(f):
    with pytest.raises(TypeError, match="f must return real floats"):
        mg.gradcheck(f, mg.tensor([1.0], dtype=mg.float64))
