"""What the commands share: the backend, the data sets, the network in a checkpoint."""

import math
import operator
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import backends
from ..data import (
    FASHION_CLASSES,
    Part,
    Splits,
    Standardizer,
    load_digits,
    load_fashion_mnist,
    load_mnist,
)
from ..nn import Sequential
from ..serialization import load
from ..train import LAST, mlp
from .parsing import Refusal, one_of

BEST_FIRST = ("cupy", "numba", "numpy")
DIGIT_CLASSES = tuple("0123456789")


#: What a checkpoint says of its network.
_ABOUT = {"settings", "architecture", "standardizer", "image", "classes"}


class Source(NamedTuple):
    """Where a data set comes from; reader: given a folder, or None for the shipped or cached."""

    reader: Callable[[Any], Splits]
    classes: tuple[str, ...]


SOURCES = {
    "digits": Source(lambda folder: load_digits(), DIGIT_CLASSES),
    "mnist": Source(load_mnist, DIGIT_CLASSES),
    "fashion-mnist": Source(load_fashion_mnist, tuple(FASHION_CLASSES)),
}


def add_data_options(add: Callable[..., Any], default: str) -> None:
    """Add --dataset, --data-dir and --backend."""
    add(
        "--dataset",
        type=one_of("data set", SOURCES),
        metavar="NAME",
        help=f"digits, which comes with minigrad, mnist or fashion-mnist (default: {default})",
    )
    add(
        "--data-dir",
        metavar="FOLDER",
        help="the folder with the four IDX files of mnist or fashion-mnist "
        "(default: downloaded once, into the user's cache folder)",
    )
    add("--backend", metavar="NAME", help="cupy, numba or numpy (default: the first usable one)")


def backend_named(asked: str | None) -> str:
    """Return the backend that an option or the environment names, otherwise the best usable one."""
    asked = asked or os.environ.get("MINIGRAD_BACKEND")
    for name in [asked] if asked else BEST_FIRST:
        try:
            return backends.get(name).name
        except (ValueError, backends.BackendUnavailable) as error:
            reason = error
    raise Refusal(reason) from reason


def read_data(dataset: str, folder: str | None) -> Splits:
    """Return a data set. Refusal, or OSError, where that cannot be."""
    if dataset == "digits" and folder is not None:
        raise Refusal("--data-dir is for mnist and fashion-mnist; the digits come with minigrad")
    try:
        return SOURCES[dataset].reader(folder)
    except ValueError as error:
        raise Refusal(error) from error


class Network(NamedTuple):
    """A network that `train` has saved, and what is needed to use it."""

    model: Sequential
    standardizer: Standardizer
    about: Mapping[str, Any]

    def rows(self, images: Any) -> Any:
        """Return images as standardised rows, float32 (n, pixels)."""
        return self.standardizer.transform(images).reshape(len(images), math.prod(images.shape[1:]))

    def pairs(self, part: Part) -> tuple[Any, Any]:
        """Return a part's images as standardised rows, and the labels."""
        return self.rows(part.images), part.labels


def new_network(about: Mapping[str, Any]) -> Network:
    """Return a network with fresh weights from what a checkpoint says of it."""
    standardizer = Standardizer(axis=None)
    standardizer.load_state_dict(about["standardizer"])
    return Network(mlp(**about["architecture"]), standardizer, about)


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Refuse a checkpoint whose content is not what `train` writes, whatever that leads to."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        raise Refusal(f"{file} is damaged: {error}") from error
    except ValueError as error:
        raise Refusal(f"{file}: {error}") from error


def read_checkpoint(path: str) -> tuple[Path, dict[str, Any]]:
    """Return a checkpoint of `train`, by its path or that of its folder, and where it was."""
    file = Path(path) / LAST if Path(path).is_dir() else Path(path)
    try:
        state = load(file)
    except ValueError as error:
        raise Refusal(str(error).removeprefix("load: ")) from error
    about = state.get("about") if isinstance(state, dict) else None
    if not isinstance(about, dict) or not set(about) >= _ABOUT or "model" not in state:
        raise Refusal(f"{file} is no checkpoint of minigrad train")
    settings, image, classes = about["settings"], about["image"], about["classes"]
    with reading(file):
        sizes = [operator.index(n) for n in image]
        if settings["dataset"] not in SOURCES or len(sizes) != 2 or min(sizes) < 1:
            raise ValueError(f"no data set {settings['dataset']!r} of images {image}")
        if len(classes) != about["architecture"]["outputs"]:
            raise ValueError(f"{len(classes)} names for {about['architecture']['outputs']} classes")
    return file, state


def saved_network(path: str) -> Network:
    """Return the network in a checkpoint."""
    file, state = read_checkpoint(path)
    with reading(file):
        network = new_network(state["about"])
        network.model.load_state_dict(state["model"])
        network.rows(np.zeros((1, *state["about"]["image"]), np.float32))
    return network


def percent(share: float) -> str:
    """Return a share as it is printed."""
    return f"{100 * share:.2f} %"
