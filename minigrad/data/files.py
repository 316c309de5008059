"""Own data: tables as CSV, folders of images."""

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..messages import did_you_mean

Array = np.ndarray[Any, Any]
Size = tuple[int, int]

_WHOLE = re.compile(r"[+-]?\d{1,18}")
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_SUFFIXES = {".png", ".jpg", ".jpeg"}


class Table(NamedTuple):
    """The rows of a CSV file.

    x: float32 (n, features). y: the targets (n,): int64 codes into `classes`, or, where the file
    has numbers and `classes` is empty, int64 if all are whole, float32 otherwise.
    """

    x: Array
    y: Array
    classes: tuple[str, ...]


class ImageFolder(NamedTuple):
    """Images, float32 (n, rows, columns) or, with colours, (n, 3, rows, columns), in [0, 1].

    labels: int64 (n,), positions in `classes`.
    """

    images: Array
    labels: Array
    classes: tuple[str, ...]


def load_csv(
    path: str | os.PathLike[str],
    target: int | str = -1,
    delimiter: str = ",",
    header: bool | None = None,
) -> Table:
    """Return the table in a CSV file: one column is the target, the others are features.

    target: the column's position, or its name in the header. Text in it names classes, which are
        numbered in alphabetical order.
    header: whether the first line names the columns; None: it does if no cell of it is a number.

    ValueError, with file, line and column, for a cell that should be a finite number and is not.
    """
    lines = _read_lines(path, delimiter)
    start, first = lines[0]
    if header is None:
        header = all(_number(cell) is None for cell in first)
    names = first if header else [str(1 + i) for i in range(len(first))]
    column = _column(path, target, names, header)
    rows = lines[1:] if header else lines
    if not rows:
        raise ValueError(f"{path} has a header and no rows below it")
    for line, cells in rows:
        if len(cells) != len(first):
            raise ValueError(
                f"{path}, line {line}: expected {len(first)} cells, as line {start} has, found "
                f"{len(cells)}"
            )

    def numbers(column: int) -> list[float]:
        values = []
        for line, cells in rows:
            value = _number(cells[column])
            if value is None:
                hint = "; header=True if this line names the columns" if line == start else ""
                raise ValueError(
                    f"{path}, line {line}, column {names[column]!r}: expected a finite number, "
                    f"found {cells[column]!r}{hint}"
                )
            values.append(value)
        return values

    features = [numbers(i) for i in range(len(first)) if i != column]
    x = np.ascontiguousarray(np.array(features, np.float32).T)
    targets = [cells[column] for _, cells in rows]
    if all(cell and _number(cell) is None for cell in targets):
        classes, codes = np.unique(targets, return_inverse=True)
        return Table(x, codes.astype(np.int64), tuple(classes.tolist()))
    if all(map(_WHOLE.fullmatch, targets)):
        return Table(x, np.array([int(cell) for cell in targets]), ())
    return Table(x, np.array(numbers(column), np.float32), ())


def _read_lines(path: str | os.PathLike[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """Return the number and the cells of each line that is not blank."""
    # utf-8-sig: spreadsheets begin a file with a byte order mark.
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter=delimiter)
        try:
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is no CSV file in UTF-8: {error}") from error
    if not lines:
        raise ValueError(f"{path} is empty")
    if len(lines[0][1]) < 2:
        raise ValueError(
            f"{path}: expected a target and one feature or more, found one column; is the "
            f"delimiter {delimiter!r}?"
        )
    return lines


def _column(
    path: str | os.PathLike[str], target: int | str, names: Sequence[str], header: bool
) -> int:
    """Return the position of the target's column."""
    if isinstance(target, str):
        if not header:
            raise ValueError(
                f"{path} has no line that names its columns, so {target!r} is not known; give the "
                "target's position, or header=True"
            )
        if target not in names:
            raise ValueError(
                f"{path} has no column {target!r}, only {', '.join(names)}"
                f"{did_you_mean(target, names)}"
            )
        return names.index(target)
    if not -len(names) <= target < len(names):
        raise ValueError(f"{path} has {len(names)} columns, none at position {target}")
    return target % len(names)


def _number(cell: str) -> float | None:
    """Return the number in a cell; None where it is none, or not finite in float32."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if abs(value) <= _FLOAT32_MAX and "_" not in cell else None


def load_images(folder: str | os.PathLike[str], size: int | Size | None = None) -> ImageFolder:
    """Return the PNG and JPEG images below a folder that has a sub-folder for each class.

    size: (rows, columns), or one number for both, to which all are scaled; without it they must
        be of one size. Classes and images are in alphabetical order. Where any image has colours,
        all are given three channels. Transparent pixels become white.

    FileNotFoundError for a missing folder; ValueError for a folder without classes, a class
    without images, images of different sizes, and a file that is damaged. Needs Pillow.
    """
    folder, size = Path(folder), _rows_and_columns(size)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    classes = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
    if not classes:
        raise ValueError(f"{folder}: expected a sub-folder of images for each class, found none")
    images: list[Array] = []
    labels: list[int] = []
    first = None
    for label, name in enumerate(classes):
        paths = [p for p in sorted((folder / name).rglob("*")) if p.suffix.lower() in _SUFFIXES]
        if not paths:
            raise ValueError(f"{folder / name} has no PNG or JPEG image")
        for path in paths:
            image = _read_picture(path, size)
            first = first or path
            if images and image.shape[-2:] != images[0].shape[-2:]:
                raise ValueError(
                    f"{path} has {_pixels(image)} pixels, but {first} {_pixels(images[0])}; "
                    "size=(rows, columns) scales all to one size"
                )
            images.append(image)
            labels.append(label)
    if any(image.ndim == 3 for image in images):
        shape = (3, *images[0].shape[-2:])
        images = [np.broadcast_to(image, shape) for image in images]
    return ImageFolder(np.stack(images), np.array(labels, np.int64), tuple(classes))


def read_image(path: str | os.PathLike[str], size: int | Size | None = None) -> Array:
    """Return an image in shades of gray, float32 (rows, columns) in [0, 1].

    From a PNG or JPEG file (colours by their luminance, transparent pixels white; needs Pillow),
    or an array in a .npy file: uint8, uint16, bool, or floats in [0, 1]. size: as `load_images`
    takes it. FileNotFoundError for a missing file, ValueError for one that is no such image.
    """
    path, size = Path(path), _rows_and_columns(size)
    if path.suffix.lower() == ".npy":
        return _scaled(_read_npy(path), size)
    return _read_picture(path, size, gray=True)


def _read_npy(path: Path) -> Array:
    try:
        with open(path, "rb") as file:
            array: Array = np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path} is no .npy file of numbers: {error}") from error
    if array.ndim != 2 or not array.size or array.dtype not in _WHITE:
        raise ValueError(
            f"{path}: expected an image (rows, columns) of {', '.join(map(str, _WHITE))}, found "
            f"{array.dtype} {array.shape}"
        )
    inside = (array >= 0) & (array <= _WHITE[array.dtype])
    if not inside.all():
        first = tuple(np.argwhere(~inside)[0].tolist())
        raise ValueError(
            f"{path}: pixels of {array.dtype} must lie in [0, 1], found {array[first]} at {first}"
        )
    return array.astype(np.float32) / np.float32(_WHITE[array.dtype])


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


def _read_picture(path: Path, size: Size | None, gray: bool = False) -> Array:
    """Return an image file as float32 in [0, 1]: (rows, columns), or (3, rows, columns)."""
    pillow, operations = _pillow()
    try:
        with pillow.open(path, formats=("PNG", "JPEG")) as file:
            image = operations.exif_transpose(file)
            if image.mode.startswith("I"):  # 16 bits, which Pillow would cut off
                return _scaled(np.asarray(image).astype(np.float32) / np.float32(65535), size)
            shade = gray or image.mode in ("1", "L", "LA")
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image)
            image = image.convert("L" if shade else "RGB")
            if size is not None:
                image = image.resize(size[::-1], pillow.Resampling.BILINEAR)
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
        raise ValueError(f"{path} is no whole PNG or JPEG image: {error}") from error
    pixels: Array = np.asarray(image).astype(np.float32) / np.float32(255)
    return pixels if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def _scaled(image: Array, size: Size | None) -> Array:
    """Return a gray float32 image in another size."""
    if size is None or image.shape == size:
        return image
    pillow, _ = _pillow()
    resized = pillow.fromarray(image).resize(size[::-1], pillow.Resampling.BILINEAR)
    return np.array(resized, np.float32)


def _rows_and_columns(size: int | Size | None) -> Size | None:
    if size is None:
        return None
    rows, columns = (size, size) if isinstance(size, int) else size
    if min(rows, columns) < 1:
        raise ValueError(f"size must be (rows, columns) of at least 1, got {size}")
    return rows, columns


def _pixels(image: Array) -> str:
    return "×".join(map(str, image.shape[-2:]))


def _pillow() -> tuple[Any, Any]:
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise ImportError(
            f'images need Pillow ({error}); install it with: pip install "minigrad[images]"'
        ) from error
    return PIL.Image, PIL.ImageOps
