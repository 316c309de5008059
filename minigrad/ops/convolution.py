"""Convolutions over any number of axes, and the windows that they look through."""

__all__: list[str] = []
