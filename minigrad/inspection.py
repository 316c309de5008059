"""What the Array API lets its users ask of the namespace: capabilities, devices, dtypes."""

from typing import Any

import numpy as np

from . import backends
from .arrays import get_default_dtype
from .datatypes import isdtype

_NAMES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64"
_DTYPES = {name: np.dtype(name) for name in (*_NAMES.split(), "complex64", "complex128")}


class NamespaceInfo:
    """The answers of `minigrad.__array_namespace_info__()`."""

    def capabilities(self) -> dict[str, Any]:
        """Return what not every library can do."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """Return the device of new tensors."""
        return backends.default().device

    def devices(self) -> list[str]:
        """Return the devices that can be used here."""
        usable = [name for name, status in backends.status().items() if status.usable]
        return list(dict.fromkeys(backends.get(name).device for name in usable))

    def default_dtypes(self, *, device: str | None = None) -> dict[str, np.dtype[Any]]:
        """Return the dtype of each kind that new tensors have; ValueError for an unknown device."""
        backends.resolve(None, device)
        return {
            "real floating": get_default_dtype(),
            "complex floating": np.result_type(get_default_dtype(), np.complex64),
            "integral": np.dtype(np.int64),
            "indexing": np.dtype(np.int64),
        }

    def dtypes(
        self, *, device: str | None = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, np.dtype[Any]]:
        """Return the standard's dtypes by name, of some kinds only where given; see `isdtype`.

        float16 is there too, but not in the standard. ValueError for an unknown device or kind.
        """
        backends.resolve(None, device)
        return {
            name: dtype for name, dtype in _DTYPES.items() if kind is None or isdtype(dtype, kind)
        }


def array_namespace_info() -> NamespaceInfo:
    """Return what can be asked of minigrad as an array namespace."""
    return NamespaceInfo()
