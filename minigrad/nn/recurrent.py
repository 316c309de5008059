"""Recurrent layers: what was seen so far is carried from step to step.

A kind of layer is a function from x (time, batch, features), the states before the first step and
the weights (weight_ih, weight_hh, bias_ih, bias_hh and perhaps weight_hr) to the states of all
steps; layers and cells share it.
"""

import math
from collections.abc import Sequence
from typing import Any

from ..engine import Tensor
from ..ops.axes import count
from ..ops.creation import as_tensor, zeros
from ..ops.recurrent import gru, lstm, rnn
from ..ops.shape import concat, expand_dims, flip, squeeze, stack, swapaxes
from . import functional as F
from . import init
from .module import Module, Parameter, unusual

Weights = Sequence[Tensor | None]
States = tuple[Tensor, ...]


def _gates(x: Tensor, weights: Weights) -> Tensor:
    """Return what the inputs of all steps contribute to the gates, with both biases."""
    weight_ih, _, bias_ih, bias_hh = weights[:4]
    gates: Tensor = F.linear(x, weight_ih, None if bias_ih is None else bias_ih + bias_hh)
    return gates


def _rnn_steps(x: Tensor, first: States, weights: Weights, nonlinearity: str) -> States:
    return (rnn(_gates(x, weights), weights[1], *first, nonlinearity=nonlinearity),)


def _lstm_steps(x: Tensor, first: States, weights: Weights) -> States:
    outputs: Any = lstm(_gates(x, weights), weights[1], *first, *weights[4:])
    return outputs[0], outputs[1]


def _gru_steps(x: Tensor, first: States, weights: Weights) -> States:
    weight_ih, weight_hh, bias_ih, bias_hh = weights[:4]
    outputs: Any = gru(F.linear(x, weight_ih, bias_ih), weight_hh, bias_hh, *first)
    return (outputs[0],)


class _Recurrent(Module):
    """What layers and cells have in common."""

    #: how many blocks of hidden_size rows the weights have
    _blocks = 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool) -> None:
        super().__init__()
        self.input_size = count(type(self).__name__, "input_size", input_size, 1)
        self.hidden_size = count(type(self).__name__, "hidden_size", hidden_size, 1)
        self.bias = bool(bias)

    def _require_nonlinearity(self, nonlinearity: str) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f'{type(self).__name__}: nonlinearity must be "tanh" or "relu", '
                f"not {nonlinearity!r}"
            )

    def _add_weights(self, features: int, suffix: str = "", proj_size: int = 0) -> None:
        rows = self._blocks * self.hidden_size
        shapes: dict[str, Any] = {
            "weight_ih": (rows, features),
            "weight_hh": (rows, proj_size or self.hidden_size),
        }
        if self.bias:
            shapes |= {"bias_ih": rows, "bias_hh": rows}
        if proj_size:
            shapes["weight_hr"] = (proj_size, self.hidden_size)
        for name, shape in shapes.items():
            self.register_parameter(name + suffix, Parameter(zeros(shape)))

    def _weights(self, suffix: str = "") -> Weights:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        return [getattr(self, name + suffix, None) for name in names]

    def reset_parameters(self) -> None:
        """Draw all weights and biases anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _state_sizes(self) -> tuple[int, ...]:
        """Return the number of features of each state that is carried."""
        return (self.hidden_size,)

    def _steps(self, x: Tensor, first: States, weights: Weights) -> States:
        """Return the states (time, batch, features) of one layer in one direction."""
        raise NotImplementedError(f"{type(self).__name__} has no _steps method: define one")

    def _checked(self, hx: Any, leading: tuple[int, ...]) -> States | None:
        """Return the states given as tensors; ValueError for shapes that do not fit."""
        if hx is None:
            return None
        sizes = self._state_sizes()
        if len(sizes) > 1 and not (isinstance(hx, tuple | list) and len(hx) == len(sizes)):
            raise ValueError(f"{type(self).__name__}: hx must be a pair (h0, c0)")
        states = tuple(map(as_tensor, hx)) if len(sizes) > 1 else (as_tensor(hx),)
        for state, size, name in zip(states, sizes, ("h0", "c0"), strict=False):
            if state.shape != (*leading, size):
                raise ValueError(
                    f"{type(self).__name__}: expected {name} of shape {(*leading, size)}, "
                    f"got {state.shape}"
                )
        return states

    def _zero_states(self, x: Tensor) -> States:
        """Return the states of a batch x (..., batch, features) before anything was seen."""
        batch = x.shape[-2]
        return tuple(
            zeros((batch, size), dtype=x.dtype, backend=x.backend) for size in self._state_sizes()
        )


class _Layers(_Recurrent):
    """Layers one above the other, each reading the sequence forwards or in both directions."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int = 0,
    ) -> None:
        super().__init__(input_size, hidden_size, bias)
        self.num_layers = count(type(self).__name__, "num_layers", num_layers, 1)
        self.proj_size = count(type(self).__name__, "proj_size", proj_size, 0)
        if not 0 <= dropout <= 1:
            raise ValueError(f"{type(self).__name__}: dropout must lie in [0, 1], got {dropout}")
        if self.proj_size >= self.hidden_size:
            raise ValueError(
                f"{type(self).__name__}: proj_size must be 0 for none or smaller than "
                f"hidden_size {self.hidden_size}, got {self.proj_size}"
            )
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        features = self.input_size
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                self._add_weights(features, suffix, self.proj_size)
            features = (self.proj_size or self.hidden_size) * len(self._suffixes(0))
        self.reset_parameters()

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        forwards = f"_l{layer}"
        return (forwards, f"{forwards}_reverse") if self.bidirectional else (forwards,)

    def _through(self, x: Any, hx: Any) -> tuple[Tensor, States]:
        """Return the top layer's h of all steps, and each layer's states after the last one."""
        x = as_tensor(x)
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            layout = "batch, time" if self.batch_first else "time, batch"
            raise ValueError(
                f"{type(self).__name__}: expected x of shape ({layout}, {self.input_size}) or, "
                f"without a batch, (time, {self.input_size}), got {x.shape}"
            )
        batched = x.ndim == 3
        if not batched:
            x = expand_dims(x, 1)
        elif self.batch_first:
            x = swapaxes(x, 0, 1)
        if not len(x):
            raise ValueError(f"{type(self).__name__}: expected a sequence of at least one step")
        runs = self.num_layers * len(self._suffixes(0))
        given = self._checked(hx, (runs, x.shape[1]) if batched else (runs,))
        if given is not None and not batched:
            given = tuple(expand_dims(state, 1) for state in given)
        zero = self._zero_states(x)
        last: list[States] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = F.dropout(x, self.dropout, self.training)
            outs = []
            for suffix in self._suffixes(layer):
                backwards = suffix.endswith("_reverse")
                first = zero if given is None else tuple(state[len(last)] for state in given)
                states = self._steps(flip(x, 0) if backwards else x, first, self._weights(suffix))
                outs.append(flip(states[0], 0) if backwards else states[0])
                last.append(tuple(state[-1] for state in states))
            x = outs[0] if len(outs) == 1 else concat(outs, axis=-1)
        finals = tuple(stack(states) for states in zip(*last, strict=True))
        if not batched:
            return squeeze(x, 1), tuple(squeeze(state, 1) for state in finals)
        return swapaxes(x, 0, 1) if self.batch_first else x, finals

    def forward(self, x: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        out, states = self._through(x, hx)
        return out, states if len(states) > 1 else states[0]

    def extra_repr(self) -> str:
        usual: dict[str, object] = {"proj_size": 0, "num_layers": 1, "bias": True}
        usual |= {"batch_first": False, "dropout": 0.0, "bidirectional": False}
        return f"{self.input_size}, {self.hidden_size}{unusual(self, usual)}"


class RNN(_Layers):
    """h = tanh(W_ih x + b_ih + W_hh h + b_hh) from step to step, or with relu for tanh.

    x: (time, batch, input_size), (batch, time, input_size) for batch_first, or (time, input_size)
    for one sequence. hx: the states before the first step, (layers · directions, batch,
    hidden_size), 0 unless given. Called, it returns the top layer's h of all steps, (time, batch,
    directions · hidden_size) or as x is laid out, and the states after the last step, like hx;
    of the second direction, which reads from the end, these are the states at the first step.
    dropout: the probability for what passes from layer to layer, while training.
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l0_reverse, ...: uniform in
    ±1/sqrt(hidden_size). ValueError for shapes that do not fit and a sequence without a step.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        )
        self._require_nonlinearity(nonlinearity)
        self.nonlinearity = nonlinearity

    def _steps(self, x: Tensor, first: States, weights: Weights) -> States:
        return _rnn_steps(x, first, weights, self.nonlinearity)


class LSTM(_Layers):
    """Long short-term memory: c = f c + i tanh(g), h = o tanh(c); i, f, o are sigmoids.

    As `RNN`, but the state is a pair, hx = (h0, c0) and (h, c) after the last step, and the rows of
    the weights are in the order i, f, g, o. proj_size: h is multiplied with weight_hr_l0, ... and
    has so many features; c keeps hidden_size. Hochreiter & Schmidhuber, "Long short-term memory"
    (1997).
    """

    _blocks = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
        )

    def _state_sizes(self) -> tuple[int, ...]:
        return self.proj_size or self.hidden_size, self.hidden_size

    def _steps(self, x: Tensor, first: States, weights: Weights) -> States:
        return _lstm_steps(x, first, weights)


class GRU(_Layers):
    """Gated recurrent units: h = (1 - z) n + z h, n = tanh(W_in x + b_in + r (W_hn h + b_hn)).

    As `RNN`; r and z are sigmoids, and the rows of the weights are in the order r, z, n. Cho et
    al., "Learning phrase representations using RNN encoder-decoder" (2014).
    """

    _blocks = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        )

    def _steps(self, x: Tensor, first: States, weights: Weights) -> States:
        return _gru_steps(x, first, weights)


class _Cell(_Recurrent):
    """One step of one layer."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__(input_size, hidden_size, bias)
        self._add_weights(self.input_size)
        self.reset_parameters()

    def forward(self, x: Tensor, hx: Any = None) -> Any:
        x = as_tensor(x)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__}: expected x of shape (batch, {self.input_size}) or "
                f"({self.input_size},), got {x.shape}"
            )
        batched = x.ndim == 2
        first = self._checked(hx, x.shape[:-1])
        if not batched:
            x = expand_dims(x, 0)
            first = None if first is None else tuple(expand_dims(state, 0) for state in first)
        first = self._zero_states(x) if first is None else first
        steps = self._steps(expand_dims(x, 0), first, self._weights())
        states = [state[0] if batched else state[0, 0] for state in steps]
        return tuple(states) if len(states) > 1 else states[0]

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """One step of an `RNN`: h for x (batch, input_size) or (input_size,) and the h before it."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh"
    ) -> None:
        super().__init__(input_size, hidden_size, bias)
        self._require_nonlinearity(nonlinearity)
        self.nonlinearity = nonlinearity

    def _steps(self, x: Tensor, first: States, weights: Weights) -> States:
        return _rnn_steps(x, first, weights, self.nonlinearity)


class LSTMCell(_Cell):
    """One step of an `LSTM`: (h, c) for x (batch, input_size) or (input_size,) and those before."""

    _blocks = 4

    def _state_sizes(self) -> tuple[int, ...]:
        return self.hidden_size, self.hidden_size

    def _steps(self, x: Tensor, first: States, weights: Weights) -> States:
        return _lstm_steps(x, first, weights)


class GRUCell(_Cell):
    """One step of a `GRU`: h for x (batch, input_size) or (input_size,) and the h before it."""

    _blocks = 3

    def _steps(self, x: Tensor, first: States, weights: Weights) -> States:
        return _gru_steps(x, first, weights)
