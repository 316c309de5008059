"""Single images: PNG, JPEG, and arrays in .npy files."""

import os
from collections.abc import Sequence
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from ..messages import first_true

Array = np.ndarray[Any, Any]
Size = tuple[int, int]


def read_image(path: str | os.PathLike[str], size: int | Sequence[int] | None = None) -> Array:
    """Return an image in shades of gray, float32 (rows, columns) in [0, 1].

    From a PNG or JPEG file (colours by their luminance, transparent pixels white; needs Pillow),
    or an array in a .npy file: uint8, uint16, bool, or floats in [0, 1]. size: as `load_images`
    takes it. FileNotFoundError for a missing file, ValueError for one that is no such image.
    """
    path, scaled = Path(path), rows_and_columns(size)
    if path.suffix.lower() == ".npy":
        return _scaled(_read_npy(path), scaled)
    return read_picture(path, scaled, gray=True)


#: What a white pixel is in each dtype.
_WHITE = {
    np.dtype(name): white
    for name, white in {
        "uint8": 255,
        "uint16": 65535,
        "bool": 1,
        "float16": 1,
        "float32": 1,
        "float64": 1,
    }.items()
}


def _read_npy(path: Path) -> Array:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        # A map asks the file's size, not the header, how much there is to read.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        native = array.dtype.newbyteorder("=")
    except Exception as error:  # a damaged header fails in any way: it is evaluated as Python
        raise ValueError(f"{path} is no .npy file of numbers: {error}") from error
    if array.ndim != 2 or not array.size or native not in _WHITE:
        raise ValueError(
            f"{path}: expected an image (rows, columns) of {', '.join(map(str, _WHITE))}, found "
            f"{native} {array.shape}"
        )
    if native == np.bool_:
        array = array.view(np.uint8)  # a damaged file has other bytes than 0 and 1
    with np.errstate(invalid="ignore", under="ignore"):  # signalling nan; float64 near 0
        inside = (array >= 0) & (array <= _WHITE[native])
        if not inside.all():
            first = first_true(~inside)
            upper = 1 if native.kind == "f" else _WHITE[native]
            raise ValueError(
                f"{path}: pixels of {native} must lie in [0, {upper}], found {array[first]} at "
                f"{first}"
            )
        return np.ascontiguousarray(array, np.float32) / np.float32(_WHITE[native])


def read_picture(path: Path, size: Size | None, gray: bool = False) -> Array:
    """Return an image file as float32 in [0, 1]: (rows, columns), or (3, rows, columns)."""
    pillow, operations = _pillow()
    try:
        with pillow.open(path, formats=("PNG", "JPEG")) as file:
            file.load()
            try:
                image = operations.exif_transpose(file)
            except Exception:  # damaged metadata; the pixels are whole
                image = file
        if image.mode.startswith("I"):  # 16 bits, which Pillow would cut off
            return _scaled(np.asarray(image).astype(np.float32) / np.float32(65535), size)
        shade = gray or image.mode in ("1", "L", "LA")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if shade else "RGB")
    except (FileNotFoundError, PermissionError, IsADirectoryError, MemoryError):
        raise
    except Exception as error:  # damaged files make Pillow raise nearly anything
        fault = str(error) or type(error).__name__
        raise ValueError(f"{path} is no whole PNG or JPEG image: {fault}") from error
    if size is not None:
        image = image.resize(size[::-1], pillow.Resampling.BILINEAR)
    pixels: Array = np.asarray(image).astype(np.float32) / np.float32(255)
    return pixels if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def _scaled(image: Array, size: Size | None) -> Array:
    """Return a gray float32 image in another size."""
    if size is None or image.shape == size:
        return image
    pillow, _ = _pillow()
    resized = pillow.fromarray(image).resize(size[::-1], pillow.Resampling.BILINEAR)
    return np.array(resized, np.float32)


def rows_and_columns(size: int | Sequence[int] | None) -> Size | None:
    """Return the size to scale to, as two whole numbers of at least 1."""
    if size is None:
        return None
    sides = (size, size) if np.ndim(size) == 0 else tuple(size)  # type: ignore[arg-type]
    try:
        whole = tuple(map(index, sides))  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"size must be whole numbers, (rows, columns) or one for both, got {size!r}"
        ) from None
    if len(whole) != 2 or min(whole) < 1:
        raise ValueError(f"size must be (rows, columns) of at least 1, got {size!r}")
    return whole


def _pillow() -> tuple[Any, Any]:
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise ImportError(
            f'images need Pillow ({error}); install it with: pip install "minigrad[images]"'
        ) from error
    return PIL.Image, PIL.ImageOps
