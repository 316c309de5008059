"""Functions that are one node of the tape: checkpoint against the plain function, custom_vjp."""

import gc
import threading

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg
from minigrad import nn
from minigrad.trees import flatten

pytestmark = pytest.mark.usefixtures("on_each_backend")


def table(rows, names):
    """Parametrise by a dict: test id -> values."""
    values = [row if "," in names else (row,) for row in rows.values()]
    return pytest.mark.parametrize(names.split(", "), values, ids=list(rows))


def point(*shape, seed=0, **options):
    return tensor(np.random.default_rng(seed).uniform(0.5, 1.5, shape), **options)


def plain(f):
    return f


# checkpoint


def through_inputs(wrap):
    x = point(3, requires_grad=True)
    return wrap(lambda x: mg.exp(x) * x)(x), [x]


def through_what_is_closed_over(wrap):
    x, w = point(3), point(3, seed=1, requires_grad=True)
    return wrap(lambda x: mg.exp(x * w) + w)(x), [w]


def through_results_closed_over(wrap):
    """h leads to w, and both are used: their shares must not be counted twice."""
    x, w = point(3, requires_grad=True), point(3, seed=1, requires_grad=True)
    h = mg.exp(w)
    return wrap(lambda x: x * h * w + h)(x) * h, [x, w]


def through_one_tensor_in_two_places(wrap):
    x = point(3, requires_grad=True)
    return wrap(lambda a, b: a * a * b)(x, x), [x]


def through_one_tensor_given_and_closed_over(wrap):
    x = point(3, requires_grad=True)
    return wrap(lambda a: mg.exp(a) * x)(x), [x]


def through_trees(wrap):
    x, y, w = (point(3, seed=i, requires_grad=True) for i in range(3))

    def f(p, *rest, scale):
        assert rest == ("name", 2)
        product = p["x"] * p["y"][0] * scale
        return {"a": (product, mg.exp(product)), "n": "kept", "i": mg.argmax(product)}

    out = wrap(f)({"x": x, "y": [y, None]}, "name", 2, scale=w)
    assert (out["n"], out["i"].requires_grad) == ("kept", False)
    return out["a"][0] + out["a"][1] * 2, [x, y, w]


def through_one_of_two_results(wrap):
    x = point(3, requires_grad=True)
    return wrap(lambda x: (x * x, mg.exp(x)))(x)[1], [x]


def through_a_constant_result(wrap):
    x = point(3, requires_grad=True)
    product, constant = wrap(lambda x: (x * x, point(3)))(x)
    assert constant.node is None
    return product * constant, [x]


def through_the_input_itself(wrap):
    x, w = point(3, requires_grad=True), point(3, requires_grad=True)
    y, z = wrap(lambda x: (x, w))(x)
    return y * z * x, [x, w]


def through_checkpoints_inside(wrap):
    x, w = point(3, requires_grad=True), point(3, requires_grad=True)
    inner = wrap(lambda x: mg.exp(x) * w)
    return wrap(lambda x: inner(inner(x) * 0.1) * x * w)(x), [x, w]


def through_a_chain(wrap):
    x, w = point(3, requires_grad=True), point(3, requires_grad=True)
    y = x
    for _ in range(30):
        y = wrap(lambda y: mg.tanh(y * w))(y)
    return y, [x, w]


def through_a_gradient_inside(wrap):
    x, w = point(3, requires_grad=True), point(3, requires_grad=True)
    return wrap(lambda x: mg.grad(lambda y: (y**3 * x * w).sum())(x))(x), [x, w]


def through_a_module(wrap):
    mg.manual_seed(1)
    layer, x = nn.Linear(3, 3), point(2, 3).astype(np.float32)
    return wrap(layer)(x), list(layer.parameters())


def through_views(wrap):
    x = point(2, 3, requires_grad=True)
    return wrap(lambda x: x.T)(x)[1:] * 2, [x]


def through_no_grad_inside(wrap):
    x = point(3, requires_grad=True)

    def f(x):
        with mg.no_grad():
            constant = mg.exp(x)
        return x * constant

    return wrap(f)(x), [x]


WAYS = {name: f for name, f in list(globals().items()) if name.startswith("through_")}


@table(WAYS, "way")
def test_a_checkpoint_has_the_values_and_derivatives_of_its_function(way):
    results = []
    for wrap in (plain, mg.checkpoint):
        y, leaves = way(wrap)
        first = mg.autograd.grad((y * y).sum(), leaves, create_graph=True)
        second = mg.autograd.grad(
            sum((g * g).sum() for g in first), leaves, allow_unused=True, retain_graph=True
        )
        y, leaves = way(wrap)
        (y * y).sum().backward()
        results.append([y.detach(), *first, *second, *(leaf.grad for leaf in leaves)])
    for wanted, found in zip(*results, strict=True):
        assert (wanted is None) == (found is None)
        if found is not None:
            assert found.dtype == wanted.dtype
            rtol = 1e-5 if found.dtype == np.float32 else 1e-12
            np.testing.assert_allclose(
                found.detach().numpy(), wanted.detach().numpy(), rtol=rtol, atol=1e-14
            )


def test_a_checkpoint_of_constants_or_under_no_grad_is_the_function():
    f = mg.checkpoint(lambda x: (x * 2, "name"))
    assert f(point(2))[0].node is None
    with mg.no_grad():
        assert f(point(2, requires_grad=True))[0].node is None


def bytes_on_the_tape(y):
    """Count the arrays that the nodes under y keep, each memory once."""
    seen, stack, arrays = set(), [y.node], {}
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack += node.parents
            kept = [v._array for v in node.saved if isinstance(v, mg.Tensor)]
            arrays |= {id(a): a.size * a.dtype.itemsize for a in kept}
    return sum(arrays.values())


def test_the_tape_keeps_the_inputs_alone():
    def block(x):
        for _ in range(20):
            x = mg.tanh(x) * 1.01
        return x

    x = point(100, requires_grad=True)
    kept = {}
    for wrap in (plain, mg.checkpoint):
        y = x
        for _ in range(5):
            y = wrap(block)(y)
        kept[wrap] = bytes_on_the_tape(y)
    assert kept == {plain: 100 * 800, mg.checkpoint: 5 * 800}


def test_nothing_is_kept_after_backward():
    gc.collect()
    gc.disable()
    try:
        before = sum(type(o) is mg.Tensor for o in gc.get_objects())
        for _ in range(3):
            x = point(2, requires_grad=True)
            y = mg.checkpoint(lambda x: mg.exp(x) * x)(x).sum()
            y.backward()
            assert y.node.saved is None
        del x, y
        assert sum(type(o) is mg.Tensor for o in gc.get_objects()) == before
    finally:
        gc.enable()


def test_backward_frees_a_checkpoint_and_calls_its_function_once():
    calls = []
    f = mg.checkpoint(lambda x: (calls.append(0), x * x)[1])
    x = point(2, requires_grad=True)
    y = f(x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert len(calls) == 3
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


# Random numbers


def draws(wrap, generator=None):
    """A function that draws, its gradient, and what is drawn afterwards."""
    mg.manual_seed(5)
    x = point(4, 5, requires_grad=True)

    def f(x):
        kept = nn.functional.dropout(x, 0.5, True)
        return kept * mg.random.normal((4, 5), dtype=np.float64, generator=generator)

    y = wrap(f)(x)
    between = mg.rand(3)
    (wrap(f)(y) * y).sum().backward()
    after = mg.rand(3)
    own = mg.random.normal(3, generator=generator)
    return [t.tolist() for t in (y.detach(), between, x.grad, after, own)]


@pytest.mark.parametrize("seed", [None, 3])
def test_random_numbers_are_drawn_again_and_the_stream_goes_on(seed):
    plainly, again = (
        draws(wrap, None if seed is None else mg.random.Generator(seed))
        for wrap in (plain, mg.checkpoint)
    )
    assert plainly == again


def test_random_numbers_of_nested_checkpoints():
    def f(x):
        return mg.checkpoint(lambda x: nn.functional.dropout(x, 0.5, True))(x) * mg.rand(20)

    x = point(20).astype(np.float32).requires_grad_()
    found = []
    for wrap in (plain, mg.checkpoint):
        mg.manual_seed(0)
        y = wrap(f)(x)
        found.append([y.tolist(), *(g.tolist() for g in mg.autograd.grad((y * y).sum(), x))])
    assert found[0] == found[1]


def test_random_numbers_when_another_thread_goes_backward():
    x = point(50, requires_grad=True)
    mg.manual_seed(1)
    y = mg.checkpoint(lambda x: nn.functional.dropout(x, 0.5, True) * x)(x)
    wanted = (y.detach() / x.detach() * 2).numpy()
    states = []

    def work():
        mg.manual_seed(2)
        states.append(mg.random.get_state().tolist())
        y.sum().backward()
        states.append(mg.random.get_state().tolist())

    here = mg.random.get_state().tolist()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    np.testing.assert_allclose(x.grad.numpy(), wanted, rtol=1e-12)
    assert states[0] == states[1] and mg.random.get_state().tolist() == here


def test_a_seed_set_inside_is_not_set_again():
    def f(x):
        mg.manual_seed(3)
        return x * mg.rand(2, dtype=np.float64)

    x = point(2, requires_grad=True)
    y = mg.checkpoint(f)(x).sum()
    mg.manual_seed(4)
    wanted = mg.rand(2).tolist()
    mg.manual_seed(4)
    y.backward()
    assert mg.rand(2).tolist() == wanted
    mg.manual_seed(3)
    assert x.grad.tolist() == mg.rand(2, dtype=np.float64).tolist()


# What stands around


def test_defaults_are_those_of_the_first_call():
    x = point(2, requires_grad=True)
    chosen = []

    def f(x):
        chosen.append((mg.backends.default().name, mg.get_default_dtype(), mg.is_grad_enabled()))
        return x * x

    before = mg.get_default_dtype()
    mg.set_default_dtype(np.float64)
    try:
        y = mg.checkpoint(f)(x).sum()
    finally:
        mg.set_default_dtype(before)
    with mg.use_backend("numpy"), mg.no_grad():
        y.backward()
        assert (mg.backends.default().name, mg.get_default_dtype()) == ("numpy", before)
    assert chosen[0] == chosen[1]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 3))

    def forward(self, x):
        return mg.checkpoint(lambda x: x + mg.checkpoint(self.inner)(x))(x)


def test_checkpoints_in_a_module_that_is_called_as_a_function():
    mg.manual_seed(0)
    block, x = Block(), mg.randn(5, 3)
    inner = block.inner
    params = {name: p.detach() * 2 for name, p in inner.named_parameters()}
    mg.manual_seed(1)
    wanted = mg.grad(lambda p: ((x + nn.functional_call(inner, p, x)) ** 2).mean())(params)
    mg.manual_seed(1)
    found = mg.grad(lambda p: (nn.functional_call(block, p, x) ** 2).mean())(
        {f"inner.{name}": p for name, p in params.items()}
    )
    for name in wanted:
        np.testing.assert_allclose(found[f"inner.{name}"].numpy(), wanted[name].numpy(), rtol=1e-5)
    assert all(p.grad is None and type(p) is nn.Parameter for p in block.parameters())


def test_parameters_made_by_the_first_call():
    mg.manual_seed(0)
    layer = nn.LazyLinear(2)
    mg.checkpoint(layer)(mg.ones((1, 3))).sum().backward()
    assert layer.weight.grad.tolist() == [[1, 1, 1]] * 2 and layer.bias.grad.tolist() == [1, 1]


def test_hooks_see_a_gradient_once():
    w = point(2, requires_grad=True)
    h = w * 2
    seen = []
    for t in (w, h):
        t.register_hook(lambda g: (seen.append(g.tolist()), g * 10)[1])
    mg.checkpoint(lambda x: x * h + w)(point(2) * 0 + 1).sum().backward()
    assert seen == [[1, 1], [21, 21]] and w.grad.tolist() == [210, 210]


# Errors


def test_a_value_changed_in_between_is_an_error():
    w, mask = point(2, requires_grad=True), point(2)
    for changed in (w, mask):
        x = point(2, requires_grad=True)
        y = mg.checkpoint(lambda x: x * mask * w)(x).sum()
        with mg.no_grad():
            changed *= 2.0
        with pytest.raises(RuntimeError, match="checkpoint: called again in backward, <lambda> us"):
            y.backward()
    y = mg.checkpoint(lambda x: x * x)(w).sum()
    with mg.no_grad():
        w *= 2.0
    with pytest.raises(RuntimeError, match=r"checkpoint: .* changed in place"):
        y.backward()


def test_an_array_given_to_a_checkpoint_may_be_reused():
    x, array = point(2, requires_grad=True), np.array([2.0, 3.0])
    y = mg.checkpoint(lambda x, array: x * array)(x, array)
    array[:] = 0
    y.sum().backward()
    assert x.grad.tolist() == [2, 3]


def test_a_function_that_does_something_else_is_an_error():
    a, b = point(2, requires_grad=True), point(2, requires_grad=True)
    for others in ([a, b], [a, point(2)], [a, point(1).requires_grad_()], [1.0, a]):
        source = iter(others)
        x = point(2, requires_grad=True)
        y = mg.checkpoint(lambda x, source=source: x * next(source))(x)
        with pytest.raises(RuntimeError, match="other values or returned other shapes than before"):
            y.sum().backward()
    sizes = iter([2, 1])
    y = mg.checkpoint(lambda x: x[: next(sizes)])(x)
    with pytest.raises(RuntimeError, match="other shapes"):
        y.sum().backward()
    results = iter([(1, x), (x,)])
    y = mg.checkpoint(lambda x: next(results))(x)[1]
    with pytest.raises(RuntimeError, match="other shapes"):
        y.sum().backward()


def test_checkpoints_are_drawn_and_profiled():
    x = point(2, requires_grad=True)

    def square(x):
        return x * x

    y = mg.checkpoint(square)(x).sum()
    assert "checkpoint(of=square)" in str(mg.viz.draw(y))
    with mg.viz.record() as tape:
        mg.checkpoint(square)(x).sum().backward()
    assert "multiply" in str(tape.draw())
    with mg.profile() as profile:
        mg.checkpoint(square)(x).sum().backward()
    assert profile.rows["multiply", "backward"].calls > 0
    with mg.detect_anomaly():
        mg.checkpoint(square)(x).sum().backward()


# custom_vjp

square = mg.custom_vjp(lambda x: x * x, lambda g, x: 2 * x * g)
product = mg.custom_vjp(lambda x, y: x * y, lambda g, x, y: (g * y, g * x))


def test_the_rule_takes_the_place_of_the_derivative():
    signs = mg.custom_vjp(lambda x: mg.sign(x), lambda g, x: g)
    x = point(3, requires_grad=True)
    (signs(x) * 3.0).sum().backward()
    assert x.grad.tolist() == [3, 3, 3]
    clipped = mg.custom_vjp(lambda x: x, lambda g, x: mg.clip(g, -1, 1))
    assert mg.grad(lambda x: (clipped(x) * 5.0).sum())(point(2)).tolist() == [1, 1]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_the_rule(order):
    assert mg.gradcheck(square, point(3), order)
    assert mg.gradcheck(product, [point(3), point(3, seed=1)], order)
    assert mg.gradcheck(lambda x: product(square(x), x), point(2), order)


def test_transforms_of_a_custom_function():
    x = point(3)
    cube = lambda x: product(square(x), x)  # noqa: E731
    for transform in (mg.jacobian, mg.hessian):
        np.testing.assert_allclose(
            transform(cube)(x).numpy(), transform(lambda x: x**3)(x).numpy(), rtol=1e-12
        )
    again = mg.checkpoint(cube)
    found = mg.grad(lambda x: again(x).sum())(x)
    np.testing.assert_allclose(found.numpy(), (3 * x * x).numpy(), rtol=1e-12)


def test_several_outputs():
    seen = []

    def rule(g, x):
        seen.append(g)
        return g["twice"] * 2 + g["more"][0] * x

    f = mg.custom_vjp(lambda x: {"twice": x * 2, "more": (x * x / 2,), "at": mg.argmax(x)}, rule)
    x = point(2, requires_grad=True)
    out = f(x)
    assert not out["at"].requires_grad
    out["more"][0].sum().backward()
    assert x.grad.tolist() == x.tolist()
    assert seen[0]["twice"].tolist() == [0, 0] and seen[0]["at"].tolist() == 0
    both = mg.custom_vjp(lambda x, y: (x + y, x * y), lambda g, x, y: (g[0], g[1] * x))
    assert [g.tolist() for g in mg.grad(lambda *a: sum(v.sum() for v in both(*a)), (0, 1))(x, x)]


def test_no_cotangent_is_no_gradient():
    f = mg.custom_vjp(lambda x, y: x * y, lambda g, x, y: (g * y, None))
    x, y = point(2, requires_grad=True), point(2, requires_grad=True)
    f(x, y).sum().backward()
    assert x.grad.tolist() == y.tolist() and y.grad is None
    assert mg.grad(lambda x, y: f(x, y).sum(), 1)(x.detach(), y.detach()).tolist() == [0, 0]


def test_inputs_that_are_no_tensors():
    def rule(g, x, n, array, flag, index):
        assert isinstance(array, mg.Tensor) and (n, flag, index.tolist()) == (2.0, None, [1])
        return g * n * array, None, None, None, None

    f = mg.custom_vjp(lambda x, n, array, flag, index: x * n * array, rule)
    x = point(2).astype(np.float32).requires_grad_()
    y = f(x, 2.0, np.float32([3, 4]), None, mg.tensor([1]))
    y.sum().backward()
    assert (y.dtype, x.grad.tolist()) == (np.float32, [6, 8])


def test_a_forward_in_numpy():
    def forward(x):
        return tensor(np.sinc(x.numpy()))

    def rule(g, x):
        t = x * np.pi
        return g * (mg.cos(t) * t - mg.sin(t)) / (t * x)

    assert mg.gradcheck(mg.custom_vjp(forward, rule), point(3), order=2)


def test_constants_and_no_grad():
    x = point(2, requires_grad=True)
    assert square(point(2)).node is None
    with mg.no_grad():
        y = square(x)
    with pytest.raises(RuntimeError, match=r"no_grad\(\)"):
        y.backward(y)
    with pytest.raises(RuntimeError, match="no input of the computation requires grad"):
        square(point(2)).sum().backward()
    identity = mg.custom_vjp(lambda x: x, lambda g, x: g * 2)
    assert identity(x) is not x and x.is_leaf


def bad(vjp, *inputs):
    xs = inputs or (point(2, requires_grad=True),)
    return lambda: mg.custom_vjp(mul, vjp)(*xs).sum().backward()


def mul(*xs):
    return xs[0] * xs[-1]


def two():
    return point(2, requires_grad=True), point(2)


ERRORS = {
    "shape": (
        lambda: bad(lambda g, x: g[:1])(),
        ValueError,
        r"custom_vjp: the cotangent of input 0 of mul must stay float64 \(2,\) .* got float64 \(1,",
    ),
    "dtype": (
        lambda: bad(lambda g, x, y: (g.astype(np.float32), None), *two())(),
        ValueError,
        "got float32",
    ),
    "too few": (
        lambda: bad(lambda g, x, y: g, *two())(),
        ValueError,
        "the rule of mul must return one cotangent for each of its 2 inputs, .* got 1",
    ),
    "too many": (lambda: bad(lambda g, x: (g, g))(), ValueError, "its 1 inputs, .* got 2"),
    "no tensor": (
        lambda: bad(lambda g, x: 1.0)(),
        TypeError,
        "the cotangent of input 0 of mul must be a Tensor or None, not float",
    ),
    "a result that is no tensor": (
        lambda: mg.custom_vjp(lambda x: x.sum().item(), square)(point(2)),
        TypeError,
        "custom_vjp: <lambda> must return tensors, got float",
    ),
    "a tree of inputs": (
        lambda: mg.custom_vjp(mul, square)([point(2)]),
        TypeError,
        "custom_vjp: mul takes tensors as inputs of their own, not trees",
    ),
    "a keyword": (lambda: mg.custom_vjp(mul, square)(x=1), TypeError, "keyword"),
}


@table(ERRORS, "call, error, message")
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_names_of_custom_functions():
    def half(x):
        """Half of x."""
        return x / 2

    f = mg.custom_vjp(half, lambda g, x: g / 2)
    assert (f.__name__, f.__doc__) == ("half", "Half of x.")
    assert "custom_vjp(of=half)" in str(mg.viz.draw(f(point(2, requires_grad=True)).sum()))
    assert flatten(f(point(2)))[0]
