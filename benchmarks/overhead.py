"""What one operation costs: minigrad beside PyTorch on 4×4 float32, one thread.

Each contestant runs in a process of its own; they take turns in blocks of a quarter of a second,
after a warm-up, and the medians of the rounds are compared. The control, a NumPy product, tells
whether the machine was slow. Needs the `compare` extra.

    python benchmarks/overhead.py [--rounds 20] [--out benchmarks/results/overhead.json]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

BLOCK = 0.25  # seconds
TARGETS = {"multiply, no tape": 0.9, "multiply, on the tape": 0.9, "graph": 0.4}


def numpy_tasks() -> dict[str, Callable[[], Any]]:
    import numpy as np

    a = np.full((4, 4), 0.3, np.float32)
    return {"control": lambda: a * a}


def minigrad_tasks() -> dict[str, Callable[[], Any]]:
    import numpy as np

    import minigrad as mg

    def leaf(requires_grad: bool) -> mg.Tensor:
        return mg.tensor(np.full((4, 4), 0.3, np.float32), requires_grad=requires_grad)

    return tasks([leaf(False) for _ in range(3)], [leaf(True) for _ in range(3)])


def torch_tasks() -> dict[str, Callable[[], Any]]:
    import torch

    torch.set_num_threads(1)

    def leaf(requires_grad: bool) -> torch.Tensor:
        return torch.full((4, 4), 0.3, requires_grad=requires_grad)

    return tasks([leaf(False) for _ in range(3)], [leaf(True) for _ in range(3)])


def tasks(plain: list[Any], tracked: list[Any]) -> dict[str, Callable[[], Any]]:
    a, b, c = tracked

    def graph() -> None:
        a.grad = b.grad = c.grad = None
        (a * b + c).tanh().sum().backward()

    return {
        "multiply, no tape": lambda: plain[0] * plain[1],
        "multiply, on the tape": lambda: a * b,
        "graph": graph,
    }


CONTESTANTS = {"numpy": numpy_tasks, "minigrad": minigrad_tasks, "torch": torch_tasks}


def serve(name: str) -> None:
    """Run as a contestant: for each line with a task's name, run it for a block and print µs."""
    run = CONTESTANTS[name]()
    for line in sys.stdin:
        task, count, start = run[line.strip()], 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < BLOCK:
            for _ in range(100):
                task()
            count += 100
        print(passed / count * 1e6, flush=True)


class Contestant:
    def __init__(self, name: str) -> None:
        threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **threads},
        )

    def time(self, task: str) -> float:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(task + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def measure(rounds: int) -> dict[str, Any]:
    contestants = {name: Contestant(name) for name in CONTESTANTS}
    times: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds + 1):
        for task in ("control", *TARGETS):
            for name in ("numpy",) if task == "control" else ("torch", "minigrad"):
                block = contestants[name].time(task)
                if number:  # the first round is the warm-up
                    times.setdefault(task, {}).setdefault(name, []).append(block)
    for contestant in contestants.values():
        contestant.close()
    rows = {}
    for task in TARGETS:
        pairs = list(zip(times[task]["minigrad"], times[task]["torch"], strict=True))
        rows[task] = {
            "minigrad_us": statistics.median(mine for mine, _ in pairs),
            "torch_us": statistics.median(theirs for _, theirs in pairs),
            "ratio": statistics.median(mine / theirs for mine, theirs in pairs),
            "target": TARGETS[task],
        }
    control = times["control"]["numpy"]
    return {
        "rows": rows,
        "control_us": {"median": statistics.median(control), "max": max(control)},
        "rounds": rounds,
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
            **{name: version(name) for name in ("minigrad", "numpy", "torch")},
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    result = measure(options.rounds)
    print(f"{'':24}{'torch µs':>10}{'minigrad µs':>13}{'ratio':>8}{'target':>8}")
    for task, row in result["rows"].items():
        print(
            f"{task:24}{row['torch_us']:>10.2f}{row['minigrad_us']:>13.2f}{row['ratio']:>8.2f}"
            f"{row['target']:>8.2f}"
        )
    control = result["control_us"]
    print(f"control, a NumPy product: {control['median']:.2f} µs, at worst {control['max']:.2f}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
