"""The results of compare.py as SVG, in plain Python."""

import math
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import report
from operations import PASSES, SIZES
from training import FLOOR

WIDTH, MARGIN, BAR = 760, 24, 18
# Each picture has its own ground, so that it can be read on any page.
STYLE = """
  .ground { fill: #ffffff; stroke: #d0d7de } .text { fill: #1f2328 } .faint { fill: #59636e }
  .line { stroke: #d0d7de } .even { stroke: #59636e }
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif }
  .title { font-size: 16px; font-weight: 600 } .small { font-size: 11px } .bold { font-weight: 600 }
  .halo { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round }
  .own { fill: #0969da } .own2 { fill: #54aeff } .own3 { fill: #1a7f37 }
  .peer { fill: #bc4c00 } .peer2 { fill: #e08b3e } .peer3 { fill: #8250df }
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
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'
    )


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


def training_chart(result: dict[str, Any]) -> str:
    """Return bars for each batch size: multiples of the floor, or µs where there is no floor."""
    rows = result["training"]["batches"]
    to_floor = all(FLOOR in row["us"] for row in rows)
    values = [
        {name: row["to_floor"][name] for name in row["us"] if name != FLOOR}
        if to_floor
        else row["us"]
        for row in rows
    ]
    left, right, y = 150, WIDTH - MARGIN - 130, 62.0
    marks = ticks(max(max(row.values()) for row in values))
    unit = (right - left) / marks[-1]
    top, bars = y, []
    for row, times in zip(rows, values, strict=True):
        floor = f"floor {report.micro(row['us'][FLOOR])} µs" if to_floor else ""
        bars.append(label(MARGIN, y + 16, f"batch {row['batch']:,}", "text bold"))
        bars.append(label(MARGIN, y + 32, floor, "faint small"))
        for name, value in sorted(times.items(), key=lambda item: item[1]):
            own = COLOURS.get(name, "faint").startswith("own")
            said = f"minigrad, {name}" if own else name
            shown = f"{value:.2f} ×" if to_floor else f"{report.micro(value)} µs"
            bars += [
                f'<rect class="{COLOURS.get(name, "faint")}" x="{left}" y="{y:.1f}" '
                f'width="{value * unit:.1f}" height="{BAR - 4}" rx="2"/>',
                label(left + value * unit + 6, y + 12, f"{shown}  {said}", "text small halo"),
            ]
            y += BAR
        y = max(y, y + 40 - BAR * len(times)) + 14
    axis = []
    for mark in marks:
        axis.append(line(left + mark * unit, top - 6, left + mark * unit, y - 8, "line"))
        axis.append(label(left + mark * unit, y + 8, f"{mark:g}", "faint small", "middle"))
    if to_floor:
        axis.append(line(left + unit, top - 6, left + unit, y - 8, "even"))
    axis_title = (
        "time of a step / floor (1: BLAS and one pass of Adam)" if to_floor else "µs a step"
    )
    axis.append(label((left + right) / 2, y + 28, axis_title, "faint small", "middle"))
    title = f"A training step of {result['training']['network']}: shorter is faster"
    return picture(title, y + 32, axis + bars, result)


def ops_chart(result: dict[str, Any], backend: str) -> str:
    """Return a dot for each op, size and pass: the backend's time / the base's, on a log axis.

    Ops that run the same code on both are one row, which shows the noise.
    """
    base, table = result["ops"]["base"], report.table_of_ops(result, backend)
    rows: list[tuple[str, list[tuple[str, float]]]] = [
        (op, [(MARKS[key], ratio) for key, ratio in ratios.items()])
        for op, ratios in table.items()
        if report.runs_own_code(result, backend, op)
    ]
    others = [op for op in table if not report.runs_own_code(result, backend, op)]
    if others:
        dots = [(MARKS[key], ratio) for op in others for key, ratio in table[op].items()]
        rows.append((f"same code: {len(others)} ops", dots))
    ratios = [ratio for _, dots in rows for _, ratio in dots]
    low = min(-1, math.floor(math.log2(min(ratios))))
    high = max(1, math.ceil(math.log2(max(ratios))))
    left, right, y = 190, WIDTH - MARGIN - 20, 84.0
    unit = (right - left) / (high - low)

    def x(ratio: float) -> float:
        return left + (math.log2(ratio) - low) * unit

    top, dots_drawn = y, []
    for name, dots in rows:
        dots_drawn.append(label(left - 12, y + 4, name, "text", "end"))
        dots_drawn.append(line(left, y, right, y, "line"))
        dots_drawn += [
            f'<circle class="{kind}" cx="{x(ratio):.1f}" cy="{y:.1f}" r="4.5" fill-opacity="0.8"/>'
            for kind, ratio in dots
        ]
        y += 24
    axis, every = [], max(1, math.ceil((high - low) / 10))
    for power in range(low, high + 1):
        at = x(2.0**power)
        axis.append(line(at, top - 12, at, y - 10, "line" if power else "even"))
        if power % every == 0:
            said = f"{2**power}" if power >= 0 else f"1/{2**-power}"
            axis.append(label(at, y + 6, said, "faint small", "middle"))
    said = f"time on {backend} / time on {base} (left of 1: {backend} is faster)"
    axis.append(label((left + right) / 2, y + 26, said, "faint small", "middle"))
    legend, at = [], float(MARGIN)
    for (size, direction), kind in MARKS.items():
        legend.append(f'<circle class="{kind}" cx="{at + 5:.1f}" cy="56" r="4.5"/>')
        legend.append(label(at + 14, 60, f"{size}, {direction}", "text small"))
        at += 34 + 6.2 * len(f"{size}, {direction}")
    title = f"Operations with kernels: {backend} beside {base}"
    return picture(title, y + 30, axis + legend + dots_drawn, result)


def draw(result: dict[str, Any], folder: Path) -> None:
    """Write training.svg and ops.svg (ops-BACKEND.svg for more than one backend) to a folder."""
    pictures = {}
    if report.trained(result):
        pictures["training.svg"] = training_chart(result)
    if result.get("ops", {}).get("rows"):
        names = report.backends(result)
        for name in names:
            file = "ops.svg" if len(names) == 1 else f"ops-{name}.svg"
            pictures[file] = ops_chart(result, name)
    for name, svg in pictures.items():
        (folder / name).write_text(svg, encoding="utf-8")
