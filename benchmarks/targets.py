"""Whether what was measured is what was asked for."""

from typing import NamedTuple


class Verdict(NamedTuple):
    """goal: what several figures have to reach; what: the one; at_most: the target."""

    goal: str
    what: str
    measured: float
    at_most: float

    @property
    def met(self) -> bool:
        return self.measured <= self.at_most
