"""Errors in words: the op, its inputs, the offending axis; what was meant."""

import itertools
import re
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, NoReturn

import numpy as np


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" with the nearest known name, or "" if none is near."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


#: What PyTorch's users give to `to` -> what to do instead.
_NO_BACKENDS = {
    "cuda": "a GPU is the backend 'cupy'",
    "gpu": "a GPU is the backend 'cupy'",
    "cpu": "on the CPU there are 'numpy' and 'numba'",
    "float": "astype() changes the dtype of a tensor",
}


def which_backend(name: Any, known: Iterable[str]) -> str:
    """Return what to do where `name` is no backend, or the nearest one, as `did_you_mean`."""
    for start, meant in _NO_BACKENDS.items():
        if str(name).startswith(start):
            return f"; {meant}"
    return did_you_mean(str(name), known)


#: PyTorch's keywords that minigrad does not have -> what to do instead.
KEYWORDS = {
    "dim": "minigrad calls it axis=",
    "keepdim": "minigrad calls it keepdims=",
    "start_dim": "minigrad calls it start_axis=",
    "end_dim": "minigrad calls it end_axis=",
    "inplace": "results are always new: leave it out",
    "device": "what is new is on the default backend, see minigrad.use_backend; .to() moves it",
    "dtype": "parameters have the default one, see minigrad.set_default_dtype; else .astype()",
    "size_average": 'minigrad has reduction="mean" or "sum"',
    "reduce": 'minigrad has reduction="none"',
    "input": "give the first argument by its place",
}


def unexpected_keyword(name: str, keyword: str, known: Iterable[str] = ()) -> TypeError:
    """Return the error for a keyword that a function or layer does not have."""
    meant = KEYWORDS.get(keyword, "")
    if keyword == "dim" and known:
        meant = next((f"minigrad calls it {k}=" for k in ("axis", "axes") if k in known), "")
    hint = f"; {meant}" if meant else did_you_mean(keyword, known)
    return TypeError(f"{name}: unexpected keyword {keyword!r}{hint}")


class ForeignOperand(TypeError):
    """An operand that is no tensor, array or number; its own type may know what to do."""


def first_true(mask: Any) -> tuple[int, ...]:
    """Return the position of the first true element of a NumPy array that has one."""
    return tuple(map(int, np.unravel_index(np.argmax(mask), mask.shape)))


EXPLAINED = (ValueError, TypeError, IndexError, OverflowError, FloatingPointError, MemoryError)


def explain(error: Exception, op: Any, args: Sequence[Any]) -> NoReturn:
    """Raise the error again with the op's name, its inputs and, for shapes, the offending axis."""
    if isinstance(error, MemoryError):
        given = described(op, args)
        raise out_of_memory(f"{op.name} of {given}" if given else op.name, error) from error
    finer = np.exceptions.AxisError, np.linalg.LinAlgError
    kind = next(k for k in (*finer, *EXPLAINED) if isinstance(error, k))
    detail = str(error)
    unknown = re.search(r"unexpected keyword argument '(\w+)'", detail)
    if unknown and unknown[1] not in op.params:
        raise unexpected_keyword(op.name, unknown[1], op.params) from error
    shapes = [a.shape for a in args if hasattr(a, "shape")]
    if op.elementwise and isinstance(error, ValueError) and (axis := _broken_axis(shapes)):
        lengths = " and ".join(str(s[axis]) for s in shapes if len(s) >= -axis)
        detail = f"the shapes do not broadcast: axis {axis} has lengths {lengths}"
    detail = detail.removeprefix(f"{op.name}: ")
    raise kind(f"{op.name}: {detail}; got {described(op, args)}") from error


def out_of_memory(what: str, error: MemoryError) -> MemoryError:
    """Return the error with what needed the memory, beside what the library says of it, and advice.

    NumPy says how much was asked for, CuPy also how much is in use.
    """
    return MemoryError(
        f"{what}: {str(error).rstrip('.') or 'out of memory'}; try a smaller batch, mg.no_grad() "
        "where no gradient is wanted, or mg.checkpoint; on a GPU, nvidia-smi tells what other "
        "processes hold"
    )


def no_cupy(error: Exception) -> str:
    """Return why CuPy or a card cannot be used, in one line, and what to do."""
    install = 'pip install "minigrad[cuda12]" (or cuda13)'
    # Of what CuPy says to that on a page, the cause alone.
    why = str(error.__cause__ or error).partition("\n")[0]
    if isinstance(error, ImportError):
        return (
            f'backend "cupy" needs CuPy 14 or newer and CUDA\'s libraries ({why}); install them '
            f"with: {install}"
        )
    return (
        f'backend "cupy" found no usable GPU ({why}); check the driver with: nvidia-smi; CUDA\'s '
        f"libraries come with: {install}"
    )


def _broken_axis(shapes: Iterable[tuple[int, ...]]) -> int:
    """Return the last axis (negative) on which the shapes do not broadcast; 0 where they do."""
    columns = itertools.zip_longest(*(reversed(s) for s in shapes), fillvalue=1)
    for back, lengths in enumerate(columns, 1):
        if len({n for n in lengths if n != 1}) > 1:
            return -back
    return 0


def described(op: Any, args: Sequence[Any]) -> str:
    """Return names, dtypes and shapes of an op's arguments for a message."""
    names = itertools.chain(op.inputs, itertools.repeat(op.variadic))
    return ", ".join(
        f"{name}: {a.dtype} {a.shape}" if hasattr(a, "shape") else f"{name}: {a!r}"
        for name, a in zip(names, args, strict=False)
        if a is not None
    )


def require_alike(what: str, new: Any, old: Any, devices: bool = True) -> None:
    """Raise ValueError where a tensor's shape, dtype or device is not that of another."""
    if new.shape != old.shape or new.dtype != old.dtype or (devices and new.device != old.device):
        raise ValueError(
            f"{what} must stay {old.dtype} {old.shape} on {old.device}; "
            f"got {new.dtype} {new.shape} on {new.device}"
        )


def require_argnums(name: str, argnums: Any) -> None:
    """Raise TypeError for argnums that are no integers, such as the point to differentiate at."""
    given = argnums if isinstance(argnums, Sequence) else [argnums]
    if isinstance(argnums, str) or not all(isinstance(i, Integral) for i in given):
        raise TypeError(
            f"{name}: argnums must be integers, got {type(argnums).__name__}; call what comes back "
            f"with the arguments of f: mg.{name}(f)(x)"
        )
