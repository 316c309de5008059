"""Recurrent layers over a whole sequence, one op each: what each step passes on to the next.

gates (time, batch, features) is what the inputs contribute, for all steps at once: one `linear`
before. The tape keeps what the gates came out as, not how; a rule walks back through time for the
gates' cotangents alone, and the weights' come from one product over all steps.
"""

from typing import Any

from ..engine import Op, Tensor
from .creation import astype, zeros_like
from .elementwise import tanh
from .predicates import greater
from .reals import of_reals
from .reductions import sum_to
from .shape import concat, expand_dims, rows_of, stack

__all__: list[str] = []


def _shifted(states: Tensor, first: Tensor) -> Tensor:
    """Return for each step the state before it."""
    return concat([expand_dims(first, 0), states[:-1]])


def _by_weight(d: Tensor, states: Tensor, first: Tensor) -> Tensor:
    """Return the cotangent of the weight that took each state before to the gates."""
    return rows_of(d[1:]).mT @ rows_of(states[:-1]) + d[0].mT @ first


def _parts(gates: Tensor, count: int) -> list[Tensor]:
    """Return views of the gates, which lie side by side along the last axis."""
    size = gates.shape[-1] // count
    return [gates[..., k * size : (k + 1) * size] for k in range(count)]


def _transposed(xp: Any, weight: Any) -> Any:
    """Return weightᵀ in the order of its rows: a step's product then takes 0.7 of the time."""
    return xp.ascontiguousarray(xp.matrix_transpose(weight))


@of_reals
def _rnn_forward(xp: Any, gates: Any, weight: Any, h0: Any, *, nonlinearity: str) -> Any:
    out, before, weight = xp.array(gates, copy=True), h0, _transposed(xp, weight)
    for t in range(len(out)):
        step = out[t]
        step += xp.matmul(before, weight)
        if nonlinearity == "tanh":
            xp.tanh(step, out=step)
        else:
            xp.maximum(step, 0, out=step)
        before = step
    return out


def _rnn_rule(
    g: Tensor, out: Tensor, weight: Tensor, h0: Tensor, nonlinearity: str, wanted: Any
) -> tuple[Tensor | None, ...]:
    slope = 1 - out * out if nonlinearity == "tanh" else astype(greater(out, 0), out.dtype)
    steps: list[Tensor] = []
    back: Tensor | None = None
    for t in reversed(range(len(out))):
        steps.append(slope[t] * (g[t] if back is None else g[t] + back))
        back = steps[-1] @ weight
    d = stack(steps[::-1])
    return d, _by_weight(d, out, h0) if "weight" in wanted else None, back


#: gates (T, N, H), weight (H, H), h0 (N, H) -> h (T, N, H), h = tanh or relu(gates + weight h).
rnn = Op(
    "rnn",
    _rnn_forward,
    vjp={("gates", "weight", "h0"): _rnn_rule},
    promotes=("gates", "weight", "h0"),
)


@of_reals
def _lstm_forward(
    xp: Any, gates: Any, weight: Any, h0: Any, c0: Any, projection: Any = None
) -> tuple[Any, Any, Any]:
    batch, size = c0.shape
    # sigmoid(x) = tanh(x / 2) / 2 + 1/2: all four gates in one call of tanh.
    half = xp.full(4 * size, 0.5, dtype=gates.dtype)
    half[2 * size : 3 * size] = 1
    shift = 1 - half
    gates = gates * half
    weight = _transposed(xp, weight * half[:, None])
    h = xp.empty((len(gates), batch, h0.shape[-1]), dtype=gates.dtype)
    c = xp.empty((len(gates), batch, size), dtype=gates.dtype)
    for t in range(len(gates)):
        step, cell = gates[t], c[t]
        step += xp.matmul(h[t - 1] if t else h0, weight)
        xp.tanh(step, out=step)
        step *= half
        step += shift
        xp.multiply(step[:, size : 2 * size], c[t - 1] if t else c0, out=cell)
        cell += step[:, :size] * step[:, 2 * size : 3 * size]
        seen = step[:, 3 * size :] * xp.tanh(cell)
        h[t] = seen if projection is None else xp.matmul(seen, xp.matrix_transpose(projection))
    return h, c, gates


def _lstm_rule(
    g_h: Tensor | None,
    g_c: Tensor | None,
    g_gates_out: Tensor | None,
    weight: Tensor,
    h0: Tensor,
    c0: Tensor,
    projection: Tensor | None,
    h: Tensor,
    c: Tensor,
    gates_out: Tensor,
    wanted: Any,
) -> tuple[Tensor | None, ...]:
    g_h = zeros_like(h) if g_h is None else g_h
    i, f, candidate, o = _parts(gates_out, 4)
    tanh_c = tanh(c)
    by_c = o * (1 - tanh_c * tanh_c)
    slope = concat([i * (1 - i), f * (1 - f), 1 - candidate * candidate, o * (1 - o)], axis=-1)
    factor = slope * concat([candidate, _shifted(c, c0), i, tanh_c], axis=-1)
    more = None if g_gates_out is None else g_gates_out * slope
    steps: list[Tensor] = []
    outs: list[Tensor] = []
    dh: Tensor | None = None
    dc: Tensor | None = None
    for t in reversed(range(len(h))):
        dh = g_h[t] if dh is None else dh + g_h[t]
        outs.append(dh)
        seen = dh if projection is None else dh @ projection
        dc = seen * by_c[t] if dc is None else dc + seen * by_c[t]
        if g_c is not None:
            dc = dc + g_c[t]
        step = factor[t] * concat([dc, dc, dc, seen], axis=-1)
        steps.append(step if more is None else step + more[t])
        dh = steps[-1] @ weight
        dc = dc * f[t]
    d = stack(steps[::-1])
    by_projection = None
    if projection is not None and "projection" in wanted:
        by_projection = rows_of(stack(outs[::-1])).mT @ rows_of(o * tanh_c)
    by_weight = _by_weight(d, h, h0) if "weight" in wanted else None
    return d, by_weight, dh, dc, by_projection


#: gates (T, N, 4 H): input, forget, candidate, output; weight (4 H, P), h0 (N, P), c0 (N, H),
#: projection (P, H), without which P = H -> h (T, N, P), c (T, N, H) and the gates as they came
#: out. c = f c + i tanh(candidate), h = projection (o tanh(c)). Hochreiter & Schmidhuber, "Long
#: short-term memory" (1997), with forget gates; Sak et al., "Long short-term memory recurrent
#: neural network architectures for large scale acoustic modeling" (2014) for the projection.
lstm = Op(
    "lstm",
    _lstm_forward,
    vjp={("gates", "weight", "h0", "c0", "projection"): _lstm_rule},
    outputs=("h", "c", "gates_out"),
    promotes=("gates", "weight", "h0", "c0", "projection"),
)


@of_reals
def _gru_forward(xp: Any, gates: Any, weight: Any, bias: Any, h0: Any) -> tuple[Any, Any]:
    size = h0.shape[-1]
    gates, weight = xp.array(gates, copy=True), _transposed(xp, weight)
    h = xp.empty((len(gates), *h0.shape), dtype=gates.dtype)
    for t in range(len(gates)):
        before = h[t - 1] if t else h0
        passed = xp.matmul(before, weight)
        if bias is not None:
            passed += bias
        both, new = gates[t][:, : 2 * size], gates[t][:, 2 * size :]
        both += passed[:, : 2 * size]
        # sigmoid(x) = tanh(x / 2) / 2 + 1/2
        both *= 0.5
        xp.tanh(both, out=both)
        both *= 0.5
        both += 0.5
        new += both[:, :size] * passed[:, 2 * size :]
        xp.tanh(new, out=new)
        h[t] = new + both[:, size:] * (before - new)
    return h, gates


def _gru_rule(
    g_h: Tensor | None,
    g_gates_out: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    h0: Tensor,
    h: Tensor,
    gates_out: Tensor,
    wanted: Any,
) -> tuple[Tensor | None, ...]:
    g_h = zeros_like(h) if g_h is None else g_h
    size = h0.shape[-1]
    r, z, new = _parts(gates_out, 3)
    before = _shifted(h, h0)
    passed = before @ weight[2 * size :].mT
    if bias is not None:
        passed = passed + bias[2 * size :]
    slope_r, slope_z, slope_new = r * (1 - r), z * (1 - z), 1 - new * new
    by_new = (1 - z) * slope_new
    factor = concat([by_new * passed * slope_r, (before - new) * slope_z, by_new * r], axis=-1)
    more_new = None
    if g_gates_out is not None:
        g_r, g_z, g_new = _parts(g_gates_out, 3)
        more_new = g_new * slope_new
        more = concat([(g_r + more_new * passed) * slope_r, g_z * slope_z, more_new * r], axis=-1)
    steps: list[Tensor] = []
    outs: list[Tensor] = []
    dh: Tensor | None = None
    for t in reversed(range(len(h))):
        dh = g_h[t] if dh is None else dh + g_h[t]
        outs.append(dh)
        step = factor[t] * concat([dh, dh, dh], axis=-1)
        steps.append(step if more_new is None else step + more[t])
        dh = dh * z[t] + steps[-1] @ weight
    d = stack(steps[::-1])
    d_new = stack(outs[::-1]) * by_new
    if more_new is not None:
        d_new = d_new + more_new
    return (
        concat([d[..., : 2 * size], d_new], axis=-1),
        _by_weight(d, h, h0) if "weight" in wanted else None,
        sum_to(d, bias.shape) if bias is not None and "bias" in wanted else None,
        dh,
    )


#: gates (T, N, 3 H): reset, update, new; weight (3 H, H), bias (3 H,), h0 (N, H) -> h (T, N, H) and
#: the gates as they came out. With p = weight h + bias, the new gate is tanh(gate + reset p) and
#: h = (1 - update) new + update h. Cho et al., "Learning phrase representations using RNN
#: encoder-decoder" (2014), with the reset gate after the product, as PyTorch has it.
gru = Op(
    "gru",
    _gru_forward,
    vjp={("gates", "weight", "bias", "h0"): _gru_rule},
    outputs=("h", "gates_out"),
    promotes=("gates", "weight", "bias", "h0"),
)
