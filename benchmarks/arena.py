"""What the parts of a run share: who may play, for how long each, and the results as they come."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from turns import BLOCK, Contestant, Control

SCRIPT = Path(__file__).with_name("run.py")
BACKENDS = ("numpy", "numba", "cupy")
PEERS = ("torch", "torch.compile", "jax")
CACHES = ("NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "CUPY_CACHE_DIR")
NEEDS_NUMBA = 'needs Numba; install it with: pip install -e ".[numba]"'
NEEDS_PEERS = 'is not installed; install it with: pip install -e ".[compare]"'


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def absentees(backends: list[str], peers: list[str]) -> dict[str, str]:
    """Return why contestants cannot take part, and what to install."""
    import minigrad as mg

    status = mg.backends.status()
    missing = {name: status[name].reason for name in backends if not status[name].usable}
    for name in peers:
        if find_spec(name.partition(".")[0]) is None:
            missing[name] = NEEDS_PEERS
    return missing


class Arena:
    """What a run measures with: its contestants, and for how long they are timed.

    control: the process that tells whether the machine is slow; one for each part.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.quick: bool = options.quick
        self.threads: int = options.threads
        self.patience: float = options.patience
        self.ops: list[str] | None = options.ops
        self.mnist: Path | None = options.mnist
        self.block = BLOCK / 25 if options.quick else BLOCK
        self.missing = absentees(options.backends, options.peers)
        self.backends = [name for name in options.backends if name not in self.missing]
        self.peers = [name for name in options.peers if name not in self.missing]
        self._rounds: int | None = options.rounds
        self.control: Control

    def rounds(self, usual: int) -> int:
        """Return the rounds that count: what was asked for, or else what is usual for a part."""
        return self._rounds or (1 if self.quick else usual)

    @contextmanager
    def controlled(self, threads: int | None = None) -> Iterator[Control]:
        """Run a control beside what is measured, on as many threads."""
        with Control(threads or self.threads, self.block / 5) as self.control:
            yield self.control

    @contextmanager
    def fresh_caches(self) -> Iterator[dict[str, str]]:
        """Give the environment of contestants whose compilers' caches are their own, and empty."""
        with tempfile.TemporaryDirectory() as folder:
            yield {cache: str(Path(folder, cache)) for cache in CACHES}

    def start(
        self,
        part: str,
        name: str,
        threads: int | None = None,
        env: dict[str, str] | None = None,
    ) -> Contestant:
        """Start a contestant of a part, bound to as many cores as it has threads."""
        threads = threads or self.threads
        return Contestant(SCRIPT, f"{part}:{threads}:{name}", threads, env, self.patience)
