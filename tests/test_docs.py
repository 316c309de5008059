"""What the documents show runs as they show it."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import backends
from minigrad.engine import TABLE
from minigrad.methods import BINARY, UNARY
from minigrad.ops import elementwise

ROOT = Path(__file__).resolve().parents[1]


def blocks(document, language):
    """Return the fenced blocks of a language, in their order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def execute(block, document, names):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(block, document, "exec"), names)


def test_the_example_prints_what_the_readme_says(capsys):
    with mg.use_backend("numpy"):
        execute(blocks("README.md", "python")[0], "README.md", {})
    assert capsys.readouterr().out == blocks("README.md", "text")[0]


@pytest.fixture
def log1p():
    """The op of docs/add-an-op.md, for one test, unless minigrad has it by now."""
    if "log1p" in TABLE:
        yield TABLE["log1p"]
        return
    names = dict(vars(elementwise))
    try:
        execute(blocks("docs/add-an-op.md", "python")[0], "docs/add-an-op.md", names)
        yield names["log1p"]
    finally:
        op = TABLE.pop("log1p", None)
        UNARY.pop("log1p", None)
        BINARY.pop("log1p", None)
        for loaded in backends._loaded.values():
            loaded.runs.pop(op, None)


def test_the_op_that_is_added_as_an_example(log1p, backend):
    x = np.array([-0.5, 0.0, 2.0])
    with mg.use_backend(backend):
        np.testing.assert_allclose(log1p(mg.tensor(x)).numpy(), np.log1p(x), rtol=1e-14)
        assert log1p(3).dtype == mg.get_default_dtype()
        assert mg.gradcheck(log1p, mg.tensor(x), order=2)


def test_the_op_of_the_example_can_be_masked(log1p):
    x = mg.tensor([-1.0, 1.0], requires_grad=True)
    with np.errstate(divide="ignore"):
        mg.where(x > 0, log1p(x), 0.0).sum().backward()
    assert x.grad.tolist() == [0.0, 0.5]
