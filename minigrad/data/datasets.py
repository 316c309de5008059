"""Sets of handwritten digits: the one that is shipped, and MNIST from its files."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..random import Generator, permutation
from .idx import read_idx

Array = np.ndarray[Any, Any]


class Part(NamedTuple):
    """Images, float32 (n, rows, columns) with pixels in [0, 1], and labels, int64 (n,)."""

    images: Array
    labels: Array


class Splits(NamedTuple):
    """A data set in its three parts: to learn from, to choose settings by, to judge with."""

    train: Part
    validation: Part
    test: Part


def load_digits() -> Splits:
    """Return the shipped 8×8 digits, split 1,257 / 270 / 270, every class in proportion.

    Pixels are the file's 0 to 16, divided by 16. The split never changes. Source and licence:
    DIGITS.md beside the file.
    """
    with np.load(Path(__file__).with_name("digits.npz")) as file:
        images, labels = file["images"], file["labels"]
    whole = _part(images, 16, labels)
    rest, held_out = _hold_out(whole, 540)
    return Splits(rest, *_hold_out(held_out, 270))


_DATASET_FILES = {
    "images": "{part}-images{mark}idx3-ubyte{packed}",
    "labels": "{part}-labels{mark}idx1-ubyte{packed}",
}


def load_mnist(folder: str | os.PathLike[str]) -> Splits:
    """Return MNIST from the four IDX files in a folder, split 55,000 / 5,000 / 10,000.

    The files have their standard names, `train-images-idx3-ubyte` and so on (`.idx3-ubyte` as
    well), plain or with `.gz`. Pixels are divided by 255. The validation part is one training
    image in twelve, every class in proportion, always the same. FileNotFoundError for what is
    missing; ValueError, with the path, for a file that is not what its name says.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    learn, test = _read_pair(folder, "train"), _read_pair(folder, "t10k")
    if learn.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"{folder}: training images of {learn.images.shape[1:]} pixels, "
            f"but test images of {test.images.shape[1:]}"
        )
    return Splits(*_hold_out(learn, len(learn.labels) // 12), test)


def _read_pair(folder: Path, part: str) -> Part:
    image_file, label_file = (_find(folder, part, kind) for kind in _DATASET_FILES)
    images, labels = read_idx(image_file), read_idx(label_file)
    if images.ndim != 3 or images.dtype != np.uint8 or not images.size:
        raise ValueError(
            f"{image_file}: expected images, uint8 (n, rows, columns), "
            f"found {images.dtype} {images.shape}"
        )
    if labels.ndim != 1 or labels.dtype != np.uint8:
        raise ValueError(
            f"{label_file}: expected labels, uint8 (n,), found {labels.dtype} {labels.shape}"
        )
    if len(images) != len(labels):
        raise ValueError(f"{label_file}: {len(labels)} labels for {len(images)} images")
    if labels.max() > 9:
        first = int(np.argmax(labels > 9))
        raise ValueError(
            f"{label_file}: labels must be digits, found {labels[first]} at position {first}"
        )
    return _part(images, 255, labels)


def _find(folder: Path, part: str, kind: str) -> Path:
    names = [
        _DATASET_FILES[kind].format(part=part, mark=mark, packed=packed)
        for mark in "-."
        for packed in ("", ".gz")
    ]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{folder} has no {part} {kind}: looked for {', '.join(names)}")


def _part(images: Array, white: int, labels: Array) -> Part:
    return Part(images.astype(np.float32) / np.float32(white), labels.astype(np.int64))


def _hold_out(part: Part, count: int) -> tuple[Part, Part]:
    """Return a part without `count` of its rows, and those; both have the classes in proportion."""
    # minigrad's own generator: NumPy's streams may change from one version to the next.
    shuffled = permutation(len(part.labels), generator=Generator(0), backend="numpy").numpy()
    by_class = shuffled[np.argsort(part.labels[shuffled], kind="stable")]
    held_out = np.zeros(len(by_class), dtype=bool)
    held_out[by_class[np.arange(count) * len(by_class) // max(count, 1)]] = True
    rest, chosen = (Part(*(array[rows] for array in part)) for rows in (~held_out, held_out))
    return rest, chosen
