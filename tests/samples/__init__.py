"""One row for every op: how it is called, on what, and what NumPy says it is.

Functions that are made of several ops may have rows of the same kind.
A module for each family of ops; `rows` has what rows are made of.
"""

from . import (
    activations,
    attention,
    convolution,
    creation,
    einsum,
    elementwise,
    fft,
    indexing,
    linalg,
    losses,
    neural,
    normalization,
    piecewise,
    pooling,
    predicates,
    random,
    recurrent,
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
    **einsum.EINSUM,
    **activations.ACTIVATIONS,
    **losses.LOSSES,
    **neural.NEURAL,
    **normalization.NORMALIZATION,
    **convolution.CONVOLUTION,
    **pooling.POOLING,
    **attention.ATTENTION,
    **recurrent.RECURRENT,
    **random.RANDOM,
    **updates.UPDATES,
}
