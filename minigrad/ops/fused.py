"""Formulas of derivatives that one kernel may compute at a time."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from .. import backends
from ..engine import NO_PARAMS, Op, Tensor, apply, is_grad_enabled, wrap
from ..plans import parameters_of

#: the op of each formula by name: what a kernel of that name is called and compared with
FORMULAS: dict[str, Op] = {}


def fused(
    name: str,
    formula: Callable[..., Any],
    wanted: Sequence[str] = (),
    only_for: Mapping[str, tuple[str, ...]] = NO_PARAMS,
) -> Callable[..., Any]:
    """Return a rule's formula, of which a kernel of that name may take the place.

    formula: written in Tensor operations; positional parameters are tensors or None, keyword-only
    ones are params. It is the kernel's reference, and what runs where there is none, where
    derivatives are recorded, so that those of any order follow from it, and where its first tensor,
    a cotangent, is None. wanted: the names of the inputs of a joint rule; then the formula takes
    `wanted` as well and returns a tuple with None for others, and a kernel one of those alone that
    are wanted. only_for: for which of these inputs it takes a value, where that is not for all of
    them; where it was not kept, the formula and the kernel get None.
    """
    positional, _, keywords, _ = parameters_of(formula)
    count, one = len(positional), not wanted

    def forward(xp: Any, *arrays: Any, **params: Any) -> Any:
        backend = next(b for b in list(backends._loaded.values()) if b.xp is xp)
        found = formula(*[a if a is None else wrap(a, backend) for a in arrays], **params)
        return found._array if one else tuple(t._array for t in found if t is not None)

    forward.parameters = (("xp", *positional), None, keywords, ())  # type: ignore[attr-defined]
    outputs = ("out",) if one else tuple(f"d{n}" for n in wanted)
    op = FORMULAS[name] = Op(name, forward, outputs=outputs, listed=False)

    @wraps(formula)
    def rule(*values: Any) -> Any:
        tensors, params = values[:count], dict(zip(keywords, values[count:], strict=True))
        # A cotangent from outside may be on another backend of the host than what was kept.
        known = any(t is not None and name in t.backend.kernels for t in tensors)
        if tensors[0] is None or not known or is_grad_enabled():
            return formula(*tensors, **params)
        found = apply(op, tensors, params)
        if one:
            return found
        left = iter((found,) if isinstance(found, Tensor) else found)
        return tuple([next(left) if n in params["wanted"] else None for n in wanted])

    rule.only_for = only_for  # type: ignore[attr-defined]
    return rule
