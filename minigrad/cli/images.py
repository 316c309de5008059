"""Networks that sort images into classes, and the data sets they learn from."""

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..data import (
    FASHION_CLASSES,
    Part,
    Splits,
    Standardizer,
    load_digits,
    load_fashion_mnist,
    load_mnist,
)
from ..nn import Module
from ..train import cnn, mlp
from .common import Network
from .parsing import Refusal, location, one_of

DIGIT_CLASSES = tuple("0123456789")


class Source(NamedTuple):
    """Where a data set comes from; reader: given a folder, or None for the shipped or cached."""

    reader: Callable[[Any], Splits]
    classes: tuple[str, ...]


SOURCES = {
    "digits": Source(lambda folder: load_digits(), DIGIT_CLASSES),
    "mnist": Source(load_mnist, DIGIT_CLASSES),
    "fashion-mnist": Source(load_fashion_mnist, tuple(FASHION_CLASSES)),
}


def add_source_options(add: Callable[..., Any], default: str) -> None:
    """Add --dataset and --data-dir."""
    add(
        "--dataset",
        type=one_of("data set", SOURCES),
        metavar="NAME",
        help=f"digits, which comes with minigrad, mnist or fashion-mnist (default: {default})",
    )
    add(
        "--data-dir",
        type=location,
        metavar="FOLDER",
        help="the folder with the four IDX files of mnist or fashion-mnist "
        "(default: downloaded once, into the user's cache folder)",
    )


class ImageNetwork(Network):
    """A network that sorts images into classes, from the pixels of one size, standardised."""

    source: ClassVar[Mapping[str, Any]] = {"dataset": "digits", "data_dir": None}
    knows = frozenset({"standardizer", "image", "classes"})
    unit = "images"

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self.standardizer = Standardizer(axis=None)
        self.standardizer.load_state_dict(about["standardizer"])

    @staticmethod
    def name_data(settings: Mapping[str, Any]) -> str:
        return str(settings["dataset"])

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Splits:
        dataset, folder = settings["dataset"], settings["data_dir"]
        if dataset == "digits" and folder is not None:
            raise Refusal(
                "--data-dir is for mnist and fashion-mnist; the digits come with minigrad"
            )
        try:
            return SOURCES[dataset].reader(folder)
        except ValueError as error:
            raise Refusal(error) from error

    @staticmethod
    def content(data: Splits) -> Iterator[Any]:
        return (np.ascontiguousarray(array) for part in data for array in part)

    @classmethod
    def facts(cls, settings: Mapping[str, Any], data: Splits) -> dict[str, Any]:
        return {
            "standardizer": Standardizer(axis=None).fit(data.train.images).state_dict(),
            "image": data.train.images.shape[1:],
            "classes": SOURCES[settings["dataset"]].classes,
        }

    @classmethod
    def check(cls, about: Mapping[str, Any]) -> None:
        dataset, image = about["settings"]["dataset"], about["image"]
        sizes = [operator.index(n) for n in image]
        if dataset not in SOURCES or len(sizes) != 2 or min(sizes) < 1:
            raise ValueError(f"no data set {dataset!r} of images {image}")
        super().check(about)

    @staticmethod
    def count(part: Part) -> int:
        return len(part.labels)

    def inputs(self, images: Any) -> Any:
        """Return images (n, rows, columns) as the model takes them: float32, standardised."""
        return self.standardizer.transform(images)

    def pairs(self, part: Part) -> tuple[Any, Any]:
        size = tuple(self.about["image"])
        if part.images.shape[1:] != size:
            raise Refusal(f"the network takes images of {size} pixels, not {part.images.shape[1:]}")
        return self.inputs(part.images), part.labels


class DenseNetwork(ImageNetwork):
    """Dense layers."""

    shape: ClassVar[Mapping[str, Any]] = {"hidden": [512], "activation": "relu", "dropout": 0.0}

    @staticmethod
    def build(**architecture: Any) -> Module:
        return mlp(**architecture)

    @classmethod
    def sizes(cls, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {"inputs": math.prod(facts["image"]), "outputs": len(facts["classes"])}

    def inputs(self, images: Any) -> Any:
        rows = super().inputs(images)
        return rows.reshape(len(rows), math.prod(rows.shape[1:]))

    def describe(self) -> str:
        shape = self.about["architecture"]
        return (
            f"{_chain(shape['inputs'], *shape['hidden'], shape['outputs'])}, {shape['activation']}"
        )


class ConvolutionalNetwork(ImageNetwork):
    """Stages of convolution and pooling, then dense layers."""

    shape: ClassVar[Mapping[str, Any]] = {
        "channels": [16, 32],
        "hidden": [128],
        "activation": "relu",
        "dropout": 0.25,
    }

    @staticmethod
    def build(**architecture: Any) -> Module:
        return cnn(**architecture)

    @classmethod
    def sizes(cls, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {"image": facts["image"], "outputs": len(facts["classes"])}

    def inputs(self, images: Any) -> Any:
        return super().inputs(images)[:, None]

    def describe(self) -> str:
        shape = self.about["architecture"]
        stages = "convolutions {}×{}×{}".format(*shape["image"], _chain(1, *shape["channels"]))
        dense = _chain(*shape["hidden"], shape["outputs"])
        return f"{stages}, dense {dense}, {shape['activation']}"


def _chain(*sizes: int) -> str:
    return "-".join(map(str, sizes))
