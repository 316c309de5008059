import copy
import math
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F
from minigrad.nn import init

rng = np.random.default_rng(0)


pytestmark = pytest.mark.usefixtures("on_each_backend")


class Net(nn.Module):
    """Two layers, a buffer that is saved and one that is not."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(3, 1, bias=False))
        self.scale = nn.Parameter(mg.tensor([2.0]))
        self.register_buffer("mean", mg.tensor([0.5]))
        self.register_buffer("cache", mg.tensor([1]), persistent=False)
        self.register_buffer("absent", None)

    def forward(self, x):
        return self.rest(self.first(x - self.mean)) * self.scale


PARAMETERS = ["scale", "first.weight", "first.bias", "rest.1.weight"]


class Shared(nn.Module):
    """One layer under two names, and its weight under a third."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2)
        self.b = self.a
        self.tied = nn.Linear(2, 2)
        self.tied.weight = self.a.weight


def values(module):
    return {name: x.tolist() for name, x in module.state_dict().items()}


def test_parameter():
    source = np.ones(2, np.float16)
    p = nn.Parameter(source)
    source[:] = 0
    assert isinstance(p, mg.Tensor)
    assert p.requires_grad
    assert p.is_leaf
    assert (str(p.dtype), p.tolist()) == ("float16", [1.0, 1.0])
    assert not nn.Parameter([1.0], requires_grad=False).requires_grad
    assert not hasattr(p, "__dict__")
    with pytest.raises(TypeError, match=r"^only floating tensors can require grad, not int64$"):
        nn.Parameter([1])


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies(duplicate, backend):
    model = Net()
    model.tied = model.first.weight
    model.eval()
    other = duplicate(model)
    assert values(other) == values(model)
    assert type(other.scale) is nn.Parameter
    assert other.scale.requires_grad
    assert other.scale.backend.name == backend
    assert other.tied is other.first.weight
    assert not other.rest.training
    with mg.no_grad():
        other.scale += 1
    assert model.scale.tolist() == [2.0]


def test_names():
    model = Net()
    assert [name for name, _ in model.named_parameters()] == PARAMETERS
    assert [name for name, _ in model.named_buffers()] == ["mean", "cache"]
    assert [name for name, _ in model.named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]
    assert [name for name, _ in model.named_children()] == ["first", "rest"]
    assert [
        type(m).__name__ for m in model.modules()
    ] == "Net Linear Sequential ReLU Linear".split()
    assert list(model.children()) == [model.first, model.rest]
    assert [p.shape for p in model.parameters()] == [(1,), (3, 2), (3,), (1, 3)]
    assert [b.tolist() for b in model.buffers()] == [[0.5], [1]]
    assert list(model.state_dict()) == ["scale", "mean", *PARAMETERS[1:]]


def test_what_is_shared_is_listed_once():
    model = Shared()
    names = [name for name, _ in model.named_parameters()]
    assert names == ["a.weight", "a.bias", "tied.bias"]
    assert [name for name, _ in model.named_modules()] == ["", "a", "tied"]
    assert [name for name, _ in model.named_children()] == ["a", "tied"]
    saved = ["a.weight", "a.bias", "b.weight", "b.bias", "tied.weight", "tied.bias"]
    assert list(model.state_dict()) == saved


def test_attributes_are_replaced_and_taken_away():
    model = Net()
    model.scale = None
    model.first = nn.Linear(2, 3, bias=False)
    model.mean = None
    assert [name for name, _ in model.named_parameters()] == ["first.weight", "rest.1.weight"]
    assert [name for name, _ in model.named_buffers()] == ["cache"]
    model.mean = mg.tensor([3.0])
    model.scale = nn.Parameter([1.0])
    assert list(model.state_dict()) == ["scale", "mean", "first.weight", "rest.1.weight"]
    model.register_parameter("late", nn.Parameter([1.0]))
    assert "late" in model.state_dict()
    model.register_parameter("late", None)
    assert "late" not in model.state_dict()
    del model.first
    assert [name for name, _ in model.named_children()] == ["rest"]
    model.cache = nn.Parameter([1.0])  # what is assigned last decides
    assert [name for name, _ in model.named_buffers()] == ["mean"]
    assert "cache" in model.state_dict()


class Early(nn.Module):
    def __init__(self):
        self.weight = nn.Parameter([1.0])
        super().__init__()


def assigning(name, value):
    return lambda: setattr(Net(), name, value)


MISUSES = {
    "early": (
        Early,
        AttributeError,
        r"Early.weight is assigned too early: call super\(\).__init__\(\) first",
    ),
    "tensor for a parameter": (
        assigning("scale", mg.tensor([1.0])),
        TypeError,
        "Net.scale must stay a Parameter or become None, got Tensor; change its values with .data",
    ),
    "function for a module": (
        assigning("first", abs),
        TypeError,
        "Net.first must stay a Module or become None, got builtin_function_or_method$",
    ),
    "number for a buffer": (
        assigning("mean", 3),
        TypeError,
        "Net.mean must stay a Tensor or become None, got int$",
    ),
    "a module in itself": (
        lambda: setattr(model := Net(), "again", model),
        ValueError,
        "Net.again: a module cannot be inside itself, and it is the same one; to refer to a module",
    ),
    "a module in one below": (
        lambda: (model := Net()).rest[1].add_module("root", nn.Sequential(nn.ReLU(), model)),
        ValueError,
        "Linear.root: a module cannot be inside itself, and the Sequential has it at '1.rest.1';",
    ),
    "a module in its list": (
        lambda: (model := Net()).rest.append(model),
        ValueError,
        "Sequential.2: a module cannot be inside itself, and the Net has it at 'rest'; to refer",
    ),
    "module called forward": (
        assigning("forward", nn.ReLU()),
        ValueError,
        "'forward' is a method of Net; choose another name",
    ),
    "no array as a buffer": (
        lambda: Net().register_buffer("x", np.ones(2)),
        TypeError,
        "buffer 'x' must be a Tensor or None, not ndarray",
    ),
    "no parameter as a buffer": (
        lambda: Net().register_buffer("x", nn.Parameter([1.0])),
        TypeError,
        "buffer 'x' must be a Tensor or None, not Parameter",
    ),
    "buffer over a parameter": (
        lambda: Net().register_buffer("scale", mg.tensor([1.0])),
        TypeError,
        "Net.scale must stay a Parameter or become None, got Tensor",
    ),
    "no tensor as a parameter": (
        lambda: Net().register_parameter("x", mg.tensor([1.0])),
        TypeError,
        "parameter 'x' must be a Parameter or None, not Tensor",
    ),
    "dotted": (
        lambda: Net().register_buffer("a.b", None),
        ValueError,
        "a name must be a string, not empty and without dots, got 'a.b'",
    ),
    "empty": (
        lambda: Net().register_parameter("", None),
        ValueError,
        "a name must be a string, not empty and without dots, got ''",
    ),
    "no forward": (
        lambda: nn.Module()(1),
        NotImplementedError,
        "Module has no forward method: define one",
    ),
    "no module in Sequential": (
        lambda: nn.Sequential(nn.ReLU(), abs),
        TypeError,
        "Sequential is made of Modules, but '1' is of type builtin_function_or_method",
    ),
    "no module appended": (
        lambda: nn.Sequential().append(3),
        TypeError,
        "Sequential is made of Modules, but '0' is of type int",
    ),
    "index": (
        lambda: nn.Sequential(nn.ReLU())[1],
        IndexError,
        "Sequential has 1 modules, got index 1",
    ),
    "dim": (
        lambda: nn.Softmax(dim=1),
        TypeError,
        "Softmax: unexpected keyword 'dim'; minigrad calls it axis=",
    ),
    "dim of a logarithm": (
        lambda: nn.LogSoftmax(dim=1),
        TypeError,
        "LogSoftmax: unexpected keyword 'dim'; minigrad calls it axis=",
    ),
    "start_dim": (
        lambda: nn.Flatten(start_dim=1),
        TypeError,
        "Flatten: unexpected keyword 'start_dim'; minigrad calls it start_axis=",
    ),
    "in place": (
        lambda: nn.ReLU(inplace=True),
        TypeError,
        "ReLU: unexpected keyword 'inplace'; results are always new: leave it out",
    ),
    "in place, of an op": (
        lambda: F.relu(mg.ones(2), inplace=True),
        TypeError,
        "relu: unexpected keyword 'inplace'; results are always new: leave it out",
    ),
    "device": (
        lambda: nn.Linear(2, 3, device="cpu"),
        TypeError,
        "Linear: unexpected keyword 'device'; .*use_backend",
    ),
    "dtype": (
        lambda: nn.LSTM(2, 3, dtype=mg.float64),
        TypeError,
        "LSTM: unexpected keyword 'dtype'; .*set_default_dtype",
    ),
    "size_average": (
        lambda: nn.MSELoss(size_average=False),
        TypeError,
        'MSELoss: unexpected keyword \'size_average\'; minigrad has reduction="mean" or "sum"',
    ),
    "a slip": (
        lambda: nn.Conv2d(2, 3, 1, bais=False),
        TypeError,
        "Conv2d: unexpected keyword 'bais'; did you mean 'bias'?",
    ),
    "a dtype to move to": (
        lambda: nn.Linear(2, 3).to(mg.float64),
        TypeError,
        "Linear.to: expected a backend or its name, got .*float64.*set_default_dtype",
    ),
    "flatten a vector": (
        lambda: nn.Flatten()(mg.ones(3)),
        ValueError,
        r"flatten: axis 1 is out of bounds for 1 dimensions; got shape \(3,\)",
    ),
    "p of dropout": (
        lambda: nn.Dropout(1.5),
        ValueError,
        r"Dropout: p must lie in \[0, 1\], got 1.5",
    ),
    "state of no mapping": (
        lambda: Net().load_state_dict("model.safetensors"),
        TypeError,
        r"load_state_dict: expected names and tensors, got str; read a file with minigrad.load\(",
    ),
    "gain": (
        lambda: init.calculate_gain("rellu"),
        ValueError,
        "unknown nonlinearity 'rellu': expected one of linear, .*; did you mean 'relu'",
    ),
    "mode": (
        lambda: init.kaiming_normal_(mg.zeros((2, 2)), mode="fan"),
        ValueError,
        'mode must be "fan_in" or "fan_out", not \'fan\'',
    ),
    "fans of a vector": (
        lambda: init.xavier_uniform_(mg.zeros(3)),
        ValueError,
        r"fan_in and fan_out need a weight \(out, in, ...\), got shape \(3,\); fill it with",
    ),
    "random integers": (
        lambda: init.uniform_(mg.zeros(3, dtype=np.int64)),
        TypeError,
        "random numbers of a floating dtype were asked for, not int64",
    ),
    "features": (
        lambda: nn.Linear(2, 3)(mg.ones((1, 3))),
        ValueError,
        r"linear: axis -1 of x, shape \(1, 3\), must fit axis 1 of weight",
    ),
    "reduction": (
        lambda: nn.MSELoss("avg")(mg.ones(1), mg.ones(1)),
        ValueError,
        'mse_loss: reduction must be "none", "mean" or "sum", not \'avg\'',
    ),
}


@pytest.mark.parametrize(("misuse", "error", "message"), MISUSES.values(), ids=MISUSES)
def test_misuse(misuse, error, message):
    with pytest.raises(error, match="^" + message):
        misuse()


def test_other_attributes_need_no_init():
    class Plain(nn.Module):
        def __init__(self, n):
            self.n = n
            super().__init__()

    assert Plain(3).n == 3


def test_train_and_eval():
    model = Net()
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert model.train() is model
    assert all(m.training for m in model.modules())


def test_gradients_are_cleared():
    model = Net()
    model(mg.ones((1, 2))).sum().backward()
    grad = model.scale.grad
    model.zero_grad(set_to_none=False)
    assert model.scale.grad is grad
    assert grad.tolist() == [0.0]
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_freezing():
    model = Net()
    assert model.first.requires_grad_(False) is model.first
    model(mg.ones((1, 2))).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is not None] == [
        "scale",
        "rest.1.weight",
    ]
    model.requires_grad_()
    assert all(p.requires_grad for p in model.parameters())


def test_apply_visits_children_first():
    seen, model = [], Net()
    assert model.apply(lambda m: seen.append(type(m).__name__)) is model
    assert seen == "Linear ReLU Linear Sequential Net".split()


def test_moving_keeps_identity(backend):
    model = Net()
    model(mg.ones((1, 2))).sum().backward()
    before = [*model.parameters(), *model.buffers()]
    expected, gradients = values(model), [p.grad.tolist() for p in model.parameters()]
    target = "numpy" if backend == "strict" else "strict"
    assert model.to(target) is model
    after = [*model.parameters(), *model.buffers()]
    assert [id(x) for x in before] == [id(x) for x in after]
    assert {x.backend.name for x in after} == {target}
    assert {p.grad.backend.name for p in model.parameters()} == {target}
    assert values(model) == expected
    assert [p.grad.tolist() for p in model.parameters()] == gradients
    assert model(mg.ones((1, 2), backend=target)).backend.name == target


def test_state_dict_shares_memory():
    model = Net()
    state = model.state_dict()
    assert not any(x.requires_grad for x in state.values())
    state["scale"] *= 3
    assert model.scale.tolist() == [6.0]


@pytest.mark.parametrize("convert", [lambda x: x, lambda x: x.numpy(), lambda x: x.astype("f8")])
def test_load_state_dict(convert):
    source, model = Net(), Net()
    identities = [id(p) for p in model.parameters()]
    state = {name: convert(x) for name, x in source.state_dict().items()}
    assert model.load_state_dict(state) == ([], [])
    assert values(model) == values(source)
    assert [id(p) for p in model.parameters()] == identities
    assert all(p.requires_grad and p.dtype == np.float32 for p in model.parameters())
    with mg.no_grad():
        source.scale += 1
    assert model.scale.tolist() == [2.0]


def test_a_load_between_forward_and_backward_is_noticed():
    model = Net()
    loss = model(mg.ones((1, 2))).sum()
    model.load_state_dict(Net().state_dict())
    with pytest.raises(RuntimeError, match="was changed in place"):
        loss.backward()


def test_everything_that_does_not_fit_is_listed_and_nothing_changed():
    model = Net()
    before = values(model)
    state = {name: x + 1 for name, x in model.state_dict().items()}
    del state["rest.1.weight"]
    state |= {"extra": mg.tensor(1), "first.weight": np.ones((2, 3), np.float32)}
    state |= {"mean": mg.tensor([1]), "scale": [1.0]}
    with pytest.raises(RuntimeError) as caught:
        model.load_state_dict(state)
    assert str(caught.value).splitlines() == [
        "load_state_dict: the state does not fit Net, nothing was loaded:",
        "  rest.1.weight: missing",
        "  extra: unexpected",
        "  scale: expected a Tensor or a NumPy array, got list",
        "  mean: expected dtype float32, got int64",
        "  first.weight: expected shape (3, 2), got (2, 3)",
    ]
    assert values(model) == before


def test_load_that_is_not_strict():
    model = Net()
    state = {"scale": mg.tensor([7.0]), "extra": mg.tensor(1)}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert model.scale.tolist() == [7.0]
    assert missing == ["mean", *PARAMETERS[1:]]
    assert unexpected == ["extra"]
    with pytest.raises(RuntimeError, match=r"nothing was loaded:\n  scale: expected shape"):
        model.load_state_dict({"scale": mg.tensor(7.0)}, strict=False)


def test_repr():
    assert repr(Net()) == (
        "Net(\n"
        "  (first): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (rest): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Linear(in_features=3, out_features=1, bias=False)\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Sequential()) == "Sequential()"
    assert repr(nn.Softmax(1)) == "Softmax(axis=1)"
    assert repr(nn.Flatten(2)) == "Flatten(start_axis=2, end_axis=-1)"
    assert repr(nn.Dropout(0.1)) == "Dropout(p=0.1)"

    class Described(nn.Sequential):
        def extra_repr(self):
            return "two\nlines"

    described = Described(nn.Tanh())
    assert repr(described) == "Described(\n  two\n  lines\n  (0): Tanh()\n)"


def test_sequential():
    layers = [nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 4), nn.Tanh()]
    model = nn.Sequential(*layers)
    assert len(model) == 4
    assert list(model) == layers
    assert model[-1] is layers[3]
    part = model[1:3]
    assert list(part) == layers[1:3]
    assert [name for name, _ in part.named_children()] == ["1", "2"]
    assert part.append(nn.ReLU()) is part
    assert [name for name, _ in part.named_children()] == ["1", "2", "3"]
    assert part[0] is layers[1]
    x = tensor(rng.normal(size=(5, 2)).astype(np.float32))
    expected = x
    for layer in layers:
        expected = layer(expected)
    np.testing.assert_allclose(model(x).detach().numpy(), expected.detach().numpy(), 1e-6, 1e-7)
    assert nn.Sequential()(x) is x


@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_sequential_of_names(kind):
    model = nn.Sequential(kind(fc=nn.Linear(2, 3), act=nn.ReLU()))
    assert [name for name, _ in model.named_parameters()] == ["fc.weight", "fc.bias"]
    assert model.act is model[1]


def test_linear_and_its_gradients():
    layer = nn.Linear(4, 3)
    x = rng.normal(size=(2, 5, 4)).astype(np.float32)
    weight, bias = (p.detach().numpy(copy=True) for p in layer.parameters())
    out = layer(tensor(x))
    np.testing.assert_allclose(out.detach().numpy(), x @ weight.T + bias, rtol=1e-5, atol=1e-6)
    g = rng.normal(size=(2, 5, 3)).astype(np.float32)
    out.backward(g)
    expected = np.einsum("abi,abj->ij", g, x)
    np.testing.assert_allclose(layer.weight.grad.numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.bias.grad.numpy(), g.sum(axis=(0, 1)), rtol=1e-5, atol=1e-6)


def test_linear_starts_as_pytorch_does():
    mg.manual_seed(0)
    layer = nn.Linear(100, 200)
    for p in layer.parameters():
        assert np.abs(p.detach().numpy()).max() == pytest.approx(0.1, rel=0.02)
        assert p.dtype == mg.get_default_dtype()
    assert layer.weight.detach().numpy().std() == pytest.approx(0.1 / math.sqrt(3), rel=0.02)
    assert nn.Linear(0, 2)(mg.ones((1, 0))).tolist() == [[0.0, 0.0]]


def test_the_seed_fixes_the_parameters_on_every_backend():
    seen = []
    for name in ("numpy", "numba", "strict"):
        with mg.use_backend(name):
            mg.manual_seed(3)
            seen.append(values(Net()))
    assert seen[0] == seen[1] == seen[2]


X = rng.normal(size=(3, 4))
EXP = np.exp(X)
ACTIVATIONS = {
    "relu": (nn.ReLU(), F.relu, np.maximum(X, 0)),
    "sigmoid": (nn.Sigmoid(), F.sigmoid, 1 / (1 + 1 / EXP)),
    "tanh": (nn.Tanh(), F.tanh, np.tanh(X)),
    "softmax": (nn.Softmax(), F.softmax, EXP / EXP.sum(1, keepdims=True)),
    "softmax of columns": (nn.Softmax(axis=0), None, EXP / EXP.sum(0)),
    "log_softmax": (nn.LogSoftmax(), F.log_softmax, X - np.log(EXP.sum(1, keepdims=True))),
    "log_softmax of columns": (nn.LogSoftmax(axis=0), None, X - np.log(EXP.sum(0))),
    "identity": (nn.Identity(3, ignored=True), None, X),
}


@pytest.mark.parametrize(("module", "function", "expected"), ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_activations(module, function, expected):
    for call in filter(None, (module, function)):
        np.testing.assert_allclose(call(tensor(X)).numpy(), expected, rtol=1e-12)


def test_flatten():
    x = mg.ones((2, 3, 4, 5))
    assert nn.Flatten()(x).shape == (2, 60)
    assert nn.Flatten(0, 1)(x).shape == (6, 4, 5)
    assert nn.Flatten(-2)(x).shape == (2, 3, 20)
    assert nn.Flatten()(mg.ones((0, 3, 4))).shape == (0, 12)


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_dropout_follows_the_mode(p):
    mg.manual_seed(0)
    layer, x = nn.Dropout(p), mg.ones((100, 100))
    dropped = layer(x).numpy()
    assert set(np.unique(dropped)) <= {0.0, np.float32(1 / (1 - p)) if p < 1 else 0.0}
    assert (dropped == 0).mean() == pytest.approx(p, abs=0.01)
    assert layer.eval()(x) is x


# name, options, bound of a uniform or deviation of a normal distribution for a (50, 20, 3) weight
INITS = [
    (init.uniform_, {}, None),
    (init.uniform_, {"a": -2.0, "b": 2.0}, 2.0),
    (init.normal_, {}, 1.0),
    (init.normal_, {"std": 0.1}, 0.1),
    (init.kaiming_uniform_, {}, math.sqrt(6 / 60)),
    (init.kaiming_uniform_, {"a": math.sqrt(5)}, 1 / math.sqrt(60)),
    (init.kaiming_uniform_, {"mode": "fan_out", "nonlinearity": "relu"}, math.sqrt(6 / 150)),
    (init.kaiming_normal_, {"nonlinearity": "relu"}, math.sqrt(2 / 60)),
    (init.kaiming_normal_, {"nonlinearity": "tanh", "mode": "fan_out"}, 5 / 3 / math.sqrt(150)),
    (init.xavier_uniform_, {}, math.sqrt(6 / 210)),
    (init.xavier_uniform_, {"gain": 2.0}, 2 * math.sqrt(6 / 210)),
    (init.xavier_normal_, {"gain": 0.5}, 0.5 * math.sqrt(2 / 210)),
]


@pytest.mark.parametrize(("fill", "options", "spread"), INITS)
def test_random_initialisers(fill, options, spread):
    mg.manual_seed(0)
    p = nn.Parameter(mg.zeros((50, 20, 3), dtype=np.float64))
    assert fill(p, **options) is p
    array = p.detach().numpy()
    assert p.dtype == np.float64
    if spread is None:
        assert array.min() == pytest.approx(0, abs=0.01)
        assert array.max() == pytest.approx(1, rel=0.01)
        return
    assert array.mean() == pytest.approx(0, abs=0.05 * spread)
    if "uniform" in fill.__name__:
        assert np.abs(array).max() <= spread
        spread /= math.sqrt(3)
    assert array.std() == pytest.approx(spread, rel=0.03)
    assert mg.random.get_state()[2] > 0


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        (init.zeros_, 0.0),
        (init.ones_, 1.0),
        (lambda p: init.constant_(p, 0.25), 0.25),
        (lambda p: init.normal_(p, mean=3.0, std=0.0), 3.0),
    ],
)
def test_constant_initialisers(fill, expected):
    p = nn.Parameter([5.0, 5.0])
    assert fill(p) is p
    assert p.requires_grad
    assert p.tolist() == [expected] * 2


def test_an_empty_weight_is_left_alone():
    for fill in (init.kaiming_uniform_, init.kaiming_normal_, init.xavier_uniform_):
        assert fill(nn.Parameter(mg.zeros((3, 0)))).shape == (3, 0)


def test_gains_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in init._GAINS:
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    theirs = torch.nn.init.calculate_gain("leaky_relu", 0.3)
    assert init.calculate_gain("leaky_relu", 0.3) == theirs


def test_weights_of_pytorch_give_its_results():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3), torch.nn.Softmax(dim=-1)
    )
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax())
    model.load_state_dict({name: x.numpy() for name, x in theirs.state_dict().items()})
    x = X.astype(np.float32)
    expected = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(model(tensor(x)).detach().numpy(), expected, rtol=1e-5)


ACTIVATIONS = [nn.ReLU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.SiLU]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda kind: kind.__name__)
def test_sequential_computes_a_dense_layer_and_its_activation_in_one(activation, on_each_backend):
    layer, after = nn.Linear(5, 40), activation()
    model, x = nn.Sequential(layer, after, nn.Linear(40, 2)), mg.randn(130, 5)
    with mg.profile() as profile:
        y = model(x)
    assert {name for name, _ in profile.rows} <= {"linear", "linear_value", "linear_input"}
    wanted = model[2](after(layer(x)))
    np.testing.assert_allclose(y.detach().numpy(), wanted.detach().numpy(), 1e-5, 1e-6)


def test_sequential_calls_what_somebody_looks_at():
    seen = []
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.GELU("tanh"))
    model[0].register_forward_hook(lambda module, args, output: seen.append(output.shape))
    model[1].forward = lambda x: seen.append(x.shape) or x
    x = mg.ones((4, 2))
    with mg.profile() as profile:
        model(x)
    assert seen == [(4, 3), (4, 3)]
    assert {name for name, _ in profile.rows} == {"linear", "gelu"}


def test_the_rule_of_a_dense_layer_keeps_what_it_needs():
    x, weight, bias = mg.randn(4, 3), mg.randn(2, 3), mg.zeros(2)
    kept = {"x": [weight], "weight": [x], "bias": []}
    for name, tensors in kept.items():
        inputs = dict(x=x.detach(), weight=weight.detach(), bias=bias.detach())
        inputs[name].requires_grad_()
        saved = mg.linear(**inputs).node.saved
        assert [s.shape for s in saved if isinstance(s, mg.Tensor)] == [t.shape for t in tensors]


def test_linear_names_the_activations_it_knows():
    with pytest.raises(ValueError, match=r"one of relu, .* not 'rellu'; did you mean 'relu'"):
        mg.linear(mg.ones((2, 2)), mg.ones((2, 2)), activation="rellu")
