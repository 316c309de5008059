"""minigrad info: what runs here, and on what."""

import argparse
import importlib.metadata
import os
import platform
import sys
from contextlib import suppress
from typing import Any

import numpy as np

from .. import backends


def add_commands(commands: Any) -> None:
    """Add `info`."""
    parser = commands.add_parser(
        "info",
        help="show versions, backends and what they run on",
        description="Show versions, backends (and why one is not usable), BLAS and CPU threads.",
        epilog="example:\n  minigrad info",
    )
    parser.set_defaults(run=_info)


def _info(args: argparse.Namespace) -> None:
    """Print what minigrad runs on."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    lines = [*versions().items(), ("BLAS", f"{blas['name']} {blas.get('version', '')}".strip())]
    lines.append(("CPU threads", str(_threads())))
    for name, status in backends.status().items():
        lines.append(
            (f"backend {name}", "usable" if status.usable else f"not usable: {status.reason}")
        )
    for name, value in lines:
        print(f"{name + ':':<16}{value}")


def version() -> str:
    """Return minigrad's version."""
    return str(sys.modules["minigrad"].__version__)


def versions() -> dict[str, str]:
    """Return the versions of what takes part, without importing any of it."""
    found = {
        "minigrad": version(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    # CuPy's package is named after the CUDA it was built for.
    for package in ("numba", "cupy", "cupy-cuda12x", "cupy-cuda13x"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _threads() -> int:
    """Return how many CPU threads this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
