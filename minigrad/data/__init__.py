"""Data sets, their readers, and the loader that cuts them into batches."""

from .base import Dataset, Subset, TensorDataset, as_dataset, default_collate, random_split
from .datasets import (
    FASHION_CLASSES,
    Part,
    Splits,
    load_digits,
    load_fashion_mnist,
    load_mnist,
)
from .files import ImageFolder, Table, load_csv, load_images
from .idx import read_idx
from .images import read_image
from .loader import DataLoader
from .standardizer import Standardizer
from .text import Vocabulary, load_text, text_windows

__all__ = [
    "FASHION_CLASSES",
    "DataLoader",
    "Dataset",
    "ImageFolder",
    "Part",
    "Splits",
    "Standardizer",
    "Subset",
    "Table",
    "TensorDataset",
    "Vocabulary",
    "as_dataset",
    "default_collate",
    "load_csv",
    "load_digits",
    "load_fashion_mnist",
    "load_images",
    "load_mnist",
    "load_text",
    "random_split",
    "read_idx",
    "read_image",
    "text_windows",
]
