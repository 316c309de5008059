"""How many threads parallel kernels may use: apart, so that setting it loads no compiler."""

from typing import Any

limit: int | None = None


def limit_blas(library: Any, count: int) -> None:
    """Let a BLAS, as threadpoolctl found it, use so many threads.

    From version 3.8 on, threadpoolctl obeys only the first Python thread that asks, until that one
    says that it is done.
    """
    done = getattr(library, "clear_controlling_thread", lambda force: None)
    done(force=True)
    library.set_num_threads(count)
    done(force=True)
