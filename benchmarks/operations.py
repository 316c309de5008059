"""Every op of the sample table with a kernel: small and large, forward and forward and backward.

Small is as the op's row gives it, large is scaled to about a million elements. On the CPU an op
without a kernel runs the same code on every backend: of these some are measured, to show the noise.
What seems to lose is measured again, for longer, and the second figures count.

The cases are those of tests/samples/. Of a row's cases one is taken: of at most two axes, with
the largest input. It is scaled by multiplying every length above 1, in the inputs and in params
that are lengths, by one factor; lengths that were equal stay equal, so the call stays valid.
"""

import math
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from arena import Arena, say
from targets import Verdict
from turns import Contestant, Failed, Lost, take_turns

LARGE = 1 << 20  # elements of the largest array
SIZES = ("small", "large")
FORWARD, BACKWARD = "forward", "forward + backward"
PASSES = (FORWARD, BACKWARD)

QUICK = ("multiply", "exp", "softmax_cross_entropy", "isnan")
CONTROLS = 8  # ops that run the same code on all backends
MOST_LOST = 3  # processes of one backend

# The most that an op with a kernel may take of the time without it: 0.95 of the speed.
GOAL, TARGET = "an op with a kernel beside {}", round(1 / 0.95, 2)

# Params that are lengths, or made of lengths.
LENGTHS = {"shape", "size", "num", "rows", "columns", "classes", "num_classes", "start"}

# What stands in a row of the sample table and cannot be compared between backends.
LEFT_OUT = {"to": "its row moves tensors to the tests' own device"}


@cache
def samples() -> Any:
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
    import samples

    return samples


def names() -> list[str]:
    """Return the ops; what is made of several has rows as well, and is left out."""
    from minigrad.engine import TABLE

    return [name for name in samples().ROWS if name in TABLE]


def scaled_length(n: Any, k: int) -> Any:
    return n * k if n > 1 else n  # 0 and 1 stay what they are, and so does a -1 to be worked out


def scaled_lengths(value: Any, k: int) -> Any:
    if isinstance(value, tuple):
        return tuple(scaled_length(n, k) for n in value)
    return None if value is None else scaled_length(value, k)


def scaled_input(spec: Any, k: int) -> Any:
    """Return an input of the sample table, larger; indices and labels keep to their axis."""
    import numpy as np

    if spec is None or isinstance(spec, samples().Hyper):
        return spec
    if isinstance(spec, samples().Given):
        values = np.asarray(spec.values)
        if values.dtype == np.uint64:  # the state of a random stream
            return spec
        counts = [scaled_length(n, k) // n for n in values.shape]
        if values.dtype.kind == "f" and values.ndim == 2 and values.shape == values.T.shape:
            # Blocks on the diagonal: as regular as the matrix is.
            return samples().Given(np.kron(np.eye(counts[0]), values))
        return samples().Given(np.tile(values, counts))
    larger = replace(spec, shape=scaled_lengths(spec.shape, k))
    if isinstance(spec, samples().Ints) and spec.dtype is np.int64:
        low = -scaled_length(-spec.low, k)
        larger = replace(larger, low=low, high=scaled_length(spec.high, k))
    return larger


def scaled(case: Any, k: int) -> Any:
    lengths = {name: scaled_lengths(v, k) for name, v in case.params.items() if name in LENGTHS}
    inputs = tuple(scaled_input(x, k) for x in case.inputs)
    return replace(case, inputs=inputs, params={**case.params, **lengths})


def factor(shapes: list[tuple[int, ...]]) -> int:
    """Return the largest factor with which no array of these shapes exceeds LARGE."""
    return int(
        min(
            (
                (LARGE / math.prod(shape)) ** (1 / axes)
                for shape in shapes
                if (axes := sum(n > 1 for n in shape)) and math.prod(shape)
            ),
            default=1,
        )
    )


@dataclass(frozen=True)
class Plan:
    """cases: by size; reason: why the large one is missing."""

    cases: dict[str, Any]
    reason: str = ""


def present(case: Any) -> list[Any]:
    return [array for array in case.arrays() if array is not None]


def preference(case: Any) -> tuple[Any, ...]:
    """Rank a case: no values that can only be repeated, few axes, large inputs, index arrays."""
    arrays = present(case)
    return (
        not any(type(x) is samples().Given for x in case.inputs),
        max((a.ndim for a in arrays), default=0) <= 2,
        max((a.size for a in arrays), default=0),
        sum(a.dtype.kind in "ib" for a in arrays),
    )


@cache
def plan(op: str) -> Plan:
    """Choose an op's case; ValueError where none of its row can be called here."""
    if op in LEFT_OUT:
        raise ValueError(LEFT_OUT[op])
    row = samples().ROWS[op]
    cases = sorted((c for c in row.cases if not c.is_empty()), key=preference, reverse=True)
    reason, small = "no case of its row can be called", None
    for case in cases:
        try:
            k = factor([array.shape for array in called(row, case)])
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            continue
        small = small or case
        try:
            larger = scaled(case, k)
            most = max(array.size for array in called(row, larger))
            if most < LARGE / 4:  # an axis of the result is none of the inputs': stack's
                larger = scaled(case, k * math.isqrt(LARGE // most))
                called(row, larger)
        except Exception as error:
            reason = f"its case cannot be scaled ({type(error).__name__})"
            continue
        if k > 1:
            return Plan({"small": case, "large": larger})
        reason = "its case has no length above 1"
    if small is None:
        raise ValueError(reason)
    return Plan({"small": small}, reason)


def dtype_of(row: Any) -> Any:
    """Return the dtype in which an op's floating inputs are measured."""
    return samples().SINGLE if samples().SINGLE in row.dtypes else row.dtypes[-1]


@lru_cache(maxsize=len(SIZES))  # to draw a million numbers takes as long as many an op on them
def drawn(op: str, size: str) -> list[Any]:
    return plan(op).cases[size].arrays(dtype_of(samples().ROWS[op]))


def tensors(arrays: list[Any], backend: str) -> list[Any]:
    import minigrad as mg

    return [None if a is None else mg.tensor(a, backend=backend) for a in arrays]


def require_grad(op: str, xs: list[Any]) -> list[Any]:
    """Let the floating inputs that have a derivative rule require grad, and return them."""
    from minigrad.engine import TABLE

    ruled = {name for rule in TABLE[op].rules for name in rule.names}
    names = chain(TABLE[op].inputs, repeat(TABLE[op].variadic))
    dtype = dtype_of(samples().ROWS[op])
    free = [x for x, n in zip(xs, names, strict=False) if n in ruled and x is not None]
    return [x.requires_grad_() for x in free if x.dtype == dtype]


def results(row: Any, xs: list[Any], case: Any) -> tuple[Any, ...]:
    found = row.f(*xs, **case.params)
    return found if isinstance(found, tuple) else (found,)


def called(row: Any, case: Any) -> list[Any]:
    """Return the inputs and the results of a call."""
    xs = tensors(case.arrays(dtype_of(row)), "numpy")
    return [x for x in (*xs, *results(row, xs, case)) if x is not None]


def build(op: str, size: str, direction: str, backend: str) -> Callable[[], Any]:
    """Return what runs an op: forward, or forward and then backward from its first result."""
    import minigrad as mg

    row, case = samples().ROWS[op], plan(op).cases[size]
    if direction == FORWARD:
        xs = tensors(drawn(op, size), backend)

        def forward() -> None:
            row.f(*xs, **case.params)

        return forward
    xs = tensors(drawn(op, size), backend)
    free = require_grad(op, xs)
    cotangent = mg.ones_like(results(row, xs, case)[0].detach())

    def both() -> None:
        mg.autograd.grad(results(row, xs, case)[0], free, cotangent, allow_unused=True)

    return both


def directions(op: str) -> tuple[str, ...]:
    """Return the passes an op has: no backward where its row says that it has no derivative."""
    row, case = samples().ROWS[op], plan(op).cases["small"]
    has_derivative = case.up_to(row.order) > 0 and case.is_floating()
    return PASSES if has_derivative else (FORWARD,)


def described(op: str) -> dict[str, Any]:
    """Return what can be measured of an op: the passes, and the shapes by size."""
    chosen = plan(op)
    return {
        "passes": list(directions(op)),
        "shapes": {
            size: [list(a.shape) for a in present(case)] for size, case in chosen.cases.items()
        },
        "small_only": chosen.reason,
    }


def kernels_of(op: str, backend: str) -> list[str]:
    """Return the kernels of a backend that take part in an op, forward or backward."""
    import minigrad as mg

    with mg.profile() as profile:
        for direction in directions(op):
            build(op, "small", direction, backend)()
    return sorted({name for name, _ in profile.rows} & set(mg.backends.get(backend).kernels))


def tasks(op: str, description: dict[str, Any]) -> list[str]:
    """Return the names of what is measured of an op."""
    return [
        f"{op}|{size}|{direction}"
        for size in description["shapes"]
        for direction in description["passes"]
    ]


def contestant(backend: str) -> tuple[Callable[[str], Callable[[], Any]], Callable[[], None]]:
    """Return the tasks of a backend by name, as `turns.serve` wants them.

    `OP|SIZE|PASS` runs it; `OP|describe` returns its description, `OP|kernels` what takes part.
    """
    import numpy as np

    import minigrad as mg

    mg.use_backend(backend)
    np.seterr(all="ignore")
    kept = lru_cache(maxsize=len(SIZES) * len(PASSES))(build)

    def make(op: str, *rest: str) -> Callable[[], Any]:
        # What an op writes is made anew: updates repeated for long end in denormal numbers.
        return (build if samples().ROWS[op].writes else kept)(op, *rest)

    def task(name: str) -> Callable[[], Any]:
        op, *rest = name.split("|")
        if rest == ["describe"]:
            return lambda: described(op)
        if rest == ["kernels"]:
            return lambda: kernels_of(op, backend)
        return make(op, *rest, backend)

    return task, mg.backends.get(backend).synchronize


# The comparison


def measure(arena: Arena, found: dict[str, Any]) -> None:
    """Fill `found` with the ops' times; the first backend is what the others are compared with.

    A process that is lost is started again; Lost when that happens to a backend too often.
    """
    ops = arena.ops or list(QUICK if arena.quick else names())
    base, *others = arena.backends
    found.update(base=base, rows=[], same_code=[], unmeasured={}, small_only={}, failed=[])
    with ExitStack() as stack:
        playing: dict[str, Contestant] = {}
        lost: Counter[str] = Counter()

        def start(name: str) -> None:
            playing[name] = stack.enter_context(arena.start("ops", name))

        def failed(op: str, backend: str, error: Failed | Lost) -> None:
            found["failed"].append({"op": op, "backend": backend, "reason": str(error)})
            if isinstance(error, Lost):
                lost[backend] += 1
                if lost[backend] == MOST_LOST:
                    raise error
                start(backend)

        def ask(op: str, backend: str, what: str) -> Any:
            try:
                return playing[backend].run(f"{op}|{what}")["value"]
            except (Failed, Lost) as error:
                failed(op, backend, error)
                return None

        for name in arena.backends:
            start(name)
        say("ops: what has kernels")
        plans, kernels = {}, {}
        for op in ops:
            try:
                plans[op] = playing[base].run(f"{op}|describe")["value"]
            except Failed as error:
                found["unmeasured"][op] = str(error).partition(": ")[2]
                continue
            except Lost as error:
                failed(op, base, error)
                continue
            if reason := plans[op]["small_only"]:
                found["small_only"][op] = reason
            kernels[op] = {name: ask(op, name, "kernels") for name in others}
        for number, op in enumerate(chosen := chosen_of(plans, kernels, others, found), 1):
            say(f"ops: {op} ({number} of {len(chosen)})")
            plan = plans[op] | {"kernels": {k: used for k, used in kernels[op].items() if used}}
            rows = compared(arena, playing, op, plan, failed, 1)
            if plan["kernels"] and not arena.quick and any(map(loses, rows)):
                rows = compared(arena, playing, op, plan, failed, 4)
            found["rows"] += rows


def chosen_of(
    plans: dict[str, Any], kernels: dict[str, Any], others: list[str], found: dict[str, Any]
) -> list[str]:
    """Return the ops with code of their own on a backend, and some of the rest, which is listed."""
    same = [op for op in plans if "cupy" not in others and not any(kernels[op].values())]
    found["same_code"] = same
    controls = set(same[:: max(1, len(same) // CONTROLS)])
    return [op for op in plans if op not in same or op in controls]


def compared(
    arena: Arena,
    playing: dict[str, Contestant],
    op: str,
    plan: dict[str, Any],
    failed: Callable[[str, str, Failed | Lost], None],
    longer: int,
) -> list[dict[str, Any]]:
    """Return the rows of one op, for each size and pass, measured `longer` times the usual time."""
    base = next(iter(playing))
    wanted = tasks(op, plan)
    seconds = longer * arena.block / 4 / len(wanted)
    turns = take_turns(playing, wanted, arena.rounds(3), arena.control, seconds)
    for name, reason in turns.failed.items():
        failed(op, name, Failed(reason))
    for name, reason in turns.lost.items():
        failed(op, name, Lost(reason))
    if base in turns.failed or base in turns.lost:
        return []
    rows = []
    for task in wanted:
        _, size, direction = task.split("|")
        us = turns.us(task)
        rows.append(
            {
                "op": op,
                "size": size,
                "pass": direction,
                "shapes": plan["shapes"][size],
                "us": us,
                "ratio": {name: turns.ratio(task, name, base) for name in us if name != base},
                "kernels": plan["kernels"],
                "slow_rounds": turns.slow,
            }
        )
    return rows


def loses(row: dict[str, Any]) -> bool:
    return any(row["ratio"].get(name, 0) > TARGET for name in row["kernels"])


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    return [
        Verdict(
            GOAL.format(found["base"]), f"{row['op']}, {row['size']}, {row['pass']}", ratio, TARGET
        )
        for row in found["rows"]
        for name, ratio in row["ratio"].items()
        if name == "numba" and row["kernels"].get(name)
    ]
