"""The notebooks run from top to bottom, and what is stored in them is fit to be read anywhere."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
LARGEST = 400_000  # bytes

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)


def stored(path):
    return json.loads(path.read_text(encoding="utf-8"))


def outputs(notebook):
    """Yield (id of the cell, output)."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            yield cell["id"], output


def troubles(notebook):
    """Return the errors, warnings and anything else on stderr among the outputs."""
    return [
        (cell, output.get("evalue") or output["text"])
        for cell, output in outputs(notebook)
        if output["output_type"] == "error" or output.get("name") == "stderr"
    ]


def test_there_are_notebooks():
    assert NOTEBOOKS


@each
def test_every_cell_runs(path):
    needs = 'the notebooks are executed by nbclient: pip install -e ".[notebooks]"'
    nbclient = pytest.importorskip("nbclient", reason=needs)
    nbformat = pytest.importorskip("nbformat", reason=needs)
    pytest.importorskip("ipykernel", reason=needs)
    pytest.importorskip("matplotlib", reason=needs)
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        allow_errors=True,
    )
    client.execute()
    assert not troubles(notebook)


@each
def test_the_format(path):
    notebook = stored(path)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert path.stat().st_size < LARGEST


@each
def test_stored_outputs_are_whole_and_in_order(path):
    cells = [cell for cell in stored(path)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not troubles(stored(path))
    for _, output in outputs(stored(path)):
        if "image/svg+xml" in output.get("data", {}):
            assert "text/markdown" in output["data"]  # for readers that do not trust SVG


@each
def test_nothing_of_the_machine_is_stored(path):
    text = path.read_text(encoding="utf-8")
    foreign = r"(?<![\w.])/(?:home|Users|root|tmp|work|usr|opt|var)/|[A-Z]:\\\\| at 0x[0-9a-f]{6,}"
    assert not re.findall(foreign, text)
