"""Texts by character: the one that is shipped or any other, in numbers and cut into windows."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Tensor
from ..messages import first_true
from .base import TensorDataset

Array = np.ndarray[Any, Any]


def load_text(path: str | os.PathLike[str] | None = None) -> str:
    """Return the text of a UTF-8 file, its lines ended by a newline alone.

    None: the shipped 100 KB of Shakespeare; source: SHAKESPEARE.md beside the file.
    FileNotFoundError where there is none; ValueError, with the path, for an empty file and for one
    that is not UTF-8.
    """
    path = Path(__file__).with_name("shakespeare.txt") if path is None else Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8: byte {error.object[error.start]:#04x} at position "
            f"{error.start}; save it as UTF-8"
        ) from error
    if not text:
        raise ValueError(f"{path} is empty")
    return text


class Vocabulary:
    """The different characters of a text, sorted; the number of one is its place among them."""

    def __init__(self, text: str) -> None:
        if not text:
            raise ValueError("Vocabulary: expected a text with at least one character")
        self.characters = "".join(sorted(set(text)))
        self._codes = {character: code for code, character in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def __repr__(self) -> str:
        return f"Vocabulary({self.characters!r})"

    def encode(self, text: str) -> Array:
        """Return the numbers of a text's characters, int64 (n,). ValueError names unknown ones."""
        if unknown := sorted(set(text) - self._codes.keys()):
            raise ValueError(
                f"Vocabulary: unknown {'characters' if unknown[1:] else 'character'} "
                f"{_listed(unknown)}; known are {_listed(self.characters)}"
            )
        return np.array([self._codes[character] for character in text], np.int64)

    def decode(self, codes: Any) -> str:
        """Return the text of numbers (n,). IndexError names the first that is out of range."""
        host = codes.numpy() if isinstance(codes, Tensor) else np.asarray(codes)
        if host.ndim != 1 or (host.size and host.dtype.kind not in "iu"):
            raise TypeError(
                f"Vocabulary: expected whole numbers (n,), got {host.dtype} {host.shape}"
            )
        outside = (host < 0) | (host >= len(self))
        if outside.any():
            (first,) = first_true(outside)
            raise IndexError(
                f"Vocabulary: codes must lie in [0, {len(self)}), got {host[first]} at position "
                f"{first}"
            )
        return "".join(self.characters[code] for code in host)


def _listed(characters: Sequence[str]) -> str:
    return ", ".join(map(repr, characters[:8])) + ", ..." * (len(characters) > 8)


def text_windows(codes: Any, block: int, stride: int | None = None) -> TensorDataset:
    """Return windows of a text in numbers (n,), each with its successors: two arrays (m, block).

    A window begins at every stride-th place; at every block-th unless given, so that each character
    has to be predicted once. What is left at the end for no whole window goes unused. The arrays
    share memory with the codes. ValueError for fewer than block + 1 of them.
    """
    host = codes.numpy() if isinstance(codes, Tensor) else np.asarray(codes)
    stride = block if stride is None else stride
    if block < 1 or stride < 1:
        raise ValueError(
            f"text_windows: block and stride must be at least 1, got {block} and {stride}"
        )
    if host.ndim != 1 or len(host) <= block:
        raise ValueError(
            f"text_windows: windows of {block} and what follows them need at least {block + 1} "
            f"characters, got shape {host.shape}"
        )
    windows = np.lib.stride_tricks.sliding_window_view(host, block + 1)[::stride]
    return TensorDataset(windows[:, :-1], windows[:, 1:])
