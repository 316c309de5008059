"""The table of kinks in docs/semantics.md is what docs/kinks.py prints."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
MODULES = {"minigrad": "minigrad", "PyTorch": "torch", "JAX": "jax"}


def load():
    spec = importlib.util.spec_from_file_location("kinks", DOCS / "kinks.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["kinks"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


kinks = load()


def rows():
    """Return the table of the page: case -> library -> gradients."""
    lines = (DOCS / "semantics.md").read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| gradient of |"))
    head, _, *body = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines[start : lines.index("", start)]
    ]
    return {what: dict(zip(head[1:], cells, strict=True)) for what, *cells in body}


@pytest.mark.parametrize("library", MODULES)
def test_the_page_holds_what_the_script_prints(library):
    if importlib.util.find_spec(MODULES[library]) is None:
        pytest.skip(f'needs {library} (the extra "compare")')
    with np.errstate(all="ignore"):
        printed = {case.what: kinks.cell(case, library) for case in kinks.CASES}
    assert {what: cells[library] for what, cells in rows().items()} == printed


def test_gradients_are_shown_without_signs_of_zero():
    assert kinks.shown([[-0.0, 0.5], np.inf]) == "(0, 0.5); inf"
