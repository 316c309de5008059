"""Tensors for tests that run on each backend."""

import minigrad as mg
from minigrad import backends


def tensor(array, **options):
    """A tensor on the default backend; arrays alone stay on the host."""
    return mg.tensor(array, backend=backends.default(), **options)
