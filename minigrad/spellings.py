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


#: PyTorch's and NumPy's names of a tensor's methods, beside those of functions -> what to write.
METHODS = {
    "add_": "x += y",
    "bool": "x.astype(mg.bool)",
    "copy_": "x[...] = y",
    "cpu": 'x.to("numpy")',
    "cuda": 'x.to("cupy")',
    "dim": "x.ndim",
    "dot": "x @ y",
    "div_": "x /= y",
    "double": "x.astype(mg.float64)",
    "fill": "x[...] = y",
    "fill_": "x[...] = y",
    "float": "x.astype(mg.float32)",
    "half": "x.astype(mg.float16)",
    "int": "x.astype(mg.int32)",
    "long": "x.astype(mg.int64)",
    "mul_": "x *= y",
    "new_ones": "mg.ones(shape, dtype=x.dtype, backend=x.backend)",
    "new_zeros": "mg.zeros(shape, dtype=x.dtype, backend=x.backend)",
    "sub_": "x -= y",
    "t": "x.T",
    "type_as": "x.astype(y.dtype)",
    "zero_": "x[...] = 0",
}


def no_such_attribute(tensor: object, name: str) -> AttributeError:
    """Return the error for `tensor.name`, with what to write instead of other libraries' name.

    The nearest name is found by Python itself, where it prints the error.
    """
    instead = METHODS.get(name)
    if instead is None and (meant := FUNCTIONS.get(name)):
        instead = f"x.{meant}" if hasattr(type(tensor), meant) else f"mg.{meant}"
    hint = f"; in minigrad it is {instead}" if instead else ""
    kind = type(tensor).__name__
    return AttributeError(f"{kind!r} object has no attribute {name!r}{hint}", name=name, obj=tensor)


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
