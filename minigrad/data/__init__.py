"""Data sets, their readers, and the loader that cuts them into batches."""

from .datasets import Part, Splits, load_digits, load_mnist
from .idx import read_idx
from .loader import DataLoader, TensorDataset

__all__ = [
    "DataLoader",
    "Part",
    "Splits",
    "TensorDataset",
    "load_digits",
    "load_mnist",
    "read_idx",
]
