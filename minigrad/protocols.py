"""How a tensor looks to plain Python: numbers, truth, length, printing, copying."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import get_default_dtype
from .backends import Backend
from .markup import escaped, table
from .methods import OPS

if TYPE_CHECKING:
    from .engine import Node, Tensor


#: The versions of the Array API that the namespace fulfils.
API_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")

_HOST = (1, 0)  # the host as DLPack names devices


class _ArrayUfunc:
    """`__array_ufunc__`: NumPy asks the type for it, and `ndarray * tensor` is a tensor that way.

    CuPy asks the object: None lets its operators give way to the tensor's reflected ones.
    """

    def __get__(self, tensor: object, kind: type[Any]) -> Any:
        return _array_ufunc if tensor is None else None


def _array_ufunc(tensor: Any, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
    return OPS["array_ufunc"](ufunc, method, inputs, keywords)


class Protocols:
    """The part of Tensor that Python and NumPy call; Tensor brings what is declared here."""

    __slots__ = ()

    if TYPE_CHECKING:
        _array: Any
        backend: Backend
        node: Node | None

        @property
        def shape(self) -> tuple[int, ...]: ...
        @property
        def dtype(self) -> np.dtype[Any]: ...
        @property
        def ndim(self) -> int: ...
        @property
        def size(self) -> int: ...
        @property
        def device(self) -> str: ...
        @property
        def is_leaf(self) -> bool: ...
        @property
        def requires_grad(self) -> bool: ...

        def to_host(self, copy: bool = False) -> np.ndarray[Any, Any]: ...

        def __getitem__(self, key: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...

    def __array_namespace__(self, /, *, api_version: str | None = None) -> Any:
        if api_version not in (None, *API_VERSIONS):
            raise ValueError(
                f"unknown version {api_version!r} of the Array API: expected one of "
                f"{', '.join(API_VERSIONS)}"
            )
        return sys.modules[__package__]

    __array_ufunc__ = _ArrayUfunc()

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        return OPS["array_function"](function, types, args, keywords)

    def numpy(self, copy: bool = False) -> np.ndarray[Any, Any]:
        """Return the values on the host: a read-only view, or a writable copy.

        RuntimeError for a tensor that requires grad: the tape does not see NumPy's operations.
        """
        if self.node is not None:
            raise RuntimeError(
                "this tensor requires grad, and the tape does not see what NumPy does; "
                "use x.detach().numpy()"
            )
        return self.to_host(copy)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = self.numpy()
        if dtype is not None and np.dtype(dtype) != array.dtype:
            if copy is False:
                raise ValueError(f"{array.dtype} to {dtype} needs a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack_device__(self, /) -> tuple[int, int]:
        device: tuple[int, int] = self._array.__dlpack_device__()
        return device

    def __dlpack__(
        self,
        /,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return the memory for other libraries to share, or a copy, also on the host.

        Their writes are not noticed by the tape. RuntimeError for a tensor that requires grad,
        BufferError for another device than the tensor's and the host.
        """
        if self.node is not None:
            raise RuntimeError(
                "this tensor requires grad, and the tape does not see what other libraries do; "
                "export x.detach()"
            )
        source, here = self._array, self.__dlpack_device__()
        if dl_device not in (None, here, _HOST):
            raise BufferError(f"from DLPack device {here} to {dl_device}: move it with to() first")
        if dl_device == _HOST and self.device != "cpu":
            if copy is False:
                raise BufferError(f"from {self.device} to the host needs a copy, but copy=False")
            source, stream, copy = self.to_host(copy=True), None, None
        return source.__dlpack__(
            stream=stream, max_version=max_version, dl_device=dl_device, copy=copy
        )

    def numel(self) -> int:
        """Return the number of elements, as PyTorch calls it."""
        return self.size

    def item(self) -> Any:
        """Return the only element as a Python number."""
        if self.size != 1:
            raise ValueError(f"item() needs exactly one element, got shape {self.shape}")
        return self.to_host().item()

    def tolist(self) -> Any:
        """Return the values as (nested lists of) Python numbers."""
        return self.to_host().tolist()

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth value of a tensor of shape {self.shape} is ambiguous; "
                "use x.any() or x.all()"
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.ndim:
            raise TypeError(f"only 0-d integer tensors are indices, not {self.dtype} {self.shape}")
        return int(self.item())

    def __round__(self, ndigits: int | None = None) -> float:
        number: float = round(self.item(), ndigits)
        return number

    def __divmod__(self, other: Any) -> tuple["Tensor", "Tensor"]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple["Tensor", "Tensor"]:
        return other // self, other % self

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        if not self.shape:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(self.shape[0]))

    def __contains__(self, value: Any) -> bool:
        found: Any = self == value  # a bool where the value is no operand
        return bool(found if isinstance(found, bool) else found.any())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __repr__(self) -> str:
        text = np.array2string(self.to_host(), separator=", ", prefix="tensor(")
        notes = []
        if not self.size and self.ndim > 1:  # the brackets do not tell
            notes.append(f"shape={self.shape}")
        if self.dtype not in (get_default_dtype(), np.dtype(np.int64), np.dtype(np.bool_)):
            notes.append(f"dtype={self.dtype}")
        if self.backend.name != "numpy":
            notes.append(f"backend={self.backend.name}")
        if self.node is not None:
            op = self.node.op
            notes.append(f"op={op.name}" if op else "requires_grad=True")
        return f"tensor({', '.join([text, *notes])})"

    def _repr_html_(self) -> str:
        """Return what Jupyter shows: shape, dtype, backend and a table of the values."""
        op = self.node.op if self.node is not None else None
        about = [f"shape {self.shape}", str(self.dtype), self.backend.name]
        about += [f"result of {op.name}"] if op else []
        about += ["requires_grad"] if self.requires_grad and op is None else []
        return f"<div><small>{escaped(' · '.join(about))}</small>{table(self.to_host())}</div>"

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise RuntimeError(
                "only leaves can be pickled or copied deeply: detach() this tensor first"
            )
        return _restore, (type(self), self.to_host(copy=True), self.backend, self.requires_grad)


def _restore(kind: type[Any], array: Any, backend: Backend, requires_grad: bool) -> Any:
    tensor = kind(array, requires_grad=requires_grad)
    tensor.data = tensor.data.to(backend)  # to() alone would give a result, not a leaf
    return tensor
