"""The IDX file format: one array of numbers, big-endian, plain or compressed by gzip."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"


def read_idx(path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
    """Return the array in an IDX file, in native byte order.

    gzip is recognised by the content, not by the name. OSError for a file that cannot be opened,
    ValueError with the path for one that is not IDX, or is longer or shorter than its header says.
    Format: Y. LeCun et al., http://yann.lecun.com/exdb/mnist, "The IDX file format".
    """
    path = Path(path)
    data = _contents(path)
    # Two zero bytes, the code of the dtype, the number of axes, then their lengths.
    axes = data[3] if len(data) > 3 else 0
    header = 4 + 4 * axes
    if len(data) < header or not axes or data[:2] != b"\0\0" or data[2] not in _DTYPES:
        raise ValueError(
            f"{path} is not an IDX file: it begins with {data[:4].hex(' ') or 'nothing'}"
        )
    shape = tuple(np.frombuffer(data, ">u4", axes, offset=4).tolist())
    dtype = np.dtype(_DTYPES[data[2]])
    expected = header + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        fault = "truncated" if len(data) < expected else "too long"
        raise ValueError(
            f"{path} is {fault}: {dtype.name} {shape} takes {expected} bytes, found {len(data)}"
        )
    array = np.frombuffer(data, dtype, offset=header).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


def _contents(path: Path) -> bytes:
    """Return the bytes of a file, unpacked; of a packed file that was cut, those that are left."""
    data = path.read_bytes()
    if not data.startswith(_GZIP):
        return data
    import gzip
    import zlib

    unpacked = bytearray()
    with gzip.open(path) as file:
        try:
            while piece := file.read1(2**20):
                unpacked += piece
        except EOFError:
            pass  # the length in the IDX header tells how much is missing
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is a damaged gzip file: {error}") from error
    return bytes(unpacked)
