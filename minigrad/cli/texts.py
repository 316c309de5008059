"""Networks that predict the next character of a text, and so can write."""

import operator
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ..data import TensorDataset, Vocabulary, load_text, text_windows
from ..nn import Module
from ..train import CharacterModel, CharRNN, CharTransformer
from .common import Network
from .parsing import Refusal, location

#: At the end of a run: how many texts, of how many characters, and how daring.
SAMPLES, LENGTH, TEMPERATURE = 2, 250, 0.8


def add_text_option(add: Callable[..., Any], default: str) -> None:
    """Add --text."""
    about = f"a text file in UTF-8 (default: {default})"
    add("--text", type=location, metavar="FILE", help=about)


class TextNetwork(Network):
    """A network that predicts the next character of a text."""

    model: CharacterModel

    source: ClassVar[Mapping[str, Any]] = {"text": None, "block": 64}
    habits: ClassVar[Mapping[str, Any]] = {"epochs": 5, "batch_size": 16}
    pace = 2.5
    knows = frozenset({"characters", "block"})
    unit = "characters"

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self.vocabulary = Vocabulary(about["characters"])

    @staticmethod
    def name_data(settings: Mapping[str, Any]) -> str:
        return "shakespeare" if settings["text"] is None else Path(settings["text"]).stem

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> tuple[str, str, str]:
        """Return the text without its last tenth, and the halves of that."""
        text = load_text(settings["text"])
        held_out = len(text) // 20
        ends = len(text) - 2 * held_out, len(text) - held_out
        return text[: ends[0]], text[ends[0] : ends[1]], text[ends[1] :]

    @staticmethod
    def content(data: tuple[str, str, str]) -> Iterator[bytes]:
        return (part.encode() for part in data)

    @classmethod
    def facts(cls, settings: Mapping[str, Any], data: tuple[str, str, str]) -> dict[str, Any]:
        return {"characters": Vocabulary("".join(data)).characters, "block": settings["block"]}

    @classmethod
    def sizes(cls, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {"characters": len(facts["characters"])}

    @classmethod
    def check(cls, about: Mapping[str, Any]) -> None:
        if operator.index(about["block"]) < 1:
            raise ValueError(f"windows of {about['block']} characters")
        super().check(about)

    @staticmethod
    def count(part: str) -> int:
        return len(part)

    def pairs(self, part: str) -> TensorDataset:
        codes, block = self.vocabulary.encode(part), self.about["block"]
        if len(codes) <= block:
            raise Refusal(
                f"a part of the text has {len(codes)} characters, which is no window of {block} "
                "and the next one; take a longer text, or train with a smaller --block"
            )
        # They overlap, so that most characters are predicted from far and from near.
        return text_windows(codes, block, stride=max(1, block // 4))

    def describe(self) -> str:
        shape = self.about["architecture"].items()
        words = (f"{name} {size}" for name, size in shape if name != "characters")
        return f"{self.about['settings']['model']}, {', '.join(words)}"

    def write(
        self, length: int, temperature: float, seed: int | None, prompt: str | None = None
    ) -> str:
        """Return a prompt with what the model makes of it.

        None: the beginning of a line, or where the model knows none its first character.
        """
        if prompt is None:
            known = self.vocabulary.characters
            prompt = "\n" if "\n" in known else known[0]
        codes = self.model.generate(self.vocabulary.encode(prompt), length, temperature, seed)
        return prompt + self.vocabulary.decode(codes)

    def closing(self, result: Mapping[str, float]) -> Iterator[str]:
        yield f"test loss: {result['loss']:.4f}"
        yield from super().closing(result)
        for number in range(1, SAMPLES + 1):
            yield f"\nsample {number}:"
            yield self.write(LENGTH, TEMPERATURE, number).strip("\n")


class TransformerNetwork(TextNetwork):
    """Layers of causal self-attention."""

    shape: ClassVar[Mapping[str, Any]] = {"width": 64, "heads": 4, "layers": 2, "dropout": 0.1}

    @staticmethod
    def build(**architecture: Any) -> Module:
        return CharTransformer(**architecture)

    @classmethod
    def sizes(cls, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().sizes(facts), "block": facts["block"]}


class RecurrentNetwork(TextNetwork):
    """Layers of an LSTM."""

    shape: ClassVar[Mapping[str, Any]] = {"width": 128, "layers": 1, "dropout": 0.0}

    @staticmethod
    def build(**architecture: Any) -> Module:
        return CharRNN(**architecture)
