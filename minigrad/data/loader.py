"""Batches, in order or shuffled."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from operator import index
from typing import Any

from .. import backends
from ..backends import Backend
from ..engine import Tensor
from ..ops.creation import arange
from ..random import Generator, permutation, randint
from .base import as_dataset, on_backend
from .prefetch import prefetched


class _Iteration:
    """One iteration over a loader: its epoch, and the batches of it that have been received."""

    def __init__(self, epoch: int, position: int) -> None:
        self.epoch, self.position = epoch, position


class DataLoader:
    """Batches of a data set: tuples of Tensors, copies of the rows; of a Dataset, what it gives.

    dataset: a Dataset, a tuple of arrays as TensorDataset takes them, or any object with `__len__`
        and `__getitem__`. Arrays are put on `backend` (the default one) as a whole, once; what
        other data sets give, batch by batch.
    drop_last: leave out a last batch that is shorter than the others.
    seed: with shuffle, the order is a function of (seed, epoch) alone; drawn from the default
        generator unless given.
    num_workers: threads that prepare the next num_workers * prefetch_factor batches; the batches
        are the same with any number of them.
    collate_fn: makes a batch of a list of samples; `default_collate` unless given.
    transform: called as transform(batch, generator), say to augment; what it draws from the
        generator is a function of (seed, epoch, batch) alone.

    `epoch` counts the iterations begun, so that one left by `break` is not repeated; set it to go
    back to one. `state_dict()` is the position within an epoch, to go on from after a restart.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int | None = None,
        backend: str | Backend | None = None,
        num_workers: int = 0,
        prefetch_factor: int = 2,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        transform: Callable[[Any, Generator], Any] | None = None,
    ) -> None:
        self.batch_size = _at_least(1, "batch_size", batch_size)
        self.num_workers = _at_least(0, "num_workers", num_workers)
        self.prefetch_factor = _at_least(1, "prefetch_factor", prefetch_factor)
        self.backend = backends.resolve(backend)
        self.dataset = as_dataset(dataset).to(self.backend)
        self.shuffle, self.drop_last = bool(shuffle), bool(drop_last)
        self.collate_fn, self.transform = collate_fn, transform
        if seed is None and (shuffle or transform is not None):
            seed = int(randint(2**62, backend="numpy"))
        self.seed = None if seed is None else index(seed)
        self.epoch = 0

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration will be."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._go_to(_at_least(0, "epoch", epoch), 0)

    def _go_to(self, epoch: int, position: int) -> None:
        """Make the next iteration that of an epoch, from a position in it."""
        self._epoch, self._start = epoch, position
        self._underway: _Iteration | None = None  # the iteration begun last, until it is through
        self._overlap = False  # whether an older one went on beside it

    def __len__(self) -> int:
        full, left = divmod(len(self.dataset), self.batch_size)
        return full + bool(left and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        underway = _Iteration(self._epoch, self._start)
        self._go_to(self._epoch + 1, 0)
        self._underway = underway
        return self._batches(underway)

    def _batches(self, underway: _Iteration) -> Iterator[Any]:
        batch = self._maker(underway.epoch)
        numbers = range(underway.position, len(self))
        if self.num_workers:
            ahead = self.num_workers * self.prefetch_factor
            made = prefetched(batch, numbers, self.num_workers, ahead)
        else:
            made = (batch(number) for number in numbers)
        with closing(made):
            for ready in made:
                underway.position += 1
                self._overlap |= underway is not self._underway
                yield ready
        if underway is self._underway:
            self._underway = None

    def _maker(self, epoch: int) -> Callable[[int], Any]:
        """Return what makes a batch of an epoch from its number, in any thread."""
        rows, seed, where = len(self.dataset), self.seed, self.dataset.backend or "numpy"
        if self.shuffle:
            # Stream 0 belongs to manual_seed, which often has the same seed.
            order = permutation(rows, generator=Generator(seed, stream=1 + epoch), backend=where)
        else:
            order = arange(rows, backend=where)

        def batch(number: int) -> Any:
            chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
            made = on_backend(self._collated(chosen), self.backend)
            if self.transform is None:
                return made
            # Above the streams of the orders: no epoch is 2**32.
            return self.transform(made, Generator(seed, stream=(1 + epoch << 32) + number))

        return batch

    def _collated(self, chosen: Tensor) -> Any:
        if self.collate_fn is not None:
            return self.collate_fn([self.dataset[i] for i in chosen.tolist()])
        return self.dataset.__getitems__(
            chosen.tolist() if self.dataset.backend is None else chosen
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the seed, the epoch under way and the batches received in it, as plain numbers.

        Of the iteration begun last: batches made ahead do not count, and after its end the next
        epoch is under way. RuntimeError where an older one went on since.
        """
        if self._overlap:
            raise RuntimeError(
                "DataLoader.state_dict: an older iteration over this loader went on after a new "
                "one had begun, so there is no one position; give each its own loader"
            )
        underway = self._underway or _Iteration(self._epoch, self._start)
        state = {"seed": self.seed, "epoch": underway.epoch, "position": underway.position}
        return state | self._settings()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration go on with the next batch of the epoch in a state.

        ValueError, naming the field, where the state is that of a loader with other batches.
        """
        settings = self._settings()
        for field in ("seed", "epoch", "position", *settings):
            if field not in state:
                raise ValueError(f"DataLoader.load_state_dict: the state has no {field!r}")
        for field, value in settings.items():
            if state[field] != value:
                raise ValueError(
                    f"DataLoader.load_state_dict: {field} was {state[field]!r} when the state was "
                    f"saved, this loader has {value!r}"
                )
        draws = self.shuffle or self.transform is not None
        seed = None if state["seed"] is None and not draws else _whole(state, "seed")
        epoch, position = (_whole(state, field) for field in ("epoch", "position"))
        if not 0 <= position <= len(self):
            raise ValueError(
                "DataLoader.load_state_dict: position must lie between 0 and the "
                f"{len(self)} batches of an epoch, got {position}"
            )
        self._go_to(_at_least(0, "epoch", epoch), position)
        self.seed = seed

    def _settings(self) -> dict[str, Any]:
        return {
            "rows": len(self.dataset),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
        }


def _whole(state: Mapping[str, Any], field: str) -> int:
    """Return a whole number in a state; ValueError where it is none."""
    try:
        return index(state[field])
    except TypeError:
        raise ValueError(
            f"DataLoader.load_state_dict: {field} must be a whole number, got {state[field]!r}"
        ) from None


def _at_least(least: int, name: str, value: int) -> int:
    """Return a whole number; ValueError where it is too small, TypeError where it is none."""
    try:
        whole = index(value)
    except TypeError:
        raise TypeError(f"DataLoader: {name} must be a whole number, got {value!r}") from None
    if whole < least:
        raise ValueError(f"DataLoader: {name} must be at least {least}, got {value}")
    return whole
