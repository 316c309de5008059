"""Start-up: what an import costs, and the first step of training, cold and with filled caches.

Imports count in CPU time of the importing thread, each in a new interpreter, minigrad's and NumPy's
in turns. The first step is the perceptron's at batch 32, from the start of the process to its end:
with empty caches of the compilers, and again with what the first process left there. torch.compile,
which takes most of a minute for that, is left out.
"""

import os
import statistics
import subprocess
import sys
import time
from typing import Any

from arena import Arena, say
from targets import Verdict
from turns import Failed, Lost

# Of this thread: those that OpenBLAS starts wait for work in a loop, which added more than half to
# what minigrad's modules take after NumPy's, and nothing to NumPy alone.
CPU_TIME = "import time, {}; print(time.thread_time())"
BATCH = 32
GOAL, TARGET = "ms of its thread's CPU time of the import over NumPy's", 50.0


def imported(library: str) -> float:
    """Return the ms of CPU time of a new interpreter that imports a library."""
    command = [sys.executable, "-c", CPU_TIME.format(library)]
    # Whoever writes no bytecode would count compiling the sources each time.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return float(subprocess.run(command, capture_output=True, check=True, env=env).stdout) * 1e3


def imports(rounds: int) -> dict[str, float]:
    """Return the ms of CPU time with NumPy imported, with minigrad, and the difference."""
    times: dict[str, list[float]] = {"numpy": [], "minigrad": []}
    for _ in range(1 + rounds):  # the first may find no bytecode
        for library, found in times.items():
            found.append(imported(library))
    numpy, minigrad = (found[1:] for found in times.values())
    return {
        "numpy_ms": statistics.median(numpy),
        "minigrad_ms": statistics.median(minigrad),
        "over_numpy_ms": statistics.median(b - a for a, b in zip(numpy, minigrad, strict=True)),
    }


def measure(arena: Arena, found: dict[str, Any]) -> None:
    """Fill `found` with the imports' times and each contestant's first and later steps."""
    say("startup: import")
    found.update(imports=imports(arena.rounds(10)), batch=BATCH, steps={}, failed={})
    task = f"perceptron|{BATCH}"
    for name in [*arena.backends, *(peer for peer in arena.peers if peer != "torch.compile")]:
        say(f"startup: {name}")
        with arena.fresh_caches() as env:
            try:
                times = {}
                for when in ("cold_s", "cached_s"):
                    began = time.perf_counter()
                    with arena.start("step", name, env=env) as contestant:
                        contestant.run(f"{task}|first")
                        times[when] = time.perf_counter() - began
                        if when == "cached_s":
                            times["steady_s"] = contestant.time(task, arena.block) / 1e6
                found["steps"][name] = times
            except (Failed, Lost) as error:
                found["failed"][name] = str(error)


def warm(arena: Arena, found: dict[str, Any]) -> None:
    """Fill `found` with the seconds that `mg.warmup()` takes, cold and with filled caches."""
    found.update(seconds={}, failed={})
    arena.patience *= 4  # cold, it compiles every kernel, which took longer than any other task
    for name in arena.backends:
        if name == "numpy":
            continue
        say(f"warmup: {name}")
        with arena.fresh_caches() as env:
            try:
                times = {}
                for when in ("cold_s", "cached_s"):
                    with arena.start("warmup", name, env=env) as contestant:
                        times[when] = contestant.run("warmup")["seconds"]
                found["seconds"][name] = times
            except (Failed, Lost) as error:
                found["failed"][name] = str(error)


def warming(backend: str) -> tuple[Any, Any]:
    """Return the task of a contestant that warms up."""
    import minigrad as mg

    mg.use_backend(backend)
    return lambda _: mg.warmup, lambda: None


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    return [Verdict(GOAL, "import minigrad", found["imports"]["over_numpy_ms"], TARGET)]
