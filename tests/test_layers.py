"""Imports go downwards, heavy libraries load on first use, the reading path stays short."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FLOORS = [
    {"kernels"},
    {"docstrings", "messages", "refusals", "markup", "namespaces", "spellings", "trees"},
    {"backends"},
    {"arrays", "promotion", "datatypes"},
    {"engine", "methods", "plans", "protocols", "watching"},
    {"ops"},
    {
        "runs",
        "transforms",
        "custom",
        "checks",
        "observers",
        "viz",
        "random",
        "linalg",
        "fft",
        "autograd",
    }
    | {"inspection", "numpy_protocol", "serialization", "hardware"},
    {"nn", "optim", "data"},
    {"train"},
    {"cli"},
    {"__init__", "__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
STRANGERS = {"nn", "optim", "data"}

# Where a library may be imported when the module loads; inside functions it may be anywhere.
AT_LOAD = {
    "PIL": (),
    "concurrent": (),
    "csv": (),
    "gzip": (),
    "hashlib": ("minigrad.kernels.cpu",),
    "http": (),
    "numba": ("minigrad.kernels.cpu",),
    "cupy": (),
    "matplotlib": (),
    "platformdirs": (),
    "safetensors": (),
    "sklearn": (),
    "tqdm": ("minigrad.cli",),
    "urllib": (),
}

READING_PATH = ("engine", "methods", "backends", "transforms", "checks", "ops/elementwise")
READING_PATH_LINES = 1500


def modules():
    """(name, is_package, source) of every module, kernels/ under its installed name."""
    for top, prefix in (("minigrad", ()), ("kernels", ("minigrad",))):
        for file in sorted((ROOT / top).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(prefix + (parts[:-1] if is_package else parts))
            yield name, is_package, file.read_text(encoding="utf-8")


MODULES = list(modules())


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports(name, is_package, source):
    """Yield (target, runs_at_load, line) of each import; targets are absolute module names."""
    package = name if is_package else name.rpartition(".")[0]

    def targets(node):
        if isinstance(node, ast.Import):
            return {alias.name for alias in node.names}
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, base]).rstrip(".")
        if base != "minigrad":
            return {base}
        return {f"{base}.{alias.name}" if alias.name in FLOOR else base for alias in node.names}

    pending = [(ast.parse(source), True)]
    while pending:
        node, at_load = pending.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((target, at_load, node.lineno) for target in sorted(targets(node)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            at_load = False
        at_load = at_load and not is_type_checking(node)
        pending += [(child, at_load) for child in ast.iter_child_nodes(node)]


def room(name):
    return name.split(".")[1] if "." in name else "__init__"


def faults(name, is_package, source):
    """Return a sentence for each import that the architecture does not allow."""
    here, found = room(name), []
    for target, at_load, line in imports(name, is_package, source):
        top = target.split(".")[0]
        if top in ("minigrad", "kernels"):
            there = "kernels" if top == "kernels" else room(target)
            strangers = here != there and {here, there} <= STRANGERS
            if FLOOR[there] > FLOOR[here] or strangers:
                found.append(f"{name}:{line} imports {target}")
        elif (
            at_load
            and top in AT_LOAD
            and not f"{name}.".startswith(tuple(f"{allowed}." for allowed in AT_LOAD[top]))
        ):
            found.append(f"{name}:{line} loads {target} on import")
    return found


def test_every_module_has_a_floor():
    assert {room(name) for name, _, _ in MODULES} <= set(FLOOR)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module[0])
def test_imports_go_downwards(module):
    assert not faults(*module)


@pytest.mark.parametrize(
    ("name", "source", "allowed"),
    [
        ("minigrad.engine", "from . import backends", True),
        ("minigrad.engine", "from .methods import Methods", True),
        ("minigrad.engine", "from .nn import Linear", False),
        ("minigrad.engine", "def f():\n    import minigrad.ops", False),
        ("minigrad.engine", "from . import Tensor", False),
        ("minigrad.ops.neural", "from ..engine import Op", True),
        ("minigrad.ops.neural", "from ..random import normal", False),
        ("minigrad.nn.linear", "from .. import engine", True),
        ("minigrad.nn.linear", "from minigrad.optim import Adam", False),
        ("minigrad.nn.linear", "import minigrad as mg", False),
        ("minigrad.kernels.cpu.gemm", "import numba", True),
        ("minigrad.kernels.cpu.gemm", "from ...backends import Kernel", False),
        ("minigrad.kernels", "import numba", False),
        ("minigrad.backends", "import kernels", True),
        ("minigrad.backends", "import numba", False),
        ("minigrad.backends", "def f():\n    import numba", True),
        ("minigrad.backends", "try:\n    import cupy.cuda\nexcept ImportError:\n    pass", False),
        ("minigrad.backends", "if TYPE_CHECKING:\n    import cupy", True),
        ("minigrad.cli", "from tqdm import tqdm", True),
        ("minigrad.data.loader", "from tqdm import tqdm", False),
    ],
)
def test_the_judge(name, source, allowed):
    assert (not faults(name, False, source)) == allowed


def code_lines(source):
    """Count the lines that hold code: no blank lines, comments or docstrings.

    Docstrings are all strings that stand alone, those below an assignment too.
    """
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    silent |= {tokenize.ENDMARKER}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        alone = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if alone and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return len(lines)


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('"""One."""\n\n# two\ndef f():\n    """Three\n\n    four."""\n    return """\n\n"""\n', 4),
        ('x = 1\n"""What x is,\n\nand why."""\n\ny = """z"""\n', 2),
        ("...\n", 1),
    ],
)
def test_code_lines(source, count):
    assert code_lines(source) == count


def test_reading_path_is_short(capsys):
    files = [ROOT / "minigrad" / f"{name}.py" for name in READING_PATH]
    counts = {file.stem: code_lines(file.read_text("utf-8")) for file in files if file.exists()}
    total = sum(counts.values())
    with capsys.disabled():
        print(f"\nreading path: {', '.join(f'{k} {v}' for k, v in counts.items())}, total {total}")
    assert 0 < total <= READING_PATH_LINES
