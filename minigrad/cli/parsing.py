"""Options in general: kinds of values, and errors that name the nearest thing that exists."""

import argparse
import math
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NoReturn

from ..messages import did_you_mean


class Refusal(Exception):
    """What a command cannot do; the message is the line that the user gets."""


def complain(line: str, code: int = 2) -> int:
    """Print one line on standard error and return the exit code."""
    print("minigrad:", " ".join(line.split()), file=sys.stderr)
    return code


def reason(error: Exception) -> str:
    """Return what happened, of an OSError to which file, without the number of the error."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


class Parser(argparse.ArgumentParser):
    """A parser of whole option names that refuses instead of leaving the process."""

    def __init__(self, prog: str | None = None, **options: Any) -> None:
        options |= {
            "allow_abbrev": False,
            "formatter_class": argparse.RawDescriptionHelpFormatter,
        }
        super().__init__(prog, **options)

    def error(self, message: str) -> NoReturn:
        raise Refusal(f"{message} (see {self.prog} --help)")


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence about a name that does not exist."""
    return f"unknown {what} {name!r}: expected one of {', '.join(known)}{did_you_mean(name, known)}"


def one_of(what: str, known: Iterable[str]) -> Callable[[str], str]:
    """Return a parser of one of the known names."""

    def parse(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(unknown(what, text, known))
        return text

    return parse


def location(text: str) -> str:
    """Parse the path of a file or folder; "" would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got ''; the current folder is .")
    return text


def whole(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """Return a parser of whole numbers in a range, both ends included."""

    def parse(text: str) -> int:
        with suppress(ValueError):
            if least <= int(text) <= most:
                return int(text)
        raise argparse.ArgumentTypeError(
            f"expected a whole number from {least} to {most}, got {text!r}"
        )

    return parse


def number(least: float, most: float = math.inf, *, above: bool = False) -> Callable[[str], float]:
    """Return a parser of numbers from `least`, or above it, to below `most`."""

    def parse(text: str) -> float:
        with suppress(ValueError):
            value = float(text)
            if (value > least or (value == least and not above)) and value < most:
                return value
        span = f"{'above' if above else 'from'} {least:g}"
        span += "" if most == math.inf else f" to below {most:g}"
        raise argparse.ArgumentTypeError(f"expected a number {span}, got {text!r}")

    return parse


def widths(text: str) -> list[int]:
    """Parse whole numbers above 0 with commas between them; "" gives none."""
    try:
        return [whole(1)(width) for width in text.split(",")] if text.strip() else []
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected whole numbers above 0 with commas between them, as 256,128, got {text!r}"
        ) from None
