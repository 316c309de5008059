"""Refusing bad labels and indices: at once on the host, at the next transfer on a device."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .messages import first_true


def refuse_now(bad: Any, values: Any, what: str, error: type[Exception] = ValueError) -> None:
    """Raise the error, with the first bad position and value, if anything in `bad` is true."""
    if bad.any():
        at = first_true(bad)
        raise error(_said(what, values[at], at))


def refuse_overflow(xp: Any, value: Any, dtype: np.dtype[Any]) -> None:
    """Raise OverflowError for a Python integer that a dtype does not hold, as NumPy by itself does.

    Devices may drop its upper bits.
    """
    if xp.lenient and type(value) is int and dtype.kind in "iu":
        np.array(value, dtype)


def refuse_negative_powers(xp: Any, x: Any, y: Any) -> None:
    """Refuse integers to negative integer powers, of which devices make 0, as NumPy by itself does.

    x, y: arrays or Python numbers.
    """
    kinds = [v.dtype.kind if hasattr(v, "dtype") else np.dtype(type(v)).kind for v in (x, y)]
    if kinds[0] not in "biu" or kinds[1] != "i":
        return
    what = "pow: integers have no negative integer powers: make the base or the exponent floating"
    if hasattr(y, "dtype"):
        xp.refuse(y < 0, y, what)
    elif y < 0:
        raise ValueError(f"{what}; got {y}")


def _said(what: str, value: Any, at: tuple[int, ...]) -> str:
    return f"{what}; got {value} at position {at[0] if len(at) == 1 else at}"


class ErrorSlot:
    """Refusals on a device that nobody waits for: noted there, raised at the next transfer.

    Holds (found, code of the message, flat position, value) of the first one, which is named by its
    place in the shape that came with the message.
    """

    def __init__(self, module: Any, to_numpy: Callable[[Any], Any]) -> None:
        self._module, self._to_numpy = module, to_numpy
        self._slot: Any = None
        self._messages: dict[tuple[str, type[Exception], tuple[int, ...]], int] = {}

    def refuse(self, bad: Any, values: Any, what: str, error: type[Exception] = ValueError) -> None:
        """Note the first true place of `bad`, unless something was noted before."""
        xp = self._module
        if not bad.size:
            return
        code = self._code(what, error, bad.shape)
        bad, values = xp.reshape(bad, (-1,)), xp.reshape(values, (-1,))
        at = xp.argmax(bad)
        entry = [bad[at], xp.full((), code, dtype=np.int64), at, values[at]]
        noted = xp.stack([xp.astype(number, np.int64) for number in entry])
        self._slot = noted if self._slot is None else xp.where(self._slot[:1], self._slot, noted)

    def place(
        self, what: str, shape: tuple[int, ...], error: type[Exception] = ValueError
    ) -> tuple[Any, int]:
        """Return the memory of what was found, and the code of a message, for a kernel to write.

        It writes unless something was found before.
        """
        if self._slot is None:
            self._slot = self._module.zeros((4,), dtype=np.int64)
        return self._slot, self._code(what, error, shape)

    def _code(self, what: str, error: type[Exception], shape: tuple[int, ...]) -> int:
        return self._messages.setdefault((what, error, shape), len(self._messages))

    def checked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that waits for the device, which raises what was noted there."""

        def call(*args: Any) -> Any:
            found = function(*args)
            self.check()
            return found

        return call

    def check(self) -> None:
        """Raise the error for what was noted since the last check."""
        slot, self._slot = self._slot, None
        if slot is None:
            return
        found, code, position, value = self._to_numpy(slot).tolist()
        if found:
            what, error, shape = list(self._messages)[code]
            raise error(_said(what, value, tuple(map(int, np.unravel_index(position, shape)))))
