"""What the epochs of a training run brought: rows of numbers, as CSV and as a picture."""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from ..markup import number
from ..messages import did_you_mean
from ..serialization import write_atomically

#: Columns that are no measurements of the model.
_ASIDE = ("epoch", "lr", "seconds")


class History(Sequence[dict[str, float]]):
    """One row for each epoch: "epoch", "loss" and the metrics, "val_..." of them, "lr", "seconds".

    `history[-1]` is the last row, `history["val_loss"]` a column, nan where a row lacks it: the
    seconds of epochs before a run was resumed are not known.
    """

    def __init__(self, rows: Sequence[Mapping[str, float]] = ()) -> None:
        self.rows = [dict(row) for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, float]]:
        return iter(self.rows)

    @overload
    def __getitem__(self, key: str) -> list[float]: ...

    @overload
    def __getitem__(self, key: int) -> dict[str, float]: ...

    @overload
    def __getitem__(self, key: slice) -> list[dict[str, float]]: ...

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return self.rows[key]
        if key not in self.columns:
            hint = did_you_mean(key, self.columns)
            raise KeyError(f"no column {key!r}: there are {', '.join(self.columns)}{hint}")
        return [row.get(key, float("nan")) for row in self.rows]

    @property
    def columns(self) -> list[str]:
        """The names in the rows, in the order of their first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def __repr__(self) -> str:
        if not self.rows:
            return "History(no epochs)"
        cells = [
            self.columns,
            *([number(row.get(c, "")) for c in self.columns] for row in self.rows),
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in cells
        )

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the rows, exactly, as comma-separated values under a line of names."""
        import csv  # on first use: importing minigrad stays quick

        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(Path(path), text.getvalue().encode())

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Return a matplotlib Figure of every measurement over the epochs; write it where asked.

        Training and validation of one quantity share a panel. The format goes by the path's suffix:
        .png, .svg, .pdf. ImportError where matplotlib is missing, ValueError without epochs.
        """
        if not self.rows:
            raise ValueError("there is nothing to plot: the history has no epochs")
        names = [name for name in self.columns if name not in _ASIDE]
        quantities = list(dict.fromkeys(name.removeprefix("val_") for name in names))
        figure = figure_class()(figsize=(4.8 * len(quantities), 3.4), layout="constrained")
        panels = figure.subplots(1, len(quantities), squeeze=False)[0]
        for panel, quantity in zip(panels, quantities, strict=True):
            for name, label in ((quantity, "training"), (f"val_{quantity}", "validation")):
                if name in names:
                    marker = "o" if len(self.rows) < 3 else None
                    panel.plot(self["epoch"], self[name], label=label, marker=marker)
            panel.set(xlabel="epoch", ylabel=quantity)
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.spines[["top", "right"]].set_visible(False)
            panel.legend(frameon=False)
        if path is not None:
            content = io.BytesIO()
            try:
                figure.savefig(content, format=Path(path).suffix.removeprefix(".") or "png")
            except ValueError as error:
                raise ValueError(f"cannot plot to {os.fspath(path)!r}: {error}") from error
            write_atomically(Path(path), content.getvalue())
        return figure


def figure_class() -> Any:
    """Return matplotlib's Figure. ImportError says how to install it."""
    try:
        from matplotlib.figure import Figure  # not pyplot: no window, no global state
    except ImportError as error:
        raise ImportError(
            f'a plot needs matplotlib ({error}); install it with: pip install "minigrad[plot]"'
        ) from error
    return Figure


def without_times(row: Mapping[str, float]) -> dict[str, float]:
    """Return a row as it is saved: the same run gives the same bits, however long it takes."""
    return {name: value for name, value in row.items() if name != "seconds"}
