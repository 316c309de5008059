"""Pooling and interpolation: the same images with more or fewer points."""

__all__: list[str] = []
