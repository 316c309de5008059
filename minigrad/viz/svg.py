"""Boxes and arrows as SVG text."""

import os
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..engine import Tensor
from ..markup import FEW, Host, brief, escaped, full
from ..watching import key_of
from .graph import Box, Edge, Value
from .layout import HEAD, PORT, Layout, arrange
from .words import WORDS

MARGIN, PAD, LINE, CHARACTER, NARROWEST = 16.0, 9.0, 16.0, 7.4, 420.0
LONGEST = 34  # characters in a line
FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
INK, FAINT, RED, ARROW = "#1f2933", "#5c6773", "#b3261e", "#8592a0"
LOOKS = {  # fill, stroke, and what else the outline has
    "leaf": ("#e3effb", "#3d76ad", ""),
    "op": ("#ffffff", "#7b8794", ""),
    "constant": ("#f0f1f3", "#9aa5b1", ""),
    "cut": ("#ffffff", "#9aa5b1", ' stroke-dasharray="4 3"'),
    "at work": ("#fff1cc", "#c77700", ' stroke-width="2.5"'),
}


class Line(NamedTuple):
    """One line of text."""

    text: str
    colour: str = INK
    bold: bool = False


class Scene:
    """Boxes with their names and places, the same for every step of backward.

    names: a name for each tensor that has one. left_out: how many values are not among the boxes.
    """

    def __init__(self, boxes: list[Box], names: Mapping[str, Tensor], left_out: int = 0) -> None:
        self.boxes, self.left_out = boxes, left_out
        self.names = {key_of(tensor)[:2]: name for name, tensor in names.items()}
        self.edges = [(box, edge) for box in boxes for edge in box.edges]
        self.turns = {box.turn: box for box in boxes if box.turn is not None}
        #: where backward brought a gradient from: (box, value) -> the turns and what they gave
        self.gains: dict[tuple[int, int], list[tuple[int, Edge]]] = {}
        for box, edge in self.edges:
            if edge.tracked and box.turn is not None:
                self.gains.setdefault((edge.source, edge.value), []).append((box.turn, edge))

    @cached_property
    def sizes(self) -> list[tuple[float, float]]:
        """Width and height of each box, with room for all that any step shows."""
        sizes = []
        for at, box in enumerate(self.boxes):
            steps = {
                turn for i in range(len(box.values)) for turn, _ in self.gains.get((at, i), [])
            }
            lines = [line for step in (None, *steps) for line in self.lines(at, step)]
            width = max(columns(line.text) for line in lines) * CHARACTER + 2 * PAD
            rows = len(lines) // (1 + len(steps))
            sizes.append((width, max(rows * LINE + PAD, len(box.edges) * PORT + 4)))
        return sizes

    @cached_property
    def layout(self) -> Layout:
        """Where everything goes."""
        place = {id(box): at for at, box in enumerate(self.boxes)}
        pairs = [(edge.source, place[id(box)]) for box, edge in self.edges]
        labels = [columns(flow_text(edge)) * CHARACTER + 4 for _, edge in self.edges]
        return arrange(self.sizes, pairs, labels)

    def lines(self, at: int, step: int | None) -> list[Line]:
        """Return a box's text after a step of backward; None: after the last."""
        box = self.boxes[at]
        name = ", ".join(dict.fromkeys(filter(None, map(self.name_of, box.values))))
        title = f"{name} = {box.title}" if name and box.kind == "op" else name or box.title
        lines = [Line(shortened(title), bold=True)]
        for slot, value in enumerate(box.values):
            if value.data is None or value.shape or value.label:
                lines.append(Line(shortened(f"{value.label} {type_of(value)}".strip()), FAINT))
            if value.data is not None:
                lines.append(Line(shortened(f"value {brief(value.data)}")))
            if value.gradient is not None:
                text = self.gradient((at, slot), value.gradient, step)
                lines.append(Line(shortened(f"grad  {text}") if text else "", RED))
        return lines

    def name_of(self, value: Value) -> str | None:
        return self.names.get(value.key[:2])

    def gradient(self, place: tuple[int, int], gradient: Host, step: int | None) -> str:
        """Return what is known of a gradient after a step: nothing, part of the sum, or all."""
        gains = self.gains.get(place, [])
        known = [edge.flow for turn, edge in gains if step is None or turn <= step]
        if len(known) == len(gains):
            return brief(gradient)
        flows = [flow for flow in known if flow is not None]
        if len(flows) < len(known):
            return "…"
        with np.errstate(all="ignore"):
            return f"{brief(np.sum(flows, axis=0))} + …" if flows else ""

    def tooltip(self, at: int) -> str:
        """Return what pointing at a box shows."""
        box = self.boxes[at]
        if box.kind == "cut":
            return "earlier values that are not drawn"
        lines = [box.title]
        for value in box.values:
            lines.append(" ".join(filter(None, [value.label, self.name_of(value), type_of(value)])))
            if value.data is not None:
                lines.append(f"value {full(value.data)}")
            if value.gradient is not None:
                lines.append(f"grad {full(value.gradient)}")
        return "\n".join(lines)

    def caption(self, step: int | None) -> list[str]:
        """Return the lines below the picture."""
        sentences = []
        if self.left_out:
            sentences.append(f"{self.left_out:,} earlier values are not drawn.")
        if step is not None:
            of = f"step {step} of {max(self.turns)}"
            node = self.turns[step].node if step else None
            if node is None or node.op is None:
                sentences.append(f"{of}: backward starts at the result, with its own gradient.")
            else:
                rule = WORDS.get(node.op.name, "its rule turns g into gradients of its inputs")
                sentences.append(f"{of}, {node.op.name}: {rule}.")
        across = max(self.layout.width, NARROWEST)
        return textwrap.wrap(" ".join(sentences), int(across / CHARACTER))


class Drawing:
    """A graph as a picture: shown by Jupyter, written by `save(path)`, its SVG text by `str`.

    It reads from left to right. Blue boxes are leaves, grey ones constants, white ones
    operations; the one at work in a step of backward is yellow. Dashed arrows carry no gradient.
    In red: gradients, and on the arrows what an operation's rule gave each input. Pointing at a
    box shows its values in full.
    """

    def __init__(self, scene: Scene, step: int | None = None) -> None:
        self._scene, self._step = scene, step

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the SVG text to a file."""
        with open(path, "w", encoding="utf-8") as file:
            file.write(str(self))

    def _repr_svg_(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        """Return the same as an image: JupyterLab hides SVG in notebooks that it does not trust."""
        import base64

        text = base64.b64encode(str(self).encode()).decode()
        return f"![{self!r}](data:image/svg+xml;base64,{text})"

    def __repr__(self) -> str:
        return f"<drawing of {len(self._scene.boxes)} boxes>"

    def __str__(self) -> str:
        scene, layout = self._scene, self._scene.layout
        caption = scene.caption(self._step)
        below = len(caption) * LINE + PAD if caption else 0.0
        width = max(layout.width, NARROWEST if caption else 0.0) + 2 * MARGIN
        height = layout.height + 2 * MARGIN + below
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}" font-size="12">',
            f'<rect x=".5" y=".5" width="{width - 1:.0f}" height="{height - 1:.0f}" rx="6" '
            'fill="#fbfbfc" stroke="#d5d9de"/>',  # its own ground: readable in a dark notebook
            f'<g transform="translate({(width - layout.width) / 2:.1f} {MARGIN})">',
        ]
        for (box, edge), route in zip(scene.edges, layout.routes, strict=True):
            parts.append(self._arrow(box, edge, route))
        parts += [self._box(at) for at in range(len(scene.boxes))]
        parts.append("</g>")
        for row, text in enumerate(caption, 1):
            parts.append(_text(MARGIN, layout.height + 2 * MARGIN + row * LINE - 4, Line(text)))
        return "\n".join([*parts, "</svg>", ""])

    def _box(self, at: int) -> str:
        scene = self._scene
        box, (x, y), (width, height) = scene.boxes[at], scene.layout.corners[at], scene.sizes[at]
        at_work = self._step is not None and box.turn == self._step
        fill, stroke, more = LOOKS["at work" if at_work else box.kind]
        parts = [
            f"<g><title>{escaped(scene.tooltip(at))}</title>"
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="5" '
            f'fill="{fill}" stroke="{stroke}"{more}/>'
        ]
        lines = scene.lines(at, self._step)
        first = y + (height - len(lines) * LINE) / 2 + 12
        parts += [_text(x + PAD, first + row * LINE, line) for row, line in enumerate(lines)]
        return "".join([*parts, "</g>"])

    def _arrow(self, box: Box, edge: Edge, route: Sequence[tuple[float, float]]) -> str:
        at_work = self._step is not None and box.turn == self._step and edge.tracked
        colour = LOOKS["at work"][1] if at_work else ARROW
        (x, y), (end, port) = route[0], route[-1]
        path = [f"M{x:.1f} {y:.1f}"]
        for at, (x, y) in enumerate(route[1:], 1):
            if at % 2 == 0:
                middle, before = (route[at - 1][0] + x) / 2, route[at - 1][1]
                path.append(f"C{middle:.1f} {before:.1f} {middle:.1f} {y:.1f} {x:.1f} {y:.1f}")
            else:
                path.append(f"H{x - HEAD / 2 if at == len(route) - 1 else x:.1f}")
        style = ' stroke-width="2.2"' if at_work else ' stroke-width="1.3"'
        dashes = "" if edge.tracked else ' stroke-dasharray="4 3"'
        parts = [
            f'<path d="{"".join(path)}" fill="none" stroke="{colour}"{style}{dashes}/>'
            f'<path d="M{end:.1f} {port:.1f}l{-HEAD} -4v8z" fill="{colour}"/>'
        ]
        known = box.turn is not None and (self._step is None or box.turn <= self._step)
        if known and (flow := flow_text(edge)):
            line = Line(flow, RED, at_work)
            parts.append(_text(end - HEAD - 2, port - 4, line, ' text-anchor="end" font-size="11"'))
        return "".join(parts)


def _text(x: float, y: float, line: Line, more: str = "") -> str:
    bold = ' font-weight="bold"' if line.bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{line.colour}" xml:space="preserve"{bold}{more}>'
        f"{escaped(line.text)}</text>"
    )


def flow_text(edge: Edge) -> str:
    """Return what is written on an arrow: a gradient of few elements, or nothing."""
    return "" if edge.flow is None or edge.flow.size > FEW else shortened(brief(edge.flow))


def type_of(value: Value) -> str:
    """Return dtype and shape: float32 (2, 3)."""
    dtype = value.data.dtype if value.data is not None else value.dtype
    return f"{dtype} {value.shape}" if dtype is not None else f"{value.shape}"


def shortened(text: str) -> str:
    """Return text on one line, cut to what fits into a box."""
    text = " ".join(text.split(" ")).replace("\n", " ")
    return text if columns(text) <= LONGEST else text[: LONGEST - 1] + "…"


def columns(text: str) -> int:
    """Return how many columns of a monospaced font a text takes."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
