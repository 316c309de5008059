"""Sums of products by Einstein's convention."""

import numpy as np

import minigrad as mg

from .rows import *


def einsum_of(xp):
    return lambda *xs, subscripts: xp.einsum(subscripts, *xs)


EINSUM = {
    "einsum": Row(
        einsum_of(mg),
        einsum_of(np),
        tuple(
            Case(tuple(Reals(shape) for shape in shapes), {"subscripts": subscripts})
            for subscripts, *shapes in [
                ("ij->ji", (2, 3)),
                ("ii", (3, 3)),
                ("iji->j", (2, 3, 2)),
                ("i,j", (2,), (3,)),
                ("ij,jk", (2, 3), (3, 2)),
                ("ij,jk->k", (2, 0), (0, 3)),
                ("bij,bkj->bik", (2, 2, 3), (2, 1, 3)),
                ("...i,i...->...", (2, 3), (3, 1)),
                ("ij,kj,jl->il", (2, 3), (2, 1), (3, 2)),
            ]
        ),
        dtypes=NUMBERS,
    ),
}
