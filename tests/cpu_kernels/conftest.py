"""Fixtures of the tests of CPU kernels."""

import pytest


@pytest.fixture(autouse=True)
def however_small(however_small):
    """Every test here is of kernels, on arrays that are small."""


@pytest.fixture
def parallel_from(monkeypatch):
    """Set the amount of work from which every loop is parallel."""
    from contract import LOOPS

    def set_limit(limit):
        for loop in LOOPS.values():
            monkeypatch.setattr(loop, "parallel_from", limit)

    return set_limit
