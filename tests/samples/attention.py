"""Attention: weighted means of values, by how well their keys fit a query."""

from .rows import Row

ATTENTION: dict[str, Row] = {}
