import itertools

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg
from minigrad import nn
from minigrad.engine import observe
from minigrad.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from minigrad.serialization import load, save
from minigrad.watching import Observer

STEPS = 100
KINDS = [SGD, Adagrad, RMSprop, Adam, AdamW]
SHAPES = [(3, 4), (), (5,)]

SETTINGS = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "weight_decay": 0.05}),
    (SGD, {"lr": 0.02, "momentum": 0.9}),
    (SGD, {"lr": 0.02, "momentum": 0.9, "dampening": 0.4, "weight_decay": 0.01}),
    (SGD, {"lr": 0.02, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01}),
    (Adam, {}),
    (Adam, {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4}),
    (Adam, {"lr": 0.05, "weight_decay": 0.1}),
    (Adam, {"lr": 0.05, "weight_decay": 0.1, "l1": 0.3}),
    (AdamW, {"lr": 0.05, "weight_decay": 0.1}),
    (AdamW, {"lr": 0.05, "l1": 0.3}),
    (SGD, {"lr": 0.02, "l1": 0.3}),
    (SGD, {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "l1": 0.3}),
    (Adagrad, {}),
    (Adagrad, {"lr": 0.5, "lr_decay": 0.05}),
    (Adagrad, {"lr": 0.3, "weight_decay": 0.1, "initial_accumulator_value": 0.4, "eps": 1e-3}),
    (Adagrad, {"lr": 0.3, "l1": 0.3}),
    (RMSprop, {}),
    (RMSprop, {"lr": 0.05, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    (RMSprop, {"lr": 0.01, "centered": True}),
    (RMSprop, {"lr": 0.01, "momentum": 0.9}),
    (RMSprop, {"lr": 0.01, "momentum": 0.5, "centered": True, "weight_decay": 0.1, "l1": 0.3}),
]
settings = pytest.mark.parametrize(
    ("kind", "options"),
    SETTINGS,
    ids=[f"{kind.__name__}-{'-'.join(options)}" for kind, options in SETTINGS],
)


pytestmark = pytest.mark.usefixtures("on_each_backend")


DECAYS_UNASKED = {"weight_decay": 0.01}


def starts():
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in SHAPES]


def gradient(p, t):
    """Any function will do that is rough enough to tell the formulas apart."""
    return np.sin(3 * p + t) + p / 2


def reference(kind, options, p, steps):
    """The updates as the papers write them, on one NumPy array."""
    o = {"lr": 1e-3 if kind in (SGD, Adam, AdamW) else 1e-2, "eps": 1e-8, "betas": (0.9, 0.999)}
    o |= {"momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False, "l1": 0}
    o |= {"lr_decay": 0, "initial_accumulator_value": 0, "alpha": 0.99, "centered": False}
    o |= ({"eps": 1e-10} if kind is Adagrad else {}) | (DECAYS_UNASKED if kind is AdamW else {})
    o |= options
    velocity, m, v = None, 0, o["initial_accumulator_value"]
    for t in range(1, steps + 1):
        g = gradient(p, t) + o["l1"] * np.sign(p)
        if kind is AdamW:
            p = p * (1 - o["lr"] * o["weight_decay"])
        else:
            g = g + o["weight_decay"] * p
        if kind is SGD:
            if velocity is None:
                velocity = g
            else:
                velocity = o["momentum"] * velocity + (1 - o["dampening"]) * g
            g = g + o["momentum"] * velocity if o["nesterov"] else velocity if o["momentum"] else g
            p = p - o["lr"] * g
        elif kind is Adagrad:
            v = v + g**2
            p = p - o["lr"] / (1 + (t - 1) * o["lr_decay"]) * g / (np.sqrt(v) + o["eps"])
        elif kind is RMSprop:
            m, v = (o["alpha"] * mean + (1 - o["alpha"]) * x for mean, x in ((m, g), (v, g**2)))
            g = g / (np.sqrt(v - o["centered"] * m**2) + o["eps"])
            velocity = g if velocity is None else o["momentum"] * velocity + g
            p = p - o["lr"] * velocity
        else:
            b1, b2 = o["betas"]
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
            p = p - o["lr"] * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + o["eps"])
    return p


def run(optimizer, params, ts):
    for t in ts:
        for p in params:
            p.grad = tensor(gradient(p.detach().numpy(), t).astype(p.dtype))
        optimizer.step()


@settings
def test_agrees_with_the_papers(kind, options):
    params = [tensor(p, requires_grad=True) for p in starts()]
    run(kind(params, **options), params, range(1, STEPS + 1))
    for p, start in zip(params, starts(), strict=True):
        expected = reference(kind, options, start, STEPS)
        np.testing.assert_allclose(p.detach().numpy(), expected, rtol=0, atol=1e-10)


@settings
def test_agrees_with_torch(kind, options):
    torch = pytest.importorskip("torch", reason="compares with PyTorch (the extra compare)")
    options, l1 = dict(options), options.get("l1", 0)
    ours = kind(groups_of(params := [tensor(p, requires_grad=True) for p in starts()]), **options)
    options.pop("l1", None)
    theirs = [torch.tensor(p, requires_grad=True) for p in starts()]
    other = getattr(torch.optim, kind.__name__)(groups_of(theirs), **options)
    for t in range(1, STEPS + 1):
        run(ours, params[:-1], [t])  # the last has no gradient
        for p in theirs[:-1]:
            p.grad = torch.tensor(gradient(p.detach().numpy(), t)) + l1 * torch.sign(p.detach())
        other.step()
    for p, q in zip(params, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=0, atol=1e-10)


def groups_of(params):
    """Two groups, the second with a learning rate and a decay of its own."""
    return [{"params": params[:1]}, {"params": params[1:], "lr": 0.03, "weight_decay": 0.02}]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@settings
def test_resuming_is_exact(kind, options, dtype, tmp_path):
    def fresh():
        params = [tensor(p.astype(dtype), requires_grad=True) for p in starts()]
        return params, kind(params, **options)

    params, optimizer = fresh()
    run(optimizer, params, range(5))
    optimizer.param_groups[0]["lr"] = 0.015
    saved = {"model": dict(enumerate(params)), "optimizer": optimizer.state_dict()}
    save(saved, tmp_path / "checkpoint")
    run(optimizer, params, range(5, 10))

    resumed, other = fresh()
    checkpoint = load(tmp_path / "checkpoint")
    for i, p in enumerate(resumed):
        p.data = checkpoint["model"][i]
    other.load_state_dict(checkpoint["optimizer"])
    run(other, resumed, range(5, 10))
    for p, q in zip(params, resumed, strict=True):
        assert p.dtype == q.dtype == dtype
        assert p.detach().numpy().tobytes() == q.detach().numpy().tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_of_large_parameters_is_as_of_small_ones(kind):
    """They differ in where the memory of their state begins."""
    options = {SGD: {"momentum": 0.9}, RMSprop: {"momentum": 0.9, "centered": True}}.get(kind, {})

    def trained(arrays):
        params = [tensor(array, requires_grad=True) for array in arrays]
        optimizer, other = (kind(params, lr=0.02, **options) for _ in range(2))
        run(optimizer, params, range(3))
        other.load_state_dict(optimizer.state_dict())
        run(other, params, range(3, 6))
        return [p.detach().numpy() for p in params]

    start = np.random.default_rng(0).normal(size=(64, 65))
    np.testing.assert_array_equal(trained([start])[0], trained(start))


def param(*shape):
    return mg.ones(shape, dtype=np.float64, requires_grad=True)


def test_layout_of_the_state():
    first, second, third = param(2), param(3), param(1)
    optimizer = Adam([{"params": [first, third], "lr": 0.5}, {"params": second}], lr=0.25)
    third.grad = mg.ones(1, dtype=np.float64)
    optimizer.step()
    state = optimizer.state_dict()
    common = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "l1": 0.0}
    assert state["param_groups"] == [
        {"lr": 0.5, **common, "params": [0, 1]},
        {"lr": 0.25, **common, "params": [2]},
    ]
    assert list(state["state"]) == [1]
    kept = {name: (x.dtype, x.shape) for name, x in state["state"][1].items()}
    moments = (np.float64, (1,))
    assert kept == {"step": (np.float64, ()), "exp_avg": moments, "exp_avg_sq": moments}
    assert state["state"][1]["step"].item() == 1


def test_sgd_without_momentum_keeps_nothing():
    p = param(2)
    optimizer = SGD([p])
    p.grad = mg.ones_like(p.detach())
    optimizer.step()
    assert optimizer.state_dict()["state"] == {}


def test_momentum_can_be_switched_on_later():
    p = param()
    optimizer = SGD([p], lr=1, dampening=0.5)
    p.grad = mg.tensor(1.0, dtype=np.float64)
    optimizer.step()
    assert p.item() == 0
    optimizer.param_groups[0]["momentum"] = 0.5
    optimizer.step()  # the first gradient of the velocity is not dampened
    optimizer.step()
    assert p.item() == -1 - (0.5 + 0.5)


def test_what_rmsprop_keeps_follows_its_options():
    plain, both = param(2), param(2)
    optimizer = RMSprop([{"params": plain}, {"params": both, "momentum": 0.5, "centered": True}])
    run(optimizer, [plain, both], [1])
    kept = [list(state) for state in optimizer.state_dict()["state"].values()]
    assert kept == [["step", "square_avg"], ["step", "square_avg", "grad_avg", "momentum_buffer"]]
    optimizer.param_groups[0]["momentum"] = 0.5
    run(optimizer, [plain], [2])
    assert list(optimizer.state[plain]) == ["step", "square_avg", "momentum_buffer"]
    other = RMSprop([{"params": param(2)}, {"params": param(2)}])
    other.load_state_dict(optimizer.state_dict())
    assert [list(state) for state in other.state.values()] == [
        list(state) for state in optimizer.state.values()
    ]


def test_a_constant_gradient_has_no_variance_and_no_negative_one():
    p = param(50)
    optimizer = RMSprop([p], lr=1e-6, alpha=0.3, centered=True)
    for _ in range(100):
        p.grad = tensor(np.linspace(0.1, 0.9, 50))
        optimizer.step()
    assert np.isfinite(p.detach().numpy()).all()


@pytest.mark.parametrize("kind", KINDS)
def test_l1_leaves_zeros_alone(kind):
    p = mg.zeros((2,), dtype=np.float64, requires_grad=True)
    optimizer = kind([p], lr=0.1, l1=0.5)
    p.grad = mg.zeros((2,), dtype=np.float64)
    optimizer.step()
    assert p.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", ["weight_decay", "l1"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_penalty_of_0_is_an_absent_input(kind, name):
    seen = []

    class Seen(Observer):
        synchronizes = False

        def ran(self, call):
            if call.op.name.endswith("_update"):
                seen.append(call.args[call.op.inputs.index(name)] is None)

    p = param(2)
    optimizer = kind([p])
    with observe(Seen()):
        for value in (0, 0.1, 0):
            optimizer.param_groups[0][name] = value
            run(optimizer, [p], [1])
    assert seen == [True, False, True]


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_penalty_an_infinite_parameter_makes_no_nan(kind):
    p = tensor(np.array([np.inf, -np.inf, 1]), requires_grad=True)
    optimizer = kind([p], lr=0.5, weight_decay=0)
    p.grad = mg.ones_like(p.detach())
    optimizer.step()
    assert p.tolist()[:2] == [np.inf, -np.inf]
    assert p.tolist()[2] < 1
    kept = [x.numpy() for x in optimizer.state.get(p, {}).values()]
    assert all(np.isfinite(x).all() for x in kept)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_that_are_0_or_tiny_make_no_nan(kind, dtype):
    p = mg.ones((4,), dtype=dtype, requires_grad=True)
    optimizer = kind([p], lr=0.01, weight_decay=0)
    for _ in range(3):
        p.grad = tensor(np.array([0, 6e-8, 1e-4, -1e-3], dtype))
        optimizer.step()
    moved = np.abs(p.detach().numpy() - 1)
    assert p.dtype == dtype
    assert moved[0] == 0
    assert moved.max() < 0.5


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_parameters_of_any_shape(kind, shape):
    p = param(*shape)
    optimizer = kind([p], lr=0.5)
    p.grad = mg.ones_like(p.detach())
    optimizer.step()
    assert p.shape == shape
    assert not p.size or p.item() < 1


def test_learning_rate_reads_as_a_float_and_is_written_in_place():
    optimizer = Adam([param(2)], lr=0.5)
    group = optimizer.param_groups[0]
    tensors = dict(group.tensors)
    for value in (0.25, mg.tensor(0.25), np.float32(0.25)):
        group["lr"] = 1
        group["lr"] = value
        assert type(group["lr"]) is float
        assert group["lr"] == 0.25
    group["betas"] = [0.5, 0.75]
    assert group["betas"] == (0.5, 0.75)
    assert all(group.tensors[name] is tensor for name, tensor in tensors.items())
    assert tensors["lr"].item() == 0.25
    assert [beta.item() for beta in tensors["betas"]] == [0.5, 0.75]
    assert {x.dtype for x in (tensors["lr"], *tensors["betas"])} == {np.dtype(np.float64)}
    assert len(group) == 6
    assert list(group) == ["params", "lr", "betas", "eps", "weight_decay", "l1"]
    assert repr(group) == (
        "ParamGroup(1 params, lr=0.25, betas=(0.5, 0.75), eps=1e-08, weight_decay=0.0, l1=0.0)"
    )


def test_groups_have_their_own_options():
    slow, fast, late = param(2), param(2), param(2)
    optimizer = SGD([{"params": [slow]}, {"params": [fast], "lr": 0.5}], lr=0.125)
    optimizer.add_param_group({"params": late, "lr": 1})
    for p in (slow, fast, late):
        p.grad = mg.ones_like(p.detach())
    optimizer.step()
    assert [p.tolist() for p in (slow, fast, late)] == [[0.875] * 2, [0.5] * 2, [0.0] * 2]


def test_parameters_without_a_gradient_or_frozen_are_passed_over():
    used, unused, frozen = param(2), param(2), mg.ones(2, dtype=np.float64)
    optimizer = Adam([used, unused, frozen], lr=0.5)
    used.grad = mg.ones_like(frozen)
    optimizer.step()
    assert used.tolist() != [1.0, 1.0]
    assert unused.tolist() == frozen.tolist() == [1.0, 1.0]
    assert list(optimizer.state) == [used]


def test_a_parameter_frozen_after_backward_is_passed_over():
    p, other = param(2), param(2)
    optimizer = SGD([p, other], lr=0.5)
    (p + other).sum().backward()
    p.requires_grad_(False)
    optimizer.step()
    assert (p.tolist(), other.tolist()) == ([1.0, 1.0], [0.5, 0.5])


def test_zero_grad():
    p = param(2)
    optimizer = SGD([p, param(1)])
    p.grad = held = mg.ones_like(p.detach())
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == held.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert p.grad is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_between_forward_and_backward_is_noticed(kind):
    p = param(2)
    optimizer = kind([p])
    loss = (p * p).sum()
    p.grad = mg.ones_like(p.detach())
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"^multiply: a value of shape \(2,\) .* was changed in"):
        loss.backward()


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_changes_every_parameter_and_no_gradient(kind):
    params = [tensor(np.ones(2), requires_grad=True) for _ in range(3)]
    optimizer = kind(params, lr=0.1)
    weight = tensor(np.ones(2), requires_grad=True)
    for p in params:
        p.grad = tensor(np.full(2, 3.0))
    of_gradients = [(weight * p.grad).sum() for p in params]
    of_parameters = [(weight * p).sum() for p in params]
    optimizer.step()
    for y in of_gradients:
        y.backward()
    np.testing.assert_array_equal(weight.grad.numpy(), [9, 9])
    for y in of_parameters:
        with pytest.raises(RuntimeError, match="changed in place"):
            y.backward()


@pytest.mark.parametrize("kind", KINDS)
def test_trains(kind):
    mg.manual_seed(0)
    x, y = mg.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]), mg.tensor([0, 1, 1, 0])
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = kind(model.parameters(), lr={SGD: 0.5, Adagrad: 0.2}.get(kind, 0.05))
    criterion = nn.CrossEntropyLoss()
    for _ in range(200):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert model(x).argmax(axis=1).tolist() == [0, 1, 1, 0]


def test_state_is_made_where_the_parameters_are(backend):
    params = [tensor(p, requires_grad=True) for p in starts()]
    with mg.use_backend("numpy" if backend == "strict" else "strict"):
        optimizer, other = Adam(params), Adam(params)
        optimizer.load_state_dict(other.state_dict())
        for p in params:
            p.grad = mg.ones_like(p.detach())
        other.step()
        optimizer.load_state_dict(other.state_dict())
        optimizer.step()
    kept = [x for state in optimizer.state.values() for x in state.values()]
    assert {x.backend.name for x in (*kept, optimizer.param_groups[0].tensors["lr"])} == {backend}


def test_one_group_is_on_one_device():
    here, there = mg.ones(2, requires_grad=True), mg.ones(3, requires_grad=True)
    here.data, there.data = here.data.to("numpy"), there.data.to("strict")
    message = (
        r"^SGD: parameter 1 of shape \(3,\) is on strict:0, the first of its group on cpu; move all"
    )
    with pytest.raises(ValueError, match=message):
        SGD([here, there])
    assert len(SGD([{"params": here}, {"params": there}]).param_groups) == 2


SQUARE = mg.ones(2, requires_grad=True, backend="numpy")

MISUSES = {
    "nothing": (lambda: SGD([]), ValueError, "SGD: got no parameters; was an iterator used up"),
    "empty group": (
        lambda: SGD([{"params": []}]),
        ValueError,
        "SGD: got a group without parameters",
    ),
    "a tensor": (
        lambda: Adam(SQUARE),
        TypeError,
        "Adam: expected an iterable of tensors or of groups, got a Tensor",
    ),
    "a number": (lambda: Adam(3), TypeError, "Adam: expected an iterable .* got a int"),
    "a dict": (lambda: Adam({"params": []}), TypeError, "Adam: expected .* got a dict"),
    "no tensor": (
        lambda: Adam([SQUARE, 3.0]),
        TypeError,
        "Adam: parameter 1 is no Tensor but a float",
    ),
    "mixed": (
        lambda: SGD([{"params": SQUARE}, SQUARE]),
        TypeError,
        'SGD: a group is a dict with "p',
    ),
    "no leaf": (
        lambda: SGD([SQUARE * 2]),
        ValueError,
        r"SGD: parameter 0 of shape \(2,\) is a result of an operation, not a leaf",
    ),
    "frozen": (
        lambda: SGD([mg.ones(2)]),
        ValueError,
        "SGD: no parameter requires grad, so there is nothing to train; make them with",
    ),
    "integers": (
        lambda: SGD([SQUARE, mg.tensor([1])]),
        TypeError,
        r"SGD: parameter 1 of shape \(1,\) must be floating, not int64",
    ),
    "twice": (
        lambda: SGD([SQUARE, SQUARE]),
        ValueError,
        r"SGD: parameter 1 of shape \(2,\) is given twice",
    ),
    "in two groups": (
        lambda: SGD([{"params": [SQUARE]}, {"params": [SQUARE]}]),
        ValueError,
        r"SGD: parameter 0 of shape \(2,\) is given twice",
    ),
    "unknown option": (
        lambda: SGD([{"params": [SQUARE], "momentun": 0.9}]),
        KeyError,
        "unknown option 'momentun': expected one of params, lr, .* did you mean 'momentum'",
    ),
    "three betas": (
        lambda: Adam([SQUARE], betas=(0.9, 0.99, 0.999)),
        ValueError,
        r"Adam: betas are two numbers, got \(0.9, 0.99, 0.999\)",
    ),
    "three betas later": (
        lambda: Adam([SQUARE]).param_groups[0].update(betas=[0.9]),
        ValueError,
        r"betas are 2 numbers, got \[0.9\]",
    ),
    "deleting": (
        lambda: Adam([SQUARE]).param_groups[0].pop("lr"),
        TypeError,
        "'lr' cannot be taken out of a group, only changed",
    ),
    "no rule": (
        lambda: run(Optimizer(held := [param(2)], {"lr": 0.1}), held, [1]),
        NotImplementedError,
        "Optimizer has no _update method: define one",
    ),
    **{
        f"{name}={value}": (
            lambda kind=kind, name=name, value=value: kind([SQUARE], **{name: value}),
            ValueError,
            rf"{name} must lie in \[0, {high}\), got ",
        )
        for kind, name, value, high in [
            (SGD, "lr", -1, "inf"),
            (SGD, "lr", float("nan"), "inf"),
            (SGD, "momentum", -0.5, "inf"),
            (SGD, "weight_decay", -0.5, "inf"),
            (SGD, "l1", -0.5, "inf"),
            (Adagrad, "lr_decay", -0.5, "inf"),
            (Adagrad, "initial_accumulator_value", -0.5, "inf"),
            (RMSprop, "alpha", 1.0, "1"),
            (RMSprop, "momentum", -0.5, "inf"),
            (Adam, "lr", float("inf"), "inf"),
            (Adam, "eps", -1e-8, "inf"),
            (Adam, "betas", (0.9, 1.0), "1"),
            (Adam, "betas", (-0.1, 0.9), "1"),
        ]
    },
    **{
        f"nesterov {options}": (
            lambda options=options: SGD([SQUARE], nesterov=True, **options),
            ValueError,
            "SGD: nesterov needs momentum > 0 and dampening 0, got momentum",
        )
        for options in ({}, {"momentum": 0.9, "dampening": 0.1})
    },
}


@pytest.mark.parametrize(("misuse", "error", "message"), MISUSES.values(), ids=MISUSES)
def test_misuse(misuse, error, message):
    with pytest.raises(error, match=f"^[\"']?{message}"):
        misuse()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s["param_groups"].append(s["param_groups"][0]),
            r"Adam: expected groups of \[2\] parameters, the state has \[2, 2\]",
        ),
        (
            lambda s: s["param_groups"][0]["params"].append(2),
            r"Adam: expected groups of \[2\] parameters, the state has \[3\]",
        ),
        (
            lambda s: s["param_groups"][0].update(momentum=0.9),
            "Adam: group 0 of the state: unknown option 'momentum': expected one of params, lr, ",
        ),
        (
            lambda s: s["state"][1].update(exp_avg=np.ones(4)),
            r"Adam: 'exp_avg' of parameter 1 must have shape \(3,\), the state has \(4,\)",
        ),
        (
            lambda s: s["state"][1].update(step=np.ones(3)),
            r"Adam: 'step' of parameter 1 must have shape \(\), the state has \(3,\)",
        ),
        (
            lambda s: s["state"][1].update(step=None),
            r"Adam: 'step' of parameter 1 must have shape \(\), the state has None",
        ),
        (
            lambda s: s.clear(),
            r'Adam: expected a dict with "state" and "param_groups", got a dict of \[\]',
        ),
        (
            lambda s: s.pop("state"),
            r"Adam: expected a dict .*, got a dict of \['param_groups'\]",
        ),
        (
            lambda s: s["param_groups"][0].pop("params"),
            'Adam: group 0 of the state must be a dict with "params", a list, got a dict of ',
        ),
        (
            lambda s: s.update(param_groups=["lr"]),
            'Adam: group 0 of the state must be a dict with "params", a list, got a str',
        ),
        (
            lambda s: s.update(param_groups=None),
            'Adam: "param_groups" must be a list of dicts, got a NoneType',
        ),
        (
            lambda s: s["param_groups"][0].update(params=[0, 0]),
            r"Adam: expected parameters counted through the groups from 0, the state has \[0, 0\]",
        ),
        (
            lambda s: s["param_groups"][0].update(params=2),
            'Adam: group 0 of the state must be a dict with "params", a list, got a dict of ',
        ),
        (
            lambda s: s["param_groups"][0].update(weight_decay=-1),
            r"Adam: group 0 of the state: weight_decay must lie in \[0, inf\), got -1.0",
        ),
        (
            lambda s: s["param_groups"][0].update(eps=None),
            "Adam: group 0 of the state: float",
        ),
        (
            lambda s: s["param_groups"][0].update(betas=(0.9,)),
            r"Adam: group 0 of the state: betas are 2 numbers, got \(0.9,\)",
        ),
        (
            lambda s: s.update(state=[]),
            'Adam: "state" must be a dict by parameter, got a list',
        ),
        (
            lambda s: s["state"].update({7: s["state"][1]}),
            "Adam: expected the state of parameters below 2, got that of 7",
        ),
        (
            lambda s: s["state"][1].pop("exp_avg"),
            "Adam: expected step, exp_avg, exp_avg_sq of parameter 1, the state has a dict of",
        ),
        (
            lambda s: s["state"][1].pop("step"),
            r"Adam: expected step, .* of parameter 1, .* a dict of \['exp_avg', 'exp_avg_sq'\]",
        ),
        (
            lambda s: s["state"][1].update(momentum_buffer=np.ones(3)),
            r"Adam: expected .* of parameter 1, .* a dict of \['step', .*, 'momentum_buffer'\]",
        ),
        (
            lambda s: s["state"].update({1: {}}),
            r"Adam: expected .* of parameter 1, the state has a dict of \[\]",
        ),
    ],
)
def test_states_that_do_not_fit(change, message):
    params = [param(2), param(3)]
    optimizer = Adam(params)
    run(optimizer, params, [1])
    state = optimizer.state_dict()
    state["param_groups"][0]["lr"] = 0.5
    change(state)
    before, (group,) = optimizer.state, optimizer.param_groups
    options = group.options()
    with pytest.raises(ValueError, match=f"^{message}.*$"):
        optimizer.load_state_dict(state)
    assert optimizer.state is before
    assert group.options() == options
    assert group.tensors["lr"].item() == 1e-3


def test_a_group_that_does_not_fit_leaves_those_before_it_alone():
    optimizer = SGD([{"params": param(2)}, {"params": param(3)}], lr=0.25)
    state = optimizer.state_dict()
    state["param_groups"][0]["lr"] = 0.5
    state["param_groups"][1]["momentum"] = -1
    message = r"^SGD: group 1 of the state: momentum must lie in \[0, inf\), got -1.0$"
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


def test_options_that_a_state_lacks_become_the_defaults():
    optimizer = Adam([param(2)], lr=0.25, eps=1e-3)
    other = Adam([{"params": param(2), "l1": 0.5}], l1=0.125, betas=(0.5, 0.75), eps=1e-4)
    state = optimizer.state_dict()
    for name in ("l1", "betas"):
        state["param_groups"][0].pop(name)
    other.load_state_dict(state)
    (group,) = other.param_groups
    wanted = {"lr": 0.25, "betas": (0.5, 0.75), "eps": 1e-3, "weight_decay": 0.0, "l1": 0.125}
    assert group.options() == wanted
    assert group.tensors["l1"].item() == 0.125


def test_a_loaded_state_is_a_copy():
    params = [param(2)]
    optimizer = Adam(params)
    run(optimizer, params, [1])
    other = Adam(params)
    other.load_state_dict(optimizer.state_dict())
    run(other, params, [2])
    steps = [o.state[params[0]]["step"].item() for o in (optimizer, other)]
    assert steps == [1, 2]


def test_state_of_another_dtype_is_cast():
    wide, narrow = [param(2)], [mg.ones(2, dtype=np.float32, requires_grad=True)]
    optimizer, other = Adam(wide), Adam(narrow)
    run(optimizer, wide, [1])
    other.load_state_dict(optimizer.state_dict())
    kept = other.state[narrow[0]]
    assert [str(kept[name].dtype) for name in kept] == ["float64", "float32", "float32"]


def test_generators_of_groups_and_of_parameters():
    params = [param(1), param(2)]
    groups = ({"params": (p for p in [q])} for q in params)
    optimizer = SGD(groups)
    held = itertools.chain.from_iterable(group["params"] for group in optimizer.param_groups)
    assert [id(p) for p in held] == [id(p) for p in params]


def test_an_optimizer_shows_its_groups():
    optimizer = SGD([mg.tensor([1.0], requires_grad=True)], lr=0.5)
    assert repr(optimizer).startswith("SGD(ParamGroup(1 params, lr=0.5, ")


@pytest.mark.parametrize("order", "CF")
def test_state_lies_in_memory_as_its_parameter_does(order):
    p = mg.tensor(np.asarray(np.ones((64, 65), np.float32), order=order), requires_grad=True)
    optimizer = Adam([p])
    p.grad = mg.ones_like(p.detach())
    optimizer.step()
    kept = optimizer.state[p]["exp_avg"]._array
    assert (kept.shape, kept.strides) == (p.shape, p._array.strides)
