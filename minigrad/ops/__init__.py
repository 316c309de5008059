"""Every operation, by family: how to compute it and how to differentiate it."""

import copyreg
import inspect
from typing import Any, cast

from ..engine import TABLE, Op
from ..methods import OPS, Methods
from . import (
    activations,
    attention,
    convolution,
    creation,
    einsum,
    elementwise,
    indexing,
    linalg,
    losses,
    neural,
    normalization,
    piecewise,
    pooling,
    predicates,
    recurrent,
    reductions,
    scans,
    sets,
    shape,
    sorting,
    special,
    transcendental,
    updates,
)

#: What users call, by name; `minigrad` imports the families one by one, as editors need it.
PUBLIC: dict[str, Any] = {
    name: getattr(family, name)
    for family in (
        activations,
        attention,
        convolution,
        creation,
        einsum,
        elementwise,
        indexing,
        linalg,
        losses,
        neural,
        normalization,
        piecewise,
        pooling,
        predicates,
        recurrent,
        reductions,
        scans,
        sets,
        shape,
        sorting,
        special,
        transcendental,
        updates,
    )
    for name in family.__all__
}
OPS.update(PUBLIC)
OPS["at"] = cast(Any, indexing.At)


def _named(name: str) -> Op:
    return TABLE[name]


def _reduced(op: Op) -> Any:
    """Let an op of the table be pickled by its name: its rules, which are lambdas, cannot be."""
    listed = TABLE.get(op.name) is op
    return (_named, (op.name,)) if listed else op.__reduce_ex__(2)


copyreg.pickle(Op, _reduced)

for _name, _method in vars(Methods).items():
    if inspect.isfunction(_method) and not _method.__doc__ and _name in PUBLIC:
        # The docstrings of ops are read on demand: not now.
        _op = isinstance(PUBLIC[_name], Op)
        _method.__doc__ = f"As `minigrad.{_name}`." if _op else PUBLIC[_name].__doc__
