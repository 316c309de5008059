"""Saving and loading nested states as safetensors files, which hold no code."""

import math
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from . import backends
from .engine import Tensor
from .ops.creation import asarray

__all__ = ["load", "save"]

#: The key of the file's metadata under which the structure is.
_KEY = "minigrad"
#: The format's names of the dtypes that NumPy has.
_DTYPES = frozenset("BOOL U8 U16 U32 U64 I8 I16 I32 I64 F16 F32 F64 C64".split())
_WINDOWS = os.name == "nt"
#: The names of the temporary files that this process writes now.
_writing: set[str] = set()


def save(state: Any, path: str | os.PathLike[str]) -> None:
    """Write a state to a safetensors file: the old file stays until the new one is whole.

    state: dicts with str or int keys, lists and tuples, as deep as need be, of Tensors, NumPy
    arrays, numbers, strings, bools and None. Each array is written under the dotted keys that lead
    to it, complex ones as pairs of floats; the rest goes to the metadata as JSON. TypeError names
    the place of anything else.
    """
    _, codec = _safetensors()
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    import json  # on first use, as safetensors: importing minigrad stays quick

    structure = json.dumps(_encoded(state, (), arrays), allow_nan=False)
    write_atomically(Path(os.path.realpath(path)), codec.save(arrays, {_KEY: structure}))


def load(path: str | os.PathLike[str]) -> Any:
    """Return the state in a file that `save` wrote, its arrays as Tensors on the default backend.

    The safetensors file of another program gives a dict of its names. FileNotFoundError where there
    is no such file, ValueError where it is damaged.
    """
    import json

    library, _ = _safetensors()
    if not Path(path).is_file():
        raise FileNotFoundError(f"load: there is no file {str(path)!r}")
    try:
        with library.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
            for name, dtype in dtypes.items():
                if dtype not in _DTYPES:
                    raise ValueError(
                        f"load: {str(path)!r} holds {name!r} as {dtype}, for which NumPy has no "
                        "dtype; convert it to F32 where the file was made"
                    )
            arrays = {name: file.get_tensor(name) for name in dtypes}
    except library.SafetensorError as error:
        raise ValueError(
            f"load: {str(path)!r} is no whole safetensors file: {error}{_if_pickled(path)}"
        ) from error
    if _KEY not in metadata:
        return {name: _tensor(array) for name, array in arrays.items()}
    try:
        return _decoded(json.loads(metadata[_KEY]), arrays)
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"load: the structure in the metadata of {str(path)!r} is damaged: {error!r}"
        ) from error


def _safetensors() -> tuple[Any, Any]:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            f"weight files need safetensors ({error}); install it with: pip install safetensors"
        ) from error
    return safetensors, safetensors.numpy


def _encoded(value: Any, keys: tuple[str, ...], arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """Return value as JSON and put its arrays into `arrays`.

    What JSON lacks is an object of one entry that says its kind: dict (pairs, so that keys keep
    their types), tuple, float (nan and infinities), tensor and complex (a name in the file).
    """
    if isinstance(value, Tensor | np.ndarray):
        return _encoded_array(value, keys, arrays)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, list | tuple):
        items = [_encoded(v, (*keys, str(i)), arrays) for i, v in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str | int):
                raise TypeError(f"save: {_place(keys)} has the key {key!r}, not a str or an int")
        return {"dict": [[k, _encoded(v, (*keys, str(k)), arrays)] for k, v in value.items()]}
    raise TypeError(
        f"save: {_place(keys)} is a {type(value).__name__}; expected dicts, lists, tuples, "
        "tensors, arrays, numbers, strings, bools or None"
    )


def _encoded_array(
    value: Any, keys: tuple[str, ...], arrays: dict[str, np.ndarray[Any, Any]]
) -> dict[str, str]:
    try:
        tensor = value if isinstance(value, Tensor) else asarray(value, backend="numpy")
        array = tensor.to_host()
    except TypeError as error:
        raise TypeError(f"save: {_place(keys)}: {error}") from error
    name = ".".join(keys)
    # Different keys can give one name: {"a.b": x, "a": {"b": y}}. "__metadata__" is the format's.
    while name in arrays or name == "__metadata__":
        name += "'"
    array = np.asarray(array, order="C")
    kind = "tensor"
    if array.dtype.kind == "c":  # not every reader of the format knows complex numbers
        kind, real = "complex", array.real.dtype
        array = array.reshape(-1).view(real).reshape(*array.shape, 2)
    arrays[name] = array
    return {kind: name}


def _if_pickled(path: str | os.PathLike[str]) -> str:
    """Return what to do with a file of `torch.save`, which is a ZIP archive or a pickle."""
    start = Path(path).read_bytes()[:2]
    return (
        "; if it is from torch.save, save it there by safetensors.torch.save_file"
        if start in (b"PK", b"\x80\x02")
        else ""
    )


def _decoded(code: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(code, list):
        return [_decoded(c, arrays) for c in code]
    if not isinstance(code, dict):
        return code
    ((kind, content),) = code.items()
    if kind == "dict":
        return {key: _decoded(c, arrays) for key, c in content}
    if kind == "tuple":
        return tuple(_decoded(c, arrays) for c in content)
    if kind == "float":
        return float(content)
    if kind == "tensor":
        return _tensor(arrays[content])
    if kind == "complex":
        pairs = arrays[content]
        number = np.result_type(pairs, np.complex64)
        return _tensor(pairs.reshape(-1).view(number).reshape(pairs.shape[:-1]))
    raise ValueError(f"unknown kind {kind!r}")


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    return Tensor(array, backend=backends.default())


def _place(keys: tuple[str, ...]) -> str:
    return f"the value at {'.'.join(keys)!r}" if keys else "the state"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that at every moment the old one is there or the new one, whole."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"save: there is no folder {str(path.parent)!r}; create it first")
    # Not tempfile: its files are readable by their owner alone, and so would be the result.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    _writing.add(temporary.name)
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # of a write to an open file
            error.filename = str(path)
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    finally:
        _writing.discard(temporary.name)
    if hasattr(os, "O_DIRECTORY"):  # Windows cannot sync a folder
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files that processes killed while they wrote `path` have left beside it.

    Those of processes that live stay, on Windows those of all other processes. The folder is taken
    for one that this machine alone writes to.
    """
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        return
    name = re.compile(re.escape(f".{path.name}.") + r"([1-9]\d*)-[0-9a-f]{8}\.tmp", re.ASCII)
    for file in path.parent.iterdir():
        found = name.fullmatch(file.name)
        if found and file.name not in _writing and not _lives(int(found[1])):
            file.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    """Return whether a process other than this one may be there."""
    if process == os.getpid():  # what it writes itself is known
        return False
    if _WINDOWS:  # os.kill would end it there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's, or no number of a process
        return True
    return True
