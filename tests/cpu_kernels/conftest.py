"""Fixtures of the tests of CPU kernels."""

import pytest


@pytest.fixture(autouse=True)
def however_small(monkeypatch):
    """Let kernels compute what is so small that they would leave it to NumPy."""
    from contract import LOOPS

    for loop in LOOPS.values():
        monkeypatch.setattr(loop, "pays_from", 0)


@pytest.fixture
def parallel_from(monkeypatch):
    """Set the amount of work from which every loop is parallel."""
    from contract import LOOPS

    def set_limit(limit):
        for loop in LOOPS.values():
            monkeypatch.setattr(loop, "parallel_from", limit)

    return set_limit
