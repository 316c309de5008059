"""The results of run.py as Markdown: for the terminal, and for the documents.

A document names a view between `<!-- results: VIEW -->` and `<!-- end of results -->`.
"""

import re
import statistics
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import hot_loops
import memory
import mnist
import operations
import overhead
import startup
import training
from arena import PEERS
from devices import CPU
from facts import ROOT
from operations import BACKWARD, PASSES, SIZES
from targets import Verdict

PAGES = [ROOT / "README.md", ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "memory.md"]
MARKED = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end of results -->)", re.DOTALL)
COLUMNS = [(size, direction) for size in SIZES for direction in PASSES]
Results = dict[str, dict[str, Any]]

JUDGES: dict[str, Callable[[dict[str, Any]], list[Verdict]]] = {
    "step": training.verdicts,
    "gpu_step": partial(training.verdicts, own="cupy"),
    "mnist": mnist.verdicts,
    "kernels": hot_loops.verdicts,
    "gpu_kernels": partial(hot_loops.verdicts, field=hot_loops.ON_GPU),
    "ops": operations.verdicts,
    "memory": memory.verdicts,
    "startup": startup.verdicts,
    "overhead": overhead.verdicts,
}


# Words and tables


def table(rows: list[list[str]], head: list[str]) -> str:
    """Return a Markdown table: the first column to the left, the others to the right."""
    if not rows:
        return ""
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def seconds(s: float) -> str:
    return f"{s:.2f} s" if s >= 0.1 else f"{s * 1e3:.1f} ms"


def ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def in_words(count: int | None) -> str:
    """Return bytes in KiB, or as they are where they are few."""
    if count is None:
        return "not installed"
    return f"{count} B" if count < 1024 else f"{count / 1024:,.1f} KiB"


def named(name: str) -> str:
    """Return a contestant's name for readers: who is minigrad is said."""
    peers = {"torch": "PyTorch", "jax": "JAX", training.FLOOR: "floor"}
    return peers.get(name, name if name in PEERS else f"minigrad, {name}")


def mean(ratios: Iterable[float]) -> float:
    return statistics.geometric_mean(list(ratios))


def card(gpu: dict[str, Any]) -> str:
    """Return one line on a GPU, its driver and its libraries."""
    return (
        f"{gpu['name']}, {gpu['memory_gib']} GiB, driver {gpu['driver']}, CUDA {gpu['cuda']}, "
        f"cuBLAS {gpu['cublas']}"
    )


def source(result: dict[str, Any]) -> str:
    """Return one line: the commit, the machine, the versions."""
    machine, versions = result["machine"], dict(result["versions"])
    own = versions.pop("minigrad", "")
    commit = f"commit {result['commit']}" if result["commit"] else "no commit known"
    changed = " with changes" if result["dirty"] else ""
    libraries = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"minigrad {own}, {commit}{changed}, {result['date']}; "
        f"{card(machine['gpu']) + '; ' if 'gpu' in machine else ''}{machine['processor']}, "
        f"{machine['threads']} of {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}; {libraries}, {machine['blas']}"
    )


# The targets


def verdicts(results: Results) -> dict[str, list[Verdict]]:
    """Return all verdicts by goal."""
    goals: dict[str, list[Verdict]] = {}
    for part, judge in JUDGES.items():
        if results.get(part, {}).get("found"):
            for verdict in judge(results[part]["found"]):
                goals.setdefault(verdict.goal, []).append(verdict)
    return goals


def targets(results: Results) -> str:
    """Return a row for each goal: how often it is met, and the figure furthest from it."""
    rows = []
    for goal, found in verdicts(results).items():
        worst = max(found, key=lambda v: v.measured / v.at_most)
        limits = sorted({v.at_most for v in found})
        met = sum(v.met for v in found)
        said = "met" if met == len(found) else f"**missed in {len(found) - met} of {len(found)}**"
        asked = " to ".join(dict.fromkeys(f"{limits[i]:.3g}" for i in (0, -1)))
        rows.append([goal, asked, said, f"{worst.measured:.2f}: {worst.what}"])
    return table(rows, ["goal", "at most", "", "the worst"])


def misses(results: Results) -> str:
    """Return every figure that is above its target, the worst first."""
    found = [v for group in verdicts(results).values() for v in group if not v.met]
    found.sort(key=lambda v: -v.measured / v.at_most)
    lines = [f"{v.what}, {v.goal}: {v.measured:.2f}, at most {v.at_most:.3g} asked" for v in found]
    return bullets(lines or ["none in these results"])


def losses(results: Results) -> str:
    """Return where a peer is faster than minigrad's fastest backend."""
    said = []
    for part, where in (("step", ""), ("gpu_step", "on the GPU, ")):
        if part in results:
            said += [
                f"{where}{step}: {named(peer)} is faster, minigrad takes {times:.2f} × its time"
                for step, peer, times in training.defeats(results[part]["found"])
            ]
    for field in (hot_loops.ON_CPU, hot_loops.ON_GPU):
        for row in results.get(field.part, {}).get("found", {}).get("rows", []):
            where = f"{row['threads']} thread{'s' * (row['threads'] > 1)}"
            said += [
                f"{row['case']}, {where if field.device == CPU else 'on the GPU'}: {named(peer)} "
                f"is faster, minigrad takes {row['ratio'][peer]:.2f} × its time"
                for peer in PEERS
                if row["ratio"].get(peer, 0) > 1
            ]
    return bullets(said or ["nowhere in these results"])


# The parts


def steps(found: dict[str, Any]) -> str:
    names = list(dict.fromkeys(name for row in found["rows"] for name in row["ratio"]))
    rows = [
        [training.title(row), *(ratio(row["ratio"].get(name)) for name in names)]
        for row in found["rows"]
    ]
    bases = {named(row["base"]) for row in found["rows"] if row["base"]}
    floor = (
        " The floor is the perceptron's eight matrix products through BLAS and one pass of Adam."
        if training.FLOOR in names
        else ""
    )
    return (
        f"The time of a step / that of {', '.join(sorted(bases))}.{floor}\n\n"
        + table(rows, ["", *map(named, names)])
        + "\n\n"
        + bullets(dict.fromkeys(f"{row['net']}: {row['said']}" for row in found["rows"]))
    )


def kernels(found: dict[str, Any], field: hot_loops.Field = hot_loops.ON_CPU) -> str:
    """Return the own time beside the others' for each case and number of threads."""
    rows = []
    for row in found["rows"]:
        beside = [f"{t:.2f} × {who}" for who, t in row["ratio"].items() if who in field.yardsticks]
        others = [ratio(row["ratio"].get(name)) for name in field.others]
        threads = [str(row["threads"])] if field.device == CPU else []
        rows.append([row["name"], row["shape"], *threads, *others, ", ".join(beside)])
    threads = ["threads"] if field.device == CPU else []
    head = ["kernel", "shapes", *threads, *map(named, field.others), "yardsticks"]
    said = f"The time of minigrad's {field.own} backend / that of the others."
    if "rates" in found:
        said += (
            f" The card copies {found['rates']['copy_gb_s']:,.0f} GB/s, read and written, and "
            f"multiplies matrices of float32 at {found['rates']['product_tflop_s']:.1f} TFLOP/s."
        )
    return f"{said}\n\n{table(rows, head)}"


def backends(found: dict[str, Any]) -> list[str]:
    """Return the backends that were compared with the base."""
    return list(dict.fromkeys(name for row in found["rows"] for name in row["ratio"]))


def ratios_of_ops(found: dict[str, Any], backend: str) -> dict[str, dict[tuple[str, str], float]]:
    """Return the ratios of each op, ops in the order of their geometric mean, the fastest first."""
    ops: dict[str, dict[tuple[str, str], float]] = {}
    for row in found["rows"]:
        if backend in row["ratio"]:
            ops.setdefault(row["op"], {})[row["size"], row["pass"]] = row["ratio"][backend]
    return dict(sorted(ops.items(), key=lambda item: mean(item[1].values())))


def runs_own_code(found: dict[str, Any], op: str) -> bool:
    """Whether an op's times say something of a backend: on the CPU only kernels differ."""
    return op not in found["same_code"]


def noise(found: dict[str, Any], backend: str) -> str:
    """Return a sentence on the ops that run the same code."""
    same = sorted(
        ratio
        for op, ratios in ratios_of_ops(found, backend).items()
        if not runs_own_code(found, op)
        for ratio in ratios.values()
    )
    said = f"{len(found['same_code'])} ops run the same code on {found['base']} and {backend}"
    if not same:
        return said + "."
    low, high = (same[round(q * (len(same) - 1))] for q in (0.05, 0.95))
    return f"{said}; where that was measured, nine in ten ratios lie in {low:.2f} – {high:.2f}."


def ops(found: dict[str, Any]) -> str:
    head = [size + (" + backward" if direction == BACKWARD else "") for size, direction in COLUMNS]
    parts = []
    for backend in backends(found):
        own = {
            op: ratios
            for op, ratios in ratios_of_ops(found, backend).items()
            if runs_own_code(found, op)
        }
        rows = [
            [op, *(ratio(ratios.get(c)) for c in COLUMNS), ratio(mean(ratios.values()))]
            for op, ratios in own.items()
        ]
        said = f"Time on {backend} / time on {found['base']}. {noise(found, backend)}"
        if own:
            overall = mean(r for ratios in own.values() for r in ratios.values())
            said += f" Geometric mean over the {len(own)} others: {overall:.2f}."
        parts += [said, table(rows, ["op", *head, "geometric mean"])]
    return "\n\n".join(filter(None, parts))


def epochs(found: dict[str, Any]) -> str:
    took = mnist.totals(found)
    base = next((name for name in ("torch", *took) if name in took), "")
    rows = [
        [
            named(name),
            seconds(total),
            ratio(total / took[base]),
            f"{100 * found['contestants'][name]['accuracy'][-1]:.2f} %",
        ]
        for name, total in took.items()
    ]
    said = (
        f"{found['data']}: {found['epochs']} epochs of {found['network']}, batch {found['batch']}."
    )
    return f"{said}\n\n{table(rows, ['', 'time', f'of {named(base)}', 'test accuracy'])}"


def tape(found: dict[str, Any]) -> str:
    """Return the tables of what the tape keeps, one for each family."""
    lines: list[str] = []
    for family in dict.fromkeys(row["family"] for row in found["rows"]):
        lines += [f"## {family}", "", "| | of | minigrad | PyTorch |", "| --- | --- | --: | --: |"]
        for row in found["rows"]:
            if row["family"] == family:
                ours, theirs = in_words(row["minigrad"]), in_words(row.get("torch"))
                lines.append(f"| `{row['name']}` | {row['inputs']} | {ours} | {theirs} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def starts(found: dict[str, Any]) -> str:
    rows = [
        [named(name), *(seconds(times[key]) for key in ("cold_s", "cached_s", "steady_s"))]
        for name, times in found["steps"].items()
    ]
    over = found["imports"]["over_numpy_ms"]
    return (
        f"`import minigrad` takes {over:.0f} ms of its thread's CPU time beyond `import numpy`. "
        f"Below, the perceptron's first step at batch {found['batch']}, from the start of the "
        "process: with empty caches of the compilers, and with filled ones.\n\n"
        + table(rows, ["", "cold", "cached", "a steady step"])
    )


def warmups(found: dict[str, Any]) -> str:
    rows = [
        [named(name), seconds(times["cold_s"]), seconds(times["cached_s"])]
        for name, times in found["seconds"].items()
    ]
    return "`mg.warmup()`:\n\n" + table(rows, ["", "cold", "cached"])


def operation(found: dict[str, Any]) -> str:
    rows = [
        [row["task"], ratio(row["ratio"]), ratio(overhead.TARGETS[row["task"]])]
        for row in found["rows"]
    ]
    return table(rows, ["", "minigrad / PyTorch", "at most"])


def caveats(results: Results) -> list[str]:
    """Return what a reader must know of these runs."""
    said: list[str] = []
    for part, result in results.items():
        found = result["found"]
        if result["quick"]:
            said.append(f"{part}: a quick run: these figures say nothing about speed")
        if result.get("interrupted"):
            said.append(f"{part}: interrupted: what was measured until then")
        if "given_up" in result:
            said.append(f"{part}: given up: {result['given_up']}")
        said += [f"{name} is missing: {reason}" for name, reason in result["missing"].items()]
        failed = found.get("failed", {})
        if isinstance(failed, dict):
            said += [f"{part}: {name} failed: {reason}" for name, reason in failed.items()]
        else:
            said += [f"{part}: {', '.join(map(str, one.values()))}" for one in failed]
        for op, why in found.get("unmeasured", {}).items():
            said.append(f"{op} is not measured: {why}")
        for op, why in found.get("small_only", {}).items():
            if runs_own_code(found, op):
                said.append(f"{op} is measured small only: {why}")
        rows = found.get("rows", [])
        for row in rows:
            if row.get("disagree"):
                who = ", ".join(row["disagree"])
                said.append(f"{training.title(row)}: the losses of {who} differ from the others'")
        if slow := sum(row.get("slow_rounds", 0) > 0 for row in rows):
            said.append(
                f"{part}: the control was slow in rounds that count, in {slow} of {len(rows)} rows"
            )
    return list(dict.fromkeys(said))


def notes(results: Results) -> str:
    return bullets(caveats(results) or ["nothing of note"])


def machine(results: Results) -> str:
    """Return who was measured where, parts of one run together."""
    runs: dict[str, list[str]] = {}
    for part, result in results.items():
        runs.setdefault(source(result), []).append(part)
    return bullets(f"{', '.join(parts)}: {said}." for said, parts in runs.items())


# Documents and terminal

OF_PARTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "step": steps,
    "gpu_step": steps,
    "kernels": kernels,
    "gpu_kernels": partial(kernels, field=hot_loops.ON_GPU),
    "ops": ops,
    "mnist": epochs,
    "memory": tape,
    "startup": starts,
    "warmup": warmups,
    "overhead": operation,
}
OF_ALL: dict[str, Callable[[Results], str]] = {
    "targets": targets,
    "misses": misses,
    "losses": losses,
    "notes": notes,
    "machine": machine,
}


CHARTS = {
    "step_chart": "Bars: a training step of three networks, for minigrad, PyTorch and JAX",
    "gpu_step_chart": "Bars: a training step on the GPU, for minigrad, PyTorch and JAX",
    "mnist_chart": "Curves: the accuracy on MNIST's test set over the seconds of training",
    "kernels_chart": "Dots: the time of each kernel on numba / NumPy's, PyTorch's and JAX's",
    "gpu_kernels_chart": "Dots: the time of each kernel on the GPU / a copy's, PyTorch's and JAX's",
    "ops_chart": "Dots: the time of each operation with a kernel on numba / its time on numpy",
}


def view(name: str, results: Results) -> str:
    """Return a view of the results by its name."""
    if name in OF_ALL:
        return OF_ALL[name](results) if results else "Not measured yet."
    result = results.get(name, {})
    found = result.get("found")
    if not found or not found.get("rows", True):
        return "Not measured yet."
    gpu = result["machine"].get("gpu")
    return (f"On {card(gpu)}. " if gpu else "") + OF_PARTS[name](found)


def filled(page: Path, results: Results) -> str:
    """Return the text of a page with its marked places filled."""

    def at(found: re.Match[str]) -> str:
        name = found[2]
        said = chart(name, page, results) if name in CHARTS else view(name, results)
        return f"{found[1]}{said}\n{found[3]}"

    return MARKED.sub(at, page.read_text("utf-8"))


def chart(name: str, page: Path, results: Results) -> str:
    """Return the picture of a part for a page, where that part has been measured."""
    part = name.removesuffix("_chart")
    if part not in results:
        return "Not measured yet."
    folder = "" if page.parent == ROOT else "../"
    return f"![{CHARTS[name]}]({folder}benchmarks/results/{part}.svg)"


def told(results: Results) -> str:
    """Return everything that results have, for a terminal."""
    names = [name for name in OF_PARTS if name in results] + list(OF_ALL)
    return "\n\n".join(f"## {name}\n\n{view(name, results)}" for name in names)
