"""How many threads parallel kernels may use: apart, so that setting it loads no compiler."""

from typing import Any

limit: int | None = None


def limit_blas(library: Any, count: int) -> None:
    """Let a BLAS, as threadpoolctl found it, use so many threads.

    From version 3.8 on, threadpoolctl obeys only the first Python thread that asks, until that one
    says that it is done. What it calls then obeys everyone, and takes a third of the time.
    """
    getattr(library, "_real_set_num_threads", library.set_num_threads)(count)
