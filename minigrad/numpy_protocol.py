"""NumPy's functions on tensors: `np.exp(t)` is `mg.exp(t)`, on the tape.

What both call alike is found by name, in `numpy`, `numpy.linalg` and `numpy.fft`; the tables here
hold the rest. What minigrad lacks is refused by name: nothing leaves the tape silently.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np

from . import fft, linalg, ops
from .datatypes import can_cast, result_type
from .engine import Op, Tensor
from .messages import ForeignOperand
from .methods import BINARY, OPS, UNARY
from .ops.axes import axes_of
from .ops.creation import as_tensor
from .ops.einsum import einsum
from .ops.elementwise import where
from .ops.indexing import nonzero, take
from .ops.reductions import norm
from .ops.reductions import sum as summed
from .ops.scans import cumulative_prod, cumulative_sum
from .ops.shape import diagonal, moveaxis, ravel, reshape, transpose
from .spellings import FUNCTIONS

Function = Callable[..., Any]

#: NumPy's modules -> minigrad's functions of the same names.
_SPACES: Mapping[str, Mapping[str, Function]] = {
    "numpy": ops.PUBLIC,
    "numpy.linalg": {name: getattr(linalg, name) for name in linalg.__all__},
    "numpy.fft": {name: getattr(fft, name) for name in fft.__all__},
}

#: NumPy's keywords that have another name here.
_KEYWORDS = {"a_min": "min", "a_max": "max", "ddof": "correction"}

#: What methods of ufuncs are, along an axis that is 0 unless given.
_ALONG = {
    ("add", "reduce"): "sum",
    ("logaddexp", "reduce"): "logsumexp",
    ("logical_and", "reduce"): "all",
    ("logical_or", "reduce"): "any",
    ("maximum", "reduce"): "max",
    ("minimum", "reduce"): "min",
    ("multiply", "reduce"): "prod",
    ("add", "accumulate"): "cumulative_sum",
    ("multiply", "accumulate"): "cumulative_prod",
}


def _flat(f: Function, a: Tensor, axis: int | None, *others: Any, **more: Any) -> Tensor:
    """Call f along an axis, of the flattened array where None."""
    result: Tensor = f(ravel(a) if axis is None else a, *others, axis=axis or 0, **more)
    return result


def _dot(x: Any, y: Any, /) -> Tensor:
    a, b = as_tensor(x), as_tensor(y)
    if not a.ndim or not b.ndim:
        return a * b
    return a @ b if b.ndim <= 2 else linalg.tensordot(a, b, axes=((-1,), (-2,)))


def _inner(x: Any, y: Any, /) -> Tensor:
    a, b = as_tensor(x), as_tensor(y)
    return linalg.tensordot(a, b, axes=((-1,), (-1,))) if a.ndim and b.ndim else a * b


def _norm(x: Tensor, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Of a matrix where `axis` has two axes, or where `ord` is given and x has two."""
    axes = axes_of("norm", axis, x.shape)
    if axis is None and ord is not None and len(axes) > 2:
        raise ValueError(f"np.linalg.norm: name the axes of the {ord} norm for shape {x.shape}")
    if len(axes) == 2 and not (axis is None and ord is None):
        matrices = moveaxis(x, axes, (-2, -1))
        result = linalg.matrix_norm(matrices, ord="fro" if ord is None else ord, keepdims=keepdims)
        return moveaxis(result, (-2, -1), axes) if keepdims else result
    return norm(x, 2 if ord is None else ord, axis, keepdims=keepdims)


def _where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    return nonzero(condition) if x is None and y is None else where(condition, x, y)


#: NumPy's functions that mean something else than minigrad's of their name, or have none. Their
#: parameters are called as NumPy's are.
_OTHERS: dict[Function, Function] = {
    np.around: ops.PUBLIC["round"],
    np.can_cast: can_cast,
    np.cross: linalg.cross,
    np.cumprod: lambda a, axis=None, dtype=None: _flat(cumulative_prod, a, axis, dtype=dtype),
    np.cumsum: lambda a, axis=None, dtype=None: _flat(cumulative_sum, a, axis, dtype=dtype),
    np.dot: _dot,
    np.einsum: lambda *operands, optimize=False: einsum(*operands),  # the order is ours
    np.inner: _inner,
    np.iscomplexobj: lambda x: x.dtype.kind == "c",
    np.isrealobj: lambda x: x.dtype.kind != "c",
    np.linalg.norm: _norm,
    np.ndim: lambda a: a.ndim,
    np.outer: lambda a, b, /: linalg.outer(ravel(a), ravel(b)),
    np.result_type: result_type,
    np.shape: lambda a: a.shape,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
    np.take: lambda a, indices, axis=None: _flat(take, a, axis, indices),
    np.trace: lambda a, offset=0, axis1=0, axis2=1, dtype=None: summed(
        diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype
    ),
    np.transpose: lambda a, axes=None: transpose(a) if axes is None else transpose(a, axes),
    np.vdot: lambda a, b, /: linalg.vecdot(ravel(a), ravel(b)),
    np.where: _where,
}

#: Those that answer with numbers, truth values or text: NumPy computes them, from the values of
#: tensors that are not on the tape.
_ON_THE_HOST = {
    np.allclose,
    np.array2string,
    np.array_equal,
    np.array_equiv,
    np.array_repr,
    np.array_str,
    np.may_share_memory,
    np.save,
    np.savetxt,
    np.savez,
    np.savez_compressed,
    np.shares_memory,
}


def array_ufunc(
    ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    """Do what a NumPy ufunc, or a method of it, does: what `__array_ufunc__` is for."""
    ours = _of_ufunc(ufunc, method)
    if keywords:
        _refuse_unknown(_titled(ufunc, method), ours, keywords)
    if any(type(x) is list for x in inputs):
        inputs = tuple([as_tensor(x) if type(x) is list else x for x in inputs])
    try:
        return ours(*inputs, **keywords)
    except ForeignOperand:
        if all(isinstance(x, Tensor) or not hasattr(x, "__array_ufunc__") for x in inputs):
            raise
        return NotImplemented


def array_function(
    function: Function, types: Any, args: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    """Do what another NumPy function does: what `__array_function__` is for."""
    if not all(issubclass(kind, Tensor | np.ndarray) for kind in types):
        return NotImplemented
    return _of_function(function)(*args, **keywords)


OPS["array_ufunc"], OPS["array_function"] = array_ufunc, array_function


@cache
def _of_ufunc(ufunc: np.ufunc, method: str) -> Function:
    name = FUNCTIONS.get(ufunc.__name__, ufunc.__name__)
    if (name, method) in _ALONG:
        return partial(OPS[_ALONG[name, method]], axis=0)
    ours = ops.PUBLIC.get(name)
    if ours is not None and method == "__call__":
        swift: Mapping[str, Function] = UNARY if ufunc.nin == 1 else BINARY
        return swift[name] if isinstance(ours, Op) else ours
    if ours is not None and method == "outer" and ufunc.nin == 2:
        return partial(_outer, ours)
    raise _refusal(_titled(ufunc, method))


def _outer(f: Function, x: Any, y: Any) -> Tensor:
    x, y = (z if isinstance(z, Tensor) else Tensor(z) for z in (x, y))
    result: Tensor = f(reshape(x, (*x.shape, *[1] * y.ndim)), y)
    return result


@cache
def _of_function(function: Function) -> Function:
    if function in _ON_THE_HOST:
        return _on_host(function)
    name, space = function.__name__, _SPACES.get(function.__module__, {})
    ours = _OTHERS.get(function) or space.get(name) or space.get(FUNCTIONS.get(name, name))
    if ours is None or function is np.linspace:
        raise _refusal(_titled(function))
    try:
        return _translated(function, ours)
    except ValueError:  # before 2.4, NumPy's functions in C have no signature
        return ours


def _on_host(function: Function) -> Function:
    def call(*args: Any, **keywords: Any) -> Any:
        args = tuple([np.asarray(a) if isinstance(a, Tensor) else a for a in args])
        keywords = {k: np.asarray(a) if isinstance(a, Tensor) else a for k, a in keywords.items()}
        return function(*args, **keywords)

    return call


def _translated(function: Function, ours: Function) -> Function:
    """Return `ours`, called as NumPy's function is.

    What has no name of its own with us is passed by place; what is left at its default, not at all.
    """
    theirs, kinds = inspect.signature(function), inspect.Parameter
    placed = [
        p for p in inspect.signature(ours).parameters.values() if p.kind is kinds.POSITIONAL_ONLY
    ]
    count = len(placed) or 1

    def call(*args: Any, **keywords: Any) -> Any:
        operands: list[Any] = []
        named: dict[str, Any] = {}
        for place, (name, value) in enumerate(theirs.bind(*args, **keywords).arguments.items()):
            parameter = theirs.parameters[name]
            if parameter.kind is kinds.VAR_POSITIONAL:
                operands.extend(value)
            elif parameter.kind is kinds.VAR_KEYWORD:
                named.update(value)
            elif place < count:
                operands.append(value)
            elif not _is_left_at(parameter.default, value):
                named[_KEYWORDS.get(name, name)] = value
        _refuse_unknown(_titled(function), ours, named)
        return ours(*map(_as_tensor, operands), **named)

    return call


def _is_left_at(default: Any, value: Any) -> bool:
    return value is default or (isinstance(value, str | int) and value == default)


def _as_tensor(value: Any) -> Any:
    return Tensor(value) if isinstance(value, np.ndarray) else value


def _titled(function: Any, method: str = "__call__") -> str:
    module = getattr(function, "__module__", None) or "numpy"
    title = f"{module}.{function.__name__}".replace("numpy", "np", 1)
    return title if method == "__call__" else f"{title}.{method}"


def _refusal(title: str) -> TypeError:
    return TypeError(
        f"{title} does not take tensors: minigrad has nothing like it; x.detach().numpy() is an "
        "array for NumPy, off the tape"
    )


def _refuse_unknown(title: str, ours: Function, keywords: Mapping[str, Any]) -> None:
    for name in keywords:
        if name not in _keywords_of(ours):
            advice = (
                "assign the result to a name" if name == "out" else "minigrad has no such keyword"
            )
            raise TypeError(f"{title} does not take {name}= with tensors: {advice}")


@cache
def _keywords_of(ours: Function) -> frozenset[str]:
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    return frozenset(p.name for p in inspect.signature(ours).parameters.values() if p.kind in kinds)
