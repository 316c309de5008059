"""The layers of a transformer."""

from collections.abc import Callable, Mapping
from typing import Any

from ..engine import Tensor
from ..messages import did_you_mean
from ..ops.axes import count
from ..ops.creation import as_tensor
from . import functional as F
from .attention import MultiheadAttention
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .normalization import LayerNorm

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


class TransformerEncoderLayer(Module):
    """Self-attention, then two linear layers, each added to its input and normalised.

    src: (time, batch, d_model), the batch first for batch_first, or left out; the result is like
    it. src_mask, src_key_padding_mask, is_causal: as in `MultiheadAttention`, booleans true where a
    key is masked out; with is_causal, src_mask may be left out.
    activation: between the linear layers, "relu", "gelu" or a function. norm_first: the input of
    each part is normalised, not what comes out. dropout: of the attention's weights, after the
    activation, and of what both parts add. bias=False: no bias anywhere.
    Vaswani et al., "Attention is all you need" (2017), section 3.1; for norm_first, Xiong et al.,
    "On layer normalization in the transformer architecture" (2020).
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        d_model = count("TransformerEncoderLayer", "d_model", d_model, 1)
        nhead = count("TransformerEncoderLayer", "nhead", nhead, 1)
        dim_feedforward = count("TransformerEncoderLayer", "dim_feedforward", dim_feedforward, 0)
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first)
        self.linear1 = Linear(d_model, dim_feedforward, bias)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)
        self.activation = _activation(activation)

    def forward(
        self,
        src: Tensor,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Tensor:
        masks = {
            "attn_mask": src_mask,
            "key_padding_mask": src_key_padding_mask,
            "is_causal": is_causal,
        }
        x = as_tensor(src)
        if self.norm_first:
            x = x + self._attended(self.norm1(x), masks)
            return x + self._fed_forward(self.norm2(x))
        x = self.norm1(x + self._attended(x, masks))
        out: Tensor = self.norm2(x + self._fed_forward(x))
        return out

    def _attended(self, x: Tensor, masks: Mapping[str, Any]) -> Tensor:
        out: Tensor = self.dropout1(self.self_attn(x, x, x, need_weights=False, **masks)[0])
        return out

    def _fed_forward(self, x: Tensor) -> Tensor:
        inner = self.dropout(self.activation(self.linear1(x)))
        out: Tensor = self.dropout2(self.linear2(inner))
        return out


def _activation(given: Any) -> Callable[[Tensor], Tensor]:
    """Return an activation by name, or the function given."""
    if isinstance(given, str):
        if given in ACTIVATIONS:
            return ACTIVATIONS[given]
        hint = did_you_mean(given, ACTIVATIONS)
        raise ValueError(
            "TransformerEncoderLayer: activation must be "
            f'"relu", "gelu" or a function, got {given!r}{hint}'
        )
    if not callable(given):
        raise TypeError(
            "TransformerEncoderLayer: activation must be "
            f'"relu", "gelu" or a function, got {type(given).__name__}'
        )
    function: Callable[[Tensor], Tensor] = given
    return function
