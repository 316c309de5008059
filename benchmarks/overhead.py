"""What one operation costs: minigrad beside PyTorch on 4×4 float32, one thread.

Measured as `turns.py` says, one task at a time. Needs PyTorch (the `compare` extra).

    python benchmarks/overhead.py [--rounds 20] [--out benchmarks/results/overhead.json]
"""

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from facts import facts
from turns import Contestant, Control, Failed, Lost, bind, cores, serve, take_turns

TARGETS = {"multiply, no tape": 0.9, "multiply, on the tape": 0.9, "graph": 0.4}


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


CONTESTANTS = {"torch": torch_tasks, "minigrad": minigrad_tasks}


def measure(rounds: int) -> dict[str, Any]:
    """Return times and ratios by task; Lost or Failed where a contestant did not play."""
    rows = {}
    with ExitStack() as stack:
        control = stack.enter_context(Control())
        contestants = {
            name: stack.enter_context(Contestant(Path(__file__), name)) for name in CONTESTANTS
        }
        for task in TARGETS:
            found = take_turns(contestants, [task], rounds, control)
            for name, reason in {**found.failed, **found.lost}.items():
                raise Lost(f"{name}: {reason}")
            us = found.us(task)
            rows[task] = {
                "minigrad_us": us["minigrad"],
                "torch_us": us["torch"],
                "ratio": found.ratio(task, "minigrad", "torch"),
                "target": TARGETS[task],
                "slow_rounds": found.slow,
            }
        return {"rows": rows, "control": control.facts(), "rounds": rounds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(CONTESTANTS[options.serve]().__getitem__)
        return
    if find_spec("torch") is None:
        sys.exit('this compares with PyTorch; install it with: pip install -e ".[compare]"')
    machine_cores = cores()
    bind(1)
    try:
        result = {**measure(options.rounds), **facts(1, machine_cores)}
    except (Failed, Lost) as error:
        sys.exit(str(error))
    print(f"{'':24}{'torch µs':>10}{'minigrad µs':>13}{'ratio':>8}{'target':>8}")
    for task, row in result["rows"].items():
        print(
            f"{task:24}{row['torch_us']:>10.2f}{row['minigrad_us']:>13.2f}{row['ratio']:>8.2f}"
            f"{row['target']:>8.2f}"
        )
    control = result["control"]
    print(
        f"control, {control['task']}: {control['median_us']:.0f} µs, at worst "
        f"{control['worst_us']:.0f}"
    )
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
