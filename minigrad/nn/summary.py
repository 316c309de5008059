"""What a module is made of, as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import backends
from ..arrays import get_default_dtype
from ..engine import Tensor, no_grad
from ..ops import random
from ..ops.creation import zeros
from .modes import evaluating

if TYPE_CHECKING:
    from .module import Module

_BATCH = 3  # rows of the batch that is tried: an axis 0 of this length is the batch's


class Row(NamedTuple):
    """One layer. path: its dotted name, "" for the module itself. parameters: those of its own.

    output_shape: (n, ...) with "n" for the batch axis, a tuple of such for several results, None
    where the layer was not called or its result is no tensor.
    """

    path: str
    type: str
    output_shape: tuple[Any, ...] | None
    parameters: int


@dataclass(frozen=True, repr=False)
class Summary:
    """The layers of a module in their order, and totals; prints as a table.

    rows: of the modules without modules below and of those with parameters of their own. trainable,
    frozen: how many numbers the parameters hold. bytes: the memory of both.
    """

    rows: tuple[Row, ...]
    trainable: int
    frozen: int
    bytes: int

    @property
    def parameters(self) -> int:
        """How many numbers all parameters hold."""
        return self.trainable + self.frozen

    def __repr__(self) -> str:
        head = ("layer", "type", "output shape", "parameters")
        cells = [
            (row.path or "(self)", row.type, _printed(row.output_shape), f"{row.parameters:,}")
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
        lines = [
            "  ".join([*map(str.ljust, line[:-1], widths), line[-1].rjust(widths[-1])])
            for line in (head, *cells)
        ]
        rule = "-" * len(lines[0])
        total = (
            f"{self.parameters:,} parameters: {self.trainable:,} trainable, "
            f"{self.frozen:,} frozen; {self.bytes:,} bytes"
        )
        return "\n".join([lines[0], rule, *lines[1:], rule, total])


def summarize(module: "Module", input_shape: Any, dtype: Any) -> Summary:
    """Return what `Module.summary` does."""
    with no_grad(), np.errstate(all="ignore"):
        outputs = _shapes_of_a_run(module, _inputs(module, input_shape, dtype))
    rows = []
    seen: set[int] = set()
    for path, layer in module.named_modules():
        own = [p for p in layer.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        if own or not any(True for _ in layer.children()):
            count = sum(p.size for p in own)
            rows.append(Row(path, type(layer).__name__, outputs.get(id(layer)), count))
    parameters = list(module.parameters())
    trainable = sum(p.size for p in parameters if p.requires_grad)
    frozen = sum(p.size for p in parameters) - trainable
    return Summary(
        tuple(rows), trainable, frozen, sum(p.size * p.dtype.itemsize for p in parameters)
    )


def _inputs(module: "Module", input_shape: Any, dtype: Any) -> list[Tensor]:
    """Return a batch of zeros for each input."""
    several = isinstance(input_shape, list) and any(isinstance(s, Sequence) for s in input_shape)
    shapes = input_shape if several else [input_shape]
    dtypes = dtype if isinstance(dtype, list) else [dtype] * len(shapes)
    if len(dtypes) != len(shapes):
        raise ValueError(f"summary: {len(shapes)} input shapes, but {len(dtypes)} dtypes")
    like = module._first_floating()
    backend = backends.default() if like is None else like.backend
    usual = get_default_dtype() if like is None else like.dtype
    return [
        zeros((_BATCH, *_lengths(shape)), dtype=usual if dtype is None else dtype, backend=backend)
        for shape, dtype in zip(shapes, dtypes, strict=True)
    ]


def _lengths(shape: Any) -> tuple[int, ...]:
    lengths = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    if not all(hasattr(n, "__index__") for n in lengths):
        raise TypeError(
            "summary: expected the shape of one sample without the batch axis, such as (784,), or "
            f"a list of shapes, got {shape!r}"
        )
    return lengths


def _shapes_of_a_run(module: "Module", inputs: Sequence[Tensor]) -> dict[int, Any]:
    """Run once in eval mode and return the output shapes by the modules' ids.

    The modes and the random state are left as they were found, except that layers which get their
    parameters from this run have drawn them.
    """
    outputs: dict[int, Any] = {}

    def note(layer: "Module", args: Any, output: Any) -> None:
        outputs.setdefault(id(layer), _shape(output))

    layers = list(module.modules())
    draws = any(layer._lazy for layer in layers)
    state = random.get_state()
    handles = [layer.register_forward_hook(note) for layer in layers]
    ran = False
    try:
        with evaluating(module):
            module(*inputs)
        ran = True
    finally:
        for handle in handles:
            handle.remove()
        if not (ran and draws):
            random.set_state(state)
    return outputs


def _shape(output: Any) -> tuple[Any, ...] | None:
    if isinstance(output, Tensor):
        batch = output.shape[:1] == (_BATCH,)
        return ("n", *output.shape[1:]) if batch else output.shape
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, tuple | list):
        return tuple(shape for shape in map(_shape, output) if shape is not None) or None
    return None


def _printed(shape: tuple[Any, ...] | None) -> str:
    if shape is None:
        return "-"
    if any(isinstance(part, tuple) for part in shape):
        return ", ".join(map(_printed, shape))
    return f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
