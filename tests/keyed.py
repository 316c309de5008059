"""Keys of `x[key]` with index arrays, and which of them kernels take."""

import numpy as np

from minigrad.ops.indexing import Array, Slice

FIRST, SECOND, WHOLE = Array(0), Array(1), Slice(None, None, None)
PAIR = [np.array([2, 0, 2, -1]), np.array([[1], [-1]])]

# Shape, index arrays, key, shape of the values; NumPy puts those of parted arrays first.
KEYS = [
    ((5,), PAIR[:1], (FIRST,), (4,)),
    ((5, 3), PAIR[:1], (FIRST,), (4, 3)),
    ((5, 3), PAIR[1:], (FIRST,), (2, 1, 3)),
    ((2, 5), PAIR[:1], (WHOLE, FIRST), (2, 4)),
    ((2, 5, 3), PAIR[:1], (..., FIRST, WHOLE), (2, 4, 3)),
    ((2, 5, 3), PAIR[:1], (WHOLE, FIRST, ...), (2, 4, 3)),
    ((5, 3), PAIR, (FIRST, SECOND), (2, 4)),
    ((5, 3, 2), PAIR, (FIRST, SECOND), (2, 4, 2)),
    ((2, 5, 3), PAIR, (..., FIRST, SECOND), (2, 2, 4)),
    ((5, 3), [np.array(1)], (FIRST,), (3,)),
    ((2, 0), [np.zeros(0, int)], (WHOLE, FIRST), (2, 0)),
    ((5, 0), PAIR[:1], (FIRST,), (4, 0)),
]
DECLINED_KEYS = [
    ((5, 2, 3), PAIR, (FIRST, WHOLE, SECOND), (2, 4, 2)),
    ((5, 3), PAIR[:1], (FIRST, 0), (4,)),
    ((5, 3), PAIR[:1], (0, FIRST), (4,)),
    ((5, 3), PAIR[:1], (FIRST, Slice(1, None, None)), (4, 2)),
    ((5, 3), PAIR[:1], (None, FIRST), (1, 4, 3)),
    ((0, 5), PAIR[:1], (WHOLE, FIRST), (0, 4)),
    ((5,), [], (Slice(1, None, 2),), (2,)),
]
