"""The engine: ops and their rules, the tape, backward, memory, changes in place, Tensor itself."""

import contextvars
import copy
import gc
import importlib
import itertools
import operator
import pickle
import sys
import threading
import weakref
from array import array
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minigrad as mg
from minigrad import backends
from minigrad.engine import TABLE, Op
from minigrad.methods import BINARY, UNARY
from minigrad.ops.elementwise import absorb


@pytest.fixture(autouse=True)
def on_backend(backend):
    """Every tensor below is made on the backend under test."""
    with mg.use_backend(backend):
        yield


@pytest.fixture
def define():
    """Define ops for one test and take them out of the engine's tables afterwards."""
    ops = []

    def make(*args, **options):
        ops.append(Op(*args, **options))
        return ops[-1]

    yield make
    for op in ops:
        for table in (TABLE, UNARY, BINARY):
            table.pop(op.name)
        for loaded in backends._loaded.values():
            loaded.runs.pop(op, None)


@pytest.fixture
def without_collector():
    """Only reference counts free what a test leaves behind; the rest is the test's to find."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def leaf(values, dtype=np.float64):
    return mg.tensor(np.asarray(values, dtype), requires_grad=True)


def const(values, dtype=np.float64):
    return mg.tensor(np.asarray(values, dtype))


def values_of(*tensors):
    return [None if t is None else t.tolist() for t in tensors]


def table(rows, names):
    """Parametrise by a dict: test id -> values."""
    rows = {name: row if isinstance(row, tuple) else (row,) for name, row in rows.items()}
    values = [row if "," in names else row[0] for row in rows.values()]
    return pytest.mark.parametrize(names, values, ids=list(rows))


# Ops: definition


@table(
    {
        "for no input": ({"z": lambda g: g}, "a rule for 'z', which is no input"),
        "joint, for no input": (
            {("x", "z"): lambda g: (g, g)},
            "a rule for 'z', which is no input",
        ),
        "unknown name": ({"x": lambda g, w: g * w}, r"rule for \('x',\) takes unknown 'w'"),
        "cotangent of several outputs": ({"x": lambda g_out: g_out}, "takes unknown 'g_out'"),
        "shape of no input": ({"x": lambda g, z_shape: g}, "takes unknown 'z_shape'"),
        "param of another op": ({"x": lambda g, axis: g}, "takes unknown 'axis'"),
    },
    "vjp, says",
)
def test_a_rule_that_does_not_fit_is_refused_when_defined(vjp, says):
    with pytest.raises(TypeError, match=rf"op 'test': .*{says}"):
        Op("test", lambda xp, x, y, *, scale: x * y * scale, vjp)
    assert "test" not in TABLE


def test_a_name_is_defined_once():
    with pytest.raises(ValueError, match="op 'add' is defined twice"):
        Op("add", lambda xp, x, y: x - y)
    assert TABLE["add"] is mg.add


def test_an_op_is_a_function_that_prints_its_name(define):
    double = define("double", lambda xp, x: x * 2)
    assert repr(double) == "<op double>"
    assert double(const([1, 2])).tolist() == [2, 4]
    assert double(3.0).dtype == np.float32


# Ops: outputs


def present(*terms):
    return sum(term for term in terms if term is not None)


@pytest.fixture
def total_and_product(define):
    """Define an op of two outputs, and list which cotangents its rule for x was given."""
    given = []

    def rule(g_total, g_product, y):
        given.append((g_total is not None, g_product is not None))
        return present(g_total, None if g_product is None else g_product * y)

    op = define(
        "total_and_product",
        lambda xp, x, y: (x + y, x * y),
        {"x": rule},
        outputs=("total", "product"),
    )
    return op, given


@table(
    {
        "first": (lambda total, product: total, [1, 1], (True, False)),
        "second": (lambda total, product: product, [3, 5], (False, True)),
        "both": (lambda total, product: total + product, [4, 6], (True, True)),
        "one twice": (lambda total, product: product * product, [18, 100], (False, True)),
    },
    "use, expected, present",
)
def test_a_rule_gets_a_cotangent_for_each_output_that_was_used(
    total_and_product, use, expected, present
):
    op, given = total_and_product
    x = leaf([1, 2])
    use(*op(x, const([3, 5]))).sum().backward()
    assert x.grad.tolist() == expected
    assert given == [present]


def test_several_outputs_of_untracked_inputs_are_constants(total_and_product):
    op, _ = total_and_product
    assert values_of(*op(const([1, 2]), 3.0)) == [[4, 5], [3, 6]]
    with pytest.raises(TypeError, match="total_and_product: no derivative with respect to 'y'"):
        op(const([1, 2]), leaf([1, 2]))


def test_a_residual_serves_the_rules_at_every_order(define):
    def rule(g_out, g_slope, slope, x):
        first = None if g_out is None else g_out * slope
        return present(first, None if g_slope is None else g_slope * 6 * x)

    cube = define(
        "cube", lambda xp, x: (x * x * x, 3 * x * x), {"x": rule}, outputs=("out", "slope")
    )
    x = leaf([1, -2])
    y, _ = cube(x)
    (first,) = mg.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = mg.autograd.grad(first.sum(), x, create_graph=True)
    (third,) = mg.autograd.grad(second.sum(), x)
    assert values_of(first, second, third) == [[3, 12], [6, -12], [6, 6]]
    assert mg.gradcheck(lambda x: cube(x)[0], x, order=2)


def test_integer_outputs_are_off_the_tape(define):
    peak = define(
        "peak",
        lambda xp, x: (x * 2, xp.argmax(x, axis=0)),
        {"x": lambda g_out: g_out * 2},
        outputs=("out", "at"),
    )
    x = leaf([1, 3])
    out, at = peak(x)
    assert (out.requires_grad, at.requires_grad, at.item()) == (True, False, 1)
    out.sum().backward()
    assert x.grad.tolist() == [2, 2]


# Ops: variadic, optional, joint


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("biased", [False, True])
def test_variadic_and_optional_inputs(define, count, biased):
    positions = []

    def rule(g, rest, rest_shape, position, scale):
        positions.append(position)
        assert [r.shape for r in rest] == rest_shape == [(2,)] * count
        return g * scale * (position + 1)

    def forward(xp, first, bias=None, *rest, scale):
        out = first * 1.0 if bias is None else first + bias
        for i, x in enumerate(rest):
            out = out + scale * (i + 1) * x
        return out

    op = define("weighted", forward, {"first": lambda g: g, "bias": lambda g: g * 1, "rest": rule})
    first, bias = leaf([1, 2]), leaf([0, 10]) if biased else None
    rest = [leaf([i, i]) for i in range(count)]
    y = op(first, bias, *rest, scale=2.0)
    expected = 2 * sum((i + 1) * i for i in range(count))
    assert y.tolist() == [1 + expected, 2 + expected + 10 * biased]
    y.sum().backward()
    assert positions == list(range(count))
    assert first.grad.tolist() == [1, 1]
    assert not biased or bias.grad.tolist() == [1, 1]
    assert [x.grad.tolist() for x in rest] == [[2 * (i + 1)] * 2 for i in range(count)]


def test_variadic_inputs_that_need_no_gradient_are_passed_over():
    xs = [leaf([1, 2]), const([3, 4]), leaf([5, 6])]
    mg.concat(xs).backward(const([1, 2, 3, 4, 5, 6]))
    assert values_of(*(x.grad for x in xs)) == [[1, 2], None, [5, 6]]


@pytest.fixture
def joint(define):
    wanted_lists = []

    def rule(g, x, y, wanted):
        wanted_lists.append(wanted)
        return tuple(g * {"x": y, "y": x}[name] if name in wanted else None for name in "xy")

    return define("joint", lambda xp, x, y: x * y, {("x", "y"): rule}), wanted_lists


@pytest.mark.parametrize("tracked", [("x", "y"), ("x",), ("y",)])
def test_a_joint_rule_is_told_what_is_wanted(joint, tracked):
    op, wanted = joint
    x, y = (mg.tensor(v, requires_grad=n in tracked) for n, v in [("x", [2.0]), ("y", [3.0])])
    op(x, y).sum().backward()
    expected = {"x": [3], "y": [2]}
    assert wanted == [tracked]
    assert values_of(x.grad, y.grad) == [expected[n] if n in tracked else None for n in "xy"]


def test_a_joint_rule_of_autograd_grad_is_told_what_was_asked_for(joint):
    op, wanted = joint
    x, y = leaf([2]), leaf([3])
    (g,) = mg.autograd.grad(op(x, y).sum(), y)
    assert (g.tolist(), wanted) == ([2], [("y",)])


# Ops: what the tape keeps


@table(
    {
        "add": (lambda h: h + 1.0, True),
        "negative": (lambda h: -h, True),
        "multiply by a number": (lambda h: h * 2.0, True),
        "multiply by a constant": (lambda h: h * const([1, 2]), True),
        "sum": (lambda h: h.sum(), True),
        "exp, which keeps its output": (mg.exp, True),
        "relu, which keeps its output": (mg.relu, True),
        "multiply by itself": (lambda h: h * h, False),
        "log": (mg.log, False),
        "abs": (abs, False),
    },
    "f, freed",
)
def test_the_tape_keeps_what_the_rules_name_and_nothing_else(without_collector, f, freed):
    x = leaf([1, 2])
    h = x + 1.0
    held = weakref.ref(h._array if isinstance(h._array, np.ndarray) else h)
    y = f(h)
    del h
    assert (held() is None) == freed
    y.sum().backward()
    assert held() is None or y is held()


def test_add_keeps_nothing():
    assert (leaf([1]) + leaf([2])).node.saved == ()


def test_a_kept_output_goes_with_its_graph(without_collector):
    x = leaf([1, 2])
    y = mg.exp(x)
    held = weakref.ref(y), weakref.ref(y.node)
    del y
    assert [ref() for ref in held] == [None, None]


def test_an_input_without_a_gradient_costs_no_backward_work(define):
    def refuse(g):
        raise AssertionError("nobody wants this cotangent")

    op = define("halves", lambda xp, x, y: x + y, {"x": lambda g: g, "y": refuse})
    x = leaf([1])
    op(x, const([2])).sum().backward()
    assert x.grad.tolist() == [1]


def test_the_first_layers_input_is_not_differentiated(without_collector):
    x, w = const(np.ones((4, 3))), leaf(np.ones((2, 3)))
    y = mg.linear(x, w).sum()
    with mg.profile() as seen:
        y.backward()
    by_kernel = seen.rows.get(("linear_backward", "backward"))
    if by_kernel is None:
        assert seen.rows["matmul", "backward"].calls == 1
    else:
        assert by_kernel.bytes == w.size * 8


def test_an_input_whose_partner_is_constant_is_not_kept(without_collector):
    x = leaf([1, 2])
    h = x + 1.0
    held = weakref.ref(h)
    y = h @ const([3, 4])
    del h
    assert held() is None
    y.backward()
    assert x.grad.tolist() == [3, 4]


# Ops: writes


def increase(xp, x, v):
    x[...] = x + v


def test_declared_writes(define):
    op = define("increase", increase, outputs=(), writes=("x",))
    x = const([1, 2])
    assert op(x, 1.0) is None
    assert x.tolist() == [2, 3]


@table(
    {"target": (True, False), "value": (False, True), "both": (True, True)},
    "target, value",
)
def test_declared_writes_are_refused_on_the_tape(define, target, value):
    op = define("increase", increase, outputs=(), writes=("x",))
    x, v = leaf([1, 2]).requires_grad_(target), leaf([1, 1]).requires_grad_(value)
    with pytest.raises(RuntimeError, match=r"increase changes .* x: float64 \(2,\).*no_grad\(\)"):
        op(x, v)
    assert x.tolist() == [1, 2]
    with mg.no_grad():
        op(x, v)
    assert x.tolist() == [2, 3]


def test_declared_writes_are_noticed_by_the_tape(define):
    op = define("increase", increase, outputs=(), writes=("x",))
    c, w = const([1, 2]), leaf([3, 4])
    y = c * w
    op(c, 1.0)
    with pytest.raises(RuntimeError, match=r"multiply: a value of shape \(2,\)"):
        y.sum().backward()


# Ops: absorb, broadcasting, missing and wrong rules


@table(
    {
        "zero and infinity": (0.0, np.inf, 0.0),
        "zero and nan": (0.0, np.nan, 0.0),
        "two and infinity": (2.0, np.inf, np.inf),
        "a product": (2.0, 3.0, 6.0),
    },
    "x, a, expected",
)
def test_absorb(x, a, expected):
    assert absorb(const(x), const(a)).item() == expected


def test_absorb_has_the_second_derivative_of_a_product_where_it_is_zero():
    x, a = leaf([0, 2]), leaf([3, 5])
    (gx,) = mg.autograd.grad(absorb(x, a).sum(), x, create_graph=True)
    assert gx.tolist() == [3, 5]
    assert mg.autograd.grad(gx.sum(), a)[0].tolist() == [1, 1]
    assert mg.gradcheck(absorb, [x, a], order=2)


@pytest.mark.parametrize(
    ("x", "y"),
    [((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 3)), ((4, 1, 3), (2, 1)), ((0, 3), (1, 1))],
    ids=str,
)
def test_cotangents_of_elementwise_ops_are_summed_to_the_inputs(x, y):
    shape = np.broadcast_shapes(x, y)
    x, y = leaf(np.ones(x)), leaf(np.ones(y))
    (x * y).backward(const(np.ones(shape)))
    for t in (x, y):
        assert t.grad.shape == t.shape
        assert t.grad.tolist() == np.full(t.shape, np.prod(shape) / max(t.size, 1)).tolist()


@table(
    {
        "not elementwise, too large": (False, lambda g: mg.stack([g, g]), (2, 3)),
        "not elementwise, too small": (False, lambda g: g.sum(), ()),
        "elementwise, too small": (True, lambda g: g.sum(), ()),
        "elementwise, another length": (True, lambda g: mg.concat([g, g]), (6,)),
    },
    "elementwise, rule, shape",
)
def test_a_rule_that_gives_a_wrong_shape_is_named(define, elementwise, rule, shape):
    op = define("askew", lambda xp, x: x * 2, {"x": rule}, elementwise=elementwise)
    y = op(leaf([1, 2, 3])).sum()
    says = f"askew: the derivative rule for x returned shape {shape} for an input of shape (3,)"
    with pytest.raises(RuntimeError) as caught:
        y.backward()
    assert str(caught.value) == says


def test_a_rule_that_gives_another_dtype_to_a_leaf_is_an_error(define):
    op = define("widening", lambda xp, x: x * 2, {"x": lambda g: mg.astype(g, np.float64)})
    with pytest.raises(RuntimeError, match=r"gave float64 for a float32 input of \(2,\)"):
        op(leaf([1, 2], np.float32)).sum().backward()


def test_a_joint_rule_gives_as_many_cotangents_as_it_has_names(define):
    op = define("short", lambda xp, x, y: x * y, {("x", "y"): lambda g: (g,)})
    with pytest.raises(ValueError, match="shorter"):
        op(leaf([1]), leaf([2])).sum().backward()


def test_a_missing_rule_is_named():
    with pytest.raises(
        TypeError, match=r"where: no derivative with respect to 'condition'.*detach"
    ):
        mg.where(leaf([1, 0]), 1.0, 2.0)


# Backward


def diamond(x):
    a = x * 2
    return (a + 1) * (a * 3)


def doubled_twice(a):
    b = a + a
    return b + b


@table(
    {
        "reused": (lambda x: x * x + x, lambda x: 2 * x + 1),
        "diamond": (diamond, lambda x: 24 * x + 6),
        "doubled twice": (doubled_twice, lambda x: 0 * x + 4),
        "one input twice": (lambda x: mg.concat([x, x])[:2] * x, lambda x: 2 * x),
        "long and short way": (lambda x: mg.exp(x * 1.0) + x, lambda x: np.exp(x) + 1),
        "the leaf itself": (lambda x: x, lambda x: 0 * x + 1),
        "through views": (lambda x: x[::-1][::-1].reshape((2, 1)) * 3, lambda x: 0 * x + 3),
    },
    "f, derivative",
)
def test_paths_add_up(f, derivative):
    x = leaf([2, 3])
    f(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), derivative(np.array([2.0, 3.0])), rtol=1e-12)


@table(
    {
        "multiply": (lambda x: x * x, "multiply"),
        "add, which keeps nothing": (lambda x: x + x, "add"),
        "exp": (mg.exp, "exp"),
    },
    "f, op",
)
def test_a_second_backward_raises(f, op):
    x = leaf(2)
    y = f(x)
    y.backward()
    says = f"the same graph a second time: what {op} had saved is freed; pass retain_graph=True"
    with pytest.raises(RuntimeError, match=says):
        y.backward()
    with pytest.raises(RuntimeError, match=says):
        (y * 2).backward()
    for unused in (False, True):  # the freed part may or may not lead to x: nobody knows
        with pytest.raises(RuntimeError, match=says):
            mg.autograd.grad(y + x, x, allow_unused=unused)


def test_backward_frees_the_graph_although_its_result_lives(without_collector):
    h = leaf([1, 2]) * 2
    y = (h * h).sum()
    below = weakref.ref(h.node)
    del h
    y.backward(retain_graph=True)
    assert below() is not None
    y.backward()
    assert below() is None


def test_retain_graph():
    x = leaf(3)
    y = x * x
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 18
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_gradients_accumulate_until_cleared():
    x = leaf([1, 2])
    for _ in range(3):
        (x * 2).sum().backward()
    assert x.grad.tolist() == [6, 6]
    x.grad = None
    assert x.grad is None
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_accumulation_leaves_the_tensor_that_was_read_alone():
    x = leaf([1, 2])
    (x * 2).sum().backward()
    before = x.grad
    (x * 2).sum().backward()
    assert values_of(before, x.grad) == [[2, 2], [4, 4]]


@table(
    {
        "tensor": lambda: const([1, 10]),
        "array": lambda: np.array([1.0, 10.0]),
        "list": lambda: [1, 10],
    },
    "gradient",
)
def test_the_gradient_given_to_backward(gradient):
    x = leaf([1, 2])
    (x * 3).backward(gradient())
    assert x.grad.tolist() == [3, 30]


@table(
    {
        "none, several elements": (None, RuntimeError, r"from one number only; got shape \(2,\)"),
        "shape": ([1.0], ValueError, r"must stay float64 \(2,\).*got float64 \(1,\)"),
        "dtype": (np.float32, ValueError, r"must stay float64 \(2,\).*got float32 \(2,\)"),
    },
    "gradient, error, says",
)
def test_a_gradient_that_does_not_fit(gradient, error, says):
    y = leaf([1, 2]) * 2
    with pytest.raises(error, match=says):
        y.backward(mg.tensor(np.ones(2, gradient)) if gradient is np.float32 else gradient)


def test_the_gradient_of_one_element_keeps_its_shape():
    x = leaf([[2]])
    (x * 3).backward()
    assert x.grad.tolist() == [[3]]


# Values that are overwritten before backward


def by_data(p):
    p.data[...] = 0.0


def by_scaled_data(p):
    p.data *= 2


def by_new_data(p):
    p.data = const([7, 8, 9])


def by_new_array(p):
    p.data = [7, 8, 9]


def by_optimizer(p):
    p.grad = const([1, 1, 1])
    mg.optim.SGD([p], lr=0.1).step()


def by_view(p):
    p.detach()[1:].reshape((2, 1))[...] = 0.0


def by_older_view(p):
    p.older += 1.0


@mg.no_grad()
def by_setitem(p):
    p[0] = 5.0


@mg.no_grad()
def by_update(p):
    p -= 1.0


@mg.no_grad()
def by_view_under_no_grad(p):
    row = p[1:]
    row *= 0.0


WRITES = [by_data, by_scaled_data, by_new_data, by_new_array, by_optimizer, by_view]
WRITES += [by_older_view, by_setitem, by_update, by_view_under_no_grad]


class Watched(mg.Tensor):
    """A leaf with a view that is older than its graph."""

    __slots__ = ("older",)


def watched():
    p = Watched([1.0, 2.0, 3.0], np.float64, requires_grad=True)
    p.older = p.detach()[:1]
    return p


def overwriting(function):
    return pytest.mark.parametrize("write", WRITES, ids=lambda w: w.__name__)(function)


@overwriting
def test_a_needed_value_that_is_overwritten_raises(write):
    p = watched()
    y = (p * p).sum()
    write(p)
    with pytest.raises(
        RuntimeError, match=r"multiply: a value of shape \(3,\) .* changed in place"
    ):
        y.backward()


@overwriting
def test_a_needed_view_of_what_is_overwritten_raises(write):
    p = watched()
    part = p[:2]
    y = (part * part).sum()
    write(p)
    if write in (by_new_data, by_new_array):  # other memory for p; the view has kept the old
        y.backward()
        assert p.grad.tolist() == [2, 4, 0]
        return
    with pytest.raises(RuntimeError, match=r"multiply: a value of shape \(2,\) "):
        y.backward()


@overwriting
@table({"add": lambda p: p + 1.0, "times a constant": lambda p: p * 3.0, "exp": mg.exp}, "f")
def test_what_no_rule_needs_may_be_overwritten(write, f):
    p = watched()
    y, expected = f(p), {mg.exp: np.exp([1, 2, 3])}.get(f)
    slope = 3 if f(const(1.0)).item() == 3 else 1
    write(p)
    p.grad = None
    y.sum().backward()
    expected = [slope] * 3 if expected is None else expected
    np.testing.assert_allclose(p.grad.numpy(), expected, rtol=1e-12)


@overwriting
def test_values_may_be_overwritten_before_and_after_their_graph(write):
    p = watched()
    write(p)
    p.grad = None
    before = p.tolist()
    (p * p).sum().backward()
    assert p.grad.tolist() == [2 * v for v in before]
    write(p)


def test_a_result_that_is_overwritten_raises_where_it_is_needed():
    x = leaf([1, 2])
    for f, name in [(mg.exp, "exp"), (mg.tanh, "tanh")]:
        y = f(x)
        z = y.sum()
        y.data[0] = 0.0
        with pytest.raises(RuntimeError, match=rf"{name}: a value of shape \(2,\)"):
            z.backward()


def test_the_tensor_given_as_data_is_watched_from_then_on():
    p, other = leaf([1, 2]), const([3, 4])
    p.data = other
    y = (p * p).sum()
    other[...] = 100.0
    with pytest.raises(RuntimeError, match=r"multiply: a value of shape \(2,\)"):
        y.backward()


# Long chains


CHAINS = {
    "that keeps nothing": lambda x, w: x + w,
    "that keeps inputs": lambda x, w: x * w,
    "that keeps outputs": lambda x, w: mg.relu(x),
}


def chain(x, step, length=None):
    """Return step after step of x, as many as no recursion survives; fewer on slow backends."""
    w, length = const(1.0), length or (100_000 if x.backend.name == "numpy" else 10_000)
    for _ in range(length):
        x = step(x, w)
    return x


@table({name: step for name, step in CHAINS.items() if "outputs" not in name}, "step")
def test_backward_through_a_long_chain(step):
    x = leaf(2)
    chain(x, step).backward()
    assert x.grad.item() == 1


@table(CHAINS, "step")
def test_freeing_a_long_chain_without_backward(without_collector, step):
    x = leaf(2)
    y = chain(x, step)
    first = weakref.ref(y.node.parents[0])
    del y
    assert first() is None


def test_freeing_a_long_chain_by_the_collector(without_collector):
    cycle = [chain(leaf(2), operator.mul)]
    node = weakref.ref(cycle[0].node)
    cycle.append(cycle)
    del cycle
    assert node() is not None
    gc.collect()
    assert node() is None


def test_a_gradient_through_a_long_chain_is_a_value():
    x = leaf(2)
    (g,) = mg.autograd.grad(chain(x, operator.mul, 20_000), x, create_graph=True)
    assert g.item() == 1


# Nothing is left behind


def make_model(seed, optimizer=mg.optim.Adam):
    mg.manual_seed(seed)
    model = mg.nn.Sequential(mg.nn.Linear(4, 8), mg.nn.ReLU(), mg.nn.Linear(8, 3))
    return model, optimizer(model.parameters(), lr=1e-2)


def train(model, optimizer, steps):
    inputs = mg.randn(16, 4)
    labels = mg.randint(0, 3, (16,))
    for _ in range(steps):
        loss = mg.nn.functional.cross_entropy(mg.dropout(model(inputs), 0.1), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def in_use(backend):
    """Return how many objects the collector knows and how many pieces of memory are in use."""
    if backend != "cupy":
        return len(gc.get_objects()), sys.getallocatedblocks()
    pool = importlib.import_module("cupy").get_default_memory_pool()  # of pieces of 512 bytes
    return len(gc.get_objects()), pool.used_bytes() // 512


def test_a_thousand_training_steps_leave_nothing_behind(backend, without_collector):
    quarter = 250 if backend in ("numpy", "numba") else 75
    model, optimizer = make_model(0)
    train(model, optimizer, 50)
    gc.collect()
    grown = []
    for _ in range(4):
        before = in_use(backend)
        train(model, optimizer, quarter)
        after = in_use(backend)
        grown.append([b - a for a, b in zip(before, after, strict=True)])
    # Python's and NumPy's own free lists fill at first; a leak grows in every quarter.
    assert min(objects for objects, _ in grown) < quarter / 10, grown
    assert min(blocks for _, blocks in grown) < quarter / 2, grown
    assert gc.collect() == 0


def second_order():
    x = leaf([1, 2])
    (g,) = mg.autograd.grad((x * mg.exp(x)).sum(), x, create_graph=True)
    (g * g).sum().backward()


def hooks_and_kept_grads():
    x = leaf([1, 2])
    y = x * x
    y.retain_grad()
    y.register_hook(lambda g: g * 2)
    x.register_hook(lambda g: None)
    mg.tanh(y).sum().backward()


def without_backward():
    x = leaf([1, 2])
    mg.softmax(mg.exp(x) * x).sum()


def in_place():
    x, y = leaf([1, 2]), const([1, 2])
    y += x
    with mg.no_grad():
        x *= 2
        x[0] = 1.0
    y.sum().backward()


def observed():
    x = leaf([1, 2])
    with mg.detect_anomaly():
        mg.exp(x).sum().backward()
    with mg.profile():
        mg.exp(x).sum().backward()


def several_outputs():
    x = leaf(np.ones((2, 3)))
    (g,) = mg.autograd.grad(mg.cross_entropy(x, mg.tensor([0, 1])), x, create_graph=True)
    g.sum().backward()


@pytest.mark.parametrize(
    "work",
    [second_order, hooks_and_kept_grads, without_backward, in_place, observed, several_outputs],
    ids=lambda f: f.__name__,
)
def test_there_are_no_reference_cycles(without_collector, work):
    work()  # fills the caches: plans, kernels
    gc.collect()
    work()
    assert gc.collect() == 0


# Threads and modes


def trained(backend, seed):
    with mg.use_backend(backend):
        model, optimizer = make_model(seed)
        train(model, optimizer, 60)
        return [p.tolist() for p in model.parameters()]


def test_two_threads_train_two_models_as_one_after_the_other(backend):
    expected = [trained(backend, seed) for seed in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(trained, [backend] * 2, (0, 1)))
    assert found == expected
    assert found[0] != found[1]


def in_thread(f):
    result = []
    thread = threading.Thread(target=lambda: result.append(f()))
    thread.start()
    thread.join()
    return result[0]


def test_modes_belong_to_their_context():
    with mg.no_grad(), mg.profile() as seen:
        assert not mg.is_grad_enabled()
        assert in_thread(mg.is_grad_enabled)
        assert in_thread(lambda: (leaf([1]) * 2).requires_grad)
        inherited = contextvars.copy_context()
        assert not in_thread(lambda: inherited.run(mg.is_grad_enabled))
    assert not seen.rows


def test_no_grad_and_enable_grad_nest():
    seen = []
    with mg.no_grad():
        seen.append(mg.is_grad_enabled())
        with mg.enable_grad():
            seen.append(mg.is_grad_enabled())
            with mg.no_grad():
                seen.append(mg.is_grad_enabled())
            seen.append(mg.is_grad_enabled())
        seen.append(mg.is_grad_enabled())
    assert [*seen, mg.is_grad_enabled()] == [False, True, False, True, False, True]


def test_no_grad_and_enable_grad_decorate():
    @mg.no_grad()
    def constant(x):
        """Say what it does."""
        return x * 2

    @mg.enable_grad()
    def recorded(x):
        return x * 2

    x = leaf([1])
    for _ in range(2):
        assert not constant(x).requires_grad
    assert constant.__doc__ == "Say what it does."
    with mg.no_grad():
        assert recorded(x).requires_grad
    assert (x * 2).requires_grad


def test_a_mode_ends_with_an_exception():
    for mode in (mg.no_grad, mg.enable_grad, mg.profile, mg.detect_anomaly):
        with pytest.raises(KeyError), mode():
            raise KeyError
    assert mg.is_grad_enabled()


def test_a_failing_rule_leaves_the_mode_as_it_was(define):
    def fail(g):
        raise KeyError

    op = define("failing", lambda xp, x: x * 2, {"x": fail})
    with pytest.raises(KeyError):
        op(leaf(1)).backward()
    assert mg.is_grad_enabled()


# "No gradient" says why


def under_no_grad():
    with mg.no_grad():
        return leaf(1) * 2


@table(
    {
        "no_grad": (under_no_grad, "computed under no_grad"),
        "detached": (lambda: (leaf(1) * 2).detach(), "it was detached"),
        "data": (lambda: leaf(1).data, "it was detached"),
        "constants": (lambda: const(1) * 2, "no input of the computation requires grad"),
        "a constant": (lambda: const(1), "no input of the computation requires grad"),
        "a comparison": (lambda: leaf(1) > 0, "the operation that made it has no derivative"),
        "argmax": (lambda: mg.argmax(leaf([1, 2])), "the operation that made it has no derivative"),
        "switched off": (
            lambda: leaf(1).requires_grad_(False),
            "no input of the computation requires grad",
        ),
    },
    "make, says",
)
@table(
    {
        "backward": lambda y: y.backward(),
        "grad": lambda y: mg.autograd.grad(y, leaf(1)),
        "grad by it": lambda y: mg.autograd.grad(leaf(1) * 2, y),
        "retain_grad": lambda y: y.retain_grad(),
        "register_hook": lambda y: y.register_hook(print),
    },
    "use",
)
def test_errors_say_why_there_is_no_gradient(make, says, use):
    with pytest.raises(RuntimeError, match=says):
        use(make())


@table(
    {
        "asarray": np.asarray,
        "array": np.array,
        "numpy": lambda t: t.numpy(),
        "a copy": lambda t: t.numpy(copy=True),
        "in a list": lambda t: mg.tensor([t, t]),
    },
    "f",
)
def test_numpy_does_not_take_tensors_off_the_tape(f):
    for t in (leaf([1, 2]), leaf([1, 2]) * 2):
        with pytest.raises(RuntimeError, match=r"detach\(\)\.numpy\(\)"):
            f(t)


# Changes in place


AUGMENTED = {
    "iadd": lambda a, b: a + b,
    "isub": lambda a, b: a - b,
    "imul": lambda a, b: a * b,
    "itruediv": lambda a, b: a / b,
    "ifloordiv": lambda a, b: a // b,
    "imod": lambda a, b: a % b,
    "ipow": lambda a, b: a**b,
}


@pytest.mark.parametrize("name", AUGMENTED)
def test_in_place_operators(name):
    update, f = getattr(operator, name), AUGMENTED[name]
    for other in (2.0, np.float64(2), np.array([2.0, 4.0]), const([2, 4])):
        x = const([5, 7])
        alias, expected = x.detach(), f(const([5, 7]), other).tolist()
        y = update(x, other)
        assert y is x
        assert values_of(x, alias) == [expected, expected]


@table(
    {
        "iand": (operator.iand, np.bitwise_and),
        "ior": (operator.ior, np.bitwise_or),
        "ixor": (operator.ixor, np.bitwise_xor),
        "imatmul": (operator.imatmul, np.matmul),
    },
    "update, f",
)
def test_the_other_in_place_operators(update, f):
    values, others = np.array([[6, 3], [1, 2]]), np.array([[3, 5], [7, 1]])
    x = mg.tensor(values)
    assert update(x, mg.tensor(others)) is x
    assert x.tolist() == f(values, others).tolist()


def test_a_leaf_that_requires_grad_changes_only_under_no_grad():
    x = leaf([1, 2])
    with pytest.raises(RuntimeError, match=r"in-place add: a leaf .*under no_grad\(\)"):
        x += 1
    with mg.no_grad():
        y = x
        y += 1
    assert y is x and x.requires_grad and x.is_leaf
    assert x.tolist() == [2, 3]


def test_updating_a_tracked_value_makes_a_new_one():
    x = leaf([1, 2])
    h = y = x * 3
    y += 1.0
    y *= x
    assert h.tolist() == [3, 6] and y is not h
    y.sum().backward()
    assert x.grad.tolist() == [7, 13]


def test_updating_a_constant_by_a_tracked_value_makes_a_new_one():
    x = leaf([1, 2])
    c = y = const([10, 20])
    y += x
    assert c.tolist() == [10, 20] and y.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [1, 1]


@table(
    {
        "a leaf": lambda: (leaf([1, 2]), 5.0),
        "a result": lambda: (leaf([1, 2]) * 1, 5.0),
        "a tracked value": lambda: (const([1, 2]), leaf(5)),
    },
    "make",
)
def test_setitem_is_refused_on_the_tape(make):
    x, v = make()
    with pytest.raises(RuntimeError, match=r"setitem .*x\.at\[i\]\.set\(v\)"):
        x[0] = v
    with mg.no_grad():
        x[0] = v
    assert x.tolist()[0] == 5


@table(
    {
        "int": 0,
        "slice": slice(1, None),
        "ellipsis": ...,
        "negative step": slice(None, None, -1),
        "list": [0, 2],
        "mask": np.array([True, False, True]),
        "None": None,
    },
    "key",
)
def test_setitem_writes_into_constants(key):
    x, expected = const([1, 2, 3]), np.array([1.0, 2.0, 3.0])
    alias = x.detach()
    key = mg.tensor(key) if isinstance(key, np.ndarray) else key
    x[key] = 7
    expected[key.numpy() if isinstance(key, mg.Tensor) else key] = 7
    assert values_of(x, alias) == [expected.tolist()] * 2


def augmented(name, x, v):
    getattr(operator, name)(x, v)


@table(
    {
        "setitem, shape": (
            ValueError,
            r"setitem: .*\(3,\)",
            lambda x: x.__setitem__(..., const([1, 2, 3])),
        ),
        "setitem, dtype": (
            TypeError,
            "float64 cannot be written into int64",
            lambda x: mg.tensor([1, 2]).__setitem__(0, const(1.5)),
        ),
        "setitem, number": (
            TypeError,
            "float64 cannot be written into int64",
            lambda x: mg.tensor([1, 2]).__setitem__(0, 1.5),
        ),
        "setitem, index": (IndexError, "5", lambda x: x.__setitem__(5, 1.0)),
        "update, broadcast": (
            ValueError,
            r"in-place add: the result's shape \(3, 2\) is not the shape \(2,\)",
            lambda x: augmented("iadd", x, const(np.ones((3, 2)))),
        ),
        "update, shape": (
            ValueError,
            r"add: .*axis -1 has lengths 2 and 3",
            lambda x: augmented("iadd", x, const([1, 2, 3])),
        ),
        "update, dtype": (
            TypeError,
            "cannot be written into int64",
            lambda x: augmented("itruediv", mg.tensor([1, 2]), 2),
        ),
        "update, sign": (
            TypeError,
            "int16 does not fit in place into uint8",
            lambda x: augmented(
                "iadd", mg.ones(2, dtype=np.uint8), mg.tensor([-1, 2], dtype=np.int8)
            ),
        ),
    },
    "error, says, change",
)
def test_changes_in_place_that_do_not_fit(error, says, change):
    x = const([1, 2])
    with pytest.raises(error, match=says):
        change(x)
    assert x.tolist() == [1, 2]


def test_an_update_keeps_the_dtype():
    x = mg.tensor(np.float32([1, 2]))
    x += const([1, 2])
    assert (x.dtype, x.tolist()) == (np.float32, [2, 4])


# Memory: views, detach, data


@table(
    {
        "slice": (lambda x: x[1:], (2, 2)),
        "element": (lambda x: x[1, 0], ()),
        "transpose": (lambda x: x.T, (2, 3)),
        "reshape": (lambda x: x.reshape((2, 3)), (2, 3)),
        "expand_dims": (lambda x: x.expand_dims(0), (1, 3, 2)),
        "flip": (lambda x: x.flip(), (3, 2)),
        "detach": (lambda x: x.detach(), (3, 2)),
        "data": (lambda x: x.data, (3, 2)),
        "view of a view": (lambda x: x.T[:, 1:], (2, 2)),
    },
    "view, shape",
)
def test_views_share_memory_and_version(view, shape):
    x = const(np.arange(6.0).reshape(3, 2))
    v = view(x)
    assert v.shape == shape
    before, stamp = v.tolist(), x._write_record()[0]
    x += 1.0
    assert v.tolist() == (np.array(before) + 1).tolist()
    v[...] = 0.0
    assert 0 in x.reshape((6,)).tolist()
    assert v._write_record() is x._write_record() and x._write_record()[0] > stamp


@table(
    {
        "index array": lambda x: x[mg.tensor([0, 1])],
        "copy": lambda x: x.copy(),
        "astype": lambda x: x.astype(np.float64),
        "positive": lambda x: +x,
        "Tensor": mg.Tensor,
        "tensor": mg.tensor,
        "deepcopy": copy.deepcopy,
        "contiguous again": lambda x: x.reshape((1, 2)).T.reshape((2,)).copy(),
    },
    "f",
)
def test_copies_share_nothing(f):
    x = const([1, 2])
    y = f(x)
    y[...] = 0.0
    assert x.tolist() == [1, 2]


def test_data_is_detached_and_can_be_set():
    p = leaf([1, 2])
    assert not p.data.requires_grad
    p.data = const([3, 4])
    assert p.requires_grad and p.is_leaf and p.tolist() == [3, 4]
    p.data = [5, 6]
    p.data -= 1
    assert p.tolist() == [4, 5]
    (p * p).sum().backward()
    assert p.grad.tolist() == [8, 10]


@table(
    {
        "shape": lambda: const([1, 2, 3]),
        "dtype": lambda: mg.tensor([1, 2]),
        "another float": lambda: mg.tensor(np.float32([1, 2])),
        "list": lambda: [1.0],
    },
    "value",
)
def test_data_keeps_shape_and_dtype(value):
    p = leaf([1, 2])
    with pytest.raises(ValueError, match=r"data must stay float64 \(2,\)"):
        p.data = value()
    assert p.tolist() == [1, 2]


def test_requires_grad_can_be_set_on_leaves():
    x = const([1, 2])
    assert x.requires_grad_() is x and x.requires_grad and x.is_leaf
    x.requires_grad = True
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2, 2]
    x.requires_grad = False
    assert not x.requires_grad and not (x * 2).requires_grad


def test_requires_grad_that_cannot_be_set():
    with pytest.raises(RuntimeError, match=r"leaves only; detach\(\) gives .* of 'multiply'"):
        (leaf([1]) * 2).requires_grad = False
    for dtype in ("int64", "bool", "complex64"):
        with pytest.raises(TypeError, match=f"only floating tensors can require grad, not {dtype}"):
            mg.tensor(np.ones(2, dtype)).requires_grad = True


# .grad


def test_grad_can_be_set():
    x = leaf([1, 2])
    x.grad = const([5, 5])
    (x * 2).sum().backward()
    assert x.grad.tolist() == [7, 7]
    assert not x.grad.requires_grad
    x.grad = leaf([1, 1]) * 2
    assert not x.grad.requires_grad


@table(
    {
        "shape": (lambda: const([1]), ValueError, r"grad must stay float64 \(2,\)"),
        "dtype": (lambda: mg.tensor(np.float32([1, 1])), ValueError, "got float32"),
        "array": (lambda: np.ones(2), TypeError, "Tensor or None, not ndarray"),
        "number": (lambda: 0, TypeError, "Tensor or None, not int"),
    },
    "value, error, says",
)
def test_grad_keeps_shape_dtype_and_type(value, error, says):
    x = leaf([1, 2])
    with pytest.raises(error, match=says):
        x.grad = value()
    assert x.grad is None


def test_grad_of_a_constant():
    x = const([1])
    x.grad = None
    assert x.grad is None
    with pytest.raises(RuntimeError, match="only on a tensor that requires grad"):
        x.grad = const([1])


def one_leaf(f):
    def run():
        x = leaf(np.ones((2, 3)))
        g = const(np.ones(f(x).shape))
        f(x).backward(g)
        return g, [x]

    return run


def two_leaves(f):
    def run():
        x, y = leaf(np.ones((2, 3))), leaf(np.ones((2, 3)))
        g = const(np.ones((2, 3)))
        f(x, y).backward(g)
        return g, [x, y]

    return run


def kept(f):
    def run():
        x, g = leaf(np.ones((2, 3))), const(np.ones((2, 3)))
        h = x * 1
        h.retain_grad()
        f(h).backward(g)
        return g, [x, h]

    return run


def hooked():
    x, seen = leaf(np.ones((2, 3))), []
    x.register_hook(seen.append)
    (x + 0).backward(const(np.ones((2, 3))))
    return seen[0], [x]


@table(
    {
        "the leaf itself": one_leaf(lambda x: x),
        "a sum": one_leaf(lambda x: x + 1),
        "a transpose": one_leaf(lambda x: x.T),
        "a product's transpose": one_leaf(lambda x: (x * 2.0).T),
        "a slice": one_leaf(lambda x: x[:, ::-1]),
        "a reshape": one_leaf(lambda x: x.reshape((6,))),
        "a broadcast": one_leaf(lambda x: x.broadcast_to((4, 2, 3))),
        "total": one_leaf(lambda x: x.sum()),
        "row sums": one_leaf(lambda x: x.sum(axis=1)),
        "a + b": two_leaves(lambda x, y: x + y),
        "a + (b + 0)": two_leaves(lambda x, y: x + (y + 0)),
        "stack": two_leaves(lambda x, y: mg.concat([x, y])[:2] + y),
        "kept": kept(lambda h: h + 0),
        "kept, by itself": kept(lambda h: h),
        "hook": hooked,
    },
    "run",
)
def test_grads_are_owned_contiguous_and_shared_with_nothing(run):
    g, xs = run()
    every = [g, *(x.grad for x in xs)]
    for t in every[1:]:
        flags = t._array.flags
        assert flags.c_contiguous and flags.owndata
    before = values_of(*every)
    for i, t in enumerate(every):
        t[...] = 100.0 + i  # writable
        before[i] = np.full(t.shape, 100.0 + i).tolist()
        assert values_of(*every) == before


def test_retain_grad():
    x = leaf([1, 2])
    h = x * 3
    z = h * h
    assert h.grad is None
    h.retain_grad()
    x.retain_grad()  # has it anyway
    z.sum().backward()
    assert values_of(x.grad, h.grad, z.grad) == [[18, 36], [6, 12], None]
    h.grad = None
    assert h.grad is None


def test_retained_grads_accumulate():
    h = leaf([1, 2]) * 3
    h.retain_grad()
    y = (h * h).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert h.grad.tolist() == [12, 24]


# Hooks


@table(
    {
        "looks": ([lambda g: None], [6, 6]),
        "replaces": ([lambda g: g * 10], [60, 60]),
        "in order": ([lambda g: g + 1, lambda g: g * 10], [70, 70]),
    },
    "hooks, expected",
)
@pytest.mark.parametrize("where", ["leaf", "result"])
def test_hooks(where, hooks, expected):
    x = leaf([1, 2])
    h = x * 1
    for hook in hooks:
        (x if where == "leaf" else h).register_hook(hook)
    (h * 6).sum().backward()
    assert x.grad.tolist() == expected


def test_a_hook_sees_the_whole_gradient_once():
    x, seen = leaf([1, 2]), []
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x * 2 + x * 3).sum().backward()
    (x * 2).sum().backward()
    assert seen == [[5, 5], [2, 2]]
    assert x.grad.tolist() == [7, 7]


def test_a_removed_hook_is_not_called():
    x, seen = leaf([1]), []
    first = x.register_hook(lambda g: seen.append("first"))
    x.register_hook(lambda g: seen.append("second"))
    first.remove()
    first.remove()
    x.sum().backward()
    assert seen == ["second"]


def test_a_hook_may_remove_itself():
    x, seen = leaf([1]), []

    def once(g):
        seen.append(g.item())
        handle.remove()

    handle = x.register_hook(once)
    for _ in range(2):
        x.sum().backward()
    assert seen == [1]


@table(
    {"shape": lambda g: g.sum(), "dtype": lambda g: g.astype(np.float32)},
    "hook",
)
def test_a_hook_that_returns_something_else_is_refused(hook):
    x = leaf([1, 2])
    x.register_hook(hook)
    with pytest.raises(ValueError, match=r"returned by a hook must stay float64 \(2,\)"):
        x.sum().backward()


def test_hooks_work_in_autograd_grad_and_belong_to_their_output(total_and_product):
    op, _ = total_and_product
    x = leaf([1, 2])
    total, product = op(x, const([3, 5]))
    total.register_hook(lambda g: g * 100)
    (g,) = mg.autograd.grad((total + product).sum(), x)
    assert g.tolist() == [103, 105]


# autograd.grad


def test_derivatives_of_third_order():
    x = leaf([1, 2])
    y = x**4
    for expected in ([4, 32], [12, 48], [24, 48]):
        (y,) = mg.autograd.grad(y.sum(), x, create_graph=True)
        assert y.tolist() == expected
    assert x.grad is None


def test_a_derivative_takes_part_in_backward():
    x = leaf([1, 2])
    (g,) = mg.autograd.grad((x**3).sum(), x, create_graph=True)
    (g * g).sum().backward()
    assert x.grad.tolist() == [36, 288]


def test_grad_without_create_graph_is_a_constant():
    x = leaf([1, 2])
    (g,) = mg.autograd.grad((x * x).sum(), x)
    assert not g.requires_grad and x.grad is None


def test_grad_of_several_outputs_and_inputs():
    x, y = leaf([1, 2]), leaf([3, 4])
    outputs = [x * y, (x * x).sum()]
    found = mg.autograd.grad(outputs, [x, y], [const([1, 10]), None])
    assert values_of(*found) == [[5, 44], [1, 20]]
    assert x.grad is None and y.grad is None


def test_grad_outputs_of_one_output():
    x = leaf([1, 2])
    for weights in (const([1, 10]), np.array([1.0, 10.0]), [const([1, 10])]):
        assert mg.autograd.grad(x * x, x, weights)[0].tolist() == [2, 40]


def test_grad_by_grad_outputs_is_differentiable():
    x, v = leaf([1, 2]), leaf([3, 4])
    (g,) = mg.autograd.grad(x * x, x, v, create_graph=True)
    assert values_of(*mg.autograd.grad(g.sum(), [v, x])) == [[2, 4], [6, 8]]


@table(
    {
        "too few": (lambda x: mg.autograd.grad([x * 1, x * 2], x, [const(1)]), "2 outputs, but 1"),
        "shape": (lambda x: mg.autograd.grad(x * 1, x, const([1, 2])), r"must stay float64 \(\)"),
    },
    "f, says",
)
def test_grad_outputs_that_do_not_fit(f, says):
    with pytest.raises(ValueError, match=says):
        f(leaf(1))


def test_unused_inputs():
    x, unused = leaf([1, 2]), leaf([3])
    with pytest.raises(RuntimeError, match="input 1 was not used in the outputs; allow_unused"):
        mg.autograd.grad((x * x).sum(), [x, unused])
    with pytest.raises(RuntimeError, match=r"input 0 does not require grad: .*no input"):
        mg.autograd.grad((x * x).sum(), const([1]))
    found = mg.autograd.grad((x * x).sum(), [unused, x, const([1])], allow_unused=True)
    assert values_of(*found) == [None, [2, 4], None]


def test_interior_inputs():
    x = leaf([1, 2])
    h = x * 3
    y = (h * h + x).sum()
    assert values_of(*mg.autograd.grad(y, [h, x, y], retain_graph=True)) == [[6, 12], [19, 37], 1]
    assert values_of(*mg.autograd.grad(y, h)) == [[6, 12]]


def test_the_graph_below_an_interior_input_is_neither_used_nor_freed():
    x = leaf([1, 2])
    h = x * x
    y = (h * h).sum()
    (g,) = mg.autograd.grad(y, h)
    h.backward(g)
    assert x.grad.tolist() == [4, 32]


def test_grad_passes_over_what_does_not_lead_to_the_inputs(define):
    def refuse(g):
        raise AssertionError("this branch leads to no input")

    aside = define("aside", lambda xp, x: x * 2, {"x": refuse})
    x, other = leaf([1]), leaf([2])
    assert mg.autograd.grad((x * 3 + aside(other)).sum(), x)[0].tolist() == [3]


def test_grad_frees_the_graph_unless_told_otherwise():
    x = leaf(3)
    y = x * x
    mg.autograd.grad(y, x, retain_graph=True)
    mg.autograd.grad(y, x, create_graph=True)
    mg.autograd.grad(y, x)
    with pytest.raises(RuntimeError, match="second time"):
        mg.autograd.grad(y, x)


def test_one_input_twice():
    x = leaf(3)
    assert values_of(*mg.autograd.grad(x * x, [x, x])) == [6, 6]


# Making tensors; test_semantics.py has the table of dtypes


class Subclass(np.ndarray):
    pass


@table(
    {
        "array": lambda: np.array([1.0, 2.0]),
        "subclass of ndarray": lambda: np.array([1.0, 2.0]).view(Subclass),
        "array.array": lambda: array("d", [1, 2]),
        "memoryview": lambda: memoryview(array("d", [1, 2])),
        "list": lambda: [1.0, 2.0],
        "tensor": lambda: const([1, 2]),
        "leaf": lambda: leaf([1, 2]),
        "result": lambda: leaf([1, 2]) * 1,
    },
    "make",
)
@pytest.mark.parametrize("dtype", [None, np.float64, np.float32], ids=str)
def test_tensor_copies(make, dtype):
    data = make()
    t = mg.tensor(data, dtype)
    assert t.is_leaf and not t.requires_grad
    t[...] = 5.0
    assert list(data.tolist() if isinstance(data, mg.Tensor) else data) == [1, 2]


@table(
    {
        "empty": ([], np.float32, (0,)),
        "rows of nothing": ([[], []], np.float32, (2, 0)),
        "empty array": (np.empty((0, 3), np.int8), np.int8, (0, 3)),
        "NumPy scalars": ([np.float64(1), np.float64(2)], np.float64, (2,)),
        "NumPy scalars, nested": ([[np.float16(1)], [np.float16(2)]], np.float16, (2, 1)),
        "tuples": (((1.0, 2.0), (3.0, 4.0)), np.float32, (2, 2)),
        "ints and floats": ([1, 2.5], np.float32, (2,)),
        "arrays in a list": ([np.ones(2, np.float64)] * 3, np.float64, (3, 2)),
        "range": (range(3), np.int64, (3,)),
        "big-endian floats": (np.arange(3, dtype=">f8"), np.float64, (3,)),
        "big-endian ints": (np.arange(3, dtype=">i2"), np.int16, (3,)),
        "the largest int": (2**63 - 1, np.int64, ()),
        "not contiguous": (np.arange(6.0).reshape(2, 3).T[::2], np.float64, (2, 2)),
        "broadcast": (np.broadcast_to(1.0, (2, 3)), np.float64, (2, 3)),
    },
    "data, dtype, shape",
)
def test_what_tensors_are_made_of(data, dtype, shape):
    t = mg.tensor(data)
    assert (t.dtype, t.shape, t.dtype.isnative) == (dtype, shape, True)
    assert t.tolist() == np.asarray(data).tolist()
    assert (t.ndim, t.size, t.numel()) == (len(shape), np.prod(shape), np.prod(shape))


@table(
    {
        "ragged": ([[1, 2], [3]], ValueError, "regular shape"),
        "string": ("abc", TypeError, "numbers of at most 64 bits, got str"),
        "strings": (["a", "b"], TypeError, "got list of dtype <U1"),
        "object": (object(), TypeError, "got object"),
        "None": (None, TypeError, "got NoneType"),
        "None among numbers": ([1.0, None], TypeError, "dtype object"),
        "dates": (np.array(["2020-01-01"], "M8[D]"), TypeError, "datetime64"),
        "long double": (np.ones(2, np.longdouble), TypeError, "float128"),
        "an int too large": (2**63, OverflowError, "fit into int64"),
        "an int much too large": ([0, 2**70], OverflowError, "fit into int64"),
        "dict": ({}, TypeError, "got dict"),
    },
    "data, error, says",
)
def test_what_tensors_are_not_made_of(data, error, says):
    with pytest.raises(error, match=says):
        mg.tensor(data)


def test_dtype_and_backend_of_new_tensors(backend):
    other = "numba" if backend == "numpy" else "numpy"
    t = mg.tensor([1, 2], dtype="float16", requires_grad=True, backend=other)
    assert (t.dtype, t.backend.name, t.requires_grad) == (np.float16, other, True)
    assert mg.tensor(t).backend.name == other
    there = mg.tensor(t, backend=backend)
    assert (there.backend.name, there.tolist()) == (backend, [1, 2])
    assert there.device == backends.get(backend).device
    with pytest.raises(TypeError, match="dtype"):
        mg.tensor([1], dtype="U3")


def test_nothing_is_read_to_copy_a_tensor_where_it_is():
    x = const([1, 2])
    with mg.profile() as seen:
        mg.tensor(x)
    assert seen.reads == 0


# To plain Python and NumPy


def test_numpy_is_a_read_only_view_or_a_writable_copy(backend):
    x = const([1, 2])
    view, copied = x.numpy(), x.numpy(copy=True)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 5
    copied[0] = 5
    assert x.tolist() == [1, 2]
    if backends.get(backend).device == "cpu":
        x[0] = 7.0
        assert view.tolist() == [7, 2]


def test_numpy_functions_take_constants():
    x = const([1, 2])
    assert np.asarray(x).tolist() == [1, 2]
    assert np.asarray(x, np.float32).dtype == np.float32
    mine = np.array(x)
    mine[0] = 5
    assert x.tolist() == [1, 2]
    with pytest.raises(ValueError, match="needs a copy"):
        np.array(x, dtype=np.int8, copy=False)


@table(
    {
        "item": (lambda t: t.item(), 2.5),
        "float": (float, 2.5),
        "int": (int, 2),
        "bool": (bool, True),
        "complex": (complex, 2.5 + 0j),
        "format": ("{:.3f}".format, "2.500"),
    },
    "f, expected",
)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)], ids=str)
def test_one_element_is_a_number(f, expected, shape):
    for t in (const(np.full(shape, 2.5)), leaf(np.full(shape, 2.5))):
        assert f(t) == expected
        assert type(f(t)) is type(expected)


@table(
    {
        "item": (lambda t: t.item(), ValueError, r"exactly one element, got shape \(2,\)"),
        "float": (float, ValueError, r"exactly one element, got shape \(2,\)"),
        "int": (int, ValueError, r"exactly one element"),
        "format": ("{:.3f}".format, ValueError, "exactly one element"),
        "bool": (bool, ValueError, r"shape \(2,\) is ambiguous; use x.any\(\) or x.all\(\)"),
        "index, shape": (operator.index, TypeError, r"not float64 \(2,\)"),
        "index, float": (lambda t: operator.index(t[0]), TypeError, r"indices, not float64 \(\)"),
        "index, 1-d": (lambda t: operator.index(mg.tensor([1])), TypeError, r"not int64 \(1,\)"),
        "len": (lambda t: len(t[0]), TypeError, "len.. of a 0-d tensor"),
        "iter": (lambda t: iter(t[0]), TypeError, "iteration over a 0-d tensor"),
        "empty bool": (lambda t: bool(t[:0]), ValueError, "ambiguous"),
    },
    "f, error, says",
)
def test_what_is_no_number(f, error, says):
    with pytest.raises(error, match=says):
        f(const([1, 2]))


def test_sequences():
    x = leaf([[1, 2], [3, 4]])
    assert len(x) == 2
    first, second = x
    (first * second).sum().backward()
    assert x.grad.tolist() == [[3, 4], [1, 2]]
    assert "abc"[mg.tensor(1)] == "b"
    assert [10, 20, 30][mg.tensor(1) :] == [20, 30]


@table(
    {
        "floats": (lambda: mg.tensor([1.0, 2.5]), "tensor([1. , 2.5]{backend})"),
        "ints": (lambda: mg.tensor([1, 2]), "tensor([1, 2]{backend})"),
        "bools": (lambda: mg.tensor(True), "tensor(True{backend})"),
        "another dtype": (lambda: const([1]), "tensor([1.], dtype=float64{backend})"),
        "leaf": (lambda: leaf(1, np.float32), "tensor(1.{backend}, requires_grad=True)"),
        "result": (lambda: leaf(1, np.float32) * 2, "tensor(2.{backend}, op=multiply)"),
        "empty": (lambda: mg.tensor([]), "tensor([]{backend})"),
    },
    "make, text",
)
def test_repr(backend, make, text):
    expected = text.format(backend="" if backend == "numpy" else f", backend={backend}")
    assert repr(make()) == str(make()) == f"{make()}" == expected


def test_a_matrix_prints_in_aligned_rows():
    first, second = repr(mg.tensor([[1.0, 2.0], [3.0, 4.0]])).splitlines()
    assert (first[:16], second[:16]) == ("tensor([[1., 2.]", "        [3., 4.]")


@table(
    {
        "pickle": lambda t: pickle.loads(pickle.dumps(t)),
        "oldest pickle": lambda t: pickle.loads(pickle.dumps(t, protocol=0)),
        "deepcopy": copy.deepcopy,
        "copy": copy.copy,
    },
    "again",
)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "default elsewhere"])
def test_leaves_are_copied_and_pickled(backend, again, elsewhere):
    originals = [const([1, 2]), leaf([1, 2]), mg.tensor(True), mg.nn.Parameter(const([1, 2]))]
    for t in originals:
        with mg.use_backend("numpy" if elsewhere else backend):
            twin = again(t)
        assert type(twin) is type(t)
        assert (twin.dtype, twin.requires_grad, twin.is_leaf) == (t.dtype, t.requires_grad, True)
        assert twin.backend is t.backend
        with mg.no_grad():
            twin[...] = False
        assert t.tolist() in ([1, 2], True)


def test_ops_are_pickled_by_name_and_never_copied():
    for again in (lambda op: pickle.loads(pickle.dumps(op)), copy.deepcopy, copy.copy):
        for op in TABLE.values():
            assert again(op) is op
    unlisted = Op("relu", lambda xp, x: xp.exp(x), listed=False)
    assert copy.deepcopy(unlisted).forward is unlisted.forward
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(unlisted)
    layer = mg.nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0)
    x = mg.ones((1, 2, 4))
    assert pickle.loads(pickle.dumps(layer))(x).tolist() == layer(x).tolist()


def test_results_are_not_copied_deeply_or_pickled():
    y = leaf([1, 2]) * 2
    for f in (pickle.dumps, copy.deepcopy):
        with pytest.raises(RuntimeError, match=r"only leaves .*detach\(\)"):
            f(y)


@pytest.mark.parametrize(
    "other", [None, "a", [1, 2], object()], ids=lambda other: type(other).__name__
)
def test_what_is_no_number_is_unequal(other):
    x = const([1, 2])
    assert (x == other) is False
    assert (x != other) is True


def test_equality_is_elementwise_and_hashing_by_identity():
    x = const([1, 2])
    assert (x == const([1, 3])).tolist() == [True, False]
    assert (x != 1).tolist() == [False, True]
    assert (np.array([1, 3]) == x).tolist() == [True, False]
    assert {x: "x", const([1, 2]): "y"}[x] == "x"
    assert hash(x) == hash(x)


# Weak scalars and mixed dtypes; test_semantics.py has the table


def test_numpy_gives_way_to_tensors(backend):
    x = leaf([1, 2], np.float32)
    results = [f(np.float64(3), x) for f in (operator.add, operator.mul, operator.pow)]
    results += [f(x, np.float64(3)) for f in (operator.sub, operator.truediv, operator.mod)]
    assert {(type(y), y.dtype, y.requires_grad) for y in results} == {
        (mg.Tensor, np.dtype(np.float32), True)
    }
    y = np.array([3, 4], np.float32) * x
    assert (type(y), y.dtype, y.tolist()) == (mg.Tensor, np.float32, [3, 8])
    assert (np.array([3.0, 4.0]) - x).dtype == np.float64
    assert (np.ones((2, 2)) @ const([1, 2])).tolist() == [3, 3]
    assert (np.array([3.0, 4.0]) > x).tolist() == [True, True]
    y.sum().backward()
    assert (x.grad.dtype, x.grad.tolist()) == (np.float32, [3, 4])


def test_gradients_pass_through_mixed_dtypes():
    half, single, integer = leaf([1, 2], np.float16), leaf([3, 4], np.float32), mg.tensor([5, 6])
    y = half * single * integer
    assert y.dtype == np.float32
    y.sum().backward()
    assert (half.grad.dtype, half.grad.tolist()) == (np.float16, [15, 24])
    assert (single.grad.dtype, single.grad.tolist()) == (np.float32, [5, 12])


@pytest.mark.parametrize(
    ("f", "g"),
    list(itertools.product([np.float32, np.float64], repeat=2)),
    ids=lambda dtype: dtype.__name__,
)
def test_the_wider_float_wins(f, g):
    assert (leaf([1], f) + leaf([1], g)).dtype == np.result_type(f, g)


def test_what_is_no_operand_is_named():
    for other in ("a", None, [1], object()):
        with pytest.raises(TypeError, match=type(other).__name__):
            const([1]) + other
