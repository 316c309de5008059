"""Every operation, by family: how to compute it and how to differentiate it."""

from typing import Any, cast

from ..methods import OPS
from . import (
    creation,
    elementwise,
    indexing,
    linalg,
    neural,
    piecewise,
    predicates,
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
        creation,
        elementwise,
        indexing,
        linalg,
        neural,
        piecewise,
        predicates,
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
