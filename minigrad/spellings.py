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

#: PyTorch's names of what tensors have -> what to write instead.
METHODS = {
    "cpu": 'x.to_device("cpu")',
    "cuda": 'x.to("cupy")',
    "dim": "x.ndim",
    "double": "x.astype(mg.float64)",
    "expand_as": "x.broadcast_to(y.shape)",
    "float": "x.astype(mg.float32)",
    "half": "x.astype(mg.float16)",
    "index_add": "x.at[i].add(v)",
    "index_put": "x.at[i].set(v)",
    "int": "x.astype(mg.int32)",
    "is_cuda": "x.device",
    "long": "x.astype(mg.int64)",
    "masked_fill": "mg.where(mask, value, x)",
    "mul_": "x *= y under no_grad()",
    "add_": "x += y under no_grad()",
    "sub_": "x -= y under no_grad()",
    "copy_": "x[...] = y under no_grad()",
    "fill_": "x[...] = value under no_grad()",
    "scatter_add": "x.at[i].add(v)",
    "t": "x.T",
    "type": "x.dtype, or x.astype(dtype)",
    "view_as": "x.reshape(y.shape)",
    "zero_": "x[...] = 0 under no_grad()",
}


def no_such_function(name: str, known: Iterable[str]) -> AttributeError:
    """Return the error for `mg.name`: the name that minigrad has for it, or the nearest one."""
    meant = FUNCTIONS.get(name)
    hint = f"; minigrad calls it mg.{meant}" if meant else did_you_mean(name, known)
    return AttributeError(f"module 'minigrad' has no attribute {name!r}{hint}")


def no_such_method(name: str, methods: Iterable[str], functions: Iterable[str]) -> AttributeError:
    """Return the error for `x.name`: the method, the function or the expression that is meant."""
    methods, functions = set(methods), set(functions)
    called = FUNCTIONS.get(name, name)
    if name in METHODS:
        hint = f"; write {METHODS[name]}"
    elif called in methods:
        hint = f"; minigrad calls it x.{called}"
    elif called in functions:
        hint = f"; it is a function: mg.{called}(x)"
    else:
        hint = did_you_mean(name, methods)
    return AttributeError(f"a tensor has no attribute {name!r}{hint}")
