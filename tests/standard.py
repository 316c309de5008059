"""The Python array API standard, version 2024.12, as tables: names, signatures, dtypes, kinds.

Written from the standard's text; https://data-apis.org/array-api/2024.12 has it.
"""

import inspect
from itertools import product

import numpy as np

VERSION = "2024.12"

SIGNED = "int8 int16 int32 int64".split()
UNSIGNED = "uint8 uint16 uint32 uint64".split()
REAL_FLOATS = "float32 float64".split()
COMPLEX = "complex64 complex128".split()

#: The kinds of `isdtype` and of the inspection API, and the dtypes of each.
KINDS = {
    "bool": ["bool"],
    "signed integer": SIGNED,
    "unsigned integer": UNSIGNED,
    "integral": SIGNED + UNSIGNED,
    "real floating": REAL_FLOATS,
    "complex floating": COMPLEX,
    "numeric": SIGNED + UNSIGNED + REAL_FLOATS + COMPLEX,
}
DTYPES = KINDS["bool"] + KINDS["numeric"]

#: Sets of dtypes that the functions below take, as the standard names them.
TAKES = {
    "any": DTYPES,
    "boolean": KINDS["bool"],
    "integer": KINDS["integral"],
    "integer or boolean": KINDS["integral"] + KINDS["bool"],
    "real": KINDS["integral"] + REAL_FLOATS,
    "real floating": REAL_FLOATS,
    "complex floating": COMPLEX,
    "floating": REAL_FLOATS + COMPLEX,
    "numeric": KINDS["numeric"],
}

CONSTANTS = {"e": np.e, "inf": np.inf, "nan": np.nan, "newaxis": None, "pi": np.pi}

#: Elementwise functions of one array: the dtypes they take -> names.
UNARY = {
    "any": "",
    "boolean": "logical_not",
    "integer or boolean": "bitwise_invert",
    "real": "ceil floor trunc",
    "real floating": "signbit",
    "floating": """acos acosh asin asinh atan atanh cos cosh exp expm1 log log10 log1p log2
                   reciprocal sin sinh sqrt tan tanh""",
    "complex floating": "imag",
    "numeric": "abs conj isfinite isinf isnan negative positive real round sign square",
}

#: Elementwise functions of two arrays, or of an array and a Python scalar, in either order.
BINARY = {
    "any": "equal not_equal",
    "boolean": "logical_and logical_or logical_xor",
    "integer": "bitwise_left_shift bitwise_right_shift",
    "integer or boolean": "bitwise_and bitwise_or bitwise_xor",
    "real": """floor_divide greater greater_equal less less_equal maximum minimum remainder""",
    "real floating": "atan2 copysign hypot logaddexp nextafter",
    "floating": "divide",
    "numeric": "add multiply pow subtract",
}


def by_name(table):
    """Turn {dtypes: names} around: {name: the list of dtypes it takes}."""
    return {name: TAKES[takes] for takes, names in table.items() for name in names.split()}


UNARY, BINARY = by_name(UNARY), by_name(BINARY)

#: What the operators of the array object mean.
UNARY_OPERATORS = {
    "__abs__": "abs",
    "__invert__": "bitwise_invert",
    "__neg__": "negative",
    "__pos__": "positive",
}
COMPARISONS = {
    "__eq__": "equal",
    "__ge__": "greater_equal",
    "__gt__": "greater",
    "__le__": "less_equal",
    "__lt__": "less",
    "__ne__": "not_equal",
}
#: Those that have a reflected and an in-place form as well.
ARITHMETIC = {
    "__add__": "add",
    "__and__": "bitwise_and",
    "__floordiv__": "floor_divide",
    "__lshift__": "bitwise_left_shift",
    "__matmul__": "matmul",
    "__mod__": "remainder",
    "__mul__": "multiply",
    "__or__": "bitwise_or",
    "__pow__": "pow",
    "__rshift__": "bitwise_right_shift",
    "__sub__": "subtract",
    "__truediv__": "divide",
    "__xor__": "bitwise_xor",
}

ATTRIBUTES = "T device dtype mT ndim shape size".split()
CONVERSIONS = "__bool__ __complex__ __float__ __index__ __int__".split()

_SIGNATURES = """
arange(start, /, stop=None, step=1, *, dtype=None, device=None)
asarray(obj, /, *, dtype=None, device=None, copy=None)
empty(shape, *, dtype=None, device=None)
empty_like(x, /, *, dtype=None, device=None)
eye(n_rows, n_cols=None, /, *, k=0, dtype=None, device=None)
from_dlpack(x, /, *, device=None, copy=None)
full(shape, fill_value, *, dtype=None, device=None)
full_like(x, /, fill_value, *, dtype=None, device=None)
linspace(start, stop, /, num, *, dtype=None, device=None, endpoint=True)
meshgrid(*arrays, indexing="xy")
ones(shape, *, dtype=None, device=None)
ones_like(x, /, *, dtype=None, device=None)
tril(x, /, *, k=0)
triu(x, /, *, k=0)
zeros(shape, *, dtype=None, device=None)
zeros_like(x, /, *, dtype=None, device=None)

astype(x, dtype, /, *, copy=True, device=None)
can_cast(from_, to, /)
finfo(type, /)
iinfo(type, /)
isdtype(dtype, kind)
result_type(*arrays_and_dtypes)

clip(x, /, min=None, max=None)

take(x, indices, /, *, axis=None)
take_along_axis(x, indices, /, *, axis=-1)

matmul(x1, x2, /)
matrix_transpose(x, /)
tensordot(x1, x2, /, *, axes=2)
vecdot(x1, x2, /, *, axis=-1)

broadcast_arrays(*arrays)
broadcast_to(x, /, shape)
concat(arrays, /, *, axis=0)
expand_dims(x, /, axis)
flip(x, /, *, axis=None)
moveaxis(x, source, destination, /)
permute_dims(x, /, axes)
repeat(x, repeats, /, *, axis=None)
reshape(x, /, shape, *, copy=None)
roll(x, /, shift, *, axis=None)
squeeze(x, /, axis)
stack(arrays, /, *, axis=0)
tile(x, repetitions, /)
unstack(x, /, *, axis=0)

argmax(x, /, *, axis=None, keepdims=False)
argmin(x, /, *, axis=None, keepdims=False)
count_nonzero(x, /, *, axis=None, keepdims=False)
nonzero(x, /)
searchsorted(x1, x2, /, *, side="left", sorter=None)
where(condition, x1, x2, /)

unique_all(x, /)
unique_counts(x, /)
unique_inverse(x, /)
unique_values(x, /)

argsort(x, /, *, axis=-1, descending=False, stable=True)
sort(x, /, *, axis=-1, descending=False, stable=True)

cumulative_prod(x, /, *, axis=None, dtype=None, include_initial=False)
cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False)
max(x, /, *, axis=None, keepdims=False)
mean(x, /, *, axis=None, keepdims=False)
min(x, /, *, axis=None, keepdims=False)
prod(x, /, *, axis=None, dtype=None, keepdims=False)
std(x, /, *, axis=None, correction=0.0, keepdims=False)
sum(x, /, *, axis=None, dtype=None, keepdims=False)
var(x, /, *, axis=None, correction=0.0, keepdims=False)

all(x, /, *, axis=None, keepdims=False)
any(x, /, *, axis=None, keepdims=False)
diff(x, /, *, axis=-1, n=1, prepend=None, append=None)

__array_namespace_info__()

linalg.cholesky(x, /, *, upper=False)
linalg.cross(x1, x2, /, *, axis=-1)
linalg.det(x, /)
linalg.diagonal(x, /, *, offset=0)
linalg.eigh(x, /)
linalg.eigvalsh(x, /)
linalg.inv(x, /)
linalg.matmul(x1, x2, /)
linalg.matrix_norm(x, /, *, keepdims=False, ord="fro")
linalg.matrix_power(x, n, /)
linalg.matrix_rank(x, /, *, rtol=None)
linalg.matrix_transpose(x, /)
linalg.outer(x1, x2, /)
linalg.pinv(x, /, *, rtol=None)
linalg.qr(x, /, *, mode="reduced")
linalg.slogdet(x, /)
linalg.solve(x1, x2, /)
linalg.svd(x, /, *, full_matrices=True)
linalg.svdvals(x, /)
linalg.tensordot(x1, x2, /, *, axes=2)
linalg.trace(x, /, *, offset=0, dtype=None)
linalg.vecdot(x1, x2, /, *, axis=-1)
linalg.vector_norm(x, /, *, axis=None, keepdims=False, ord=2)

fft.fft(x, /, *, n=None, axis=-1, norm="backward")
fft.ifft(x, /, *, n=None, axis=-1, norm="backward")
fft.fftn(x, /, *, s=None, axes=None, norm="backward")
fft.ifftn(x, /, *, s=None, axes=None, norm="backward")
fft.rfft(x, /, *, n=None, axis=-1, norm="backward")
fft.irfft(x, /, *, n=None, axis=-1, norm="backward")
fft.rfftn(x, /, *, s=None, axes=None, norm="backward")
fft.irfftn(x, /, *, s=None, axes=None, norm="backward")
fft.hfft(x, /, *, n=None, axis=-1, norm="backward")
fft.ihfft(x, /, *, n=None, axis=-1, norm="backward")
fft.fftfreq(n, /, *, d=1.0, dtype=None, device=None)
fft.rfftfreq(n, /, *, d=1.0, dtype=None, device=None)
fft.fftshift(x, /, *, axes=None)
fft.ifftshift(x, /, *, axes=None)
"""

#: Methods of an array with keywords; those of operators and conversions follow from the tables.
_METHODS = """
__array_namespace__(*, api_version=None)
__dlpack__(*, stream=None, max_version=None, dl_device=None, copy=None)
__dlpack_device__()
__getitem__(key, /)
__setitem__(key, value, /)
to_device(device, /, *, stream=None)
"""

#: The functions of the object that `__array_namespace_info__()` returns.
_INSPECTION = """
capabilities()
default_device()
default_dtypes(*, device=None)
devices()
dtypes(*, device=None, kind=None)
"""


def signatures(lines):
    """Read lines of the form `name(parameters)`: {name: inspect.Signature}."""
    table = {}
    for line in filter(None, lines.splitlines()):
        name, _, parameters = line.partition("(")
        table[name] = inspect.signature(eval(f"lambda {parameters[:-1]}: None"))
    return table


SIGNATURES = signatures(_SIGNATURES)
SIGNATURES |= {name: inspect.signature(lambda x, /: None) for name in UNARY}
SIGNATURES |= {name: inspect.signature(lambda x1, x2, /: None) for name in BINARY}

METHODS = signatures(_METHODS)
METHODS |= {name: inspect.signature(lambda: None) for name in [*UNARY_OPERATORS]}
METHODS |= {name: inspect.signature(lambda: None) for name in CONVERSIONS}
METHODS |= {
    name[:2] + form + name[2:]: inspect.signature(lambda other, /: None)
    for forms, names in {("",): COMPARISONS, ("", "r", "i"): ARITHMETIC}.items()
    for form, name in product(forms, names)
}

INSPECTION = signatures(_INSPECTION)


def _promotions():
    """The standard's tables: within a kind the wider one; signed with unsigned what holds both."""
    table = {("bool", "bool"): "bool"}
    for kind in (SIGNED, UNSIGNED, REAL_FLOATS, COMPLEX):
        table |= {(a, b): kind[max(i, j)] for i, a in enumerate(kind) for j, b in enumerate(kind)}
    for (i, signed), (j, unsigned) in product(enumerate(SIGNED), enumerate(UNSIGNED[:3])):
        table[signed, unsigned] = table[unsigned, signed] = SIGNED[max(i, j + 1)]
    for (i, real), (j, complex_) in product(enumerate(REAL_FLOATS), enumerate(COMPLEX)):
        table[real, complex_] = table[complex_, real] = COMPLEX[max(i, j)]
    return table


#: (dtype, dtype) -> the dtype of both together; a pair that is not here is left open.
PROMOTIONS = _promotions()

#: The Python scalars that may stand beside an array of a dtype, whose dtype the result has.
SCALARS = {
    "bool": (bool,),
    **dict.fromkeys(KINDS["integral"], (int,)),
    **dict.fromkeys(REAL_FLOATS, (int, float)),
    **dict.fromkeys(COMPLEX, (int, float, complex)),
}
