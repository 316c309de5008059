"""Arrays as short texts and as HTML, for Jupyter and for pictures."""

from typing import Any

import numpy as np

Host = np.ndarray[Any, Any]

FEW = 6  # elements that are written out in a line


def number(value: Any) -> str:
    """Return four significant digits of a float; integers and bools as they are."""
    if isinstance(value, float | complex | np.inexact):
        return f"{value:.4g}"
    return str(value)


def brief(array: Host) -> str:
    """Return the elements in one line, or their mean where they are not few."""
    if array.size > FEW:
        wide = np.complex128 if array.dtype.kind == "c" else np.float64
        with np.errstate(all="ignore"):
            return f"mean {number(array.mean(dtype=wide))}"
    text = np.array2string(array, separator=", ", formatter={"all": number})
    return " ".join(text.split())


def full(array: Host) -> str:
    """Return the elements as NumPy prints them, elided beyond 100."""
    return np.array2string(array, separator=", ", threshold=100)


def table(array: Host) -> str:
    """Return an HTML table of an array of up to two axes, elided in the middle; else its text."""
    if array.ndim > 2 or array.size == 0:
        return f"<pre>{escaped(full(array))}</pre>"
    grid = array.reshape((1, -1) if array.ndim < 2 else array.shape)
    rows, columns = _ends(grid.shape[0]), _ends(grid.shape[1])
    lines = []
    if array.ndim:
        head = [_cell(j, "th") for j in columns]
        lines.append(_cell("", "th") * (array.ndim - 1) + "".join(head))
    for i in rows:
        cells = [_cell(None if None in (i, j) else number(grid[i, j])) for j in columns]
        label = _cell(i, "th") if array.ndim == 2 else ""
        lines.append(label + "".join(cells))
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _ends(length: int, most: int = 10) -> list[int | None]:
    """Return the indices that are shown; None stands for those left out."""
    if length <= most:
        return list(range(length))
    return [*range(most // 2), None, *range(length - most // 2, length)]


def _cell(content: Any, tag: str = "td") -> str:
    return f"<{tag}>{'…' if content is None else escaped(str(content))}</{tag}>"


def escaped(text: str) -> str:
    """Return text for HTML and XML: markup escaped, characters that XML forbids replaced."""
    import html
    import re

    return html.escape(re.sub(_FORBIDDEN, "\ufffd", text))


_FORBIDDEN = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
