"""What other libraries call a thing that minigrad has under another name, for error messages."""

from collections.abc import Iterable

from .messages import did_you_mean

#: PyTorch's and NumPy's names of functions -> minigrad's.
FUNCTIONS = {
    "absolute": "abs",
    "amax": "max",
    "amin": "min",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "array": "tensor",
    "bitwise_not": "bitwise_invert",
    "bmm": "matmul",
    "cat": "concat",
    "clamp": "clip",
    "clone": "copy",
    "concatenate": "concat",
    "conjugate": "conj",
    "contiguous": "copy",
    "cumprod": "cumulative_prod",
    "cumsum": "cumulative_sum",
    "div": "divide",
    "dot": "matmul",
    "eq": "equal",
    "expand": "broadcast_to",
    "from_numpy": "asarray",
    "ge": "greater_equal",
    "gt": "greater",
    "invert": "bitwise_invert",
    "le": "less_equal",
    "left_shift": "bitwise_left_shift",
    "lt": "less",
    "mm": "matmul",
    "mod": "remainder",
    "movedim": "moveaxis",
    "mul": "multiply",
    "ne": "not_equal",
    "neg": "negative",
    "permute": "permute_dims",
    "power": "pow",
    "repeat_interleave": "repeat",
    "right_shift": "bitwise_right_shift",
    "rint": "round",
    "rsub": "subtract",
    "sub": "subtract",
    "true_divide": "divide",
    "unbind": "unstack",
    "unique": "unique_values",
    "unsqueeze": "expand_dims",
    "view": "reshape",
}


def no_such_function(
    name: str, known: Iterable[str], module: str = "minigrad", top: Iterable[str] = ()
) -> AttributeError:
    """Return the error for `module.name`: the name that minigrad has for it, or the nearest one.

    known: the module's names. top: those of minigrad, which may have it where the module does not.
    """
    meant = name if name in top else FUNCTIONS.get(name)
    hint = f"; minigrad calls it mg.{meant}" if meant else did_you_mean(name, known)
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}")
