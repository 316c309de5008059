"""Pooling and interpolation: the same images with more or fewer points."""

from .rows import Row

POOLING: dict[str, Row] = {}
