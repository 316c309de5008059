"""The modes of modules: training, or evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .module import Module


@contextmanager
def evaluating(module: "Module") -> Iterator[None]:
    """Put a module and every one below into eval mode for a `with` block; leave each as found."""
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training
