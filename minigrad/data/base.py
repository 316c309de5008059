"""What a loader draws from: samples by number, arrays row by row, parts of either."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from numbers import Real
from typing import Any, Self

import numpy as np

from ..backends import Backend
from ..engine import Tensor
from ..ops.creation import asarray
from ..ops.shape import stack
from ..random import Generator, permutation

#: Of a seed, stream 0 is manual_seed's and 1 + epoch the loader's.
_SPLIT_STREAM = 2**64 - 1


class Dataset:
    """Samples by number. A subclass has `__len__` and `__getitem__(index)`.

    A sample is an array, a number, a string, or a tuple, list or dict of them. A subclass that
    reads many at once faster has `__getitems__` as well.
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} needs a method __len__(self)")

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs a method __getitem__(self, index)")

    def __getitems__(self, indices: Any) -> Any:
        """Return a whole batch: samples by a list of numbers, stacked by `default_collate`."""
        return default_collate([self[index] for index in indices])

    @property
    def backend(self) -> Backend | None:
        """Where the arrays are, if `__getitems__` takes a Tensor of indices there; else None."""
        return None

    def to(self, backend: str | Backend) -> "Dataset":
        """Return the data set with its arrays on a backend; itself where it holds none."""
        return self


class TensorDataset(Dataset):
    """Arrays (NumPy's or Tensors) that belong together row by row: `dataset[i]` is a tuple.

    They share memory with what was given. ValueError unless all have the same first length.
    """

    def __init__(self, *arrays: Any) -> None:
        self.tensors = tuple(asarray(array) for array in arrays)
        shapes = [x.shape for x in self.tensors]
        if not shapes or () in shapes or len({shape[0] for shape in shapes}) > 1:
            raise ValueError(
                "TensorDataset: expected one or more arrays of the same first length, got shapes "
                f"{', '.join(map(str, shapes)) or 'of none'}"
            )

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(x[index] for x in self.tensors)

    def __getitems__(self, indices: Any) -> tuple[Tensor, ...]:
        """Return copies of the rows, by one indexing call for each array."""
        return self[indices]

    @property
    def backend(self) -> Backend:
        """The backend of the arrays."""
        return self.tensors[0].backend

    def to(self, backend: str | Backend) -> "TensorDataset":
        """Return the data set with all arrays on a backend."""
        return TensorDataset(*(x.to(backend) for x in self.tensors))


class Samples(Dataset):
    """Any object with `__len__` and `__getitem__(index)` as a data set."""

    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        try:
            return self.samples[index]
        except KeyError as error:
            if error.args != (index,):
                raise
            kind = type(self.samples).__name__
            raise TypeError(
                f"expected samples by number, but {kind} has no {index!r}; for a table by columns "
                "give its arrays as a tuple, (x, y)"
            ) from error


class Subset(Dataset):
    """The samples of a data set that are named by whole numbers, in their order.

    dataset: as a DataLoader takes it. IndexError for a number that is out of range.
    """

    def __init__(self, dataset: Any, indices: Any) -> None:
        self.dataset = as_dataset(dataset)
        host = indices.numpy() if isinstance(indices, Tensor) else np.asarray(indices)
        if host.ndim != 1 or (host.size and host.dtype.kind not in "iu"):
            raise TypeError(
                f"Subset: expected indices, whole numbers (n,), got {host.dtype} {host.shape}"
            )
        rows = len(self.dataset)
        outside = (host < -rows) | (host >= rows)
        if outside.any():
            first = int(np.argmax(outside))
            raise IndexError(
                f"Subset: indices must lie in [-{rows}, {rows}), got {host[first]} at position "
                f"{first}"
            )
        host = host.astype(np.int64)
        host[host < 0] += rows
        self.indices = asarray(host, backend=self.dataset.backend or "numpy")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[self._below(index)]

    def __getitems__(self, indices: Any) -> Any:
        """Return a batch by one call of the data set's own `__getitems__`."""
        return self.dataset.__getitems__(self._below(indices))

    def _below(self, indices: Any) -> Any:
        chosen = self.indices[indices]
        return chosen.tolist() if self.dataset.backend is None else chosen

    @property
    def backend(self) -> Backend | None:
        """The backend of the whole data set's arrays."""
        return self.dataset.backend

    def to(self, backend: str | Backend) -> Self:
        """Return the same part of the whole data set on a backend."""
        return type(self)(self.dataset.to(backend), self.indices)


def as_dataset(data: Any) -> Dataset:
    """Return a data set as it is, a tuple of arrays (or a Table, or an ImageFolder) as one, or
    samples from any container.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, tuple):
        # Of a Table or an ImageFolder, all but the names of the classes.
        named = getattr(data, "_fields", ())[-1:] == ("classes",)
        return TensorDataset(*(data[:-1] if named else data))
    if isinstance(data, Mapping):
        raise TypeError(
            "expected a Dataset, a tuple of arrays, or samples by number, got "
            f"{type(data).__name__}; give its arrays as a tuple, (x, y), or a list of dicts, one "
            "for each sample"
        )
    if isinstance(data, np.ndarray | Tensor | str) or not (
        hasattr(data, "__len__") and hasattr(data, "__getitem__")
    ):
        raise TypeError(
            "expected a Dataset, a tuple of arrays, or an object with __len__ and __getitem__, "
            f"got {type(data).__name__}; a single array goes into a tuple, (x,)"
        )
    return Samples(data)


def random_split(
    dataset: Any,
    lengths: Sequence[float],
    generator: Generator | None = None,
    seed: int | None = None,
) -> list[Subset]:
    """Return a data set in random parts without overlap.

    lengths: how many samples, which must add up to all of them; or fractions that add up to 1:
        each part has the whole number below its share, and what is left goes to the parts in turn.
    generator: what to draw from, the default one unless given. seed instead: the same split
        always, on every backend.
    """
    if generator is not None and seed is not None:
        raise ValueError("random_split: give a generator or a seed, not both")
    if seed is not None:
        generator = Generator(seed, stream=_SPLIT_STREAM)
    dataset = as_dataset(dataset)
    counts = _counts(lengths, len(dataset))
    order = permutation(len(dataset), generator=generator, backend="numpy").numpy()
    ends = np.cumsum(counts)
    return [Subset(dataset, order[end - n : end]) for end, n in zip(ends, counts, strict=True)]


def _counts(lengths: Sequence[float], rows: int) -> list[int]:
    shares = list(lengths) if np.iterable(lengths) else []
    if not shares or not all(isinstance(n, Real) and n >= 0 for n in shares):
        raise ValueError(
            "random_split: lengths must be numbers of at least 0, one for each part, got "
            f"{lengths!r}"
        )
    total = sum(shares)
    if total == rows and all(float(n).is_integer() for n in shares):
        return [int(n) for n in shares]
    if not math.isclose(total, 1, abs_tol=1e-9):
        raise ValueError(
            f"random_split: lengths must add up to the {rows} samples, or as fractions to 1, got "
            f"{lengths}, in all {total}"
        )
    counts = [math.floor(rows * share) for share in shares]
    for part in islice(cycle(range(len(counts))), rows - sum(counts)):
        counts[part] += 1
    return counts


def default_collate(samples: Sequence[Any]) -> Any:
    """Return samples of one structure as a batch: tuples, lists and dicts kept, the rest stacked.

    Arrays and numbers become Tensors with a first axis more: Tensors stay on their backend, the
    rest is on the host. Strings become a list.
    """
    first = samples[0]
    if isinstance(first, str | bytes):
        return list(samples)
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, tuple | list):
        if len({len(sample) for sample in samples}) > 1:
            raise ValueError(
                "default_collate: the samples of a batch have different numbers of entries, "
                f"{[len(sample) for sample in samples]}; give the loader a collate_fn"
            )
        columns = [default_collate(column) for column in zip(*samples, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else type(first)(columns)
    try:
        if any(isinstance(sample, Tensor) for sample in samples):
            return stack([asarray(sample) for sample in samples])
        return asarray(list(samples), backend="numpy")
    except (TypeError, ValueError) as error:
        raise type(error)(
            "default_collate: expected arrays or numbers of one shape, got "
            f"{', '.join(map(_described, samples[:8]))}{', ...' * (len(samples) > 8)}; give the "
            "loader a collate_fn, or arrays that belong together row by row as a tuple"
        ) from error


def _described(sample: Any) -> str:
    return f"{type(sample).__name__} {getattr(sample, 'shape', '')}".rstrip()


def mapped(function: Callable[[Tensor | np.ndarray[Any, Any]], Any], batch: Any) -> Any:
    """Return a batch with what a function makes of the arrays in its tuples, lists and dicts."""
    if isinstance(batch, Tensor | np.ndarray):
        return function(batch)
    if isinstance(batch, Mapping):
        return {key: mapped(function, value) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        values = [mapped(function, value) for value in batch]
        return type(batch)(*values) if hasattr(batch, "_fields") else type(batch)(values)
    return batch
