"""Sets of small images: the digits that are shipped, MNIST and Fashion-MNIST."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..random import Generator, permutation
from .download import RemoteFile, data_folder, fetch
from .idx import read_idx

Array = np.ndarray[Any, Any]


class Part(NamedTuple):
    """Images, float32 (n, rows, columns) with pixels in [0, 1], and labels, int64 (n,)."""

    images: Array
    labels: Array

    def __repr__(self) -> str:
        kinds = (f"{name}={x.dtype} {x.shape}" for name, x in self._asdict().items())
        return f"Part({', '.join(kinds)})"


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

# Sizes and sums as TensorFlow Datasets lists them (url_checksums/mnist.txt, fashion_mnist.txt).
_MNIST_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
_MNIST_FILES = {
    ("train", "images"): RemoteFile(
        "train-images-idx3-ubyte.gz",
        9912422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    ("train", "labels"): RemoteFile(
        "train-labels-idx1-ubyte.gz",
        28881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    ("t10k", "images"): RemoteFile(
        "t10k-images-idx3-ubyte.gz",
        1648877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    ("t10k", "labels"): RemoteFile(
        "t10k-labels-idx1-ubyte.gz",
        4542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
}
_FASHION_MIRRORS = (
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)
_FASHION_FILES = {
    ("train", "images"): RemoteFile(
        "train-images-idx3-ubyte.gz",
        26421880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    ("train", "labels"): RemoteFile(
        "train-labels-idx1-ubyte.gz",
        29515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    ("t10k", "images"): RemoteFile(
        "t10k-images-idx3-ubyte.gz",
        4422102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    ("t10k", "labels"): RemoteFile(
        "t10k-labels-idx1-ubyte.gz",
        5148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
}

#: What the labels 0 to 9 of Fashion-MNIST stand for.
FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


def load_mnist(folder: str | os.PathLike[str] | None = None) -> Splits:
    """Return MNIST from its four IDX files, split 55,000 / 5,000 / 10,000.

    Without a folder the files are in the user's cache, or in `mnist` below the folder that
    MINIGRAD_DATA names; what is missing there is downloaded and checked. The files have their
    standard names, `train-images-idx3-ubyte` and so on (`.idx3-ubyte` as well), plain or with
    `.gz`. Pixels are divided by 255. The validation part is one training image in twelve, every
    class in proportion, always the same. FileNotFoundError for what is missing in a given folder;
    ConnectionError where nothing can be downloaded; ValueError, with the path, for a file that is
    not what its name says.
    """
    if folder is None:
        folder = _fetched("mnist", _MNIST_FILES, _MNIST_MIRRORS)
    return _read_splits(Path(folder))


def load_fashion_mnist(folder: str | os.PathLike[str] | None = None) -> Splits:
    """Return Fashion-MNIST, images of ten kinds of clothes, as `load_mnist` returns MNIST.

    FASHION_CLASSES names the labels. Xiao et al., "Fashion-MNIST: a novel image dataset for
    benchmarking machine learning algorithms" (2017); MIT licence.
    """
    if folder is None:
        folder = _fetched("fashion-mnist", _FASHION_FILES, _FASHION_MIRRORS)
    return _read_splits(Path(folder))


def _fetched(
    name: str, files: Mapping[tuple[str, str], RemoteFile], mirrors: Sequence[str]
) -> Path:
    """Return the data set's folder in the cache after downloading what is missing there."""
    folder = data_folder() / name
    for (part, kind), file in files.items():
        try:
            _find(folder, part, kind)
        except FileNotFoundError:
            fetch(file, mirrors, folder)
    return folder


def _read_splits(folder: Path) -> Splits:
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
