"""The results of compare.py in words: for the terminal, and as the README's tables."""

import statistics
from collections.abc import Iterable
from typing import Any

from operations import BACKWARD, PASSES, SIZES
from training import FLOOR, PEERS

# A kernel is to stay above 0.95 of the reference's speed; within that, noise decides.
LOSES = 1 / 0.95
COLUMNS = [(size, direction) for size in SIZES for direction in PASSES]


def geometric_mean(ratios: Iterable[float]) -> float:
    return statistics.geometric_mean(list(ratios))


def backends(result: dict[str, Any]) -> list[str]:
    """Return the backends that were compared with the base."""
    return list(dict.fromkeys(name for row in result["ops"]["rows"] for name in row["ratio"]))


def table_of_ops(result: dict[str, Any], backend: str) -> dict[str, dict[tuple[str, str], float]]:
    """Return the ratios of each op, ops in the order of their geometric mean, the fastest first."""
    ops: dict[str, dict[tuple[str, str], float]] = {}
    for row in result["ops"]["rows"]:
        if backend in row["ratio"]:
            ops.setdefault(row["op"], {})[row["size"], row["pass"]] = row["ratio"][backend]
    return dict(sorted(ops.items(), key=lambda item: geometric_mean(item[1].values())))


def with_kernels(result: dict[str, Any], backend: str) -> set[str]:
    """Return the ops in which a kernel of the backend takes part, forward or backward."""
    return {row["op"] for row in result["ops"]["rows"] if row["kernels"].get(backend)}


def runs_own_code(result: dict[str, Any], backend: str, op: str) -> bool:
    """Whether an op's time says something of the backend: on the CPU only kernels differ."""
    return backend == "cupy" or op in with_kernels(result, backend)


def same_code(result: dict[str, Any], backend: str) -> list[float]:
    """Return the ratios of what runs the same code on the backend and the base, ascending."""
    return sorted(
        row["ratio"][backend]
        for row in result["ops"]["rows"]
        if backend in row["ratio"] and not runs_own_code(result, backend, row["op"])
    )


def slower_ops(result: dict[str, Any], backend: str) -> list[tuple[str, str, str, float]]:
    """Return (op, size, pass, ratio) of the backend's own code that loses, the worst first."""
    found = [
        (row["op"], row["size"], row["pass"], row["ratio"][backend])
        for row in result["ops"]["rows"]
        if row["ratio"].get(backend, 0) > LOSES and runs_own_code(result, backend, row["op"])
    ]
    return sorted(found, key=lambda one: -one[3])


def defeats(result: dict[str, Any]) -> list[tuple[int, str, str, float]]:
    """Return (batch, peer, our fastest backend, its time / the peer's) where a peer is faster."""
    found = []
    for row in result["training"]["batches"]:
        times = row.get("to_floor", row["us"])
        own = {name: t for name, t in times.items() if name != FLOOR and name not in PEERS}
        if not own:
            continue
        best = min(own, key=own.__getitem__)
        for peer in PEERS:
            if times.get(peer, float("inf")) < own[best]:
                found.append((row["batch"], peer, best, own[best] / times[peer]))
    return found


def trained(result: dict[str, Any]) -> bool:
    """Whether there is a training step of anyone but the floor."""
    return any(set(row["us"]) - {FLOOR} for row in result.get("training", {}).get("batches", []))


def contestants(result: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(name for row in result["training"]["batches"] for name in row["us"]))


def source(result: dict[str, Any]) -> str:
    """Return one line: the commit, the machine, the versions."""
    machine, versions = result["machine"], dict(result["versions"])
    own = versions.pop("minigrad", "")
    commit = f"commit {result['commit']}" if result["commit"] else "no commit known"
    changed = " with changes" if result["dirty"] else ""
    libraries = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"minigrad {own}, {commit}{changed}, {result['date']}; {machine['processor']}, "
        f"{machine['threads']} of {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}; {libraries}, {machine['blas']}"
    )


def caveats(result: dict[str, Any]) -> list[str]:
    """Return what a reader must know of this run."""
    said = []
    if result["quick"]:
        said.append("a quick run: these figures say nothing about speed")
    if result.get("interrupted"):
        said.append("interrupted: what was measured until then")
    if "given_up" in result:
        said.append(f"given up: {result['given_up']}")
    said += [f"{name} is missing: {reason}" for name, reason in result["missing"].items()]
    training, ops = result.get("training", {}), result.get("ops", {})
    said += [f"{name} failed: {reason}" for name, reason in training.get("failed", {}).items()]
    for row in training.get("batches", []):
        if row["disagree"]:
            who = ", ".join(row["disagree"])
            said.append(f"batch {row['batch']}: the losses of {who} differ from the others'")
    said += [f"{one['op']} on {one['backend']}: {one['reason']}" for one in ops.get("failed", [])]
    said += [f"{op} is not measured: {why}" for op, why in ops.get("unmeasured", {}).items()]
    said += [f"{op} is measured small only: {why}" for op, why in ops.get("small_only", {}).items()]
    rows = training.get("batches", []) + ops.get("rows", [])
    if slow := sum(row["slow_rounds"] > 0 for row in rows):
        said.append(f"the control was slow in rounds that count, in {slow} of {len(rows)} rows")
    return said


def grid(rows: list[list[str]], head: list[str]) -> str:
    """Return an aligned table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in [head, *rows]
    ]
    return "\n".join(lines)


def pipes(rows: list[list[str]], head: list[str]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def seconds(s: float) -> str:
    return f"{s:.2f} s" if s >= 0.1 else f"{s * 1e3:.1f} ms"


def micro(us: float) -> str:
    return f"{us:,.0f}" if us >= 100 else f"{us:.1f}"


def times_floor(row: dict[str, Any], name: str) -> str:
    if name not in row["us"]:
        return "–"
    if name == FLOOR or FLOOR not in row["us"]:
        return f"{micro(row['us'][name])} µs"
    return f"{row['to_floor'][name]:.2f} ×"


def training_table(result: dict[str, Any]) -> tuple[list[list[str]], list[str]]:
    names = contestants(result)
    rows = [
        [f"{row['batch']:,}", *(times_floor(row, name) for name in names)]
        for row in result["training"]["batches"]
    ]
    return rows, ["batch", *names]


def start_up_table(result: dict[str, Any]) -> tuple[list[list[str]], list[str]]:
    first = result["training"]["batches"][0]
    rows = [
        [
            name,
            seconds(times["cold_s"]),
            seconds(times["cached_s"]),
            seconds(first["us"][name] / 1e6) if name in first["us"] else "–",
        ]
        for name, times in result["training"]["start_up"].items()
    ]
    return rows, ["", "cold", "cached", f"a steady step, batch {first['batch']}"]


def ops_table(result: dict[str, Any], backend: str, ops: Iterable[str]) -> tuple[Any, Any]:
    table = table_of_ops(result, backend)
    rows = []
    for op in table:
        if op in ops:
            cells = [f"{table[op][c]:.2f}" if c in table[op] else "–" for c in COLUMNS]
            rows.append([op, *cells, f"{geometric_mean(table[op].values()):.2f}"])
    head = [size + (" + backward" if direction == BACKWARD else "") for size, direction in COLUMNS]
    return rows, ["op", *head, "geometric mean"]


def first_calls_table(result: dict[str, Any], backend: str) -> tuple[Any, Any]:
    rows = [
        [op, seconds(times[backend]["cold_s"]), seconds(times[backend]["cached_s"])]
        for op, times in result["ops"]["first_calls"].items()
        if op in with_kernels(result, backend) and len(times.get(backend, {})) == 2
    ]
    return rows, ["op", "cold", "cached"]


def summary(result: dict[str, Any], backend: str) -> str:
    """Return a sentence on all ops, and one on those that run the same code."""
    base, table = result["ops"]["base"], table_of_ops(result, backend)
    mean = geometric_mean(ratio for row in table.values() for ratio in row.values())
    said = f"{backend} / {base}, geometric mean over {len(table)} ops: {mean:.2f}."
    same = same_code(result, backend)
    if same:
        low, high = (same[round(q * (len(same) - 1))] for q in (0.05, 0.95))
        ops = len([op for op in table if not runs_own_code(result, backend, op)])
        said += (
            f" {ops} of them run the same code on both; nine in ten of their ratios lie in "
            f"{low:.2f} – {high:.2f}, which is the noise of this table."
        )
    return said


def losses(result: dict[str, Any]) -> list[str]:
    """Return a line for each place where minigrad loses, or that it was not seen to."""
    said = []
    if trained(result):
        said += [
            f"training step, batch {batch:,}: {peer} is faster, minigrad ({backend}) takes "
            f"{ratio:.2f} × its time"
            for batch, peer, backend, ratio in defeats(result)
        ]
    if result.get("ops"):
        said += [
            f"{op}, {size}, {direction}: {backend} takes {ratio:.2f} × the time of "
            f"{result['ops']['base']}"
            for backend in backends(result)
            for op, size, direction, ratio in slower_ops(result, backend)
        ]
    return said or ["nowhere in this run"]


def text(result: dict[str, Any]) -> str:
    """Return the whole report for a terminal."""
    parts = [source(result)]
    if trained(result):
        title = f"A training step of {result['training']['network']}, in multiples of the floor"
        parts += [title + "\n" + grid(*training_table(result))]
        title = "From the start of the process to the end of the first step"
        parts += [title + "\n" + grid(*start_up_table(result))]
    if result.get("ops", {}).get("rows"):
        for backend in backends(result):
            title = f"Time on {backend} / time on {result['ops']['base']}"
            ops = table_of_ops(result, backend)
            parts += [
                title + "\n" + grid(*ops_table(result, backend, ops)),
                summary(result, backend),
            ]
            rows, head = first_calls_table(result, backend)
            if rows:
                title = f"First calls of everything measured of an op, on {backend}"
                parts += [title + "\n" + grid(rows, head)]
    parts.append("\n".join(["Where minigrad loses", *(f"- {line}" for line in losses(result))]))
    if control := result.get("control"):
        parts.append(
            f"control, {control['task']}: median {micro(control['median_us'])} µs, best "
            f"{micro(control['best_us'])}, worst {micro(control['worst_us'])}; slow in "
            f"{control['slow_checks']} of {control['checks']} checks"
        )
    if notes := caveats(result):
        parts.append("\n".join(["Notes", *(f"- {line}" for line in notes)]))
    return "\n\n".join(parts)


def markdown(result: dict[str, Any]) -> str:
    """Return the README's tables."""
    parts = []
    if trained(result):
        parts += [
            f"**A training step** of {result['training']['network']} (ReLU, cross-entropy, Adam, "
            "float32). The floor is the step's eight matrix products through BLAS and one pass of "
            "Adam; the others are multiples of it.",
            pipes(*training_table(result)),
            "**The first step**, from the start of the process: with empty caches, and with filled "
            "ones.",
            pipes(*start_up_table(result)),
        ]
    if result.get("ops", {}).get("rows"):
        for backend in backends(result):
            own = [op for op in table_of_ops(result, backend) if runs_own_code(result, backend, op)]
            title = f"**Operations**: time on {backend} / time on {result['ops']['base']}."
            parts.append(f"{title} {summary(result, backend)}")
            if own:
                parts.append(pipes(*ops_table(result, backend, own)))
    lost = losses(result)
    parts.append("\n".join(["**Where minigrad loses**", "", *(f"- {line}" for line in lost)]))
    if notes := caveats(result):
        parts.append("\n".join(["**Notes**", "", *(f"- {line}" for line in notes)]))
    parts.append(f"Measured on {source(result)}.")
    return "\n\n".join(parts)
