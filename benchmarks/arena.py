"""What the parts of a run share: who may play, for how long each, and the results as they come."""

import argparse
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from devices import CPU
from turns import BLOCK, Contestant, Control, Late

SCRIPT = Path(__file__).with_name("run.py")
BACKENDS = ("numpy", "numba", "cupy")
PEERS = ("torch", "torch.compile", "jax")
CACHES = ("NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "CUPY_CACHE_DIR")
NEEDS_NUMBA = 'needs Numba; install it with: pip install -e ".[numba]"'
NEEDS_PEERS = 'is not installed; install it with: pip install -e ".[compare]"'
NEEDS_CUDA = "sees no GPU; install its build for CUDA"
PEER_STARTS = 60  # seconds until a library that looks for a GPU counts as hanging
# Programs that end with 0 where a library sees a GPU.
SEES_GPU = {
    "torch": "import torch; raise SystemExit(not torch.cuda.is_available())",
    "jax": "import jax; raise SystemExit(jax.default_backend() != 'gpu')",
}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def absentees(backends: list[str], peers: list[str], device: str = CPU) -> dict[str, str]:
    """Return why contestants cannot take part on a device, and what to install."""
    import minigrad as mg

    status = mg.backends.status()
    missing = {name: status[name].reason for name in backends if not status[name].usable}
    for name in peers:
        library = name.partition(".")[0]
        if find_spec(library) is None:
            missing[name] = NEEDS_PEERS
        elif device != CPU and not sees_gpu(library):
            missing[name] = NEEDS_CUDA
    return missing


@cache
def sees_gpu(library: str) -> bool:
    """Ask a process of its own, which leaves the card's memory to the contestants."""
    command = [sys.executable, "-W", "ignore", "-c", SEES_GPU[library]]
    try:
        return subprocess.run(command, capture_output=True, timeout=PEER_STARTS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class Arena:
    """What a run measures with: its contestants, and for how long they are timed.

    control: the process that tells whether the machine is slow; one for each part.
    """

    def __init__(self, options: argparse.Namespace, device: str = CPU) -> None:
        self.device = device
        self.quick: bool = options.quick
        self.threads: int = options.threads
        self.patience: float = options.patience
        self.ops: list[str] | None = options.ops
        self.mnist: Path | None = options.mnist
        self.block = BLOCK / 25 if options.quick else BLOCK
        self.missing = absentees(options.backends, options.peers, device)
        self.backends = [name for name in options.backends if name not in self.missing]
        self.peers = [name for name in options.peers if name not in self.missing]
        self._rounds: int | None = options.rounds
        self._ends = math.inf
        self.control: Control

    def rounds(self, usual: int) -> int:
        """Return the rounds that count: what was asked for, or else what is usual for a part."""
        return self._rounds or (1 if self.quick else usual)

    def limit(self, seconds: float) -> None:
        """Give the part that begins so many seconds."""
        self._ends = time.perf_counter() + seconds

    def require_time(self) -> None:
        """Raise Late where the time of the part is over: what was measured then is all there is."""
        if time.perf_counter() > self._ends:
            raise Late("its time is over; --minutes gives it more")

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
