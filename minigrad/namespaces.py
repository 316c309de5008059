"""The strict namespace that ops are written against: what NumPy and CuPy share, and no more."""

import math
from collections.abc import Callable
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

#: What an op's `forward` may use: the names NumPy >= 2.1 and CuPy 14 both have, with one meaning.
NAMES = frozenset(
    """
    abs acos acosh add all any arange argmax argmin argsort array asarray ascontiguousarray asin
    asinh astype atan atan2 atanh bitwise_and bitwise_invert bitwise_left_shift bitwise_or
    bitwise_right_shift bitwise_xor broadcast_to cbrt ceil concatenate conj copysign cos cosh
    count_nonzero cumulative_prod cumulative_sum diagonal diff divide empty empty_like equal exp
    exp2 expand_dims expm1 eye flip floor floor_divide from_dlpack full full_like greater
    greater_equal hypot imag inf isfinite isinf isnan less less_equal linspace log log10 log1p log2
    logaddexp logical_and logical_not logical_or logical_xor matmul matrix_transpose max maximum
    may_share_memory mean min minimum moveaxis multiply nan nextafter nonzero not_equal ones
    ones_like permute_dims pi power prod real reciprocal remainder repeat reshape rint roll round
    searchsorted sign signbit sin sinh sort sqrt square squeeze stack subtract sum swapaxes take
    take_along_axis tan tanh tile tril triu trunc unique where zeros zeros_like
    """.split()
)

#: The same for `xp.linalg` and `xp.fft`.
LINALG_NAMES = frozenset("cholesky cross det eigh eigvalsh inv qr slogdet solve svd".split())
FFT_NAMES = frozenset("fftfreq fftn ifftn irfftn rfftfreq rfftn".split())


class Strict:
    """Some names of a module, and no other.

    A forward that runs on one backend runs on all: a name outside `names` is an AttributeError
    everywhere, also where the library behind it has that name.
    """

    def __init__(self, module: ModuleType | Any, names: frozenset[str]) -> None:
        vars(self).update({name: getattr(module, name) for name in names})

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{name!r} is not in the strict namespace: it holds only what NumPy and CuPy share "
            "(minigrad.namespaces.NAMES, LINALG_NAMES, FFT_NAMES)"
        )


class Namespace(Strict):
    """The strict namespace `xp` that every `forward` is written against."""

    def __init__(
        self,
        module: ModuleType | Any,
        scatter_add: Callable[..., None],
        refuse: Callable[..., None],
        lenient: bool,
    ) -> None:
        super().__init__(module, NAMES)
        if lenient:
            vars(self).update(bridges(module))
        self._module = module
        self.linalg = Strict(module.linalg, LINALG_NAMES)
        #: scatter_add(x, key, values): x[key] += values, duplicates accumulated, x written
        self.scatter_add = scatter_add
        #: refuse(bad, values, what, error=ValueError): an error where bad is true, raised now or
        #: at the next transfer
        self.refuse = refuse
        #: whether bad values pass unnoticed instead of raising: an index out of range wraps
        #: around, a singular matrix is factorized
        self.lenient = lenient

    @cached_property
    def fft(self) -> Strict:
        """Its transforms, loaded on first use as NumPy's are."""
        return Strict(self._module.fft, FFT_NAMES)


def bridges(module: ModuleType | Any) -> dict[str, Callable[..., Any]]:
    """Return NumPy's meaning of what CuPy has otherwise, by name.

    CuPy casts the step of a range before it counts, searches without a common dtype, gives bools a
    sign and has no logic of complex numbers.
    """

    def arange(start: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None) -> Any:
        whole = dtype is not None and np.dtype(dtype).kind in "iu"
        if stop is None or not whole or (step > 0 and type(start + step) is int):
            return module.arange(start, stop, step, dtype=dtype)
        count = max(math.ceil((stop - start) / step), 0)
        first, second = int(start), int(start + step)
        np.array([first, second][:count], dtype)  # an OverflowError where they do not fit
        places = module.arange(count, dtype=np.int64)
        return module.astype(places * (second - first) + first, dtype)

    def searchsorted(x1: Any, x2: Any, *, side: str = "left", sorter: Any = None) -> Any:
        if hasattr(x2, "dtype") and x1.dtype != x2.dtype:
            dtype = np.result_type(x1.dtype, x2.dtype)
            x1, x2 = x1.astype(dtype), x2.astype(dtype)
        return module.searchsorted(x1, x2, side=side, sorter=sorter)

    def sign(x: Any) -> Any:
        if x.dtype.kind == "b":
            raise TypeError("expected numbers, which have a sign, not bools")
        return module.sign(x)

    def truth(x: Any) -> Any:
        is_complex = x.dtype.kind == "c" if hasattr(x, "dtype") else isinstance(x, complex)
        return x != 0 if is_complex else x

    def logic(name: str) -> Callable[..., Any]:
        function = getattr(module, name)
        return lambda *xs: function(*map(truth, xs))

    logical = {name: logic(name) for name in NAMES if name.startswith("logical_")}
    return {"arange": arange, "searchsorted": searchsorted, "sign": sign, **logical}


def scatter_add_of(module: ModuleType | Any) -> Callable[..., None]:
    """Return `scatter_add` for a module whose `add.at` takes what CuPy's takes.

    That is no complex number, bool or integer of less than 32 bits.
    """
    add_at = module.add.at

    def scatter_add(x: Any, key: Any, values: Any) -> None:
        if x.dtype.kind == "c":
            values = module.asarray(values, dtype=x.dtype)
            for part in (module.real, module.imag):  # views, also of what is written
                add_at(part(x), key, part(values))
        elif x.dtype.itemsize < 4 and x.dtype.kind != "f":
            total = module.zeros(x.shape, dtype=np.int64)
            add_at(total, key, module.asarray(values, dtype=np.int64))
            x += module.astype(total, x.dtype)
        else:
            add_at(x, key, values)

    return scatter_add
