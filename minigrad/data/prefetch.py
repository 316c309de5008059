"""Work done ahead by threads, in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextvars import copy_context
from itertools import islice
from threading import get_ident
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetched(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int
) -> Generator[Result, None, None]:
    """Yield function(item) for each item, in order, worked out by threads at most `ahead` early.

    The threads are in the context of whoever asks for the first result; without workers there are
    none, and each result is worked out when it is asked for. What a call raises is raised where its
    result would come. Closing the iterator waits for the calls that run.
    """
    if not workers:
        for item in items:  # not a map, which would end where a call raises StopIteration
            yield function(item)
        return
    from concurrent.futures import Future, ThreadPoolExecutor  # on first use: imports stay quick

    threads: set[int] = set()
    context = copy_context()
    pending: deque[Future[Result]] = deque()
    executor = ThreadPoolExecutor(
        workers, "minigrad-loader", initializer=lambda: threads.add(get_ident())
    )
    rest = iter(items)

    def begin(count: int) -> None:
        for item in islice(rest, count):
            # A context has one thread at a time, so each call gets a copy.
            pending.append(executor.submit(context.copy().run, function, item))

    try:
        begin(ahead)
        while pending:
            result = pending.popleft().result()
            begin(1)
            yield result
    finally:
        # A thread of the pool may be what the garbage collector runs in; it cannot join itself.
        executor.shutdown(wait=get_ident() not in threads, cancel_futures=True)
