"""One row for every op: how it is called, on what, and what NumPy says it is.

Functions that are made of several ops may have rows of the same kind.
A module for each family of ops; `rows` has what rows are made of.
"""

from . import (
    creation,
    elementwise,
    fft,
    indexing,
    linalg,
    neural,
    piecewise,
    predicates,
    random,
    reductions,
    scans,
    sets,
    shape,
    sorting,
    special,
    transcendental,
    updates,
)
from .rows import *

ROWS = {
    **creation.CREATION,
    **elementwise.ELEMENTWISE,
    **transcendental.TRANSCENDENTAL,
    **piecewise.PIECEWISE,
    **fft.FOURIER,
    **predicates.PREDICATES,
    **reductions.REDUCTIONS,
    **scans.SCANS,
    **sorting.SORTING,
    **sets.SETS,
    **indexing.INDEXING,
    **shape.SHAPING,
    **special.SPECIAL,
    **linalg.LINALG,
    **neural.NEURAL,
    **random.RANDOM,
    **updates.UPDATES,
}
