"""Normalizations: values made to have mean 0 and variance 1 over some axes."""

__all__: list[str] = []
