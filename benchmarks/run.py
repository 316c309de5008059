"""minigrad measured: its operations, kernels and training beside PyTorch and JAX.

Parts, each with a file of results, machine facts included (those of a GPU: gpu.py):

    ops        every op of the sample table on each backend
    kernels    the hot loops at telling shapes, on one thread and on all
    step       a training step of three small networks
    mnist      ten epochs of MNIST: time and accuracy
    memory     what the tape keeps
    startup    the import, and the first step of training
    overhead   what one operation on 4×4 costs
    warmup     what `mg.warmup()` costs; takes minutes, and only when asked for

Who plays beside minigrad is in the `compare` extra. How times are taken: turns.py. Kernels that are
not in Numba's cache yet are compiled on the way, which adds minutes.

    python benchmarks/run.py                    all parts but warmup, within 15 minutes on two cores
    python benchmarks/run.py step mnist         these parts
    python benchmarks/run.py --quick            whether everything works, in about a minute
    python benchmarks/run.py --publish          write the stored results' tables into the documents
"""

import argparse
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import charts
import hot_loops
import memory
import mnist
import operations
import overhead
import report
import startup
import training
from arena import BACKENDS, PEERS, Arena, say
from devices import CPU, GPU
from facts import anonymous, facts
from turns import BATCH, GPU_BATCH, PATIENCE, Failed, Late, Lost, bind, cores, serve

RESULTS = Path(__file__).resolve().parent / "results"
SCHEMA = 2
Part = Callable[[Arena, dict[str, Any]], None]
PARTS: dict[str, Part] = {
    "ops": operations.measure,
    "kernels": hot_loops.measure,
    "step": training.measure,
    "mnist": mnist.measure,
    "memory": memory.measure,
    "startup": startup.measure,
    "overhead": overhead.measure,
    "warmup": startup.warm,
}
USUAL = [part for part in PARTS if part != "warmup"]
GPU_PARTS: dict[str, Part] = {
    "gpu_kernels": partial(hot_loops.measure, field=hot_loops.ON_GPU),
    "gpu_step": partial(training.measure, part="gpu_step"),
}
EVERY = PARTS | GPU_PARTS


def play(contestant: str) -> None:
    """Run as a contestant, `PART:THREADS:NAME`."""
    part, threads, name = contestant.split(":")
    bind(int(threads))
    players: dict[str, Callable[[], Any]] = {
        "ops": lambda: operations.contestant(name),
        "kernels": lambda: hot_loops.contestant(name, int(threads)),
        "gpu_kernels": lambda: hot_loops.contestant(name, int(threads), hot_loops.ON_GPU),
        "step": lambda: training.contestant(name),
        "gpu_step": lambda: training.contestant(name, GPU),
        "mnist": lambda: mnist.contestant(name),
        "overhead": lambda: overhead.contestant(name),
        "warmup": lambda: startup.warming(name),
    }
    serve(*players[part](), batch=GPU_BATCH if part in GPU_PARTS else BATCH)


def measured(part: str, arena: Arena, about: dict[str, Any]) -> dict[str, Any]:
    """Return the results of a part; after Ctrl-C, what there is, marked."""
    found: dict[str, Any] = {}
    result: dict[str, Any] = {"schema": SCHEMA, "part": part, **about, "found": found}
    began = time.perf_counter()
    with arena.controlled(1 if part == "overhead" else None) as control:
        try:
            EVERY[part](arena, found)
        except KeyboardInterrupt:
            result["interrupted"] = True
        except (Failed, Late, Lost) as error:
            result["given_up"] = str(error)
        if control.times:
            result["control"] = control.facts()
    result["seconds"] = round(time.perf_counter() - began, 1)
    return result


def written(result: dict[str, Any], folder: Path) -> None:
    """Store a result and its charts; one that was interrupted takes nobody's place."""
    mark = ".partial" if result.get("interrupted") else ""
    path = folder / f"{result['part']}{mark}.json"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    path.write_text(anonymous(text), encoding="utf-8")
    if not mark:
        charts.draw(result, folder)
    say(f"written: {path}")


def stored(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results in a folder by part."""
    found = {}
    for part in EVERY:
        path = folder / f"{part}.json"
        if not path.exists():
            continue
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            if result["schema"] != SCHEMA:
                raise ValueError(f"schema {result['schema']}, expected {SCHEMA}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SystemExit(f"{path} holds no results of this program: {error!r}") from None
        found[part] = result
    return found


def publish(folder: Path) -> None:
    """Draw the stored results' charts again, and write their tables into the documents."""
    results = stored(folder)
    for result in results.values():
        charts.draw(result, folder)
    for page in report.PAGES:
        page.write_text(report.filled(page, results), encoding="utf-8")
        say(f"written: {page}")


# The command


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


def options_of(doc: str, parts: Iterable[str]) -> argparse.ArgumentParser:
    """Return the parser of a command that measures parts."""
    summary, _, rest = doc.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"of: {', '.join(parts)}")
    add(
        "--peers",
        type=among(PEERS),
        metavar="NAMES",
        help=f"who plays beside minigrad: {', '.join(PEERS)} (all of them); '' for nobody",
    )
    add("--rounds", type=whole, help="rounds that count, after one to warm up")
    add("--threads", type=whole, default=cores(), help="threads of each contestant (all cores)")
    add("--patience", type=whole, default=PATIENCE, help="seconds until a contestant is given up")
    add("--quick", action="store_true", help="short blocks, few rows: no figures to be quoted")
    add(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="where results and charts go (results/ beside this file; with --quick nowhere)",
    )
    parser.set_defaults(
        ops=None, backends=list(BACKENDS), mnist=None, publish=False, minutes=math.inf
    )
    return parser


def parsed(
    parser: argparse.ArgumentParser, parts: Iterable[str], usual: Iterable[str]
) -> argparse.Namespace:
    """Return the options of the command line, those that depend on others filled in."""
    options = parser.parse_args()
    for part in options.parts:
        if part not in parts:
            parser.error(f"unknown part {part!r} (known: {', '.join(parts)})")
    options.parts = [part for part in parts if part in (options.parts or usual)]
    if options.peers is None:
        options.peers = [name for name in PEERS if not (options.quick and name == "torch.compile")]
    if options.results is None and not (options.quick and not options.publish):
        options.results = RESULTS
    return options


def measure(options: argparse.Namespace, device: str = CPU) -> int:
    """Measure the parts that are asked for, store and tell the results; return the exit code.

    Each part gets as much of the time that is left as those after it.
    """
    ends = time.perf_counter() + 60 * options.minutes
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a killed run keeps what there is
    offered = cores()
    bind(options.threads)
    arena = Arena(options, device)
    for name, reason in arena.missing.items():
        say(f"missing: {name}: {reason}")
    if not arena.backends:
        raise SystemExit("none of the backends can be used here")
    about = {
        **facts(options.threads, offered, device),
        "quick": options.quick,
        "missing": arena.missing,
    }
    results = {}
    for number, part in enumerate(options.parts):
        arena.limit((ends - time.perf_counter()) / (len(options.parts) - number))
        result = results[part] = measured(part, arena, about)
        if options.results:
            written(result, options.results)
        if result.get("interrupted"):
            break
    print(report.told(results))
    return 130 if any("interrupted" in result for result in results.values()) else 0


def main() -> int:
    if sys.argv[1:2] == ["--serve"]:
        play(sys.argv[2])
        return 0
    parser = options_of(__doc__ or "", PARTS)
    add = parser.add_argument
    add("--ops", type=among(operations.names()), metavar="NAMES", help="of the ops, these")
    add("--backends", type=among(BACKENDS), metavar="NAMES")
    add("--mnist", type=Path, metavar="FOLDER", help="where MNIST's files are")
    add("--publish", action="store_true", help="write the documents' tables and charts, and end")
    options = parsed(parser, PARTS, USUAL)
    if options.publish:
        publish(options.results)
        return 0
    return measure(options)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
