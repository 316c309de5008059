"""Multi-head attention."""

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from ..engine import Tensor
from ..ops.attention import attend
from ..ops.axes import count
from ..ops.creation import as_tensor, constant_like, ones, zeros
from ..ops.elementwise import add, where
from ..ops.predicates import logical_not, logical_or
from ..ops.shape import broadcast_to, concat, expand_dims, permute_dims, reshape, squeeze, tril
from . import functional as F
from . import init
from .linear import Linear
from .module import Module, Parameter


class MultiheadAttention(Module):
    """Scaled dot-product attention in several heads, each over a projection of its own.

    query: (time, batch, embed_dim), key: (steps, batch, kdim), value: (steps, batch, vdim), the
    batch first for batch_first, or left out; kdim and vdim are embed_dim unless given. Called, it
    returns the output, like query, and the weights (batch, time, steps), averaged over the heads
    or, with average_attn_weights=False, (batch, heads, time, steps), as they are before dropout;
    None for need_weights=False, which costs less.
    key_padding_mask: (batch, steps). attn_mask: (time, steps) or (batch · heads, time, steps).
    Booleans are true where a key is MASKED OUT, as in PyTorch's class: the opposite of
    `scaled_dot_product_attention`. Floats are added to the scores. is_causal: no query sees a later
    key; where there is an attn_mask as well, a promise that it says so.
    dropout: of the weights, while training. add_bias_kv: one more key and value, which are learnt,
    for every query; add_zero_attn: one of zeros. A query that sees no key gives out_proj.bias.

    in_proj_weight (3 · embed_dim, embed_dim) or, where kdim or vdim differ, q_proj_weight,
    k_proj_weight and v_proj_weight, Xavier-uniform; biases start at 0; out_proj is a `Linear`.
    ValueError for shapes that do not fit. Vaswani et al., "Attention is all you need" (2017).
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim = count("MultiheadAttention", "embed_dim", embed_dim, 1)
        self.num_heads = count("MultiheadAttention", "num_heads", num_heads, 1)
        if embed_dim % self.num_heads:
            raise ValueError(
                "MultiheadAttention: embed_dim must be a multiple of num_heads, got "
                f"{embed_dim} and {num_heads}"
            )
        if not 0 <= dropout <= 1:
            raise ValueError(f"MultiheadAttention: dropout must lie in [0, 1], got {dropout}")
        self.head_dim = embed_dim // self.num_heads
        self.kdim = embed_dim if kdim is None else count("MultiheadAttention", "kdim", kdim, 1)
        self.vdim = embed_dim if vdim is None else count("MultiheadAttention", "vdim", vdim, 1)
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        if self.kdim == self.vdim == embed_dim:
            self.in_proj_weight = Parameter(zeros((3 * embed_dim, embed_dim)))
            self.q_proj_weight = self.k_proj_weight = self.v_proj_weight = None
        else:
            self.in_proj_weight = None
            self.q_proj_weight = Parameter(zeros((embed_dim, embed_dim)))
            self.k_proj_weight = Parameter(zeros((embed_dim, self.kdim)))
            self.v_proj_weight = Parameter(zeros((embed_dim, self.vdim)))
        self.in_proj_bias = Parameter(zeros(3 * embed_dim)) if bias else None
        self.bias_k = Parameter(zeros((1, 1, embed_dim))) if add_bias_kv else None
        self.bias_v = Parameter(zeros((1, 1, embed_dim))) if add_bias_kv else None
        self.out_proj = Linear(embed_dim, embed_dim, bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew and set the biases to 0."""
        self.out_proj.reset_parameters()
        for name, parameter in self.named_parameters():
            if name.endswith("proj_weight"):
                init.xavier_uniform_(parameter)
            elif name.endswith("bias"):
                init.zeros_(parameter)
            elif name.startswith("bias"):
                init.xavier_normal_(parameter)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        xs = [as_tensor(x) for x in (query, key, value)]
        self._check(xs)
        batched = xs[0].ndim == 3
        # A sequence alone is a batch of one, which comes first.
        xs = xs if batched else [expand_dims(x, 0) for x in xs]
        batch_first = self.batch_first or not batched
        q, k, v = (
            self._heads(F.linear(x, weight, bias), batch_first)
            for x, (weight, bias) in zip(xs, self._projections(), strict=True)
        )
        masks = self._masks(q, k, key_padding_mask, attn_mask, batched)
        if is_causal and attn_mask is None and (masks or self._extra()):
            square = ones((q.shape[2], k.shape[2]), dtype=np.bool_, backend=q.backend)
            masks.append(logical_not(tril(square)))
        is_causal = is_causal and not masks
        for extra_k, extra_v in self._extra():
            k, v = self._appended(k, extra_k), self._appended(v, extra_v)
            masks = [_open_end(mask) for mask in masks]
        dropout = self.dropout if self.training else 0.0
        out, weights = attend(
            q, k, v, _merged(masks), dropout, is_causal, need_weights=need_weights
        )
        out = permute_dims(out, (0, 2, 1, 3) if batch_first else (2, 0, 1, 3))
        out = self.out_proj(reshape(out, (*out.shape[:2], self.embed_dim)))
        if weights is not None and average_attn_weights:
            weights = weights.mean(axis=1)
        if not batched:
            out, weights = squeeze(out, 0), None if weights is None else squeeze(weights, 0)
        return out, weights

    def _check(self, xs: list[Tensor]) -> None:
        """ValueError for inputs whose shapes do not fit the layer or each other."""
        query, key, value = shapes = [x.shape for x in xs]
        features = self.embed_dim, self.kdim, self.vdim
        steps, batch = (1, 0) if self.batch_first and len(query) == 3 else (0, 1)
        fits = (
            len(query) in (2, 3)
            and len(query) == len(key) == len(value)
            and tuple(shape[-1] for shape in shapes) == features
            and key[steps] == value[steps]
            and (len(query) == 2 or query[batch] == key[batch] == value[batch])
        )
        if not fits:
            axes = "batch, time" if self.batch_first else "time, batch"
            raise ValueError(
                f"MultiheadAttention: expected query, key and value of shapes ({axes}, features) "
                f"or (time, features) with {', '.join(map(str, features))} features, as many steps "
                f"in key and value and one batch; got {', '.join(map(str, shapes))}"
            )

    def _projections(self) -> list[tuple[Tensor, Tensor | None]]:
        """Return weight and bias for query, key and value."""
        size, bias = self.embed_dim, self.in_proj_bias
        rows = [slice(k * size, (k + 1) * size) for k in range(3)]
        weights: list[Any] = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        if self.in_proj_weight is not None:
            weights = [self.in_proj_weight[r] for r in rows]
        return [(w, None if bias is None else bias[r]) for w, r in zip(weights, rows, strict=True)]

    def _heads(self, x: Tensor, batch_first: bool) -> Tensor:
        """Return x as (batch, heads, steps, head_dim)."""
        x = reshape(x, (*x.shape[:2], self.num_heads, self.head_dim))
        return permute_dims(x, (0, 2, 1, 3) if batch_first else (1, 2, 0, 3))

    def _extra(self) -> list[tuple[Tensor | None, Tensor | None]]:
        """Return the keys and values that every query sees, None for zeros."""
        learnt = [] if self.bias_k is None else [(self.bias_k, self.bias_v)]
        return [*learnt, (None, None)] if self.add_zero_attn else [*learnt]

    def _appended(self, x: Tensor, extra: Tensor | None) -> Tensor:
        """Return keys or values (batch, heads, steps, head_dim) with one step more."""
        shape = (*x.shape[:2], 1, self.head_dim)
        if extra is None:
            return concat([x, zeros(shape, dtype=x.dtype, backend=x.backend)], axis=2)
        row = reshape(extra, (1, self.num_heads, 1, self.head_dim))
        return concat([x, broadcast_to(row, shape)], axis=2)

    def _masks(
        self, q: Tensor, k: Tensor, padding: Any, attn_mask: Any, batched: bool
    ) -> list[Tensor]:
        """Return the masks given, broadcasting to (batch, heads, time, steps)."""
        batch, heads, length, steps = (*q.shape[:3], k.shape[2])
        masks = []
        if padding is not None:
            padding = _mask(
                "key_padding_mask", padding, [(batch, steps) if batched else (steps,)], q
            )
            masks.append(reshape(padding, (batch, 1, 1, steps)))
        if attn_mask is not None:
            shapes = [(length, steps), (batch * heads, length, steps)]
            mask = _mask("attn_mask", attn_mask, shapes, q)
            masks.append(mask if mask.ndim == 2 else reshape(mask, (batch, heads, length, steps)))
        return masks

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"


def _mask(name: str, mask: Any, shapes: Sequence[tuple[int, ...]], like: Tensor) -> Tensor:
    """Return a mask as a tensor; TypeError for its dtype, ValueError for its shape."""
    tensor = constant_like(mask, like)
    if tensor.dtype.kind not in "bf":
        raise TypeError(
            f"MultiheadAttention: {name} is of booleans, true where a key is masked out, or of "
            f"floats, which are added to the scores; got {tensor.dtype}"
        )
    if tensor.shape not in shapes:
        expected = " or ".join(map(str, shapes))
        raise ValueError(
            f"MultiheadAttention: expected {name} of shape {expected}, got {tensor.shape}"
        )
    return tensor


def _open_end(mask: Tensor) -> Tensor:
    """Return a mask with one key more, which is not masked."""
    column = zeros((*mask.shape[:-1], 1), dtype=mask.dtype, backend=mask.backend)
    return concat([mask, column], axis=-1)


def _merged(masks: list[Tensor]) -> Tensor | None:
    """Return one mask that says what all say, as `scaled_dot_product_attention` takes it."""
    hidden = [mask for mask in masks if mask.dtype.kind == "b"]
    added = [mask for mask in masks if mask.dtype.kind != "b"]
    if not added:
        return logical_not(reduce(logical_or, hidden)) if hidden else None
    scores = reduce(add, added)
    return where(reduce(logical_or, hidden), -math.inf, scores) if hidden else scores
