"""The tape as an SVG picture: `draw` what a tensor came from; `record` to see values as well."""

from .svg import Drawing
from .tape import Tape, draw, record

__all__ = ["Drawing", "Tape", "draw", "record"]
