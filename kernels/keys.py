"""Keys of `x[key]` in which index arrays stand side by side, among whole axes."""

from typing import Any

#: elements of a key: its first index array, its second, and the slice of a whole axis
FIRST, SECOND, WHOLE = (0,), (1,), (None, None, None)


def first_axis(key: tuple[Any, ...], count: int, ndim: int) -> int | None:
    """Return the axis of a key's first index array; None if not whole axes alone lie around all.

    count: how many index arrays the key has, at least one; ndim: how many axes it is a key of.
    """
    if key == (FIRST,):
        return 0
    if Ellipsis in key:
        place = key.index(Ellipsis)
        key = (*key[:place], *[WHOLE] * (ndim + 1 - len(key)), *key[place + 1 :])
    before = 0
    while key[before] == WHOLE:
        before += 1
    arrays = [(k,) for k in range(count)]
    rest = [WHOLE] * (len(key) - before - count)
    return before if key == (*[WHOLE] * before, *arrays, *rest) else None
