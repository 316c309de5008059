"""Normalizations: values made to have mean 0 and variance 1 over some axes."""

from .rows import Row

NORMALIZATION: dict[str, Row] = {}
