"""Refusing bad labels and indices: at once on the host, at the next transfer on a device."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .messages import first_true


def refuse_now(bad: Any, values: Any, what: str, error: type[Exception] = ValueError) -> None:
    """Raise the error, with the first bad position and value, if anything in `bad` is true."""
    if bad.any():
        at = first_true(bad)
        raise error(f"{what}; got {values[at]} at position {at[0] if len(at) == 1 else at}")


class ErrorSlot:
    """Refusals on a device that nobody waits for: noted there, raised at the next transfer.

    Holds (found, code of the message, flat position, value) of the first one.
    """

    def __init__(self, module: Any, to_numpy: Callable[[Any], Any]) -> None:
        self._module, self._to_numpy = module, to_numpy
        self._slot: Any = None
        self._messages: list[tuple[str, type[Exception]]] = []

    def refuse(self, bad: Any, values: Any, what: str, error: type[Exception] = ValueError) -> None:
        """Note the first true place of `bad`, unless something was noted before."""
        xp = self._module
        if not bad.size:
            return
        message = what, error
        if message not in self._messages:
            self._messages.append(message)
        bad, values = xp.reshape(bad, (-1,)), xp.reshape(values, (-1,))
        at = xp.argmax(bad)
        code = xp.full((), self._messages.index(message), dtype=np.int64)
        entry = [bad[at], code, at, values[at]]
        noted = xp.stack([xp.astype(number, np.int64) for number in entry])
        self._slot = noted if self._slot is None else xp.where(self._slot[:1], self._slot, noted)

    def check(self) -> None:
        """Raise the error for what was noted since the last check."""
        slot, self._slot = self._slot, None
        if slot is None:
            return
        found, code, position, value = self._to_numpy(slot).tolist()
        if found:
            what, error = self._messages[code]
            raise error(f"{what}; got {value} at position {position}")
