"""Batches, in order or shuffled."""

from collections.abc import Iterator, Sequence
from typing import Any

from .. import backends
from ..backends import Backend
from ..engine import Tensor
from ..ops import arange, asarray
from ..random import Generator, permutation, randint


class TensorDataset:
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


class DataLoader:
    """Batches of a data set: iterating gives tuples of Tensors, copies of the rows.

    dataset: a TensorDataset, or a tuple of arrays as it takes them; put on `backend` (the default
        one) as a whole, once.
    drop_last: leave out a last batch that is shorter than the others.
    seed: with shuffle, the order is a function of (seed, epoch) alone; drawn from the default
        generator unless given.

    `epoch` counts the iterations begun, so that one left by `break` is not repeated; set it to go
    back to one.
    """

    def __init__(
        self,
        dataset: TensorDataset | Sequence[Any],
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int | None = None,
        backend: str | Backend | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size must be at least 1, got {batch_size}")
        if not isinstance(dataset, TensorDataset | tuple | list):
            raise TypeError(
                "DataLoader: expected a TensorDataset or a tuple of arrays, "
                f"got {type(dataset).__name__}"
            )
        if not isinstance(dataset, TensorDataset):
            dataset = TensorDataset(*dataset)
        self.backend = backends.resolve(backend)
        self.dataset = TensorDataset(*(x.to(self.backend) for x in dataset.tensors))
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last
        if shuffle and seed is None:
            seed = int(randint(2**62, backend="numpy"))
        self.seed, self.epoch = seed, 0

    def __len__(self) -> int:
        full, left = divmod(len(self.dataset), self.batch_size)
        return full + bool(left and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        epoch, rows = self.epoch, len(self.dataset)
        self.epoch += 1
        if self.shuffle:
            # Stream 0 belongs to manual_seed, which often has the same seed.
            generator = Generator(self.seed, stream=1 + epoch)
            order = permutation(rows, generator=generator, backend=self.backend)
        else:
            order = arange(rows, backend=self.backend)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield self.dataset[order[start : start + self.batch_size]]
