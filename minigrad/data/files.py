"""Own data: tables as CSV, folders of images."""

import io
import os
import re
from collections.abc import Sequence
from itertools import chain, dropwhile, islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from ..messages import did_you_mean
from .images import read_picture, rows_and_columns

Array = np.ndarray[Any, Any]

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
    classes: Sequence[str] | None = None,
) -> Table:
    """Return the table in a CSV file: one column is the target, the others are features.

    target: the column's position, or its name in the header. Text in it names classes, which are
        numbered in alphabetical order.
    header: whether the first line names the columns; None: it does if no cell of it is a number.
    classes: the names that the target may have, numbered in this order; none of them: it has
        numbers. A file for testing takes the `classes` of the table trained with: on its own it
        would number those that are in it.

    ValueError, with file, line and column, for a cell that should be a finite number, or one of
    the classes, and is not.
    """
    known = None if classes is None else _different(classes)
    if not isinstance(target, str | int | np.integer):
        raise TypeError(f"load_csv: target must be a column's position or name, got {target!r}")
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise ValueError(
            "load_csv: delimiter must be one character, no quote and no line end, got "
            f"{delimiter!r}"
        )
    file = _File(path, Path(path).read_bytes(), delimiter)
    ((start, first),) = file.rows(1)
    if len(first) < 2:
        raise ValueError(
            f"{path}: expected a target and one feature or more, found one column; is the "
            f"delimiter {delimiter!r}?"
        )
    if header is None:
        header = all(_number(cell) is None for cell in first)
    names = first if header else [str(1 + i) for i in range(len(first))]
    layout = _Layout(file, start, header, names, _column(path, target, names, header))
    x, targets = _read_quickly(layout) or _read_cells(layout)
    return Table(x, *_labels(layout, targets, known))


class _File(NamedTuple):
    """A CSV file: read once, as it may be a pipe."""

    path: str | os.PathLike[str]
    content: bytes
    delimiter: str

    def opened(self) -> TextIO:
        """Return the file as text, its line ends as they are."""
        # utf-8-sig: spreadsheets begin a file with a byte order mark.
        return io.TextIOWrapper(io.BytesIO(self.content), encoding="utf-8-sig", newline="")

    def rows(self, count: int | None = None) -> list[tuple[int, list[str]]]:
        """Return the line and the cells of each row, or of the first ones, that is not blank."""
        import csv  # on first use: imports stay quick

        reader = csv.reader(self.opened(), delimiter=self.delimiter)
        rows = ((reader.line_num, [cell.strip() for cell in row]) for row in reader if _cells(row))
        try:
            read = list(islice(rows, count))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{self.path} is no CSV file in UTF-8: {error}") from error
        if not read:
            raise ValueError(f"{self.path} is empty")
        return read


def _cells(row: Sequence[str]) -> bool:
    """Return whether a row has cells: a line of spaces has not."""
    return len(row) > 1 or any(map(str.strip, row))


class _Layout(NamedTuple):
    """How a file is to be read. start: the line that its first row ends in."""

    file: _File
    start: int
    header: bool
    names: list[str]
    target: int

    def fault(
        self, line: int, column: int, cell: str, expected: str = "a finite number", meant: str = ""
    ) -> ValueError:
        """Return the error for a cell."""
        hint = "; header=True if this line names the columns" if line == self.start else ""
        return ValueError(
            f"{self.file.path}, line {line}, column {self.names[column]!r}: expected {expected}, "
            f"found {cell!r}{meant}{hint}"
        )


def _read_quickly(layout: _Layout) -> tuple[Array, list[str]] | None:
    """Return what `_read_cells` does, ten times as fast; None where that has to look."""
    import csv

    targets: list[str] = []

    def keep(cell: str) -> float:
        targets.append(cell.strip())
        return 0.0

    try:
        text, delimiter = layout.file.opened(), layout.file.delimiter
        if layout.header:
            next(filter(_cells, csv.reader(text, delimiter=delimiter)))
        lines = dropwhile(lambda line: not line.strip("\r\n"), text)
        # Without a row np.loadtxt would warn.
        if (line := next(lines, None)) is None:
            return None
        numbers = np.loadtxt(
            chain([line], lines),
            comments=None,
            delimiter=delimiter,
            converters={layout.target: keep},
            ndmin=2,
            quotechar='"',
        )
    except ValueError:
        return None
    if numbers.shape[1] != len(layout.names) or not np.abs(numbers).max() <= _FLOAT32_MAX:
        return None
    with np.errstate(under="ignore"):
        x = numbers.astype(np.float32)
    return np.delete(x, layout.target, axis=1), targets


def _read_cells(layout: _Layout) -> tuple[Array, list[str]]:
    """Return the features, float32 (n, features), and the target's cells; see to each cell."""
    rows, path = layout.file.rows()[layout.header :], layout.file.path
    columns = len(layout.names)
    if not rows:
        raise ValueError(f"{path} has a header and no rows below it")
    for line, cells in rows:
        if len(cells) != columns:
            raise ValueError(
                f"{path}, line {line}: expected {columns} cells, as line {layout.start} has, "
                f"found {len(cells)}"
            )

    def numbers(column: int) -> list[float]:
        values = []
        for line, cells in rows:
            value = _number(cells[column])
            if value is None:
                raise layout.fault(line, column, cells[column])
            values.append(value)
        return values

    features = [numbers(i) for i in range(columns) if i != layout.target]
    x = np.ascontiguousarray(np.array(features, np.float32).T)
    return x, [cells[layout.target] for _, cells in rows]


def _labels(
    layout: _Layout, targets: list[str], classes: tuple[str, ...] | None
) -> tuple[Array, tuple[str, ...]]:
    """Return y and the classes of a Table."""

    def fault(row: int, *words: str) -> ValueError:
        line, _ = layout.file.rows()[row + layout.header]
        return layout.fault(line, layout.target, targets[row], *words)

    found, numeric = set(targets), classes == ()
    if classes is None:
        text = all(cell and _number(cell) is None for cell in found)
        classes = tuple(sorted(found)) if text else ()
    if classes:
        codes = {name: code for code, name in enumerate(classes)}
        if found - codes.keys():
            row = next(row for row, cell in enumerate(targets) if cell not in codes)
            expected = f"one of the classes {', '.join(classes)}"
            raise fault(row, expected, did_you_mean(targets[row], classes))
        return np.array([codes[cell] for cell in targets], np.int64), classes
    whole = re.compile(r"[+-]?\d{1,4000}")
    if all(map(whole.fullmatch, targets)):
        integers = [int(cell) for cell in targets]
        try:
            return np.array(integers, np.int64), ()
        except OverflowError:
            row = next(row for row, n in enumerate(integers) if not -(2**63) <= n < 2**63)
            raise fault(row, "a whole number of 64 bits") from None
    values = [_number(cell) for cell in targets]
    if None in values:
        raise fault(values.index(None)) if numeric else fault(*_odd_one(targets, values))
    return np.array(values, np.float32), ()


def _odd_one(targets: list[str], values: list[float | None]) -> tuple[int, str]:
    """Return the row of the first target that is unlike most, and what it should be."""
    empty = [row for row, cell in enumerate(targets) if not cell]
    names = [row for row, cell in enumerate(targets) if cell and values[row] is None]
    numbers = [row for row, value in enumerate(values) if value is not None]
    if len(names) > len(numbers):
        return (empty or numbers)[0], "the name of a class"
    return (empty or names)[0], "a finite number"


def _different(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of classes, refuse those that are not different texts."""
    names = tuple(classes)
    if isinstance(classes, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"classes must be a sequence of names, got {classes!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"classes must be different names, got {', '.join(names)}")
    return tuple(map(str, names))


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
        if names.count(target) > 1:
            positions = [i for i, name in enumerate(names) if name == target]
            raise ValueError(
                f"{path} has several columns {target!r}, at {', '.join(map(str, positions))}; give "
                "the target's position"
            )
        return names.index(target)
    if not -len(names) <= target < len(names):
        raise ValueError(f"{path} has {len(names)} columns, none at position {target}")
    return int(target) % len(names)


def _number(cell: str) -> float | None:
    """Return the number in a cell; None where it is none, or not finite in float32."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if abs(value) <= _FLOAT32_MAX and "_" not in cell else None


def load_images(
    folder: str | os.PathLike[str],
    size: int | Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
) -> ImageFolder:
    """Return the PNG and JPEG images below a folder that has a sub-folder for each class.

    size: (rows, columns), or one number for both, to which all are scaled; without it they must
        be of one size. Classes and images are in alphabetical order. Where any image has colours,
        all are given three channels. Transparent pixels become white.
    classes: the names that sub-folders may have, numbered in this order, which the images take as
        well. A folder for testing takes the `classes` of the one trained with: on its own it would
        number those that are in it.

    FileNotFoundError for a missing folder; ValueError for a folder without classes, a sub-folder
    that is none of `classes` or has no images, images of different sizes, and a file that is
    damaged. Needs Pillow.
    """
    folder, scaled = Path(folder), rows_and_columns(size)
    known = None if classes is None else _different(classes)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
    if not found:
        raise ValueError(f"{folder}: expected a sub-folder of images for each class, found none")
    names = tuple(found) if known is None else known
    for name in found:
        if name not in names:
            raise ValueError(
                f"{folder / name}: expected one of the classes {', '.join(names) or '(none given)'}"
                f"{did_you_mean(name, names)}"
            )
    images: list[Array] = []
    labels: list[int] = []
    first = None
    for name in sorted(found, key=names.index):
        paths = [p for p in sorted((folder / name).rglob("*")) if p.suffix.lower() in _SUFFIXES]
        if not paths:
            raise ValueError(f"{folder / name} has no PNG or JPEG image")
        for path in paths:
            image = read_picture(path, scaled)
            first = first or path
            if images and image.shape[-2:] != images[0].shape[-2:]:
                raise ValueError(
                    f"{path} has {_pixels(image)} pixels, but {first} {_pixels(images[0])}; "
                    "size=(rows, columns) scales all to one size"
                )
            images.append(image)
            labels.append(names.index(name))
    if any(image.ndim == 3 for image in images):
        shape = (3, *images[0].shape[-2:])
        images = [np.broadcast_to(image, shape) for image in images]
    return ImageFolder(np.stack(images), np.array(labels, np.int64), names)


def _pixels(image: Array) -> str:
    return "×".join(map(str, image.shape[-2:]))
