"""Which dtype an operation computes in, given those of its operands."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from .arrays import get_default_dtype

_WEAK: dict[Any, Any] = {
    (bool, np.bool_): bool,
    (int, np.integer): int,
    (float, np.floating): float,
    (complex, np.complexfloating): complex,
}


def as_weak(value: Any) -> Any:
    """Return a Python or NumPy scalar as a Python number, which is weak; None for anything else."""
    for abstract, weak in _WEAK.items():
        if isinstance(value, abstract):
            return weak(value)
    return None


def common_dtype(
    dtypes: Iterable[np.dtype[Any]], weak: Iterable[type] = (), floating: bool = False
) -> np.dtype[Any]:
    """Return the dtype of what tensors of some dtypes and Python numbers of some types make.

    Integers yield to floats, whatever their widths. Numbers are weak: they change the kind alone,
    an integer dtype to the default one, a real dtype to the complex one of its precision. Without
    tensors they become bool, int64 or the default dtype.
    floating: integers become the default dtype whatever they meet.
    """
    dtypes, weak = list(dtypes), set(weak)
    chosen = np.result_type(*([d for d in dtypes if d.kind in "fc"] or dtypes or [np.dtype(bool)]))
    if chosen.kind not in "fc" and (floating or weak & {float, complex}):
        chosen = get_default_dtype()
    elif chosen.kind == "b" and int in weak:
        chosen = np.dtype(np.int64)
    return np.result_type(chosen, np.complex64) if complex in weak else chosen
