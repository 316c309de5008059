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
    "as_tensor": "asarray",
    "bitwise_not": "bitwise_invert",
    "bmm": "matmul",
    "cat": "concat",
    "cholesky": "linalg.cholesky",
    "clamp": "clip",
    "clone": "copy",
    "concatenate": "concat",
    "conjugate": "conj",
    "contiguous": "copy",
    "cross": "linalg.cross",
    "cumprod": "cumulative_prod",
    "cumsum": "cumulative_sum",
    "det": "linalg.det",
    "div": "divide",
    "dot": "vecdot",
    "eq": "equal",
    "expand": "broadcast_to",
    "fft.fft2": "fft.fftn",
    "fft.ifft2": "fft.ifftn",
    "fft.irfft2": "fft.irfftn",
    "fft.rfft2": "fft.rfftn",
    "from_numpy": "asarray",
    "gather": "take_along_axis",
    "ge": "greater_equal",
    "gt": "greater",
    "index_select": "take",
    "inverse": "linalg.inv",
    "invert": "bitwise_invert",
    "le": "less_equal",
    "left_shift": "bitwise_left_shift",
    "linalg.logdet": "linalg.slogdet",
    "linalg.norm": "linalg.vector_norm",
    "logdet": "linalg.slogdet",
    "lt": "less",
    "masked_fill": "where",
    "mm": "matmul",
    "mod": "remainder",
    "movedim": "moveaxis",
    "mul": "multiply",
    "multinomial": "random.categorical",
    "ndarray": "Tensor",
    "ne": "not_equal",
    "neg": "negative",
    "normal": "random.normal",
    "outer": "linalg.outer",
    "permute": "permute_dims",
    "power": "pow",
    "randperm": "random.permutation",
    "repeat_interleave": "repeat",
    "right_shift": "bitwise_right_shift",
    "rint": "round",
    "rsub": "subtract",
    "sub": "subtract",
    "svd": "linalg.svd",
    "trace": "linalg.trace",
    "true_divide": "divide",
    "unbind": "unstack",
    "uniform": "random.uniform",
    "unique": "unique_values",
    "unsqueeze": "expand_dims",
    "vdot": "vecdot",
    "view": "reshape",
}


def no_such_function(
    name: str, known: Iterable[str], module: str = "minigrad", top: Iterable[str] = ()
) -> AttributeError:
    """Return the error for `module.name`: the name that minigrad has for it, or the nearest one.

    known: the module's names. top: those of minigrad, which may have it where the module does not.
    """
    within = f"{module}.{name}".removeprefix("minigrad.")
    meant = name if name in top else FUNCTIONS.get(within) or FUNCTIONS.get(name)
    hint = f"; minigrad calls it mg.{meant}" if meant else did_you_mean(name, known)
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}")
