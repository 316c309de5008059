"""What one operation costs: minigrad beside PyTorch on 4×4 float32, one thread.

One task at a time. Needs PyTorch (the `compare` extra).
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from arena import NEEDS_PEERS, Arena, say
from targets import Verdict
from turns import Lost, take_turns

GRAPH = "(a * b + c).tanh().sum(), forward and backward"
# The most that minigrad may take of PyTorch's time.
GOAL = "an operation on 4×4 beside PyTorch"
TARGETS = {"multiply, no tape": 0.9, "multiply, on the tape": 0.9, GRAPH: 0.4}


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
        GRAPH: graph,
    }


CONTESTANTS = {"torch": torch_tasks, "minigrad": minigrad_tasks}


def contestant(name: str) -> tuple[Callable[[str], Callable[[], Any]], Callable[[], None]]:
    return CONTESTANTS[name]().__getitem__, lambda: None


def measure(arena: Arena, found: dict[str, Any]) -> None:
    """Fill `found` with times and ratios; Lost where a contestant did not play."""
    found["rows"] = []
    if "torch" not in arena.peers:
        raise Lost(f"torch {NEEDS_PEERS}")
    with ExitStack() as stack:
        playing = {
            name: stack.enter_context(arena.start("overhead", name, 1)) for name in CONTESTANTS
        }
        for task in TARGETS:
            say(f"overhead: {task}")
            turns = take_turns(playing, [task], arena.rounds(10), arena.control, arena.block)
            for name, reason in {**turns.failed, **turns.lost}.items():
                raise Lost(f"{name}: {reason}")
            found["rows"].append(
                {
                    "task": task,
                    "us": turns.us(task),
                    "ratio": turns.ratio(task, "minigrad", "torch"),
                    "slow_rounds": turns.slow,
                }
            )


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    return [Verdict(GOAL, row["task"], row["ratio"], TARGETS[row["task"]]) for row in found["rows"]]
