"""Sets."""

import math

import numpy as np

import minigrad as mg

from .rows import *

DRAWN = (Case((Reals((5,)),)), Case((Reals((2, 3)),)), Case((Reals(()),)), Case((Reals((0,)),)))
REPEATED = (
    Case((Given([[2.0, -1.0, 2.0], [0.5, -1.0, 2.0]]),)),
    Case((Ints((3, 4)),), order=0),
    Case((Bools((5,)),), order=0),
    Case((Given([math.nan, 1.0, math.nan]),), order=0),
)

SETS = {
    "unique": Row(
        lambda x: mg.unique_all(x)[1:],
        lambda x: np.unique_all(x)[1:],
        DRAWN + REPEATED,
        order=0,
        result=index,
    ),
    "unique_values": Row(
        mg.unique_values,
        lambda x: np.unique(x, equal_nan=False),
        DRAWN + REPEATED[1:],
        kinks=(Kink(([2.0, -1.0, 2.0],), ([1.0, 1.0, 0.0],)),),
    ),
}
