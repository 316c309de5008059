"""Copies of batches from the host's memory to the GPU's, beside what the GPU computes.

What that saves is not measured yet on a card.
"""

import importlib
from collections import deque
from collections.abc import Callable, Generator, Iterable
from itertools import starmap
from typing import Any, TypeVar

import numpy as np

Batch = TypeVar("Batch")
Placed = TypeVar("Placed")
Array = Any  # cupy.ndarray, or what tests put in its place
#: batches whose copies the host does not wait for: that which is used, and the next
IN_FLIGHT = 2


class Uploads:
    """Copies from pinned memory on a stream of their own, for one iteration over batches.

    What is computed with the batches is launched on `home`, the stream that was current at first.
    Their arrays are from home's share of CuPy's memory pool and go back there, to be given to what
    home does next. So a copy waits for all that home was told before, which may still use that
    memory; home waits for the copy; and the host, before memory goes back that no stream waits for.
    """

    def __init__(self) -> None:
        self.cupy: Any = importlib.import_module("cupy")
        self.home = self.cupy.cuda.get_current_stream()
        # Any other kind of stream takes turns with the default one, where most programs compute.
        self.copies = self.cupy.cuda.Stream(non_blocking=True)
        self._starting: list[tuple[np.ndarray[Any, Any], Array]] = []

    def pinned(self, host: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return a copy in memory that a GPU reads while the host goes on; called in any thread."""
        # From CuPy's pool: to pin new memory is slow (not measured yet on a card).
        memory = self.cupy.cuda.alloc_pinned_memory(max(host.nbytes, 1))
        pinned = np.frombuffer(memory, host.dtype, host.size).reshape(host.shape)
        pinned[...] = host
        return pinned

    def start(self, pinned: np.ndarray[Any, Any]) -> Array:
        """Return an array into which pinned memory is being copied."""
        with self.home:
            array = self.cupy.empty(pinned.shape, pinned.dtype)
        self.copies.wait_event(self._mark(self.home))
        self._starting.append((pinned, array))
        array.set(pinned, stream=self.copies)
        return array

    def one_ahead(
        self, place: Callable[[Batch], Placed], batches: Iterable[Batch]
    ) -> Generator[Placed, None, None]:
        """Yield place(batch), which calls `start`, for each batch, the next one started before.

        What a batch raises is raised where it would come. The current stream waits for the copies,
        the host only for those of two batches before.
        """
        placed: deque[tuple[Placed, Any]] = deque()
        reads: deque[tuple[Any, list[np.ndarray[Any, Any]]]] = deque()
        try:
            for batch in batches:
                result = place(batch)
                copied = self._mark(self.copies)
                placed.append((result, copied))
                reads.append((copied, [pinned for pinned, _ in self._starting]))
                self._starting.clear()
                if len(reads) > IN_FLIGHT:
                    reads[0][0].synchronize()
                    reads.popleft()
                if len(placed) > 1:
                    yield self._received(*placed.popleft())
        except Exception:
            yield from starmap(self._received, placed)
            raise
        else:
            yield from starmap(self._received, placed)
        finally:
            self.copies.synchronize()

    def _mark(self, stream: Any) -> Any:
        """Return an event of what a stream was told so far."""
        return stream.record(self.cupy.cuda.Event(block=True, disable_timing=True))

    def _received(self, placed: Placed, copied: Any) -> Placed:
        for stream in {self.home, self.cupy.cuda.get_current_stream()}:
            stream.wait_event(copied)
        return placed
