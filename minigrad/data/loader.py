"""Batches, in order or shuffled."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from functools import partial
from operator import index
from typing import Any

import numpy as np

from .. import backends, random
from ..backends import Backend
from ..engine import Tensor, wrap
from ..messages import out_of_memory
from ..ops.creation import arange, asarray
from .base import as_dataset, mapped
from .prefetch import prefetched


class _Iteration:
    """One iteration over a loader: its epoch, and the batches of it that have been received."""

    def __init__(self, epoch: int, position: int) -> None:
        self.epoch, self.position = epoch, position


class DataLoader:
    """Batches of a data set: tuples of Tensors, copies of the rows; of a Dataset, what it gives.

    dataset: a Dataset, a tuple of arrays as TensorDataset takes them, or any object with `__len__`
        and `__getitem__`. Arrays are put on `backend` (the default one) as a whole, once; what
        other data sets give, batch by batch: on a GPU through pinned memory, each while the GPU
        computes with the one before.
    drop_last: leave out a last batch that is shorter than the others.
    seed: with shuffle, the order is a function of (seed, epoch) alone; drawn from the default
        generator unless given.
    num_workers: threads that prepare the next num_workers * prefetch_factor batches; the batches
        are the same with any number of them. On a GPU they do the host's part, and what moves or
        transforms a batch, or cuts it from arrays there, is the thread of the loop.
    collate_fn: makes a batch of a list of samples; `default_collate` unless given.
    transform: called as transform(batch, generator), say to augment; what it draws from the
        generator is a function of (seed, epoch, batch) alone.
    pin_memory: move arrays batch by batch too; for those that a GPU has no room for.

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
        transform: Callable[[Any, random.Generator], Any] | None = None,
        pin_memory: bool = False,
    ) -> None:
        self.batch_size = _at_least(1, "batch_size", batch_size)
        self.num_workers = _at_least(0, "num_workers", num_workers)
        self.prefetch_factor = _at_least(1, "prefetch_factor", prefetch_factor)
        self.backend = backends.resolve(backend)
        home = backends.get("numpy") if pin_memory else self.backend
        with backends.use_backend(home.name):  # where a tuple's arrays become tensors
            self.dataset = as_dataset(dataset).to(home)
        self.shuffle, self.drop_last = bool(shuffle), bool(drop_last)
        self.collate_fn, self.transform = collate_fn, transform
        if seed is None and (shuffle or transform is not None):
            seed = int(random.randint(2**62, backend="numpy"))
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
        with closing(self._made(underway.epoch, underway.position)) as made:
            for ready in made:
                underway.position += 1
                self._overlap |= underway is not self._underway
                yield ready
        if underway is self._underway:
            self._underway = None

    def _made(self, epoch: int, position: int) -> Generator[Any, None, None]:
        """Yield the batches of an epoch from a position on."""
        collated, transformed = self._steps(epoch)
        numbers = range(position, len(self))
        if self.backend.uploads is None or self.dataset.backend is self.backend:
            move = partial(asarray, backend=self.backend)

            def ready(number: int) -> Any:
                return transformed(number, mapped(move, collated(number)))

            yield from self._ahead(ready, numbers)
            return
        with closing(self._uploaded(self.backend.uploads(), collated, numbers)) as uploaded:
            for number, batch in enumerate(uploaded, position):
                yield transformed(number, batch)

    def _ahead(self, batch: Callable[[int], Any], numbers: range) -> Generator[Any, None, None]:
        home = self.dataset.backend
        # A device cuts its own arrays, on the stream of the loop: other threads may have another.
        workers = self.num_workers if home is None or home.device == "cpu" else 0
        return prefetched(batch, numbers, workers, workers * self.prefetch_factor)

    def _uploaded(
        self, uploads: Any, collated: Callable[[int], Any], numbers: range
    ) -> Generator[Any, None, None]:
        """Yield batches, each copied to the device while it computes with the one before."""
        backend = self.backend

        def pinned(x: Tensor | np.ndarray[Any, Any]) -> Any:
            if isinstance(x, Tensor) and (x.requires_grad or x.backend.device != "cpu"):
                return x
            return uploads.pinned(asarray(x, backend="numpy")._array)

        def prepared(number: int) -> Any:
            with uploads.home:  # in the order of the device's work: the data set may add to it
                return mapped(pinned, collated(number))

        def placed(x: Tensor | np.ndarray[Any, Any]) -> Tensor:
            if isinstance(x, Tensor):
                return asarray(x, backend=backend)
            try:
                return wrap(uploads.start(x), backend)
            except MemoryError as error:
                raise out_of_memory(f"{x.dtype} {x.shape} to {backend.name}", error) from error

        with closing(self._ahead(prepared, numbers)) as made:
            yield from uploads.one_ahead(partial(mapped, placed), made)

    def _steps(self, epoch: int) -> tuple[Callable[[int], Any], Callable[[int, Any], Any]]:
        """Return what makes a batch of an epoch from its number, and what transforms it then.

        Both may be called in any thread.
        """
        rows, seed, where = len(self.dataset), self.seed, self.dataset.backend or "numpy"
        if self.shuffle:
            # Stream 0 belongs to manual_seed, which often has the same seed.
            generator = random.Generator(seed, stream=1 + epoch)
            order = random.permutation(rows, generator=generator, backend=where)
        else:
            order = arange(rows, backend=where)

        def collated(number: int) -> Any:
            return self._collated(order[number * self.batch_size : (number + 1) * self.batch_size])

        def transformed(number: int, batch: Any) -> Any:
            if self.transform is None:
                return batch
            # Above the streams of the orders: no epoch is 2**32.
            drawn = random.Generator(seed, stream=(1 + epoch << 32) + number)
            return self.transform(batch, drawn)

        return collated, transformed

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
