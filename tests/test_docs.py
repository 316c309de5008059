"""What the documents show runs as shown, what they name exists, what is public has a docstring."""

import html
import inspect
import pydoc
import re
import shlex
import subprocess
import sys
import tomllib
import types
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import samples
import test_ops

import minigrad as mg
from minigrad import backends, cli
from minigrad.engine import TABLE, Op
from minigrad.methods import BINARY, UNARY, Methods
from minigrad.ops import elementwise

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *(f"docs/{file.name}" for file in sorted((ROOT / "docs").glob("*.md")))]

#: what a page adds to minigrad
ADDED = {"cbrt"}

each_page = pytest.mark.parametrize("page", PAGES)


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text):
    """Return (language, content) of each fenced block. Python that is not to be run is `py`."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def as_found(tmp_path, monkeypatch):
    """A folder to write in; ops and backends that a page adds are gone afterwards."""
    monkeypatch.chdir(tmp_path)
    registries = TABLE, UNARY, BINARY, backends._loaders, backends._loaded
    before = [dict(registry) for registry in registries]
    yield
    mg.manual_seed(0)  # the generator's state may lie on a backend that is gone
    for registry, content in zip(registries, before, strict=True):
        registry.clear()
        registry.update(content)
    for backend in backends._loaded.values():
        for op in set(backend.runs) - set(TABLE.values()):
            del backend.runs[op]


def execute(page, capsys):
    """Run a page's Python as one program and return its names; compare what it prints."""
    # The op of the example is written where elementwise ops are, as if it was not there yet.
    names = dict(vars(elementwise)) if page == "docs/add-an-op.md" else {"__name__": "__main__"}
    TABLE.pop("cbrt", None)
    for (language, block), (following, text) in pairwise([*blocks(read(page)), ("", "")]):
        if language == "python":
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                exec(compile(block, page, "exec"), names)
            printed = capsys.readouterr().out
            if following == "text":
                assert printed == text
    return names


@each_page
def test_python_prints_what_the_page_says(page, as_found, capsys):
    with mg.use_backend("numpy"):
        execute(page, capsys)
    if page == "README.md":
        picture = ROOT / "docs" / "pictures" / "tape.svg"
        assert Path("tape.svg").read_text() == picture.read_text(), f"{picture} is out of date"


def test_the_judge_of_pages(as_found, capsys, monkeypatch):
    page = "```python\nx = 1\n```\n\nprints\n\n```text\n2\n```\n\n```python\nprint(x + 1)\n```\n"
    texts = {"silent": page, "wrong": page + "```text\n3\n```\n", "right": page + "```text\n2\n```"}
    monkeypatch.setattr(sys.modules[__name__], "read", texts.get)
    for name in ("silent", "wrong"):
        with pytest.raises(AssertionError):
            execute(name, capsys)
    texts["right"] = texts["right"].replace("x = 1", "x = 1\nprint(2)")
    assert execute("right", capsys)["x"] == 1


@each_page
def test_commands_have_the_options_that_the_page_says(page):
    for language, block in blocks(read(page)):
        for line in block.replace("\\\n", " ").splitlines() if language == "bash" else ():
            for command in line.split("&&"):
                name, *options = shlex.split(command, comments=True) or [""]
                if name == "minigrad":
                    cli._parsed(options)


def test_the_judge_of_commands():
    with pytest.raises(cli.Refusal):
        cli._parsed(["train", "--hiden", "3"])


@each_page
def test_links_extras_and_files_exist(page):
    text = read(page)
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert "://" in target or (ROOT / page).parent.joinpath(target).exists(), target
    with open(ROOT / "pyproject.toml", "rb") as file:
        extras = set(tomllib.load(file)["project"]["optional-dependencies"])
    assert {x for names in re.findall(r"\.\[([\w,]+)\]", text) for x in names.split(",")} <= extras
    for file in re.findall(r"`((?:tests|docs|minigrad|kernels|benchmarks)/[\w/.]*)`", text):
        assert (ROOT / file).exists(), file


def resolved(name):
    """Return what a dotted name after `mg` stands for."""
    thing = mg
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


@each_page
def test_names_of_minigrad_exist(page):
    for name in set(re.findall(r"`mg\.([\w.]+)", read(page))) - ADDED:
        resolved(name)


def test_the_table_of_names_has_every_module_optimizer_and_schedule():
    text = read("docs/from-pytorch.md")
    for where, module in {
        "nn": mg.nn,
        "nn.functional": mg.nn.functional,
        "optim": mg.optim,
        "optim.lr_scheduler": mg.optim.lr_scheduler,
    }.items():
        bases = {"ParamGroup", "LRScheduler", "functional", "init", "utils", "lr_scheduler"}
        for name in set(module.__all__) - bases:
            assert re.search(rf"`mg\.{where}\.{name}\b", text), name


@pytest.fixture
def cbrt(as_found, capsys, monkeypatch):
    """The op of docs/add-an-op.md with its row, for one test."""
    page = "docs/add-an-op.md"
    op = execute(page, capsys)["cbrt"]
    monkeypatch.setattr(mg, "cbrt", op, raising=False)
    (row,) = (block for language, block in blocks(read(page)) if language == "py")
    for name, value in eval(f"{{{row}}}", dict(vars(samples.elementwise))).items():
        monkeypatch.setitem(samples.ROWS, name, value)
    return op


def test_the_op_that_is_added_as_an_example(cbrt, backend):
    for case in samples.ROWS["cbrt"].cases:
        test_ops.test_value("cbrt", case, backend)
        test_ops.test_forward_keeps_dtypes_and_leaves_its_inputs_alone("cbrt", case, backend)
        if not case.is_empty():
            test_ops.test_derivatives("cbrt", case, backend)


def test_the_op_of_the_example_can_be_masked(cbrt):
    x = mg.tensor([0.0, 8.0], dtype=mg.float64, requires_grad=True)
    mg.where(x > 0, cbrt(x), 0.0).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [0, 1 / 12])


def test_the_backend_that_is_added_as_an_example(as_found, capsys):
    with mg.use_backend("numpy"):
        execute("docs/add-a-backend.md", capsys)
    for name, case in test_ops.CASES:
        test_ops.test_value(name, case, "counted")


# Docstrings


#: op -> the string below its assignment
OPS = {op: op.__doc__ for op in TABLE.values() if op.__doc__ != Op.__doc__}


def public(thing, path="mg"):
    """Yield (dotted name, docstring) of a module, function, class or op, and of what is in it."""
    if isinstance(thing, Op):
        yield path, OPS.get(thing)
    elif isinstance(thing, types.ModuleType):
        yield path, thing.__doc__
        own = [n for n, x in vars(thing).items() if getattr(x, "__module__", "") == thing.__name__]
        for name in getattr(thing, "__all__", [n for n in own if not n.startswith("_")]):
            yield from public(getattr(thing, name), f"{path}.{name}")
    elif isinstance(thing, type):
        text = ("__doc__" in vars(thing) and thing.__doc__) or ""
        # What a dataclass or a named tuple writes by itself says nothing.
        is_made = text.startswith(f"{thing.__name__}(") and "\n" not in text
        yield path, None if is_made else text
        for name in dir(thing):
            if not name.startswith("_") and is_ours(inspect.getattr_static(thing, name)):
                # A method that only calls a function is described there.
                described = name in vars(Methods) and hasattr(mg, name)
                yield f"{path}.{name}", described or inspect.getdoc(getattr(thing, name))
    elif inspect.isfunction(thing):
        yield path, inspect.getdoc(thing)


def is_ours(member):
    """Whether a member of a class is a method or a property that is written in minigrad."""
    function = getattr(member, "fget", getattr(member, "__func__", member))
    is_field = getattr(function, "__name__", "") == "<lambda>"  # the default of a field
    return str(getattr(function, "__module__", "")).startswith("minigrad") and not is_field


def test_everything_public_has_a_docstring():
    found = dict(public(mg))
    some = {"mg.exp", "mg.sum", "mg.Tensor.item", "mg.nn.Linear.forward", "mg.train.Trainer.fit"}
    assert some | {"mg.optim.lr_scheduler.StepLR", "mg.backends.register"} <= set(found)
    assert [name for name, text in found.items() if not text] == []


def test_ops_and_methods_show_their_docstrings():
    assert mg.exp.__doc__.startswith("e to the power x")
    assert "<op exp>\n    e to the power x" in pydoc.plain(pydoc.render_doc(mg.exp))
    assert Op.__doc__.startswith("One operation")
    assert TABLE["clip"].__doc__ == Op.__doc__
    assert mg.Tensor.exp.__doc__ == "As `minigrad.exp`."
    assert mg.Tensor.sum.__doc__ == mg.sum.__doc__


def test_the_judge_of_docstrings():
    class Bare(mg.nn.Linear):
        def reset(self): ...

    Bare.__module__ = Bare.reset.__module__ = "minigrad.x"
    found = dict(public(Bare, "Bare"))
    assert (found["Bare"], found["Bare.reset"]) == ("", None)
    assert found["Bare.forward"] == mg.nn.Module.forward.__doc__
    assert dict(public(TABLE["clip"], "op")) == {"op": None}
    assert dict(public(lambda: 0, "f")) == {"f": None}


def test_the_reference_is_built_without_warnings(tmp_path):
    pytest.importorskip("pdoc", reason='needs pdoc (the extra "docs")')
    command = [sys.executable, "-W", "error", ROOT / "docs" / "reference.py", tmp_path]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, ""), run.stderr
    for page, name, text in [
        ("minigrad", "exp", OPS[mg.exp]),
        ("minigrad", "copy", OPS[mg.copy]),
        ("minigrad", "sum", "Sum over axes, all where None"),
        ("minigrad", "Tensor.item", "Return the only element as a Python number."),
        ("minigrad", "Tensor.tanh", "As minigrad.tanh."),
        ("minigrad/nn", "Linear", mg.nn.Linear.__doc__.splitlines()[0]),
        ("minigrad/nn/functional", "relu", OPS[mg.relu]),
        ("minigrad/optim/lr_scheduler", "StepLR", mg.optim.lr_scheduler.StepLR.__doc__),
        ("minigrad/train", "Trainer", mg.train.Trainer.__doc__.splitlines()[0]),
        ("minigrad/backends", "register", "Make a backend known under name"),
    ]:
        source = (tmp_path / f"{page}.html").read_text(encoding="utf-8")
        _, _, entry = source.partition(f' id="{name}"')
        words = html.unescape(re.sub(r"<[^>]*>", "", entry.partition('class="docstring"')[2]))
        assert text in words[:2000], name
    pages = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.html")}
    assert not [page for page in pages if re.search(r"engine|methods|ops|/_", page)]
