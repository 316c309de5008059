"""Transforms against closed forms, central differences and JAX, on trees, nested and in threads."""

import functools
import inspect
import threading
import weakref
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from on_backend import tensor

import minigrad as mg
from minigrad import nn
from minigrad.trees import flatten

pytestmark = pytest.mark.usefixtures("on_each_backend")

Pair = namedtuple("Pair", ["first", "second"])


def table(rows, names):
    """Parametrise by a dict: test id -> values."""
    values = [row if "," in names else (row,) for row in rows.values()]
    return pytest.mark.parametrize(names.split(", "), values, ids=list(rows))


def mapped(f, tree):
    values, structure = flatten(tree)
    return structure.build(map(f, values))


def tensors(tree):
    """Arrays of a tree as tensors on the backend under test."""
    return mapped(lambda v: tensor(v) if isinstance(v, np.ndarray) else v, tree)


def assert_alike(mine, theirs, rtol=1e-12):
    """Compare trees whose values are tensors or arrays, and their containers."""
    if theirs is None:
        assert mine is None
    elif isinstance(theirs, dict):
        assert isinstance(mine, dict) and set(mine) == set(theirs)
        for key in theirs:
            assert_alike(mine[key], theirs[key], rtol)
    elif isinstance(theirs, list | tuple):
        assert type(mine) is type(theirs) and len(mine) == len(theirs)
        for a, b in zip(mine, theirs, strict=True):
            assert_alike(a, b, rtol)
    else:
        assert isinstance(mine, mg.Tensor) and mine.node is None
        wanted = np.asarray(theirs)
        assert (mine.shape, mine.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(mine.numpy(), wanted, rtol=rtol, atol=1e-14)


RNG = np.random.default_rng(4)


def point(*shape):
    return RNG.uniform(0.5, 1.5, shape)


# Each row: a function written for either namespace, and its arguments. One number comes out.
SCALAR = {
    "a power": (lambda xp: lambda x: x**5, np.array(1.3)),
    "a sum": (lambda xp: lambda x: xp.sum(xp.exp(x) * x), point(3)),
    "linear": (lambda xp: lambda x: xp.sum(x * 3.0) + 1.0, point(2)),
    "no dependence": (lambda xp: lambda x: xp.asarray(3.0, dtype=xp.float64), point(2)),
    "no elements": (lambda xp: lambda x: xp.sum(x * x), point(0, 2)),
    "masked": (lambda xp: lambda x: xp.sum(xp.where(x > 1, x**3, -x)), point(4)),
    "matrices": (lambda xp: lambda x, y: xp.sum(xp.tanh(x @ y) ** 2), point(2, 3), point(3, 2)),
    "an unused argument": (lambda xp: lambda x, y: xp.sum(x**3), point(2), point(3)),
    "a dictionary": (
        lambda xp: lambda p, x: xp.mean((xp.tanh(x @ p["w"] + p["b"]) - 1) ** 2),
        {"w": point(3, 2), "b": point(2)},
        point(4, 3),
    ),
    "a nest": (
        lambda xp: lambda t: xp.sum(t[0] * t[1][0]) * xp.max(t[1][1]["c"]) + xp.sum(t[2].second),
        [point(2), (point(2), {"c": point(2), "none": None}), Pair(point(1), point())],
    ),
    "the same input twice": (lambda xp: lambda x, y: xp.sum(x * x * y), *[point(2)] * 2),
}

# As above; trees come out.
VECTOR = {
    "elementwise": (lambda xp: lambda x: xp.exp(x) / x, point(2, 2)),
    "a tuple": (lambda xp: lambda x, y: (x @ y, xp.sum(x)), point(2, 3), point(3)),
    "a dictionary": (
        lambda xp: lambda p: {"b": [p["w"] * p["w"], p["b"]], "a": (xp.sum(p["w"]),)},
        {"w": point(2), "b": point()},
    ),
    "a part that is constant": (
        lambda xp: lambda x: [x**2, xp.ones(2, dtype=xp.float64)],
        point(2),
    ),
    "no elements": (lambda xp: lambda x: x[:0] * 2.0, point(3)),
}
ROWS = {**SCALAR, **{f"{name}, out": row for name, row in VECTOR.items()}}


def like(tree):
    """A fixed tree of tensors or arrays of the same shapes, to go along or to pull back."""
    return mapped(lambda x: np.cos(np.arange(x.size) + 1.0).reshape(x.shape), tree)


def hvp_of(jax, f, args):
    return jax.jvp(jax.grad(f, tuple(range(len(args)))), args, like(args))[1]


def third(grad):
    """Sums of squares of gradients, three times one of the other."""

    def of(f, args):
        def squares(*args):
            return sum((v * v).sum() for v in flatten(grad(f)(*args))[0])

        return lambda *args: squares(*args)

    return lambda f, args: of(of(of(f, args), args), args)(*args)


# name -> (the rows it fits, minigrad's result, JAX's)
TRANSFORMS = {
    "grad": (SCALAR, lambda f, a: mg.grad(f)(*a), lambda jax, f, a: jax.grad(f)(*a)),
    "grad, by the last": (
        SCALAR,
        lambda f, a: mg.grad(f, (-1,))(*a),
        lambda jax, f, a: jax.grad(f, (len(a) - 1,))(*a),
    ),
    "value_and_grad": (
        SCALAR,
        lambda f, a: mg.value_and_grad(f, range(len(a)))(*a),
        lambda jax, f, a: jax.value_and_grad(f, tuple(range(len(a))))(*a),
    ),
    "vjp": (
        ROWS,
        lambda f, a: mg.vjp(f, *a)[1](tensors(like(mg.vjp(f, *a)[0]))),
        lambda jax, f, a: jax.vjp(f, *a)[1](like(f(*a))),
    ),
    "jvp": (
        ROWS,
        lambda f, a: mg.jvp(f, a, tensors(like(a))),
        lambda jax, f, a: jax.jvp(f, a, like(a)),
    ),
    "jacobian": (
        ROWS,
        lambda f, a: mg.jacobian(f, tuple(range(len(a))))(*a),
        lambda jax, f, a: jax.jacrev(f, tuple(range(len(a))))(*a),
    ),
    "hessian": (
        ROWS,
        lambda f, a: mg.hessian(f, 0)(*a),
        lambda jax, f, a: jax.hessian(f, 0)(*a),
    ),
    "hvp": (SCALAR, lambda f, a: mg.hvp(f, a, tensors(like(a))), hvp_of),
    "third order": (
        SCALAR,
        lambda f, a: third(mg.grad)(f, a),
        lambda jax, f, a: third(jax.grad)(f, a),
    ),
    "grad of a checkpoint": (
        SCALAR,
        lambda f, a: mg.grad(mg.checkpoint(f))(*a),
        lambda jax, f, a: jax.grad(f)(*a),
    ),
    "hessian of a checkpoint": (
        ROWS,
        lambda f, a: mg.hessian(mg.checkpoint(f))(*a),
        lambda jax, f, a: jax.hessian(f)(*a),
    ),
}
CASES = [(transform, row) for transform, (rows, _, _) in TRANSFORMS.items() for row in rows]


@functools.cache
def of_jax(transform, row):
    import jax

    make, *args = ROWS[row]
    with jax.enable_x64(True):
        return TRANSFORMS[transform][2](jax, make(jax.numpy), tuple(args))


@pytest.mark.parametrize("transform, row", CASES)
def test_agrees_with_jax(transform, row):
    pytest.importorskip("jax", reason='needs JAX (the extra "compare")')
    make, *args = ROWS[row]
    mine = TRANSFORMS[transform][1](make(mg), tensors(tuple(args)))
    assert_alike(mine, of_jax(transform, row))


def flat_gradients(f, args):
    """The gradient of f as a function of its tensors, in the form that gradcheck takes."""
    values, structure = flatten(args)
    gradients = mg.grad(f, range(len(args)))
    return values, lambda *xs: flatten(gradients(*structure.build(xs)))[0]


@pytest.mark.parametrize("row", SCALAR)
def test_gradients_have_the_derivatives_that_central_differences_find(row):
    make, *args = SCALAR[row]
    f, args = make(mg), tensors(tuple(args))
    values, structure = flatten(args)
    assert mg.gradcheck(lambda *xs: f(*structure.build(xs)), values)
    values, gradients = flat_gradients(f, args)
    assert mg.gradcheck(gradients, values)


def number(x):
    return tensor(np.float64(x))


# name -> (what is computed at x = 2, its value)
CLOSED_FORMS = {
    "grad": (mg.grad(lambda x: x**4), 32),
    "grad of grad": (mg.grad(mg.grad(lambda x: x**4)), 48),
    "grad of grad of grad": (mg.grad(mg.grad(mg.grad(lambda x: x**4))), 48),
    "sixth order": (functools.reduce(lambda f, _: mg.grad(f), range(6), lambda x: x**7), 10080),
    "the inner x is not the outer": (
        mg.grad(lambda x: x * mg.grad(lambda y: x + y)(x)),
        1,
    ),
    "nor in a product": (mg.grad(lambda x: mg.grad(lambda y: x * y)(x)), 1),
    "nor in a power": (mg.grad(lambda x: mg.grad(lambda y: x * y**3)(x)), 36),
    "nor along jvp": (
        mg.grad(lambda x: x * mg.jvp(lambda y: x + y, x, number(1.0))[1]),
        1,
    ),
    "jvp in jvp": (
        lambda x: mg.jvp(lambda x: x * mg.jvp(lambda y: x * y, x, number(1.0))[1], x, number(1.0))[
            1
        ],
        4,
    ),
    "jacobian of grad": (mg.jacobian(mg.grad(lambda x: x**3)), 12),
    "grad of jacobian": (mg.grad(lambda x: mg.jacobian(lambda y: y**3)(x)), 12),
    "grad of hessian": (mg.grad(mg.hessian(lambda x: x**4)), 48),
    "grad of hvp": (mg.grad(lambda x: mg.hvp(lambda y: y**3, x, x)), 24),
    "grad by the vector of hvp": (
        mg.grad(lambda v: mg.hvp(lambda y: y**3, number(3.0), v)),
        18,
    ),
    "grad by the cotangent": (
        mg.grad(lambda g: mg.vjp(lambda y: y**3, number(2.0))[1](g)[0]),
        12,
    ),
    "grad of a pullback": (mg.grad(lambda x: mg.vjp(lambda y: y**3, x)[1](x * x)[0]), 96),
    "grad by the tangent": (
        mg.grad(lambda v: mg.jvp(lambda y: y**3, number(2.0), v)[1]),
        12,
    ),
    "grad through a step of descent": (
        mg.grad(lambda x: (x - 0.25 * mg.grad(lambda y: y**2)(x)) ** 2),
        1,
    ),
    "grad by the rate of descent": (
        mg.grad(lambda rate: (1.0 - rate * mg.grad(lambda y: y**2)(number(1.0))) ** 2),
        12,
    ),
    "a constant inside": (mg.grad(lambda x: x * mg.grad(lambda y: y**2)(number(3.0))), 6),
    "detached inside": (mg.grad(lambda x: x * mg.grad(lambda y: y**2)(x).detach()), 4),
    "value, then grad": (lambda x: mg.value_and_grad(lambda x: x**2)(x)[0], 4),
    "the value has a derivative": (
        mg.grad(lambda x: mg.value_and_grad(lambda y: y**2)(x)[0]),
        4,
    ),
    "the auxiliary value as well": (
        mg.grad(lambda x: mg.grad(lambda y: (y, x * y * y), has_aux=True)(x)[1]),
        12,
    ),
}


@table(CLOSED_FORMS, "f, value")
def test_closed_forms(f, value):
    result = f(number(2.0))
    assert (result.item(), result.dtype, result.node) == (value, np.float64, None)


@table(CLOSED_FORMS, "f, value")
def test_closed_forms_under_no_grad(f, value):
    with mg.no_grad():
        result = f(number(2.0))
        assert not mg.is_grad_enabled()
    assert (result.item(), result.node) == (value, None)


def test_a_transform_under_no_grad_inside_another_is_constant_to_it():
    def f(x):
        with mg.no_grad():
            slope = mg.grad(lambda y: y**2)(x)
        return x * slope

    assert mg.grad(f)(number(3.0)).item() == 6


# What the caller's tape follows


def test_leaves_that_require_grad_are_followed_and_their_grad_left_alone():
    w = number(3.0).requires_grad_()
    w.grad = number(7.0)
    for slope in (mg.grad(lambda x: x**2)(w), mg.grad(lambda x: x * w)(number(1.0)) * 2):
        assert slope.item() == 6 and slope.requires_grad
        assert w.grad.item() == 7
        assert mg.autograd.grad(slope, w)[0].item() == 2
    (mg.grad(lambda x: x**3)(w) + w).backward()
    assert w.grad.item() == 7 + 18 + 1


def test_inputs_that_are_results_on_a_tape():
    w = number(3.0).requires_grad_()
    x = w * w
    mg.grad(lambda y: y**2)(x).backward()  # 2w²
    assert (w.grad.item(), x.grad) == (12, None)


def test_what_does_not_depend_on_the_tape_is_not_on_it():
    w = number(3.0).requires_grad_()
    value, slope = mg.value_and_grad(lambda x: x**2 + w)(number(2.0))
    assert value.requires_grad and not slope.requires_grad
    y, pull_back = mg.vjp(lambda x: (x**2, x * w), number(2.0))
    assert (y[0].requires_grad, y[1].requires_grad) == (False, True)
    assert pull_back((number(1.0), number(0.0)))[0].requires_grad
    with mg.no_grad():
        value, slope = mg.value_and_grad(lambda x: x**2 * w)(w)
    assert not value.requires_grad and not slope.requires_grad
    assert mg.value_and_grad(lambda x: x * 1, has_aux=False)(number(2.0))[0].node is None


def test_what_was_on_the_tape_before_stays_as_it_is():
    w = number(3.0).requires_grad_()
    for recording in (mg.enable_grad(), mg.no_grad()):
        with recording:
            (value, aux), _ = mg.value_and_grad(lambda x: (w, {"w": w}), has_aux=True)(number(1.0))
        assert value is w and aux["w"] is w


def test_a_parameter_that_the_function_makes_is_followed():
    layers = []

    def f(x):
        if not layers:
            layers.append(nn.Linear(1, 1))
        return layers[0](x).sum()

    x = mg.ones((1, 1))
    for _ in range(2):
        slope = mg.grad(lambda x: f(x) ** 2)(x)
        assert slope.requires_grad


def test_a_graph_that_was_freed_may_be_closed_over():
    w = number(3.0).requires_grad_()
    h = mg.exp(w)
    h.backward()
    with mg.no_grad():
        assert mg.grad(lambda x: x * h)(number(1.0)).item() == h.item()


def test_cotangents_made_after_vjp_are_followed():
    _, pull_back = mg.vjp(lambda x: x**2, number(3.0))
    g = number(5.0).requires_grad_()
    (cotangent,) = pull_back(g)
    cotangent.backward()
    assert (cotangent.item(), g.grad.item()) == (30, 6)
    assert not pull_back(number(1.0))[0].requires_grad


def test_a_pullback_may_be_used_after_a_backward_through_its_result():
    w = number(3.0).requires_grad_()
    _, pull_back = mg.vjp(lambda x: x * x, w)
    for _ in range(2):
        (cotangent,) = pull_back(number(1.0))
        assert cotangent.item() == 6 and cotangent.requires_grad
    cotangent.backward()
    assert w.grad.item() == 2
    (cotangent,) = pull_back(number(1.0))
    assert cotangent.item() == 6
    with pytest.raises(RuntimeError, match="second time"):
        cotangent.backward()


def test_operators_in_place_leave_the_arguments_alone():
    def f(x, y):
        x += 1.0
        y *= x
        return y.sum()

    x, y = tensor(np.ones(2)), tensor(np.ones(2))
    assert mg.grad(f)(x, y).tolist() == [1, 1]
    assert mg.grad(f, (0, 1))(x, y)[1].tolist() == [2, 2]
    assert mg.hessian(lambda x: f(x, x))(x).tolist() == [[2, 0], [0, 2]]
    assert x.tolist() == y.tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="leaf that requires grad cannot be changed in place"):
        f(x.requires_grad_(), y)


def test_gradients_can_be_written_to_and_share_no_memory():
    x, y = tensor(np.ones(2)), tensor(np.ones(2))
    gx, gy = mg.grad(lambda x, y: (x + y).sum(), (0, 1))(x, y)
    gx *= 5.0
    assert (gx.tolist(), gy.tolist()) == ([5, 5], [1, 1])
    g = tensor(np.ones(2))
    _, pull_back = mg.vjp(lambda x, y: x + y, x, y)
    gx, gy = pull_back(g)
    gx *= 5.0
    assert (gy.tolist(), g.tolist()) == ([1, 1], [1, 1])
    itself = mg.custom_vjp(lambda x: x * x, lambda g, x: x)
    gx = mg.grad(lambda x: itself(x).sum())(x)
    gx *= 5.0
    assert x.tolist() == [1, 1]


def test_nothing_is_kept_after_an_outermost_gradient():
    nodes = []

    def f(x):
        y = mg.exp(x)
        nodes.append(weakref.ref(y.node))
        return y.sum()

    value, gradient = mg.value_and_grad(f)(tensor(np.ones(2)))
    assert nodes[0]() is None and value.node is None and gradient.node is None


# Modules


def test_over_a_module():
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    x, y = mg.randn(5, 3), mg.randn(5, 1)

    def loss(params, x):
        return ((nn.functional_call(model, params, x) - y) ** 2).mean()

    own = dict(model.named_parameters())
    loss(own, x).backward()
    before = {name: p.grad.tolist() for name, p in own.items()}
    with mg.no_grad():
        grads = mg.grad(loss)(own, x)
    followed = mg.grad(loss)(own, x)
    for name, p in own.items():
        assert grads[name].tolist() == p.grad.tolist() == before[name] == followed[name].tolist()
        assert followed[name].requires_grad and not grads[name].requires_grad


def test_learning_to_learn():
    """The gradient through a step of gradient descent, as in MAML."""
    x, y = tensor(point(4, 2)), tensor(point(4))
    start = {"w": tensor(point(2, 3)), "b": tensor(point(3)), "v": tensor(point(3))}

    def loss(p):
        return ((mg.tanh(x @ p["w"] + p["b"]) @ p["v"] - y) ** 2).mean()

    def after_a_step(p, rate=0.1):
        slope = mg.grad(loss)(p)
        return loss({name: p[name] - rate * slope[name] for name in p})

    values, structure = flatten(start)
    assert mg.gradcheck(lambda *xs: after_a_step(structure.build(xs)), values)
    leaves = [v.detach().requires_grad_() for v in values]
    after_a_step(structure.build(leaves)).backward()
    found, _ = flatten(mg.grad(after_a_step)(start))
    for g, leaf in zip(found, leaves, strict=True):
        np.testing.assert_allclose(g.numpy(), leaf.grad.numpy(), rtol=1e-12)


# Arguments


def test_arrays_and_numbers_become_tensors():
    g = mg.grad(lambda p: (p["x"] * p["y"]).sum())({"x": np.array([1.0, 2.0]), "y": 3.0})
    assert (g["x"].tolist(), g["x"].dtype) == ([3, 3], np.float64)
    assert (g["y"].tolist(), g["y"].dtype, g["y"].shape) == (3, np.float32, ())


def test_keywords_and_other_arguments_are_passed_on():
    def f(x, n, *, scale, offset=0.0):
        assert n == "name"
        return (x * scale + offset).sum()

    w = number(2.0)
    assert mg.grad(f)(number(1.0), "name", scale=w).item() == 2
    assert mg.value_and_grad(f)(number(1.0), "name", scale=3.0, offset=w)[0].item() == 5
    assert mg.jacobian(f)(number(1.0), "name", scale=w).item() == 2


def test_argnums():
    def f(x, y, z):
        return x * y * y * z * z * z

    xs = number(1.0), number(2.0), number(1.0)
    assert mg.grad(f, 1)(*xs).item() == mg.grad(f, -2)(*xs).item() == 4
    assert [g.item() for g in mg.grad(f, [2, 0])(*xs)] == [12, 4]
    assert [g.item() for g in mg.grad(f, range(2))(*xs)] == [4, 4]
    assert mg.grad(f, ())(*xs) == ()
    assert mg.grad(f, np.int64(1))(*xs).item() == 4


def test_auxiliary_values():
    def f(x):
        return x * x, {"twice": x * 2, "name": "f", "count": mg.tensor(3), "none": None}

    x = number(3.0)
    slope, aux = mg.grad(f, has_aux=True)(x)
    (value, more), again = mg.value_and_grad(f, has_aux=True)(x)
    y, pull_back, third = mg.vjp(f, x, has_aux=True)
    assert slope.item() == again.item() == pull_back(number(1.0))[0].item() == 6
    assert value.item() == y.item() == 9
    for found in (aux, more, third):
        assert found["twice"].item() == 6 and found["twice"].node is None
        assert (found["name"], found["count"].item(), found["none"]) == ("f", 3, None)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_are_kept(dtype):
    x = tensor(np.array([1.0, 2.0], dtype))
    f = lambda x: (x * x * 1.5).sum()  # noqa: E731
    results = [mg.grad(f)(x), mg.jacobian(f)(x), mg.hessian(f)(x), mg.hvp(f, x, x), mg.jvp(f, x, x)]
    results += [mg.vjp(f, x)[1](1.0), mg.grad(lambda x, y: f(y))(x, x)]
    assert {v.dtype for v in flatten(results)[0]} == {np.dtype(dtype)}


def test_names_and_docstrings_are_kept():
    def area(r):
        """The area of a disc."""
        return r * r * 3.14

    for transform in (mg.grad, mg.value_and_grad, mg.jacobian, mg.hessian, mg.checkpoint):
        new = transform(area)
        assert (new.__name__, new.__doc__) == ("area", "The area of a disc.")
        assert list(inspect.signature(new).parameters) == ["r"]
    mg.grad(nn.Linear(1, 1))  # what has no name can be differentiated as well


def test_xs_of_hvp_and_jvp_are_arguments_or_one_argument():
    x, v = tensor(np.array([1.0, 2.0])), tensor(np.array([1.0, 0.0]))
    f = lambda x: (x**3).sum()  # noqa: E731
    assert mg.hvp(f, x, v).tolist() == mg.hvp(f, (x,), (v,))[0].tolist() == [6, 0]
    assert isinstance(mg.hvp(f, [x], [v]), list)
    by_name = mg.hvp(lambda p: f(p["x"]), {"x": x}, {"x": v})
    assert by_name["x"].tolist() == [6, 0]
    pair = mg.hvp(lambda p: f(p.first) + f(p.second), Pair(x, x), Pair(v, v))
    assert isinstance(pair, Pair) and pair.second.tolist() == [6, 0]
    assert mg.jvp(f, [x], [v])[1].item() == mg.jvp(f, x, v)[1].item() == 3


def test_cotangents_and_tangents_are_converted():
    _, pull_back = mg.vjp(lambda x: {"a": x * 2, "b": x.sum()}, tensor(np.ones(2)))
    assert pull_back({"b": 1.0, "a": np.zeros(2)})[0].tolist() == [1, 1]
    assert pull_back({"b": 0.0, "a": [1.0, 2.0]})[0].tolist() == [2, 4]
    assert mg.jvp(lambda x: x * 2, tensor(np.ones(2)), [[1.0, 2.0]])[1].tolist() == [2, 4]


# Errors


def ints():
    return tensor(np.array([1, 2]))


def floats():
    return tensor(np.array([1.0, 2.0]))


ERRORS = {
    "integers": (
        lambda: mg.grad(lambda x: x.sum())(ints()),
        TypeError,
        r"grad: only floating tensors have derivatives, but args\[0\] is int64; cast",
    ),
    "a Python int": (lambda: mg.grad(lambda x: x)(3), TypeError, r"args\[0\] is int64"),
    "booleans in a tree": (
        lambda: mg.jacobian(lambda n, p: p["m"][0], 1)(0, {"m": [floats() > 1]}),
        TypeError,
        r"jacobian: .* args\[1\]\['m'\]\[0\] is bool",
    ),
    "complex": (lambda: mg.vjp(lambda x: x, tensor(np.array(1j))), TypeError, "is complex128"),
    "a complex result": (
        lambda: mg.jacobian(lambda x: x * 1j)(floats()),
        TypeError,
        "jacobian: the result must be a tensor of a floating dtype, got complex128",
    ),
    "no number": (
        lambda: mg.grad(lambda x: x)(["three"]),
        TypeError,
        r"grad: args\[0\]\[0\]: expected numbers of at most 64 bits, got str",
    ),
    "too many vectors": (
        lambda: mg.hvp(lambda x: x.sum(), floats(), (floats(), floats())),
        ValueError,
        "hvp: vs must be like the 1 xs, got 2",
    ),
    "several numbers": (
        lambda: mg.grad(lambda x: x * 2)(floats()),
        ValueError,
        r"grad: f must return one floating number, a tensor of shape \(\), got float64 \(2,\); red",
    ),
    "one number in an array": (lambda: mg.grad(lambda x: x[:1])(floats()), ValueError, r"\(1,\)"),
    "a tree of numbers": (
        lambda: mg.grad(lambda x: (x[0], x[1]))(floats()),
        ValueError,
        r"got float64 \(\), float64 \(\); reduce",
    ),
    "nothing": (lambda: mg.grad(lambda x: None)(floats()), ValueError, "got no tensor"),
    "an integer result": (
        lambda: mg.grad(lambda x: mg.argmax(x))(floats()),
        TypeError,
        "grad: the result must be a tensor of a floating dtype, got int64",
    ),
    "a Python number": (
        lambda: mg.value_and_grad(lambda x: x.sum().item())(floats()),
        TypeError,
        "the result must be a tensor of a floating dtype, got float",
    ),
    "no tensor in a tree": (
        lambda: mg.vjp(lambda x: {"a": [x, "b"]}, floats()),
        TypeError,
        r"vjp: the result\['a'\]\[1\] must be a tensor of a floating dtype, got str",
    ),
    "no auxiliary value": (
        lambda: mg.grad(lambda x: x.sum(), has_aux=True)(floats()),
        TypeError,
        r"grad: with has_aux, f returns \(value, aux\), got tensor",
    ),
    "argnums too large": (
        lambda: mg.grad(lambda x: x.sum(), 1)(floats()),
        IndexError,
        "grad: argnums must name different ones of the 1 positional arguments, got 1",
    ),
    "argnums too small": (lambda: mg.jacobian(lambda x: x, -2)(floats()), IndexError, "got -2"),
    "argnums twice": (lambda: mg.grad(lambda x: x, (0, -1))(floats()), IndexError, "different"),
    "argnums that are no position": (lambda: mg.grad(lambda x: x, "x"), TypeError, "str"),
    **{
        f"{type(point).__name__} beside f, {transform.__name__}": (
            functools.partial(transform, mg.sum, point),
            TypeError,
            f"^{transform.__name__}: argnums must be integers, got {type(point).__name__}; "
            rf".*: mg\.{transform.__name__}\(f\)\(x\)$",
        )
        for transform in (mg.grad, mg.value_and_grad, mg.jacobian, mg.hessian)
        for point in (mg.ones(2), np.ones(2), [1.0, 2.0], {"x": 1.0})
    },
    "a cotangent of another shape": (
        lambda: mg.vjp(lambda x: x, floats())[1](number(1.0)),
        ValueError,
        r"vjp: the cotangent must stay float64 \(2,\) on .*; got float64 \(\)",
    ),
    "a cotangent of another dtype": (
        lambda: mg.vjp(lambda x: x, floats())[1](floats().astype(np.float32)),
        ValueError,
        "got float32",
    ),
    "a cotangent of another tree": (
        lambda: mg.vjp(lambda x: [x, (x,)], floats())[1]([floats(), floats()]),
        ValueError,
        r"vjp: the cotangent\[1\]: expected tuple of 1, got Tensor",
    ),
    "too few tangents": (
        lambda: mg.jvp(lambda x, y: x * y, (floats(), floats()), (floats(),)),
        ValueError,
        "jvp: vs must be like the 2 xs, got 1",
    ),
    "a tangent without a key": (
        lambda: mg.jvp(lambda p: p["x"], {"x": floats()}, {"y": floats()}),
        ValueError,
        r"jvp: vs\[0\]: expected a dict with the keys \['x'\], got a dict with the keys \['y'\]",
    ),
    "a tangent of another shape": (
        lambda: mg.jvp(lambda x: x, floats(), number(1.0)),
        ValueError,
        r"jvp: vs must stay float64 \(2,\)",
    ),
    "an error in the function": (lambda: mg.grad(lambda x: x[5])(floats()), IndexError, "5"),
}


@table(ERRORS, "call, error, message")
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
    assert mg.is_grad_enabled()


# Threads


def test_second_derivatives_where_the_first_is_zero():
    x = tensor(np.array([-1.0, 0.0, 2.0]))

    def masked(x):
        return mg.where(x > 0, mg.log(x), 0.0)

    with np.errstate(divide="ignore", invalid="ignore"):
        assert mg.jvp(masked, x, x * 0 + 1)[1].tolist() == [0, 0, 0.5]
        assert mg.hvp(lambda x: masked(x).sum(), x, x * 0 + 1).tolist() == [0, 0, -0.25]
        target = tensor(np.log(2.0))
        assert mg.hessian(lambda x: (mg.log(x) - target) ** 2)(number(2.0)).item() == 0.5


def test_complex_results_have_a_pullback():
    x = floats()
    y, pull_back = mg.vjp(lambda x: mg.exp(x * 1j), x)
    g = tensor(np.array([1.0, 2j]))
    (cotangent,) = pull_back(g)
    assert (y.dtype, cotangent.dtype) == (np.complex128, np.float64)
    wanted = (g.numpy() * np.conj(1j * np.exp(1j * x.numpy()))).real
    np.testing.assert_allclose(cotangent.numpy(), wanted, rtol=1e-12)


def test_threads_differentiate_independently():
    def f(x, n):
        for _ in range(n):
            x = x * mg.grad(lambda y, x=x: (y * x).sum() ** 2 / 8)(x)
        return x.sum()

    wanted = [mg.grad(f)(floats() / 3, n).tolist() for n in range(1, 4)] * 2
    found = [None] * len(wanted)
    default = mg.backends.default().name

    def work(i):
        with mg.use_backend(default), np.errstate(all="ignore"):
            for _ in range(5):
                found[i] = mg.grad(f)(floats() / 3, 1 + i % 3).tolist()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(wanted))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == wanted


# Trees

trees = st.recursive(
    st.builds(lambda n: np.arange(n) + 0.5, st.integers(0, 3)) | st.none(),
    lambda below: (
        st.lists(below, max_size=3)
        | st.lists(below, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), below, max_size=3)
        | st.dictionaries(st.integers(), below, max_size=2).map(OrderedDict)
        | st.builds(Pair, below, below)
    ),
    max_leaves=8,
)


@given(trees)
def test_flatten_and_build(tree):
    values, structure = flatten(tree)
    assert all(isinstance(v, np.ndarray) for v in values)
    again = structure.build(values)
    assert flatten(again)[1] == structure
    assert all(a is b for a, b in zip(structure.values_of(again, ""), values, strict=True))
    paths = list(structure.paths("tree"))
    assert all(eval(p, {"tree": tree}) is v for p, v in zip(paths, values, strict=True))


@given(trees)
def test_derivatives_on_any_tree(tree):
    tree = tensors(tree)

    def squares(tree):
        return sum(((v * v).sum() for v in flatten(tree)[0]), start=number(0.0))

    doubled = mapped(lambda v: 2 * v.numpy(), tree)
    assert_alike(mg.grad(squares)(tree), doubled)
    y, pull_back = mg.vjp(lambda t: mapped(lambda v: v * v, t), tree)
    assert_alike(pull_back(mapped(lambda v: v * 0 + 1, y)), (doubled,))
    assert_alike(
        mg.hvp(squares, tree, tree)
        if type(tree) not in (list, tuple)
        else mg.hvp(squares, (tree,), (tree,))[0],
        doubled,
    )
    _, tangent = mg.jvp(lambda t: [t, squares(t)], (tree,), (tree,))
    assert_alike(tangent[0], mapped(lambda v: v.numpy(), tree))


def test_order_of_keys_does_not_matter():
    x = {"a": floats(), "b": floats() * 2}
    v = {"b": floats() * 0, "a": floats()}
    assert mg.jvp(lambda p: p["a"] * 3 + p["b"], x, v)[1].tolist() == [3, 6]
