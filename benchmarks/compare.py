"""minigrad's backends compared: every op of the sample table, and a training step.

Beside the training step stand its floor (what BLAS and one pass of Adam cost) and, where they are
installed, PyTorch and JAX (the `compare` extra). Measured as `turns.py` says. The results go to a
JSON file with the machine's facts, and charts beside it; the README's tables are made from it.

    python benchmarks/compare.py                                 the whole comparison, minutes
    python benchmarks/compare.py --quick                         whether everything works
    python benchmarks/compare.py --only ops --ops exp,multiply
    python benchmarks/compare.py --markdown benchmarks/results/compare.json
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import charts
import operations
import report
import training
from facts import anonymous, facts
from turns import BLOCK, PATIENCE, Contestant, Control, Failed, Lost, bind, cores, serve, take_turns

RESULTS = Path(__file__).resolve().parent / "results" / "compare.json"
BACKENDS = ("numpy", "numba", "cupy")
QUICK_OPS = ("multiply", "exp", "softmax_cross_entropy", "isnan")
AGREEMENT = 1e-4  # relative, of the first losses
MOST_LOST = 3  # processes of one backend
CACHES = ("NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "CUPY_CACHE_DIR")
COMPARE = 'pip install -e ".[compare]"'


class Arena:
    """What a run measures with: the processes it may start, and for how long they are timed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.threads: int = options.threads
        self.rounds: int = options.rounds
        self.patience: float = options.patience
        self.block = BLOCK / 25 if options.quick else BLOCK
        self.control = Control(self.threads, self.block / 5)

    @contextmanager
    def caches(self) -> Iterator[Callable[[str, str], Contestant]]:
        """Give a function that starts contestants, each on compilers' caches that begin empty."""
        with tempfile.TemporaryDirectory() as folder:

            def start(kind: str, name: str) -> Contestant:
                env = {cache: str(Path(folder, kind, name, cache)) for cache in CACHES}
                script = Path(__file__)
                return Contestant(script, f"{kind}:{name}", self.threads, env, self.patience)

            yield start


def play(contestant: str) -> None:
    """Run as a contestant, `ops:BACKEND` or `training:NAME`."""
    kind, _, name = contestant.partition(":")
    serve(*(operations if kind == "ops" else training).contestant(name))


def absentees(backends: list[str], peers: list[str]) -> dict[str, str]:
    """Return why contestants cannot take part, and what to install."""
    import minigrad as mg

    status = mg.backends.status()
    missing = {name: status[name].reason for name in backends if not status[name].usable}
    if find_spec("numba") is None:
        missing[training.FLOOR] = 'needs Numba; install it with: pip install -e ".[numba]"'
    for name in peers:
        if find_spec(name.partition(".")[0]) is None:
            missing[name] = f"is not installed; install it with: {COMPARE}"
    return missing


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# The training step


def compare_training(
    arena: Arena, names: list[str], batches: list[int], out: dict[str, Any]
) -> None:
    """Fill `out` with the training step of every contestant at every batch size."""
    out.update(network=training.NETWORK, batches=[], start_up={}, failed={})
    with ExitStack() as stack:
        start = stack.enter_context(arena.caches())
        playing: dict[str, Contestant] = {}

        def failed(name: str, reason: object) -> None:
            say(f"training: {name} failed: {reason}")
            out["failed"][name] = str(reason)
            playing.pop(name, None)

        for name in names:
            say(f"training: {name} starts")
            try:
                cold, contestant = begun(start, name, batches[0])
                contestant.close()
                cached, contestant = begun(start, name, batches[0])
            except (Failed, Lost) as error:
                failed(name, error)
                continue
            playing[name] = stack.enter_context(contestant)
            out["start_up"][name] = {"cold_s": cold, "cached_s": cached}
        for batch in batches:
            say(f"training: batch {batch}")
            losses = {}
            for name in list(playing):
                try:
                    losses[name] = playing[name].run(f"{batch}|losses")["value"]
                except (Failed, Lost) as error:
                    failed(name, error)
            task = str(batch)
            found = take_turns(playing, [task], arena.rounds, arena.control, arena.block)
            for name, reason in {**found.failed, **found.lost}.items():
                failed(name, reason)
            us = found.us(task)
            row = {
                "batch": batch,
                "us": us,
                "slow_rounds": found.slow,
                "losses": losses,
                "disagree": disagreeing(losses),
            }
            if training.FLOOR in us:
                row["to_floor"] = {name: found.ratio(task, name, training.FLOOR) for name in us}
            out["batches"].append(row)


def begun(
    start: Callable[[str, str], Contestant], name: str, batch: int
) -> tuple[float, Contestant]:
    """Start a contestant; return the seconds to the end of its first training step, and it."""
    began = time.perf_counter()
    contestant = start("training", name)
    try:
        contestant.run(f"{batch}|first")
    except BaseException:  # Ctrl-C too: it may be compiling for long
        contestant.close(kill=True)
        raise
    return time.perf_counter() - began, contestant


def disagreeing(losses: Mapping[str, list[float]]) -> list[str]:
    """Return who computed other losses than the median contestant."""
    told = {name: values for name, values in losses.items() if values}
    medians = [statistics.median(step) for step in zip(*told.values(), strict=True)]
    return [
        name
        for name, values in told.items()
        if any(
            not abs(loss - median) <= AGREEMENT * abs(median)
            for loss, median in zip(values, medians, strict=True)
        )
    ]


# The ops


def compare_ops(arena: Arena, backends: list[str], ops: list[str], out: dict[str, Any]) -> None:
    """Fill `out` with every op's times; the first backend is what the others are compared with.

    A process that is lost is started again; Lost when that happens to a backend too often.
    """
    out.update(base=backends[0], rows=[], first_calls={}, unmeasured={}, small_only={}, failed=[])
    with ExitStack() as stack:
        start = stack.enter_context(arena.caches())
        playing = {name: stack.enter_context(start("ops", name)) for name in backends}

        lost: Counter[str] = Counter()

        def failed(op: str, backend: str, error: Failed | Lost) -> None:
            out["failed"].append({"op": op, "backend": backend, "reason": str(error)})
            if isinstance(error, Lost):
                lost[backend] += 1
                if lost[backend] == MOST_LOST:
                    raise error
                playing[backend] = stack.enter_context(start("ops", backend))

        plans = {}
        for op in ops:
            try:
                plans[op] = playing[backends[0]].run(f"{op}|describe")["value"]
                if plans[op]["small_only"]:
                    out["small_only"][op] = plans[op]["small_only"]
            except Failed as error:
                out["unmeasured"][op] = str(error).partition(": ")[2]
            except Lost as error:
                failed(op, backends[0], error)
        for name in backends[1:]:
            for when in ("cold", "cached"):
                say(f"ops: first calls on {name}, {when}")
                for op, plan in plans.items():
                    calls = out["first_calls"].setdefault(op, {}).setdefault(name, {})
                    try:
                        tasks = operations.tasks(op, plan)
                        calls[f"{when}_s"] = sum(playing[name].run(t)["seconds"] for t in tasks)
                    except (Failed, Lost) as error:
                        failed(op, name, error)
                if when == "cold":
                    playing[name].close()
                    playing[name] = stack.enter_context(start("ops", name))
        for number, (op, plan) in enumerate(plans.items(), 1):
            say(f"ops: {op} ({number} of {len(plans)})")
            compare_op(arena, playing, op, plan, out["rows"], failed)


def compare_op(
    arena: Arena,
    playing: dict[str, Contestant],
    op: str,
    plan: dict[str, Any],
    rows: list[dict[str, Any]],
    failed: Callable[[str, str, Failed | Lost], None],
) -> None:
    """Add the rows of one op: a row for each size and pass."""
    base, *others = playing
    kernels = {}
    for name in others:
        try:
            kernels[name] = playing[name].run(f"{op}|describe")["value"]["kernels"]
        except (Failed, Lost) as error:
            failed(op, name, error)
    ready = {name: playing[name] for name in (base, *kernels)}
    tasks = operations.tasks(op, plan)
    found = take_turns(ready, tasks, arena.rounds, arena.control, arena.block / len(tasks))
    for name, reason in found.failed.items():
        failed(op, name, Failed(reason))
    for name, reason in found.lost.items():
        failed(op, name, Lost(reason))
    if base in found.failed or base in found.lost:
        return
    for task in tasks:
        _, size, direction = task.split("|")
        us = found.us(task)
        rows.append(
            {
                "op": op,
                "size": size,
                "pass": direction,
                "shapes": plan["shapes"][size],
                "us": us,
                "ratio": {name: found.ratio(task, name, base) for name in us if name != base},
                "kernels": {name: used for name, used in kernels.items() if used},
                "slow_rounds": found.slow,
            }
        )


# The command


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what the options ask for; after Ctrl-C, return what there is, marked."""
    machine_cores = cores()
    bind(options.threads)
    missing = absentees(options.backends, options.peers)
    for name, reason in missing.items():
        say(f"missing: {name}: {reason}")
    backends = [name for name in options.backends if name not in missing]
    if not backends:
        raise SystemExit("none of the backends can be used here")
    result: dict[str, Any] = {
        "schema": 1,
        **facts(options.threads, machine_cores),
        "quick": options.quick,
        "rounds": options.rounds,
        "missing": missing,
    }
    arena = Arena(options)
    with arena.control as control:
        try:
            if options.only != "ops":
                names = [training.FLOOR, *backends, *options.peers]
                compare_training(
                    arena,
                    [name for name in names if name not in missing],
                    [training.BATCHES[0]] if options.quick else list(training.BATCHES),
                    result.setdefault("training", {}),
                )
            if options.only != "training":
                compare_ops(arena, backends, options.ops, result.setdefault("ops", {}))
        except KeyboardInterrupt:
            result["interrupted"] = True
        except (Failed, Lost) as error:
            result["given_up"] = str(error)
        if control.times:
            result["control"] = control.facts()
    return result


def among(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return the type of an option that is a list of known names, with commas between them."""

    def names(text: str) -> list[str]:
        from minigrad.messages import did_you_mean

        found = [name for name in text.split(",") if name]
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"unknown name {name!r}{did_you_mean(name, known)} (known: {', '.join(known)})"
                )
        return found

    return names


def whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def parser() -> argparse.ArgumentParser:
    summary, _, rest = (__doc__ or "").partition("\n\n")
    found = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = found.add_argument
    add("--only", choices=("ops", "training"), help="measure one of the two")
    add("--ops", type=among(operations.names()), metavar="NAMES", help="these ops, not all")
    add("--backends", type=among(BACKENDS), default=list(BACKENDS), metavar="NAMES")
    add(
        "--peers",
        type=among(training.PEERS),
        metavar="NAMES",
        help="who trains beside minigrad: torch, torch.compile, jax; '' for nobody",
    )
    add(
        "--rounds",
        type=whole,
        help="rounds that count, after one to warm up (default 5; with --quick 1)",
    )
    add("--threads", type=whole, default=cores(), help="threads of each contestant (all cores)")
    add("--patience", type=whole, default=PATIENCE, help="seconds until a contestant is given up")
    add("--quick", action="store_true", help="short blocks, few ops: no figures to be quoted")
    add(
        "--json",
        type=Path,
        metavar="PATH",
        help=f"where the results go, charts beside them (default {RESULTS.name} in results/; "
        "with --quick nowhere)",
    )
    add("--markdown", type=Path, metavar="RESULTS", help="print a stored run's tables, and end")
    add("--charts", type=Path, metavar="RESULTS", help="draw a stored run's charts again, and end")
    add("--serve", help=argparse.SUPPRESS)
    return found


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    options = parser().parse_args(arguments)
    quick = options.quick
    options.rounds = options.rounds or (1 if quick else 5)
    options.ops = options.ops or (list(QUICK_OPS) if quick else operations.names())
    if options.peers is None:
        options.peers = [name for name in training.PEERS if not (quick and name == "torch.compile")]
    if options.json is None and not quick:
        options.json = RESULTS
    return options


def stored(path: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if result["schema"] == 1:
            return result
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path} holds no results of this program: {error}") from None
    raise SystemExit(f"{path} was written by another version of this program")


def main() -> int:
    if sys.argv[1:2] == ["--serve"]:
        play(sys.argv[2])
        return 0
    options = parsed(None)
    if options.markdown:
        print(report.markdown(stored(options.markdown)))
        return 0
    if options.charts:
        charts.draw(stored(options.charts), options.charts.parent)
        return 0
    result = compare(options)
    print(report.text(result))
    interrupted = result.get("interrupted", False)
    if options.json:
        path = options.json.with_suffix(".partial.json") if interrupted else options.json
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
        path.write_text(anonymous(text), encoding="utf-8")
        if not interrupted:
            charts.draw(result, path.parent)
        say(f"written: {path}")
    return 130 if interrupted else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
