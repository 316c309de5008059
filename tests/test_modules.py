"""Modules at work: hooks, names, containers, lazy layers, functional calls, summaries."""

import copy
import pickle
from collections import OrderedDict
from contextlib import nullcontext

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F
from minigrad.nn.modes import evaluating

pytestmark = pytest.mark.usefixtures("on_each_backend")


class Net(nn.Module):
    """A layer of its own, one below, a buffer that is saved and one that is not."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(3, 1))
        self.scale = nn.Parameter([2.0])
        self.register_buffer("mean", mg.tensor([0.5]))
        self.register_buffer("cache", mg.tensor([1.0]), persistent=False)

    def forward(self, x, *, shift=0.0):
        return self.rest(self.first(x - self.mean)) * self.scale + shift


class Tied(nn.Module):
    """One weight under two names, one layer under two."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2, bias=False)
        self.b = nn.Linear(2, 2, bias=False)
        self.b.weight = self.a.weight
        self.again = self.b

    def forward(self, x):
        return self.again(self.b(self.a(x)))


def lazy_net():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(3), nn.ReLU(), nn.LazyLinear(2, bias=False))


def raises(error, message):
    return pytest.raises(error, match="^" + message)


# Hooks

ONES = np.ones((1, 2), np.float32)

PRE_HOOKS = {
    "nothing": (lambda module, args: None, False, 1.0),
    "a value": (lambda module, args: args[0] * 3, False, 3.0),
    "a tuple": (lambda module, args: (args[0] * 3,), False, 3.0),
    "kwargs, nothing": (lambda module, args, kwargs: None, True, 1.0),
    "kwargs": (lambda module, args, kwargs: ((args[0] * 3,), {"shift": 1.0}), True, 4.0),
}


class Shift(nn.Module):
    def forward(self, x, shift=0.0):
        return x + shift


@pytest.mark.parametrize(("hook", "with_kwargs", "expected"), PRE_HOOKS.values(), ids=PRE_HOOKS)
def test_pre_hooks_see_and_replace_the_arguments(hook, with_kwargs, expected):
    module = Shift()
    handle = module.register_forward_pre_hook(hook, with_kwargs=with_kwargs)
    assert module(mg.tensor(ONES)).tolist() == (expected * ONES).tolist()
    handle.remove()
    handle.remove()
    assert module(mg.tensor(ONES)).tolist() == ONES.tolist()


def test_hooks_see_and_replace_the_output():
    module, seen, x = Shift(), [], mg.tensor(ONES)
    module.register_forward_hook(lambda *given: seen.append(given))
    module.register_forward_hook(lambda module, args, output: output * 2)
    module.register_forward_hook(lambda *given: seen.append(given), with_kwargs=True)
    assert module(x, shift=1.0).tolist() == [[4.0, 4.0]]
    (first, args, before), (second, args_again, kwargs, after) = seen
    assert first is second is module
    assert args == args_again == (x,)
    assert kwargs == {"shift": 1.0}
    assert (before.tolist(), after.tolist()) == ([[2.0, 2.0]], [[4.0, 4.0]])


def test_the_order_of_hooks():
    module, order = Shift(), []
    for name, options in [("b", {}), ("c", {}), ("a", {"prepend": True})]:
        module.register_forward_pre_hook(lambda *_, name=name: order.append(name), **options)
        module.register_forward_hook(lambda *_, name=name: order.append(name.upper()), **options)
    module(mg.tensor(ONES))
    assert "".join(order) == "abcABC"


def test_a_hook_lives_as_long_as_its_block():
    module, calls = Net(), []
    with module.rest[1].register_forward_hook(lambda *_: calls.append(1)) as handle:
        module(mg.tensor(ONES))
        module.rest.register_forward_pre_hook(lambda *_: handle.remove())
        module(mg.tensor(ONES))
    with pytest.raises(ZeroDivisionError), module.register_forward_hook(lambda *_: 1 / 0):
        module(mg.tensor(ONES))
    module(mg.tensor(ONES))
    assert calls == [1]


def test_a_hook_may_remove_itself():
    module, calls = Shift(), []
    handle = module.register_forward_hook(lambda *_: (calls.append(1), handle.remove())[0])
    module.register_forward_hook(lambda *_: calls.append(2))
    module(mg.tensor(ONES))
    module(mg.tensor(ONES))
    assert calls == [1, 2, 2]


def test_wrong_hooks():
    module = Shift()
    with raises(TypeError, "a hook must be callable, got int$"):
        module.register_forward_hook(3)
    module.register_forward_pre_hook(lambda *_: 3, with_kwargs=True)
    with raises(TypeError, r"a forward pre-hook of Shift with_kwargs=True must .* got int$"):
        module(mg.tensor(ONES))


# Names


def test_lookup_by_dotted_name():
    model = Tied()
    model.net = Net()
    assert model.get_submodule("") is model
    assert model.get_submodule("again") is model.b
    assert model.get_submodule("net.rest.1") is model.net.rest[1]
    assert model.get_parameter("again.weight") is model.a.weight
    assert model.get_parameter("net.scale") is model.net.scale
    assert model.get_buffer("net.cache") is model.net.cache


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: m.get_submodule("fist"), "Net has no module 'fist'; did you mean 'first'?"),
        (lambda m: m.get_submodule("scale"), "Net has no module 'scale'"),
        (
            lambda m: m.get_parameter("first.wieght"),
            "Net has no parameter 'first.wieght'; did you mean 'first.weight'?",
        ),
        (lambda m: m.get_parameter("mean"), "Net has no parameter 'mean'"),
        (lambda m: m.get_buffer("man"), "Net has no buffer 'man'; did you mean 'mean'?"),
    ],
)
def test_unknown_names(call, says):
    with pytest.raises(AttributeError) as caught:
        call(Net())
    assert str(caught.value) == says


def test_listing_without_what_lies_below():
    model = Net()
    assert [name for name, _ in model.named_parameters(recurse=False)] == ["scale"]
    assert list(model.rest.parameters(recurse=False)) == []
    assert list(model.buffers(recurse=False)) == [model.mean, model.cache]
    assert [name for name, _ in model.first.named_parameters("net")] == ["net.weight", "net.bias"]
    assert next(iter(model.named_buffers("net")))[0] == "net.mean"


def test_modules_under_computed_names():
    model = nn.Module()
    for i in range(2):
        model.add_module(f"layer{i}", nn.ReLU())
    model.add_module("layer0", None)
    assert [name for name, _ in model.named_children()] == ["layer1"]
    with raises(TypeError, "module 'x' must be a Module or None, not int$"):
        model.add_module("x", 3)
    with raises(ValueError, "a name must be a string, not empty and without dots, got 'a.b'$"):
        model.add_module("a.b", nn.ReLU())


def test_a_misspelt_name_in_a_state_is_recognised():
    model = Net()
    state = model.state_dict()
    state["frist.weight"] = state.pop("first.weight")
    with pytest.raises(RuntimeError, match=r"frist.weight: unexpected; did you .* 'first.weight'"):
        model.load_state_dict(state)


# Containers


def layers(n):
    return [nn.Linear(1, i + 1) for i in range(n)]


def names_of(module):
    return [name for name, _ in module.named_children()]


def test_module_list():
    a, b, c, d, e = layers(5)
    held = nn.ModuleList([a])
    assert held.append(b) is held
    assert held.extend(iter([c])) is held
    held.insert(1, d)
    assert list(held) == [a, d, b, c]
    assert names_of(held) == ["0", "1", "2", "3"]
    assert len(held) == 4
    assert held[-1] is c
    assert held[mg.tensor(1)] is d
    assert d in held
    assert e not in held
    held[-1] = e
    assert list(held) == [a, d, b, e]
    del held[0]
    assert list(held) == [d, b, e]
    assert names_of(held) == ["0", "1", "2"]
    assert held.pop() is e
    assert held.pop(0) is d
    held += [c, d]
    assert list(held) == [b, c, d]
    del held[::2]
    assert list(held) == [c]
    assert [p.shape for p in held.parameters()] == [(3, 1), (3,)]
    both = held + nn.ModuleList([a])
    assert type(both) is nn.ModuleList
    assert list(both) == [c, a]
    assert list(held) == [c]
    part = nn.ModuleList([a, b, c])[1:]
    assert type(part) is nn.ModuleList
    assert list(part) == [b, c]
    assert names_of(part) == ["0", "1"]
    assert len(nn.ModuleList()) == 0
    assert repr(nn.ModuleList([nn.ReLU()])) == "ModuleList(\n  (0): ReLU()\n)"


def test_module_dict():
    a, b, c = layers(3)
    held = nn.ModuleDict({"a": a})
    held["b"] = b
    held.update([("c", c), ("a", b)])
    assert list(held) == list(held.keys()) == ["a", "b", "c"]
    assert list(held.values()) == [b, b, c]
    assert dict(held) == dict(held.items()) == {"a": b, "b": b, "c": c}
    assert len(held) == 3
    assert "c" in held
    assert "d" not in held
    assert held.c is held["c"] is c
    assert held.pop("b") is b
    del held["c"]
    assert list(held) == ["a"]
    assert [name for name, _ in held.named_parameters()] == ["a.weight", "a.bias"]
    copied = nn.ModuleDict(held)
    held.clear()
    assert len(held) == 0
    assert list(copied.items()) == [("a", b)]
    ordered = nn.ModuleDict(OrderedDict(z=a, y=b))
    assert list(ordered) == ["z", "y"]
    assert repr(nn.ModuleDict({"act": nn.ReLU()})) == "ModuleDict(\n  (act): ReLU()\n)"


def test_sequential_grows_and_changes():
    a, b, c = layers(3)
    model = nn.Sequential({"in": a})
    assert model.extend([b, c]) is model
    assert names_of(model) == ["in", "1", "2"]
    model[0] = c
    assert list(model) == [c, b, c]


CONTAINER_ERRORS = {
    "no module": (
        lambda: nn.ModuleList([3]),
        TypeError,
        "ModuleList is made of Modules, but '0' is of type int$",
    ),
    "no module inserted": (
        lambda: nn.ModuleList().insert(0, "x"),
        TypeError,
        "ModuleList is made of Modules, but '0' is of type str$",
    ),
    "one module": (
        lambda: nn.ModuleList(nn.ReLU()),
        TypeError,
        "ModuleList: expected an iterable of Modules, got ReLU$",
    ),
    "a mapping": (
        lambda: nn.ModuleList({"a": nn.ReLU()}),
        TypeError,
        "ModuleList: expected an iterable of Modules, got dict$",
    ),
    "index": (
        lambda: nn.ModuleList([nn.ReLU()])[1],
        IndexError,
        "ModuleList has 1 modules, got index 1$",
    ),
    "index deleted": (
        lambda: nn.ModuleList().pop(),
        IndexError,
        "ModuleList has 0 modules, got index -1$",
    ),
    "calling a list": (
        lambda: nn.ModuleList()(1),
        NotImplementedError,
        "a ModuleList is not called; call the modules in it$",
    ),
    "calling a dict": (
        lambda: nn.ModuleDict()(1),
        NotImplementedError,
        "a ModuleDict is not called; call the modules in it$",
    ),
    "no pairs": (
        lambda: nn.ModuleDict(3),
        TypeError,
        "a ModuleDict is made of names and modules, got int$",
    ),
    "no module by name": (
        lambda: nn.ModuleDict({"a": None}),
        TypeError,
        "ModuleDict is made of Modules, but 'a' is of type NoneType$",
    ),
    "name of another type": (
        lambda: nn.ModuleDict({1: nn.ReLU()}),
        TypeError,
        "the names in a ModuleDict are strings, not int$",
    ),
    "dotted name": (
        lambda: nn.ModuleDict({"a.b": nn.ReLU()}),
        ValueError,
        "a name must be a string, not empty and without dots, got 'a.b'$",
    ),
    "method": (
        lambda: nn.ModuleDict({"keys": nn.ReLU()}),
        ValueError,
        "'keys' is a method of ModuleDict; choose another name$",
    ),
    "attribute": (
        lambda: nn.ModuleDict({"training": nn.ReLU()}),
        ValueError,
        "'training' is an attribute of ModuleDict; choose another name$",
    ),
    "unknown name": (
        lambda: nn.ModuleDict({"encoder": nn.ReLU()})["encode"],
        KeyError,
        "\"ModuleDict has no module 'encode'; did you mean 'encoder'",
    ),
}


@pytest.mark.parametrize(("call", "error", "says"), CONTAINER_ERRORS.values(), ids=CONTAINER_ERRORS)
def test_wrong_containers(call, error, says):
    with raises(error, says):
        call()


# Lazy layers


def test_a_lazy_layer_becomes_a_plain_one_at_the_first_batch(backend):
    model = lazy_net().eval()
    assert repr(model[1]) == "LazyLinear(in_features=?, out_features=3, bias=True)"
    mg.manual_seed(0)
    out = model(mg.ones((5, 2, 4)))
    assert out.shape == (5, 2)
    assert [type(layer) for layer in model] == [nn.Flatten, nn.Linear, nn.ReLU, nn.Linear]
    assert repr(model[1]) == "Linear(in_features=8, out_features=3, bias=True)"
    assert {name: p.shape for name, p in model.named_parameters()} == {
        "1.weight": (3, 8),
        "1.bias": (3,),
        "3.weight": (2, 3),
    }
    assert {p.backend.name for p in model.parameters()} == {backend}
    assert not any(layer.training for layer in model.modules())
    mg.manual_seed(0)
    assert nn.Linear(8, 3).weight.tolist() == model[1].weight.tolist()
    assert model[1].weight.requires_grad
    model.train()(mg.ones((1, 8))).sum().backward()
    assert model[1].weight.grad.shape == (3, 8)


def test_a_lazy_layer_follows_its_input(backend):
    other = "numpy" if backend == "strict" else "strict"
    layer = nn.LazyLinear(2)
    assert layer(mg.ones(3, backend=other)).backend.name == other
    assert layer.weight.backend.name == other
    assert nn.LazyLinear(2)(np.ones((4, 3), np.float32)).shape == (4, 2)
    assert nn.LazyLinear(2)(mg.ones((0, 3))).shape == (0, 2)


ASKING = {
    "parameters": lambda model: model.parameters(),
    "named_parameters": lambda model: model.named_parameters(),
    "an optimizer": lambda model: mg.optim.SGD(model.parameters(), lr=0.1),
    "state_dict": lambda model: model.state_dict(),
    "get_parameter": lambda model: model.get_parameter("1.weight"),
    "requires_grad_": lambda model: model.requires_grad_(False),
    "functional_call": lambda model: nn.functional_call(model, {"1.weight": mg.ones((3, 4))}),
}


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_a_lazy_layer_has_no_parameters_to_ask_for(ask):
    says = r"it has seen its input; run one batch or summary\(input_shape\) first$"
    with raises(
        RuntimeError, "Sequential: '1' is a LazyLinear and has no parameters before " + says
    ):
        ask(lazy_net())
    with raises(RuntimeError, "it is a LazyLinear and has no parameters before " + says):
        nn.LazyLinear(2).parameters()


def test_what_a_lazy_layer_can_do_before_its_first_batch(backend):
    model = lazy_net()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.eval().to(backend) is twin
        twin.zero_grad()
        assert twin(mg.ones((1, 4))).shape == (1, 2)
    assert isinstance(model[1], nn.LazyLinear)
    with raises(ValueError, r"LazyLinear: x needs an axis of features, got a 0-d tensor$"):
        nn.LazyLinear(2)(mg.tensor(1.0))


def test_a_lazy_layer_takes_its_sizes_from_a_state():
    source, model = lazy_net(), lazy_net()
    source(mg.ones((1, 4)))
    before = mg.random.get_state()
    assert model.load_state_dict(source.state_dict()) == ([], [])
    assert mg.random.get_state().tolist() == before.tolist()
    assert type(model[1]) is nn.Linear
    assert model[1].in_features == 4
    x = mg.ones((2, 4))
    assert model(x).tolist() == source(x).tolist()
    layer = nn.LazyLinear(3)
    layer.load_state_dict(source[1].state_dict())
    assert layer.weight.tolist() == source[1].weight.tolist()


def test_a_state_that_does_not_fit_leaves_a_lazy_layer_lazy():
    source, model = lazy_net(), lazy_net()
    source(mg.ones((1, 4)))
    state = source.state_dict() | {"3.weight": mg.ones((5, 3)), "1.bias": mg.ones((1, 3))}
    with pytest.raises(RuntimeError) as caught:
        model.load_state_dict(state)
    assert str(caught.value).splitlines()[1:] == [
        "  1.bias: expected shape (3,), got (1, 3)",
        "  3.weight: expected shape (2, 3), got (5, 3)",
    ]
    assert isinstance(model[1], nn.LazyLinear) and isinstance(model[3], nn.LazyLinear)
    del state["3.weight"], state["1.bias"]
    with pytest.raises(RuntimeError, match=r"1.bias: missing\n  3.weight: missing$"):
        model.load_state_dict(state)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert (missing, unexpected) == (["1.bias", "3.weight"], [])
    assert [type(model[i]) for i in (1, 3)] == [nn.Linear, nn.LazyLinear]
    assert model(mg.ones((1, 4))).shape == (1, 2)


BAD_SIZES = [(-3, ValueError, "-3"), (2.0, TypeError, "2.0"), ("4", TypeError, "'4'")]
BAD_SIZES += [((2,), TypeError, r"\(2,\)"), (True, TypeError, "True")]

SIZES = {
    "Linear: in_features": lambda n: nn.Linear(n, 2),
    "Linear: out_features": lambda n: nn.Linear(2, n),
    "LazyLinear: out_features": nn.LazyLinear,
    "Embedding: num_embeddings": lambda n: nn.Embedding(n, 3),
    "Embedding: embedding_dim": lambda n: nn.Embedding(3, n),
    "BatchNorm1d: num_features": nn.BatchNorm1d,
    "LayerNorm: normalized_shape": lambda n: nn.LayerNorm([n]),
    "RMSNorm: normalized_shape": lambda n: nn.RMSNorm((2, n)),
    "GroupNorm: num_groups": lambda n: nn.GroupNorm(n, 4),
    "GroupNorm: num_channels": lambda n: nn.GroupNorm(2, n),
    "PReLU: num_parameters": nn.PReLU,
    "Conv1d: in_channels": lambda n: nn.Conv1d(n, 2, 3),
    "ConvTranspose2d: groups": lambda n: nn.ConvTranspose2d(2, 2, 3, groups=n),
    "LSTM: input_size": lambda n: nn.LSTM(n, 3),
    "GRU: hidden_size": lambda n: nn.GRU(3, n),
    "RNN: num_layers": lambda n: nn.RNN(3, 3, n),
    "LSTM: proj_size": lambda n: nn.LSTM(3, 3, proj_size=n),
    "GRUCell: input_size": lambda n: nn.GRUCell(n, 3),
    "MultiheadAttention: embed_dim": lambda n: nn.MultiheadAttention(n, 2),
    "MultiheadAttention: num_heads": lambda n: nn.MultiheadAttention(4, n),
    "MultiheadAttention: kdim": lambda n: nn.MultiheadAttention(4, 2, kdim=n),
    "TransformerEncoderLayer: d_model": lambda n: nn.TransformerEncoderLayer(n, 2),
    "TransformerEncoderLayer: dim_feedforward": lambda n: nn.TransformerEncoderLayer(4, 2, n),
    "AvgPool2d: divisor_override": lambda n: nn.AvgPool2d(2, divisor_override=n),
    "AdaptiveAvgPool2d: output_size": lambda n: nn.AdaptiveAvgPool2d((None, n)),
    "Upsample: size": lambda n: nn.Upsample([n, 2]),
}


@pytest.mark.parametrize(("size", "error", "shown"), BAD_SIZES)
@pytest.mark.parametrize("where", SIZES)
def test_sizes_are_integers_that_are_not_negative(where, size, error, shown):
    with raises(error, rf"{where} is an integer.*, got {shown}$"):
        SIZES[where](size)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.PReLU(0), "PReLU: num_parameters is an integer of at least 1, got 0"),
        (lambda: nn.GroupNorm(0, 4), "GroupNorm: num_groups is an integer of at least 1, got 0"),
        (lambda: nn.MaxPool2d(0), "MaxPool2d: kernel_size is .* at least 1, or 2 of them, got 0"),
        (lambda: nn.AvgPool1d(2, 0), "AvgPool1d: stride is an integer of at least 1, got 0"),
        (lambda: nn.MaxPool1d(2, padding=-1), "MaxPool1d: padding is an integer of at least 0"),
        (lambda: nn.AdaptiveAvgPool1d(0), "AdaptiveAvgPool1d: output_size is .* at least 1"),
    ],
)
def test_sizes_that_are_too_small(make, says):
    with raises(ValueError, says):
        make()


def test_sizes_may_be_any_integers():
    lstm = nn.LSTM(np.int64(3), np.int8(4), mg.tensor(2))
    assert repr(lstm) == "LSTM(3, 4, num_layers=2)"
    assert repr(nn.Embedding(np.int64(3), 2)) == "Embedding(3, 2)"
    layer = nn.Linear(np.int64(2), mg.tensor(0))
    assert repr(layer) == "Linear(in_features=2, out_features=0, bias=True)"
    lazy = nn.LazyLinear(np.int8(0), bias=np.False_)
    assert lazy(mg.ones((4, 3))).shape == (4, 0)
    assert repr(lazy) == "Linear(in_features=3, out_features=0, bias=False)"


@pytest.mark.parametrize("step", ["zeros", "init.uniform_"])
def test_a_first_batch_that_fails_leaves_a_lazy_layer_lazy(step, monkeypatch):
    def fail(*args, **options):
        raise MemoryError

    layer = nn.LazyLinear(3)
    with monkeypatch.context() as patch:
        patch.setattr(f"minigrad.nn.linear.{step}", fail)
        with pytest.raises(MemoryError):
            layer(mg.ones((1, 4)))
    assert repr(layer) == "LazyLinear(in_features=?, out_features=3, bias=True)"
    assert layer(mg.ones((1, 5))).shape == (1, 3)
    assert repr(layer) == "Linear(in_features=5, out_features=3, bias=True)"


# Functional calls


def test_derivatives_flow_to_what_stands_in():
    model, x = Net(), mg.tensor([[1.0, 2.0], [0.5, -1.0]])
    before = {name: (p, p.tolist()) for name, p in model.named_parameters()}
    base = mg.tensor([1.5], requires_grad=True)
    weight = mg.tensor(np.full((1, 3), 0.5, np.float32), requires_grad=True)
    out = nn.functional_call(model, {"scale": base * 2, "rest.1.weight": weight}, x, shift=1.0)
    hidden = F.relu(model.first(x - 0.5)).detach().numpy()
    expected = (hidden.sum(1, keepdims=True) * 0.5 + model.rest[1].bias.tolist()) * 3 + 1
    np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-5)
    out.sum().backward()
    np.testing.assert_allclose(weight.grad.numpy(), 3 * hidden.sum(0, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(base.grad.numpy(), [2 * ((expected - 1) / 3).sum()], rtol=1e-4)
    assert model.scale.grad is model.rest[1].weight.grad is None
    assert model.first.weight.grad is not None
    assert {name: (p, p.tolist()) for name, p in model.named_parameters()} == before


def test_the_gradients_of_a_whole_module_are_right():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    names, values = zip(*model.named_parameters(), strict=True)
    doubles = [p.detach().astype(np.float64) for p in values]
    x = mg.tensor(np.random.default_rng(0).normal(size=(5, 3)))

    def loss(*params):
        out = nn.functional_call(model, dict(zip(names, params, strict=True)), x)
        return F.cross_entropy(out, np.array([0, 1, 1, 0, 1]))

    assert mg.gradcheck(loss, doubles, order=2)


def test_buffers_stand_in_and_are_written_to():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", mg.tensor([0.0]), persistent=False)

        def forward(self, x):
            self.count += 1
            return x * self.count

    model, mine = Counter(), mg.tensor([5.0])
    assert nn.functional_call(model, {"count": mine}, mg.ones(1)).tolist() == [6.0]
    assert (model.count.tolist(), mine.tolist()) == ([0.0], [6.0])
    model(mg.ones(1))
    assert model.count.tolist() == [1.0]


@pytest.mark.parametrize("name", ["a.weight", "b.weight", "again.weight"])
def test_what_is_shared_is_replaced_everywhere(name):
    model = Tied()
    own = model.a.weight
    weight = mg.tensor(2 * np.eye(2, dtype=np.float32), requires_grad=True)
    out = nn.functional_call(model, {name: weight}, mg.ones((1, 2)))
    assert out.tolist() == [[8.0, 8.0]]
    out.sum().backward()
    assert weight.grad.sum().item() == 3 * 4 * 4
    assert model.a.weight is model.b.weight is own
    again = nn.functional_call(model, {"a.weight": weight, name: weight}, mg.ones((1, 2)))
    assert again.tolist() == out.tolist()


def test_what_stands_in_is_listed_as_a_parameter():
    class Decaying(nn.Linear):
        def forward(self, x):
            return super().forward(x).sum() + sum((p**2).sum() for p in self.parameters())

    model, x = Decaying(2, 1, bias=False), mg.ones((1, 2))
    weight = mg.tensor([[3.0, 4.0]], requires_grad=True)
    out = nn.functional_call(model, {"weight": weight}, x)
    out.backward()
    assert out.item() == 7 + 25
    assert weight.grad.tolist() == [[7.0, 9.0]]


def test_the_module_is_as_before_after_an_error():
    model = Net()
    before = dict(model.named_parameters())
    with pytest.raises(ValueError, match="linear: axis -1"):
        nn.functional_call(model, {"scale": mg.tensor([1.0])}, mg.ones((1, 5)))
    assert dict(model.named_parameters()) == before
    assert model.scale is before["scale"]


def test_calls_within_calls():
    class Doubling(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(1, 1, bias=False)

        def forward(self, x):
            return nn.functional_call(self.inner, {"weight": self.inner.weight * 2}, x)

    model = Doubling()
    own, weight = model.inner.weight, mg.tensor([[3.0]], requires_grad=True)
    out = nn.functional_call(model, {"inner.weight": weight}, mg.ones((1, 1)))
    out.backward()
    assert (out.item(), weight.grad.item()) == (6, 2)
    assert model.inner.weight is own


FUNCTIONAL_ERRORS = {
    "no mapping": (
        [mg.ones(1)],
        TypeError,
        r"functional_call: expected names and tensors, got list; .*dict\(module.named_parameters",
    ),
    "unknown": (
        {"frist.weight": mg.ones((3, 2))},
        ValueError,
        "functional_call: Net has no parameter or buffer 'frist.weight'; did you mean 'first.wei",
    ),
    "array": (
        {"scale": np.ones(1)},
        TypeError,
        "functional_call: scale must be a Tensor, not ndarray$",
    ),
    "shape": (
        {"scale": mg.ones(2)},
        ValueError,
        r"functional_call: scale must have shape \(1,\), got \(2,\)$",
    ),
}


@pytest.mark.parametrize(
    ("params", "error", "says"), FUNCTIONAL_ERRORS.values(), ids=FUNCTIONAL_ERRORS
)
def test_wrong_stand_ins(params, error, says):
    with raises(error, says):
        nn.functional_call(Net(), params, mg.ones((1, 2)))


def test_two_stand_ins_for_one_parameter():
    with raises(ValueError, "functional_call: b.weight is shared, and another tensor was given"):
        nn.functional_call(
            Tied(), {"a.weight": mg.ones((2, 2)), "b.weight": mg.ones((2, 2))}, mg.ones((1, 2))
        )


# Summaries


def test_summary():
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 10)
    )
    model[1].requires_grad_(False)
    summary = model.summary((8, 8))
    assert str(summary).splitlines() == [
        "layer  type     output shape  parameters",
        "----------------------------------------",
        "0      Flatten  (n, 64)                0",
        "1      Linear   (n, 32)            2,080",
        "2      ReLU     (n, 32)                0",
        "3      Dropout  (n, 32)                0",
        "4      Linear   (n, 10)              330",
        "----------------------------------------",
        "2,410 parameters: 330 trainable, 2,080 frozen; 9,640 bytes",
    ]
    assert repr(summary) == str(summary)
    assert (summary.parameters, summary.trainable, summary.frozen) == (2410, 330, 2080)
    assert summary.bytes == 4 * 2410
    row = summary.rows[1]
    assert (row.path, row.type, row.output_shape, row.parameters) == (
        "1",
        "Linear",
        ("n", 32),
        2080,
    )


def test_a_summary_leaves_the_module_as_it_was():
    class Noisy(nn.Module):
        def forward(self, x):
            assert not (x * 1).requires_grad
            assert not self.training
            return x + mg.rand(*x.shape, backend=x.backend)

    model, calls = nn.Sequential(nn.Linear(2, 2), Noisy(), nn.Dropout()), []
    model[2].eval()
    model[0].register_forward_hook(lambda *_: calls.append(1))
    state, hooks = mg.random.get_state(), dict(model[0]._hooks)
    values = {name: p.tolist() for name, p in model.named_parameters()}
    model.summary(2)
    assert [layer.training for layer in model.modules()] == [True, True, True, False]
    assert mg.random.get_state().tolist() == state.tolist()
    assert model[0]._hooks == hooks
    assert not any(layer._hooks for layer in model.modules() if layer is not model[0])
    assert {name: p.tolist() for name, p in model.named_parameters()} == values
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    with pytest.raises(ValueError, match="linear: axis -1"):
        model.summary((3,))
    assert [layer.training for layer in model.modules()] == [True, True, True, False]
    assert model[0]._hooks == hooks


def test_evaluating_leaves_each_mode_as_it_was():
    model = nn.Sequential(Net(), nn.Dropout(), Tied())
    model[0].eval()
    modes = [layer.training for layer in model.modules()]
    assert modes != [True] * len(modes)
    for failure in (None, ValueError, KeyboardInterrupt):
        with pytest.raises(failure) if failure else nullcontext(), evaluating(model):
            assert not any(layer.training for layer in model.modules())
            model[1].train()
            if failure:
                raise failure
        assert [layer.training for layer in model.modules()] == modes


def test_a_summary_counts_what_is_shared_once():
    summary = Tied().summary((2,))
    assert [(row.path, row.parameters) for row in summary.rows] == [("a", 4), ("b", 0)]
    assert summary.parameters == 4


def test_a_summary_gives_lazy_layers_their_sizes():
    model = lazy_net()
    with pytest.raises(TypeError, match="expected the shape of one sample"):
        model.summary("x")
    failing = nn.Sequential(*model, nn.Linear(5, 1))
    before = mg.random.get_state()
    with pytest.raises(ValueError, match="linear: axis -1"):
        failing.summary((4,))
    assert isinstance(model[1], nn.LazyLinear)
    assert mg.random.get_state().tolist() == before.tolist()
    assert model.summary((2, 2)).parameters == 3 * 4 + 3 + 2 * 3
    assert [p.shape for p in model.parameters()] == [(3, 4), (3,), (2, 3)]


class Branches(nn.Module):
    """Several inputs, several results, a layer that is not called, one whose result has no n."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.idle = nn.Linear(2, 3), nn.Linear(4, 3), nn.Linear(1, 1)
        self.total = Total()

    def forward(self, x, labels):
        rows = mg.one_hot(labels, 4).astype(x.dtype)
        left, right = self.left(x), self.right(rows)
        return {"sum": left + right, "parts": (left, right), "total": self.total(left), "name": "x"}


class Total(nn.Module):
    def forward(self, x):
        return x.sum()


def test_a_summary_of_several_inputs_and_results(backend):
    model = Branches()
    model.scale = nn.Parameter([1.0])
    summary = model.summary([(2,), ()], [None, np.int64])
    assert [(row.path, row.output_shape, row.parameters) for row in summary.rows] == [
        ("", (("n", 3), (("n", 3), ("n", 3)), ()), 1),
        ("left", ("n", 3), 9),
        ("right", ("n", 3), 15),
        ("idle", None, 2),
        ("total", (), 0),
    ]
    lines = str(summary).splitlines()
    assert lines[2].split() == "(self) Branches (n, 3), (n, 3), (n, 3), () 1".split()
    assert lines[5].split() == ["idle", "Linear", "-", "2"]
    with raises(ValueError, "summary: 2 input shapes, but 1 dtypes$"):
        model.summary([(2,), ()], [np.int64])


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_a_summary_runs_in_the_parameters_dtype(dtype):
    seen = []
    layer = nn.Linear(2, 1)
    layer.weight = nn.Parameter(layer.weight.detach().astype(dtype))
    layer.bias = None
    layer.register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    summary = layer.summary((2,))
    layer.summary((2,), np.float32)
    assert seen == [dtype, np.float32]
    assert summary.bytes == 2 * np.dtype(dtype).itemsize
    assert [row.path for row in summary.rows] == [""]
    assert "(self)" in str(summary)


def test_a_summary_of_nothing():
    assert nn.Sequential().summary((2,)).parameters == 0
