"""The wheel and the editable install, as a user gets them."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]

# What was imported says where from: a copy of minigrad that lies elsewhere must not answer.
WHERE = """
import importlib.util, minigrad, minigrad.kernels
print(minigrad.__file__)
print(minigrad.kernels.__file__)
print(importlib.util.find_spec("minigrad.kernels.cpu").origin)
"""

HEAVY = ["numba", "cupy", "matplotlib", "sklearn", "torch", "jax"]

# What `import minigrad` leaves to the first use, with a name in each.
LATER = {"data": "DataLoader", "train": "Trainer", "viz": "draw"}


def python(code, *flags, cwd, path=()):
    env = {k: v for k, v in os.environ.items() if k != "MINIGRAD_BACKEND"}
    env["PYTHONPATH"] = os.pathsep.join(map(str, path))
    command = [sys.executable, *flags, "-c", code]
    run = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout.splitlines()


def python_with(*path, code, cwd, flags=()):
    """Run code where `path` and the dependencies are all there is.

    Without `site` no .pth file runs: an editable install of the environment is out of sight.
    """
    dependencies = Path(np.__file__).parents[1]
    return python(code, "-S", *flags, cwd=cwd, path=[*path, dependencies])


def build(hook, source, unpacked):
    """Call a build hook of the backend (no network, no pip) and unpack the wheel it makes."""
    unpacked.mkdir()
    code = f"from setuptools import build_meta; build_meta.{hook}({str(unpacked.parent)!r})"
    python(code, cwd=source)
    (wheel,) = unpacked.parent.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    return unpacked


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the sources: a build leaves its marks in the folder it runs in."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("minigrad", "kernels"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    return build("build_wheel", checkout, tmp_path_factory.mktemp("wheel") / "site")


@pytest.fixture(scope="module")
def editable(checkout, tmp_path_factory):
    return build("build_editable", checkout, tmp_path_factory.mktemp("editable") / "site")


def test_wheel_imports_from_the_repository_root_and_from_elsewhere(wheel, checkout, tmp_path):
    # -P, as the `minigrad` and `pytest` commands start: a plain `python -c` in the root imports
    # the sources that lie there, not the wheel.
    for cwd in (checkout, tmp_path):
        for line in python_with(wheel, code=WHERE, cwd=cwd, flags=["-P"]):
            assert Path(line).is_relative_to(wheel)


@pytest.mark.parametrize("flags", [[], ["-P"]])
def test_editable_imports_from_the_repository_root_and_from_elsewhere(
    editable, checkout, tmp_path, flags
):
    run_pth_file = f"import site; site.addsitedir({str(editable)!r})"
    # On the path, so that the .pth file finds its own finder before one of the same name.
    for cwd in (checkout, tmp_path):
        for line in python_with(editable, code=run_pth_file + WHERE, cwd=cwd, flags=flags):
            assert Path(line).is_relative_to(checkout)


def test_wheel_holds_every_source_and_data_file(wheel):
    tops = {"minigrad": ROOT / "minigrad", "minigrad/kernels": ROOT / "kernels"}
    wanted = {
        f"{top}/{file.relative_to(folder).as_posix()}"
        for top, folder in tops.items()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    some = {"py.typed", "data/digits.npz", "kernels/gpu/cross_entropy.cu"}
    assert {f"minigrad/{name}" for name in some} <= wanted
    missing = {name for name in wanted if not (wheel / name).is_file()}
    assert not missing


def test_import_loads_nothing_heavy(wheel, tmp_path):
    waiting = [*HEAVY, *(f"minigrad.{name}" for name in LATER)]
    code = f"import sys, minigrad; print(*[m for m in {waiting} if m in sys.modules])"
    assert python_with(wheel, code=code, cwd=tmp_path) == [""]


@pytest.mark.parametrize("name", LATER)
def test_what_import_leaves_to_the_first_use_is_there(wheel, tmp_path, name):
    imports = "import minigrad as mg", f"from minigrad import {name}"
    used = f"print({name!r} in dir(mg), mg.{name}.{LATER[name]} is {name}.{LATER[name]})"
    for lines in (imports, imports[::-1]):
        code = "\n".join([*lines, used])
        assert python_with(wheel, code=code, cwd=tmp_path) == ["True True"]
