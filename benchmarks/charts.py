"""The results of run.py as SVG, in plain Python."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import hot_loops
import mnist
import report
from devices import CPU, GPU
from operations import PASSES, SIZES
from training import FLOOR

WIDTH, MARGIN, BAR = 760, 24, 18
# Each picture has its own ground, so that it can be read on any page.
STYLE = """
  .ground { fill: #ffffff; stroke: #d0d7de } .text { fill: #1f2328 } .faint { fill: #59636e }
  .line { stroke: #d0d7de } .even { stroke: #59636e }
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif }
  .title { font-size: 16px; font-weight: 600 } .small { font-size: 11px } .bold { font-weight: 600 }
  .halo { stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round }
  .own { fill: #0969da } .own2 { fill: #54aeff } .own3 { fill: #1a7f37 }
  .peer { fill: #bc4c00 } .peer2 { fill: #e08b3e } .peer3 { fill: #8250df }
  .floor { fill: #8c959f } .curve { fill: none; stroke-width: 2 }
  .curve.own { stroke: #0969da } .curve.own2 { stroke: #54aeff } .curve.peer { stroke: #bc4c00 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; stroke: #3d444d } .text { fill: #f0f6fc } .faint { fill: #9198a1 }
    .halo { stroke: #0d1117 }
    .line { stroke: #3d444d } .even { stroke: #9198a1 }
  }
"""
COLOURS = {
    "numba": "own",
    "numpy": "own2",
    "cupy": "own3",
    FLOOR: "floor",
    "torch": "peer",
    "torch.compile": "peer2",
    "jax": "peer3",
}
MARKS = {
    (SIZES[0], PASSES[0]): "own2",
    (SIZES[0], PASSES[1]): "own",
    (SIZES[1], PASSES[0]): "peer2",
    (SIZES[1], PASSES[1]): "peer",
}


def label(x: float, y: float, said: str, kind: str = "text", anchor: str = "start") -> str:
    """Return a text; with "halo" in its kind it stands on ground of its own."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    below = ""
    if kind.endswith(" halo"):
        below = f'<text class="{kind}" aria-hidden="true" {place}>{escape(said)}</text>'
        kind = kind.removesuffix(" halo")
    return f'{below}<text class="{kind}" {place}>{escape(said)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def picture(title: str, height: float, parts: list[str], result: dict[str, Any]) -> str:
    """Return the document: the ground, a title, the parts, and the source below."""
    versions = result["versions"]
    commit = f"commit {result['commit'] or 'unknown'}{' with changes' if result['dirty'] else ''}"
    machine = result["machine"]
    notes = [
        f"minigrad {versions.get('minigrad', '')}, {commit}, {result['date']}; "
        f"{machine['processor']}, {machine['threads']} threads",
        *([report.card(machine["gpu"])] if "gpu" in machine else []),
        ", ".join(f"{name} {number}" for name, number in versions.items() if name != "minigrad"),
    ]
    if result["quick"]:
        notes.append("a quick run: these figures say nothing about speed")
    below = [label(MARGIN, height + 16 * i, note, "faint small") for i, note in enumerate(notes, 1)]
    height += 16 * len(notes) + 16
    ground = f'x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="6"'
    size = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="ground" {ground}/>',
            label(MARGIN, 34, title, "text title"),
            *parts,
            *below,
            "</svg>\n",
        ]
    )


def ticks(highest: float) -> list[float]:
    """Return round numbers from 0 to at least `highest`, about six of them."""
    power = 10.0 ** math.floor(math.log10(highest / 5))
    step = next(m * power for m in (1, 2, 5, 10) if m * power * 6 >= highest)
    return [i * step for i in range(math.ceil(highest / step) + 1)]


def steps(result: dict[str, Any]) -> str:
    """Return bars for each network and batch size: times as multiples of PyTorch's."""
    rows = result["found"]["rows"]
    left, right, y = 170, WIDTH - MARGIN - 150, 62.0
    marks = ticks(max(ratio for row in rows for ratio in row["ratio"].values()))
    unit = (right - left) / marks[-1]
    top, bars = y, []
    for row in rows:
        bars.append(label(MARGIN, y + 12, row["net"], "text bold"))
        bars.append(label(MARGIN, y + 28, f"batch {row['batch']:,}", "faint small"))
        for name, value in sorted(row["ratio"].items(), key=lambda item: item[1]):
            bars += [
                f'<rect class="{COLOURS[name]}" x="{left}" y="{y:.1f}" '
                f'width="{value * unit:.1f}" height="{BAR - 4}" rx="2"/>',
                label(
                    left + value * unit + 6,
                    y + 12,
                    f"{value:.2f}  {report.named(name)}",
                    "text small halo",
                ),
            ]
            y += BAR
        y += max(14, 40 - BAR * len(row["ratio"]))
    axis = []
    for mark in marks:
        at = left + mark * unit
        axis.append(line(at, top - 6, at, y - 8, "even" if mark == 1 else "line"))
        axis.append(label(at, y + 8, f"{mark:g}", "faint small", "middle"))
    bases = sorted({report.named(row["base"]) for row in rows if row["base"]})
    said = f"time of a step / that of {', '.join(bases)}"
    axis.append(label((left + right) / 2, y + 28, said, "faint small", "middle"))
    where = " on the GPU" if "gpu" in result["machine"] else ""
    return picture(f"A training step{where}: shorter is faster", y + 32, axis + bars, result)


def dots(
    heading: str,
    said: str,
    rows: list[tuple[str, list[tuple[str, float]]]],
    legend: dict[str, str],
    result: dict[str, Any],
) -> str:
    """Return rows of dots (kind, ratio) on an axis of powers of two; legend: kind -> meaning."""
    ratios = [ratio for _, found in rows for _, ratio in found]
    low = min(-1, math.floor(math.log2(min(ratios))))
    high = max(1, math.ceil(math.log2(max(ratios))))
    left, right, y = 300, WIDTH - MARGIN - 20, 84.0
    unit = (right - left) / (high - low)

    def x(ratio: float) -> float:
        return left + (math.log2(ratio) - low) * unit

    top, drawn = y, []
    for name, found in rows:
        drawn.append(label(left - 12, y + 4, name, "text small", "end"))
        drawn.append(line(left, y, right, y, "line"))
        drawn += [
            f'<circle class="{kind}" cx="{x(ratio):.1f}" cy="{y:.1f}" r="4.5" fill-opacity="0.8"/>'
            for kind, ratio in found
        ]
        y += 18
    axis, every = [], max(1, math.ceil((high - low) / 10))
    for power in range(low, high + 1):
        at = x(2.0**power)
        axis.append(line(at, top - 12, at, y - 6, "line" if power else "even"))
        if power % every == 0:
            mark = f"{2**power}" if power >= 0 else f"1/{2**-power}"
            axis.append(label(at, y + 10, mark, "faint small", "middle"))
    axis.append(label((left + right) / 2, y + 30, said, "faint small", "middle"))
    at, meanings = float(MARGIN), []
    for kind, meaning in legend.items():
        meanings.append(f'<circle class="{kind}" cx="{at + 5:.1f}" cy="56" r="4.5"/>')
        meanings.append(label(at + 14, 60, meaning, "text small"))
        at += 34 + 6.2 * len(meaning)
    return picture(heading, y + 34, axis + meanings + drawn, result)


def ops(result: dict[str, Any], backend: str) -> str:
    """Return a dot for each op, size and pass: the backend's time / the base's.

    Ops that run the same code on both are one row, which shows the noise.
    """
    found, base = result["found"], result["found"]["base"]
    rows: list[tuple[str, list[tuple[str, float]]]] = []
    same: list[tuple[str, float]] = []
    for op, ratios in report.ratios_of_ops(found, backend).items():
        marked = [(MARKS[key], ratio) for key, ratio in ratios.items()]
        if report.runs_own_code(found, op):
            rows.append((op, marked))
        else:
            same += marked
    if same:
        rows.append(("the same code on both", same))
    return dots(
        f"Operations with kernels: {backend} beside {base}",
        f"time on {backend} / time on {base} (left of 1: {backend} is faster)",
        rows,
        {kind: ", ".join(key) for key, kind in MARKS.items()},
        result,
    )


#: who is beside the kernels of a kind of device -> the colour of the dots
BESIDE = {
    CPU: {"numpy": "own2", "torch": "peer", "jax": "peer3"},
    GPU: {hot_loops.COPY: "own2", hot_loops.BLAS: "own", "torch": "peer", "jax": "peer3"},
}


def kernels(result: dict[str, Any], field: hot_loops.Field) -> str | None:
    """Return a dot for each kernel and each of the others: the own time / theirs."""
    rows: list[tuple[str, list[tuple[str, float]]]] = []
    kinds = BESIDE[field.device]
    most = max(row["threads"] for row in result["found"]["rows"])
    for row in result["found"]["rows"]:
        beside = [(kinds[k], ratio) for k, ratio in row["ratio"].items() if k in kinds]
        if row["threads"] == most and beside:
            rows.append((row["case"], beside))
    if not rows:
        return None
    where = "the GPU" if field.device == GPU else "all threads"
    meanings = {
        kind: f"beside {name if name in field.yardsticks else report.named(name)}"
        for name, kind in kinds.items()
    }
    return dots(
        f"Kernels on {where}: minigrad's {field.own} backend beside the others",
        "time / that of the other (left of 1: minigrad is faster)",
        rows,
        meanings,
        result,
    )


def curves(result: dict[str, Any]) -> str:
    """Return the accuracy of each contestant over the seconds that it trained."""
    found = result["found"]
    took = mnist.totals(found)
    left, right, top, bottom = 80, WIDTH - MARGIN - 20, 64.0, 300.0
    every = [a for name in took for a in found["contestants"][name]["accuracy"]]
    low = math.floor(100 * min(every))
    high = max(low + 1, math.ceil(100 * max(every)))
    across = ticks(max(took.values()))

    def x(seconds: float) -> float:
        return left + (right - left) * seconds / across[-1]

    def y(accuracy: float) -> float:
        return bottom - (bottom - top) * (100 * accuracy - low) / (high - low)

    parts = []
    for mark in across:
        parts.append(line(x(mark), top, x(mark), bottom, "line"))
        parts.append(label(x(mark), bottom + 18, f"{mark:g}", "faint small", "middle"))
    for percent in range(low, high + 1, max(1, (high - low) // 8)):
        parts.append(line(left, y(percent / 100), right, y(percent / 100), "line"))
        parts.append(label(left - 8, y(percent / 100) + 4, f"{percent} %", "faint small", "end"))
    parts.append(
        label((left + right) / 2, bottom + 38, "seconds of training", "faint small", "middle")
    )
    for name in took:
        rows, kind, spent = found["contestants"][name], COLOURS[name], 0.0
        points = []
        for seconds, accuracy in zip(rows["seconds"], rows["accuracy"], strict=True):
            spent += seconds
            points.append((x(spent), y(accuracy)))
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline class="curve {kind}" points="{path}"/>')
        parts += [f'<circle class="{kind}" cx="{a:.1f}" cy="{b:.1f}" r="4"/>' for a, b in points]
    for place, name in enumerate(sorted(took, key=took.__getitem__, reverse=True)):
        at = bottom - 22 - 20 * place
        said = f"{report.named(name)}: {report.seconds(took[name])}"
        parts.append(f'<circle class="{COLOURS[name]}" cx="{right - 178}" cy="{at}" r="4"/>')
        parts.append(label(right - 168, at + 4, said, "text small halo"))
    heading = f"Accuracy on the test set over {found['epochs']} epochs: {found['data']}"
    return picture(heading, bottom + 44, parts, result)


def charts_of(result: dict[str, Any]) -> dict[str, Callable[[], str | None]]:
    """Return what draws a part's results, by file name; None where there is nothing to draw."""
    found, part = result["found"], result["part"]
    if part == "mnist" and found and mnist.totals(found):
        return {"mnist.svg": lambda: curves(result)}
    if not found.get("rows"):
        return {}
    if part == "ops":
        names = report.backends(found)
        return {
            "ops.svg" if len(names) == 1 else f"ops-{name}.svg": lambda name=name: ops(result, name)
            for name in names
        }
    if part.endswith("step") and any(set(row["ratio"]) - {FLOOR} for row in found["rows"]):
        return {f"{part}.svg": lambda: steps(result)}
    for field in (hot_loops.ON_CPU, hot_loops.ON_GPU):
        if part == field.part:
            return {f"{part}.svg": partial(kernels, result, field)}
    return {}


def draw(result: dict[str, Any], folder: Path) -> None:
    """Write the charts of a part's results to a folder."""
    for name, chart in charts_of(result).items():
        if drawn := chart():
            (folder / name).write_text(drawn, encoding="utf-8")
