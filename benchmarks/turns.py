"""Timing contestants that take turns, each in a process of its own.

A contestant is a script started as `python SCRIPT --serve NAME`, which calls `serve`. They work one
after the other in blocks of a quarter of a second, so that none runs beside another's thread pool;
the medians over the rounds are compared. A control, a plain NumPy product, tells whether the
machine was slow: such rounds are repeated.
"""

import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

BLOCK = 0.25  # seconds of one turn
BATCH = 2e-3  # seconds between two looks at the clock
GPU_BATCH = 20e-3  # each look waits for the card, which then has nothing to do until the next call
SETTLE = 0.05  # seconds between turns: BLAS threads spin that long before they sleep
SLOW = 1.25  # a round is slow if the control took that many times its best
PATIENCE = 300.0  # seconds after which a contestant counts as hanging; compilers take their time


def cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bind(threads: int) -> None:
    """Keep this process and those it starts on that many cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def serve(
    task: Callable[[str], Callable[[], Any]],
    synchronize: Callable[[], None] = lambda: None,
    batch: float = BATCH,
) -> None:
    """Answer requests from standard input, a JSON line each, until it ends.

    task: what to call for a task's name. synchronize: waits for the device, each `batch` seconds.
    """
    # What a library prints is no reply.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            call = task(request["task"])
            if request["seconds"] is None:
                start = time.perf_counter()
                value = call()
                synchronize()
                reply = {"value": value, "seconds": time.perf_counter() - start}
            else:
                reply = {"us": block(call, synchronize, request["seconds"], batch)}
            answer = json.dumps(reply)
        except Exception as error:
            message = str(error).partition("\n")[0]
            answer = json.dumps({"error": f"{type(error).__name__}: {message}"})
        print(answer, file=replies, flush=True)


def block(
    call: Callable[[], Any], synchronize: Callable[[], None], seconds: float, batch: float
) -> float:
    """Return the µs of one call, the mean over `seconds`; a first call is not counted."""
    call()
    synchronize()
    calls, count, start = 1, 0, time.perf_counter()
    while True:
        for _ in range(calls):
            call()
        synchronize()
        count += calls
        passed = time.perf_counter() - start
        if passed >= seconds:
            return passed / count * 1e6
        calls = max(1, int(batch * count / passed))


def control(_: str) -> Callable[[], Any]:
    import numpy as np

    x = np.ones((256, 256), np.float32)
    out = np.empty_like(x)
    return lambda: np.matmul(x, x, out=out)


class Lost(Exception):
    """A contestant whose process died or gave no answer."""


class Failed(Exception):
    """A task that raised in the contestant's process, which lives on."""


class Late(Exception):
    """The time that a part may take is over."""


class Contestant:
    """A process that runs tasks on request; a context manager that ends it."""

    def __init__(
        self,
        script: Path,
        name: str,
        threads: int = 1,
        env: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        pools = ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "NUMBA_NUM", "VECLIB_MAXIMUM")
        counts = {f"{pool}_THREADS": str(threads) for pool in pools}
        self.patience = patience
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in close()
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(script), "--serve", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, **counts, **(env or {})},
            start_new_session=True,  # Ctrl-C is for the parent, which ends this one
        )
        self.replies: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.replies.put(line)
        self.replies.put(None)

    def run(self, task: str) -> dict[str, Any]:
        """Call a task once; return its value (of JSON's kinds) and the seconds it took."""
        return self._ask(task, None)

    def time(self, task: str, seconds: float = BLOCK) -> float:
        """Call a task for that long; return the µs of one call."""
        return float(self._ask(task, seconds)["us"])

    def _ask(self, task: str, seconds: float | None) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"task": task, "seconds": seconds}) + "\n")
            self.process.stdin.flush()
            line = self.replies.get(timeout=self.patience)
        except queue.Empty:
            self.close(kill=True)
            raise Lost(f"no answer to {task!r} within {self.patience:g} s") from None
        except (OSError, ValueError):  # the pipe is closed
            line = None
        if line is None:
            raise Lost(f"its process ended at {task!r}{self._last_words()}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise Failed(reply["error"])
        return reply

    def _last_words(self) -> str:
        if self.log.closed:
            return ", some time ago"
        code = self.process.wait()
        self.log.seek(0)
        lines = [line for line in self.log.read().splitlines() if line.strip()]
        return f" (exit code {code})" + (f": {lines[-1].strip()}" if lines else "")

    def close(self, kill: bool = False) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        if kill:
            self.process.kill()
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.listener.join()
        self.process.stdout.close()
        self.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.close(kill=error is not None)


class Control(Contestant):
    """The NumPy product; remembers its times."""

    def __init__(self, threads: int = 1, seconds: float = BLOCK / 5) -> None:
        super().__init__(Path(__file__), "control", threads)
        self.seconds = seconds
        self.times: list[float] = []
        self.slow = 0

    def is_slow(self) -> bool:
        """Measure once; return whether the machine was slow, compared with its best so far."""
        self.times.append(self.time("control", self.seconds))
        slow = self.times[-1] > SLOW * min(self.times)
        self.slow += slow
        return slow

    def facts(self) -> dict[str, Any]:
        return {
            "task": "NumPy float32 matmul, 256×256",
            "best_us": min(self.times),
            "median_us": statistics.median(self.times),
            "worst_us": max(self.times),
            "checks": len(self.times),
            "slow_checks": self.slow,
        }


@dataclass
class Rounds:
    """times: task -> contestant -> µs of each round; slow: rounds that count in spite of it."""

    times: dict[str, dict[str, list[float]]]
    slow: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)

    def us(self, task: str) -> dict[str, float]:
        """Return each contestant's median."""
        return {name: statistics.median(times) for name, times in self.times[task].items()}

    def ratio(self, task: str, name: str, base: str) -> float:
        """Return the median over the rounds of one contestant's time divided by another's."""
        pairs = zip(self.times[task][name], self.times[task][base], strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)


def turned(names: list[str], number: int) -> list[str]:
    """Return the names in another order each round: nobody always comes after the same."""
    first = number % max(1, len(names))
    return names[first:] + names[:first]


def take_turns(
    contestants: Mapping[str, Contestant],
    tasks: Iterable[str],
    rounds: int,
    control: Control,
    seconds: float = BLOCK,
) -> Rounds:
    """Let the contestants run the tasks in turns, `seconds` for each task, after a warm-up round.

    Rounds in which the control was slow are repeated, half as many as `rounds` at most; slow ones
    count only where there are not enough others. A contestant that fails is left out.
    """
    tasks, left = list(tasks), dict(contestants)
    failed: dict[str, str] = {}
    lost: dict[str, str] = {}
    found: list[tuple[bool, dict[str, dict[str, float]]]] = []
    for number in range(1 + rounds + max(1, rounds // 2)):
        times: dict[str, dict[str, float]] = {}
        for name in turned(list(left), number):
            time.sleep(SETTLE)
            try:
                times[name] = {task: left[name].time(task, seconds) for task in tasks}
            except (Failed, Lost) as error:
                (lost if isinstance(error, Lost) else failed)[name] = str(error)
                del left[name]
        time.sleep(SETTLE)
        slow = control.is_slow()
        if number:  # the first round is the warm-up
            found.append((slow, times))
        if sum(not slow for slow, _ in found) == rounds:
            break
    kept = sorted(found, key=lambda one: one[0])[:rounds]
    return Rounds(
        {task: {name: [times[name][task] for _, times in kept] for name in left} for task in tasks},
        sum(slow for slow, _ in kept),
        failed,
        lost,
    )


if __name__ == "__main__":
    serve(control)
