"""Convolutions over any number of axes, and the windows that they look through."""

from .rows import Row

CONVOLUTION: dict[str, Row] = {}
