"""Attention: weighted means of values, by how well their keys fit a query."""

__all__: list[str] = []
