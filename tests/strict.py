"""The fourth backend, "strict": a device that every machine has.

Its arrays refuse whatever CuPy's refuse, and more: an op that calls NumPy by mistake, uses a name
or a keyword that CuPy lacks, mixes host and device, or reads the device unasked fails on a laptop.
"""

import operator
from types import EllipsisType, SimpleNamespace

import numpy as np

from minigrad import backends, namespaces

PLAIN = (bool, int, float, complex, str, type(None), EllipsisType, np.dtype)

# What makes an array from host values; every other function needs an array to work on.
CREATION = set("arange array asarray empty eye full linspace ones zeros".split())
CREATION |= {"fft.fftfreq", "fft.rfftfreq"}

# The keywords that NumPy 2.1 and CuPy 14 share, for each function that is not a ufunc.
KEYWORDS = {
    name: set(keywords.split())
    for names, keywords in {
        "all any argmax argmin max min": "axis keepdims",
        "mean prod sum": "axis dtype keepdims",
        "argsort sort": "axis kind",
        "concatenate stack expand_dims flip squeeze count_nonzero repeat roll": "axis",
        "take take_along_axis": "axis",
        "cumulative_prod cumulative_sum": "axis dtype include_initial",
        "diagonal": "offset axis1 axis2",
        "diff": "n axis prepend append",
        "searchsorted": "side sorter",
        "unique": "return_index return_inverse return_counts equal_nan",
        "real imag tile": "",
        "array": "dtype copy order",
        "asarray empty full ones zeros arange": "dtype",
        "linspace": "num endpoint dtype",
        "eye": "k dtype",
        "astype": "copy",
        "from_dlpack": "device copy",
        "empty_like full_like ones_like zeros_like": "dtype shape",
        "reshape": "order copy",
        "round": "decimals",
        "tril triu": "k",
        "ascontiguousarray broadcast_to matrix_transpose may_share_memory moveaxis nonzero": "",
        "permute_dims swapaxes where": "",
        "linalg.cholesky linalg.det linalg.inv linalg.slogdet linalg.solve": "",
        "linalg.cross": "axis",
        "linalg.eigh linalg.eigvalsh": "UPLO",
        "linalg.qr": "mode",
        "linalg.svd": "full_matrices compute_uv",
        "fft.fftn fft.ifftn fft.irfftn fft.rfftn": "s axes norm",
        "fft.fftfreq fft.rfftfreq": "d",
    }.items()
    for name in names.split()
}

# What CuPy's add.at adds atomically.
ADDED_AT = "int32 int64 uint32 uint64 float16 float32 float64".split()

METHODS = (
    "all any argmax argmin astype copy max mean min ravel reshape squeeze sum swapaxes".split()
)
BINARY = "add sub mul truediv floordiv mod pow matmul and_ or_ xor lshift rshift".split()
COMPARISONS = "lt le gt ge eq ne".split()
UNARY = "neg pos abs invert".split()
READS = (
    "__array__ __bool__ __complex__ __float__ __index__ __int__ __iter__ __array_function__".split()
)


def place_of(array):
    """Return what two views of the same elements have in common."""
    return array.ctypes.data, array.shape, array.strides


def refuse(what):
    raise TypeError(f"the strict array refuses {what}")


class StrictArray:
    """An array on a pretended device; NumPy does its work behind the curtain."""

    __slots__ = ("_host",)

    __array_ufunc__ = None
    __hash__ = None

    def __init__(self, host):
        if type(host) is not np.ndarray:
            refuse(f"to be made from {type(host).__name__}")
        self._host = host

    dtype = property(lambda self: self._host.dtype)
    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    strides = property(lambda self: self._host.strides)
    T = property(lambda self: wrapped(self._host.T))
    base = property(lambda self: wrapped(self._host.base))

    @property
    def flags(self):
        names = ("c_contiguous", "f_contiguous", "owndata")
        return SimpleNamespace(**{name: getattr(self._host.flags, name) for name in names})

    def __len__(self):
        return len(self._host)

    def __dlpack_device__(self):
        return 12, 0  # an extension: nobody else's device

    def __repr__(self):
        return f"<strict {self.dtype} {self.shape}>"

    def __getitem__(self, key):
        return wrapped(self._host[self._key(key)])

    def __setitem__(self, key, value):
        value = unwrapped(value)
        if type(value) is int:  # as C casts it
            value = np.array(value).astype(self.dtype)
        key = self._key(key)
        target = self._host[key]
        # x[key] += v ends with what x[key] is, written where it is.
        if np.may_share_memory(target, value) and place_of(target) != place_of(value):
            refuse("to write over what is read")
        self._host[key] = value

    def _key(self, key):
        """Unwrap a key. As with CuPy, indices out of range wrap around, a 0-d result is a view."""
        key = key if isinstance(key, tuple) else (key,)
        takes = [0 if k is None or k is Ellipsis or isinstance(k, bool) else 1 for k in key]
        filled, axis = [], 0
        for place, (k, taken) in enumerate(zip(key, takes, strict=True)):
            if k is Ellipsis:
                axis = self.ndim - sum(takes[place:])
            if isinstance(k, StrictArray):
                if k.dtype.kind not in "iu":
                    refuse(f"{k.dtype} arrays as an index: a mask's size waits for the device")
                filled.append(k._host % max((*self.shape, 1)[min(axis, self.ndim)], 1))
            else:
                filled.append(unwrapped(k))
            axis += taken
        return tuple(filled) if any(k is Ellipsis for k in key) else (*filled, Ellipsis)


def wrapped(value):
    """Return what NumPy gave as the device would: no scalars, only arrays."""
    if isinstance(value, tuple | list):
        return (list if isinstance(value, list) else tuple)(map(wrapped, value))
    if isinstance(value, np.ndarray | np.generic):
        return StrictArray(np.asarray(value))
    return value


def unwrapped(value):
    """Return a device array or a Python value as NumPy takes it; TypeError for anything else."""
    if isinstance(value, StrictArray):
        return value._host
    if isinstance(value, tuple | list):
        return type(value)(map(unwrapped, value))
    if isinstance(value, slice):
        return slice(*map(unwrapped, (value.start, value.stop, value.step)))
    # np.float64 is a Python float as well, but no device takes it for one.
    if isinstance(value, PLAIN) and not isinstance(value, np.generic):
        return value
    if isinstance(value, type) and issubclass(value, np.generic):
        return value
    return refuse(f"{type(value).__module__}.{type(value).__name__}")


def is_on_device(value):
    if isinstance(value, tuple | list):
        return any(map(is_on_device, value))
    return isinstance(value, StrictArray)


def in_numpy(name):
    return operator.attrgetter(name)(np)


def check(name, args, keywords):
    """Refuse calls that NumPy would take and CuPy would not."""
    ufunc = isinstance(in_numpy(name), np.ufunc)
    unknown = set(keywords) - ({"out"} if ufunc else KEYWORDS[name])
    if unknown:
        refuse(f"{name}({', '.join(sorted(unknown))}=): CuPy has no such keyword")
    if name not in CREATION and not is_on_device(args if ufunc else args[:1]):
        refuse(f"{name} of host values")
    if name == "searchsorted" and args[0].dtype != getattr(args[1], "dtype", args[0].dtype):
        refuse("searchsorted of two dtypes")
    if name == "arange" and keywords.get("dtype") is not None:  # so do CuPy's ranges begin
        casts = [np.dtype(keywords["dtype"]).type(arg) for arg in (args[0], *args[2:])]
        if casts != [arg for arg in (args[0], *args[2:])] and casts[0].dtype.kind in "iu":
            refuse(f"arange of {args} as {casts[0].dtype}")
    if name.startswith("logical_") and any(
        np.asarray(a).dtype.kind == "c" for a in unwrapped(args)
    ):
        refuse(f"{name} of complex numbers")
    if name == "linalg.solve" and args[0].shape[:-1] != args[1].shape[:-1]:
        refuse("linalg.solve of batches that do not match")
    if name == "linalg.solve" and not args[1].size:
        refuse("linalg.solve of no right-hand sides")
    if name.startswith("fft.") and len(keywords.get("axes", ())) > 1 and not args[0].size:
        refuse(f"{name} of nothing")
    if name == "linalg.cross" and args[0].shape != args[1].shape:
        refuse("linalg.cross of shapes that do not match")


def function(name):
    def call(*args, **keywords):
        check(name, args, keywords)
        keywords = {key: unwrapped(value) for key, value in keywords.items()}
        if name == "sign" and args[0].dtype.kind == "b":  # which NumPy refuses
            return args[0].astype(np.int8)
        try:
            return wrapped(in_numpy(name)(*unwrapped(args), **keywords))
        except np.linalg.LinAlgError:  # a device does not notice
            return wrapped(np.full_like(unwrapped(args[-1]), np.nan))

    return call


def method(name):
    def call(self, *args, **keywords):
        if name in KEYWORDS:
            check(name, (self,), keywords)
        keywords = {key: unwrapped(value) for key, value in keywords.items()}
        return wrapped(getattr(self._host, name)(*unwrapped(args), **keywords))

    return call


def power(x, y):
    """Give integers negative powers as CuPy does, where NumPy refuses them."""
    if all(np.asarray(v).dtype.kind in "biu" for v in (x, y)) and np.any(np.less(y, 0)):
        return np.where(np.less(y, 0), 0, x ** abs(y))
    return x**y


def binary(name, reflected=False):
    operate = power if name == "pow" else getattr(operator, name)

    def call(self, other):
        pair = self._host, unwrapped(other)
        return wrapped(operate(*(pair[::-1] if reflected else pair)))

    return call


def in_place(name):
    def call(self, other):
        getattr(operator, name)(self._host, unwrapped(other))
        return self

    return call


def unary(name):
    return lambda self: wrapped(getattr(operator, name)(self._host))


def read(name):
    return lambda self, *args, **keywords: refuse(f"{name}: reading the device must be explicit")


for name in METHODS:
    setattr(StrictArray, name, method(name))
for name in READS:
    setattr(StrictArray, name, read(name))
for name in UNARY:
    setattr(StrictArray, f"__{name}__", unary(name))
for name in COMPARISONS:
    setattr(StrictArray, f"__{name}__", binary(name))
for name in BINARY:
    bare = name.strip("_")
    setattr(StrictArray, f"__{bare}__", binary(name))
    setattr(StrictArray, f"__r{bare}__", binary(name, reflected=True))
    setattr(StrictArray, f"__i{bare}__", in_place(f"i{bare}"))


def add_at(x, key, values):
    if x.dtype.name not in ADDED_AT:
        refuse(f"add.at of {x.dtype}")
    np.add.at(x._host, x._key(key), unwrapped(values))


def module(names, prefix=""):
    found = {name: in_numpy(prefix + name) for name in names}
    return SimpleNamespace(
        **{name: function(prefix + name) if callable(f) else f for name, f in found.items()}
    )


#: What stands for the `cupy` module: the strict names and nothing else.
MODULE = module(namespaces.NAMES)
MODULE.linalg = module(namespaces.LINALG_NAMES, "linalg.")
MODULE.fft = module(namespaces.FFT_NAMES, "fft.")
MODULE.add.at = add_at
MODULE.add.reduce = MODULE.sum


def load(name="strict", **options):
    """Return the backend; `backends.register("strict", load)` makes it known."""
    return backends.device_backend(
        name,
        f"{name}:0",
        MODULE,
        StrictArray,
        to_numpy=lambda array: array._host.copy(),
        from_numpy=lambda array: StrictArray(np.array(array)),
        synchronize=lambda: None,
        **options,
    )
