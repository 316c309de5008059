"""Recurrent layers beyond PyTorch's numbers (test_torch_modules.py): order, state, edges, tape."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

RNG = np.random.default_rng(4)
LAYERS = {"RNN": (nn.RNN, nn.RNNCell), "LSTM": (nn.LSTM, nn.LSTMCell), "GRU": (nn.GRU, nn.GRUCell)}


def drawn(*shape):
    return mg.tensor(RNG.normal(size=shape).astype("f4"), requires_grad=True)


def flat(states):
    return [x.detach().numpy() for x in (states if isinstance(states, tuple) else (states,))]


def assert_equal(found, wanted):
    for a, b in zip(flat(found), flat(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_cell_called_step_by_step_is_a_layer(kind, on_each_backend):
    layer, cell = LAYERS[kind][0](2, 3), LAYERS[kind][1](2, 3)
    cell.load_state_dict({name.removesuffix("_l0"): x for name, x in layer.state_dict().items()})
    x, state = drawn(4, 2, 2), None
    outs = []
    for t in range(4):
        state = cell(x[t], state)
        outs.append(state[0] if kind == "LSTM" else state)
    out, last = layer(x)
    assert_equal(out, mg.stack(outs))
    assert_equal(tuple(y[0] for y in last) if kind == "LSTM" else last[0], state)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_second_direction_reads_from_the_end(kind, on_each_backend):
    both, one = LAYERS[kind][0](2, 3, bidirectional=True), LAYERS[kind][0](2, 3)
    state = both.state_dict().items()
    backwards = {k.removesuffix("_reverse"): x for k, x in state if k.endswith("_reverse")}
    one.load_state_dict(backwards)
    x = drawn(4, 2, 2)
    out, last = both(x)
    turned, last_turned = one(mg.flip(x, axis=0))
    assert_equal(out[..., 3:], mg.flip(turned, axis=0))
    if kind != "LSTM":
        last, last_turned = (last,), (last_turned,)
    assert_equal(tuple(y[1] for y in last), tuple(y[0] for y in last_turned))


@pytest.mark.parametrize("kind", LAYERS)
def test_a_sequence_goes_on_from_the_state_it_ended_with(kind, on_each_backend):
    layer, x = LAYERS[kind][0](2, 3, num_layers=2, batch_first=True), drawn(2, 5, 2)
    whole, _ = layer(x)
    first, state = layer(x[:, :2])
    second, _ = layer(x[:, 2:], state)
    assert_equal(mg.concat([first, second], axis=1), whole)


@pytest.mark.parametrize("kind", LAYERS)
def test_no_batch_is_right_and_no_step_is_an_error(kind, on_each_backend):
    layer = LAYERS[kind][0](2, 3)
    x = drawn(4, 0, 2)
    out, _ = layer(x)
    assert out.shape == (4, 0, 3)
    out.sum().backward()
    assert x.grad.shape == x.shape
    assert not layer.weight_hh_l0.grad.numpy().any()
    with pytest.raises(ValueError, match=f"{kind}: expected a sequence of at least one step"):
        layer(drawn(0, 4, 2))


@pytest.mark.parametrize("kind", LAYERS)
def test_large_gates_saturate(kind, on_each_backend):
    layer = LAYERS[kind][0](1, 2)
    for size in (1e4, -1e4):
        x = mg.full((3, 1, 1), size, dtype=mg.float32).requires_grad_()
        out, _ = layer(x)
        assert (np.abs(out.detach().numpy()) <= 3).all()
        out.sum().backward()
        assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("kind", LAYERS)
def test_dropout_is_between_layers_and_only_while_training(kind, on_each_backend):
    x = drawn(3, 2, 2)
    single = LAYERS[kind][0](2, 3, dropout=1.0)
    assert_equal(single(x)[0], single.eval()(x)[0])
    layer = LAYERS[kind][0](2, 3, num_layers=2, dropout=1.0)
    dropped = layer(x)[0]
    assert_equal(dropped, layer(drawn(3, 2, 2))[0])  # the upper layer sees zeros
    assert np.abs(layer.eval()(x)[0].detach().numpy() - dropped.detach().numpy()).max() > 1e-3


def test_the_tape_keeps_results_and_no_steps():
    """Of an LSTM: x, both weights, the first states, the gates, c and h, once each."""
    layer, x = nn.LSTM(2, 3), drawn(5, 4, 2)
    out, _ = layer(x)
    kept = [y for y in out.node.saved if isinstance(y, mg.Tensor)]
    per_step = sum(y.size for y in kept if y.shape[:2] == (5, 4))
    assert per_step == 5 * 4 * (3 + 3 + 12)
    assert sum(y.size for y in kept) == per_step + 12 * 3 + 2 * 4 * 3


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: nn.LSTM(0, 3), "LSTM: input_size is an integer of at least 1, got 0"),
        (lambda: nn.GRU(2, 3, num_layers=0), "GRU: num_layers .* got 0"),
        (lambda: nn.RNN(2, 3, nonlinearity="gelu"), 'RNN: .*"tanh" or "relu", not \'gelu\''),
        (lambda: nn.RNNCell(2, 3, nonlinearity="gelu"), 'RNNCell: .*"tanh" or "relu"'),
        (lambda: nn.LSTM(2, 3, proj_size=3), "proj_size .* smaller than hidden_size 3, got 3"),
        (lambda: nn.LSTM(2, 3, dropout=2), r"dropout must lie in \[0, 1\], got 2"),
        (lambda: nn.GRU(2, 3)(drawn(4, 1, 5)), r"GRU: .*\(time, batch, 2\).*got \(4, 1, 5\)"),
        (
            lambda: nn.GRU(2, 3, batch_first=True)(drawn(2)),
            r"\(batch, time, 2\) or, without a batch, \(time, 2\), got \(2,\)",
        ),
        (lambda: nn.GRU(2, 3)(drawn(4, 1, 2), drawn(1, 2, 3)), r"h0 .*\(1, 1, 3\), got \(1, 2, 3"),
        (lambda: nn.LSTM(2, 3)(drawn(4, 1, 2), drawn(1, 1, 3)), r"hx must be a pair \(h0, c0\)"),
        (lambda: nn.LSTMCell(2, 3)(drawn(4, 1, 2)), r"LSTMCell: .*\(batch, 2\) or \(2,\), got"),
        (lambda: nn.GRUCell(2, 3)(drawn(2), drawn(1, 3)), r"h0 of shape \(3,\), got \(1, 3\)"),
    ],
)
def test_errors_say_what_fits(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_layers_show_what_is_unusual():
    assert repr(nn.LSTM(2, 3)) == "LSTM(2, 3)"
    assert repr(nn.GRU(2, 3, 2, bias=False)) == "GRU(2, 3, num_layers=2, bias=False)"
    assert repr(nn.LSTMCell(2, 3, bias=False)) == "LSTMCell(2, 3, bias=False)"
