"""Launches sums.cu, which adds up the parts of sums that other kernels have made."""

from .launcher import NAMES, Array, Device

THREADS, WIDTH = 256, 32  # of a block: threads and columns, as in the source


def add_up(
    device: Device, parts: Array, split: int, first: Array | None, second: Array | None = None
) -> None:
    """Add up the rows of parts, into first for columns up to split and into second for others.

    parts: of the dtype that first and second are computed with.
    """
    count, columns = parts.shape
    dtype = next(made.dtype for made in (first, second) if made is not None)
    if columns:
        device.launch(
            *("sums", f"add_up_{NAMES[dtype]}", -(-columns // WIDTH), THREADS),
            *(parts, count, columns, split, first, second),
        )
