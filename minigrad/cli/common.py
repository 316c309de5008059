"""What the commands share: the backend, and what a network is to them."""

import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, ClassVar

from .. import backends
from ..nn import Module
from .parsing import Refusal

BEST_FIRST = ("cupy", "numba", "numpy")

#: The parts of a data set, in the order of what `Network.read` returns.
PARTS = ("train", "validation", "test")

#: Settings that say where the data are, which may have moved when a run is gone on with.
PLACES = ("data_dir", "text")


class Network(ABC):
    """A network that `train` has made, with what is needed to use it.

    A subclass for each model; above them, one for each kind of data. about: what a checkpoint says
    beside the weights: the settings of the run, the arguments of `build` as "architecture", the
    checksum of the data, and the facts about them.
    """

    #: Settings that say where the data come from, and what is taken where nothing is said.
    source: ClassVar[Mapping[str, Any]]
    #: Settings that are arguments of `build`.
    shape: ClassVar[Mapping[str, Any]]
    #: Defaults of its own for settings that every run has.
    habits: ClassVar[Mapping[str, Any]] = {}
    #: What the optimizers' usual learning rates are multiplied by.
    pace: ClassVar[float] = 1.0
    #: The names of the facts.
    knows: ClassVar[frozenset[str]]
    #: What the data consist of, in the plural.
    unit: ClassVar[str]

    def __init__(self, about: Mapping[str, Any]) -> None:
        self.about = about
        self.model = self.build(**about["architecture"])

    @classmethod
    def new(cls, settings: Mapping[str, Any], data: Any) -> "Network":
        """Return a network with fresh weights for the parts of a data set."""
        facts = cls.facts(settings, data)
        architecture = {**cls.sizes(facts), **{name: settings[name] for name in cls.shape}}
        about = {"settings": dict(settings), "architecture": architecture}
        return cls({**about, "checksum": cls.checksum(data), **facts})

    @classmethod
    def checksum(cls, data: Any) -> int:
        """Return what tells data of other content, but for chance, from these."""
        return reduce(lambda before, part: zlib.crc32(part, before), cls.content(data), 0)

    @staticmethod
    @abstractmethod
    def build(**architecture: Any) -> Module:
        """Return the module."""

    @staticmethod
    @abstractmethod
    def name_data(settings: Mapping[str, Any]) -> str:
        """Return what the data are called."""

    @classmethod
    @abstractmethod
    def read(cls, settings: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Return the PARTS of the data. Refusal, or OSError, where that cannot be."""

    @staticmethod
    @abstractmethod
    def content(data: Any) -> Iterator[Any]:
        """Give all that the parts of the data consist of."""

    @classmethod
    @abstractmethod
    def facts(cls, settings: Mapping[str, Any], data: Any) -> dict[str, Any]:
        """Return what has to be known of the data to use the network."""

    @classmethod
    @abstractmethod
    def sizes(cls, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of `build` that the data decide."""

    @classmethod
    def check(cls, about: Mapping[str, Any]) -> None:
        """Raise any error where what a checkpoint says makes no sense."""
        for name in ("backend", *PLACES):
            if not isinstance(said := about["settings"].get(name), str | None):
                raise TypeError(f"the setting {name} is {said!r}")
        for name, size in cls.sizes(about).items():
            if about["architecture"][name] != size:
                raise ValueError(
                    f"{name} of the architecture are {about['architecture'][name]}, those of the "
                    f"data {size}"
                )

    @staticmethod
    @abstractmethod
    def count(part: Any) -> int:
        """Return how many units a part of the data has."""

    @abstractmethod
    def pairs(self, part: Any) -> Any:
        """Return a part of the data as inputs and targets. Refusal where it does not fit."""

    @abstractmethod
    def describe(self) -> str:
        """Return the architecture in words."""

    def closing(self, result: Mapping[str, float]) -> Iterator[str]:
        """Give the last lines of a run, from what `Trainer.evaluate` gave for the test part."""
        yield f"test accuracy: {percent(result['accuracy'])}"


def add_backend_option(add: Callable[..., Any]) -> None:
    """Add --backend."""
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


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Refuse a checkpoint whose content is not what `train` writes, whatever that leads to."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        raise Refusal(f"{file} is damaged: {error}") from error
    except ValueError as error:
        raise Refusal(f"{file}: {error}") from error


def percent(share: float) -> str:
    """Return a share as it is printed."""
    return f"{100 * share:.2f} %"
