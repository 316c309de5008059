"""Products of matrices."""

import numpy as np

from .rows import *

PRODUCTS = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((2, 0), (0, 3)),
    ((0, 2), (2, 3)),
    ((4, 2, 3), (3, 2)),
    ((2, 3), (4, 3, 2)),
    ((2, 1, 1, 3), (2, 3, 2)),
    ((3,), (2, 3, 2)),
    ((2, 2, 3), (3,)),
    ((1, 2, 3), (4, 3, 1)),
]

LINALG = {
    "matmul": Row(
        lambda x, y: x @ y,
        np.matmul,
        tuple(Case((Reals(a), Reals(b))) for a, b in PRODUCTS),
        dtypes=(*FLOATS, *INTEGERS),
        wrong=(
            Wrong(
                (np.ones((2, 3)), np.ones((4, 5))),
                ValueError,
                r"axis -1 of x has length 3.*axis -2 of y has 4.*\(2, 3\).*\(4, 5\)",
            ),
            Wrong((np.ones((2, 3)), np.ones(2)), ValueError, r"axis -1 of y has 2"),
            Wrong((np.ones((2, 3)), np.array(2.0)), ValueError, r"at least one axis.*\(\)"),
            Wrong(
                (np.ones((2, 2, 3)), np.ones((3, 3, 2))), ValueError, r"\(2, 2, 3\).*\(3, 3, 2\)"
            ),
        ),
    ),
}
