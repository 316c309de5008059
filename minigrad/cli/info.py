"""minigrad info: what runs here, and on what."""

import argparse
import importlib.metadata
import platform
import sys
from contextlib import suppress
from typing import Any

import numpy as np

from .. import backends
from ..hardware import DRIVERS, get_num_threads, gpu


def add_commands(commands: Any) -> None:
    """Add `info`."""
    parser = commands.add_parser(
        "info",
        help="show versions, backends and what they run on",
        description="Show versions, BLAS, CPU threads, the GPU, its driver and CUDA, and backends: "
        "why one is not usable, and what to install.",
        epilog="example:\n  minigrad info",
    )
    parser.set_defaults(run=_info)


def _info(args: argparse.Namespace) -> None:
    """Print what minigrad runs on."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    lines = [*versions().items(), ("BLAS", f"{blas['name']} {blas.get('version', '')}".strip())]
    lines.append(("CPU threads", str(get_num_threads())))
    lines += _gpu_lines()
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


def _gpu_lines() -> list[tuple[str, str]]:
    """Return the lines on the GPU, or the one that says what is missing."""
    card = gpu()
    if not card:
        return [("GPU", "none found: it takes an NVIDIA GPU and its driver, which has nvidia-smi")]
    memory = f"{card['memory'] / 2**30:.1f} GiB, {card['free'] / 2**30:.1f} GiB of it free"
    lines = [("GPU", card["name"]), ("GPU memory", memory)]
    if "driver" in card:
        lines.append(("GPU driver", f"{card['driver']}, {_extra_for(card['driver'])}"))
    if "cuda" in card:
        lines.append(("CUDA", f"{card['cuda']}; the driver runs {card['newest_cuda']} and older"))
    return lines


def _extra_for(driver: str) -> str:
    """Return which extra a driver is for."""
    number = int(driver.partition(".")[0])
    for extra, oldest in DRIVERS.items():
        if number >= oldest:
            return f'for pip install "minigrad[{extra}]"'
    return f"too old: CuPy's CUDA 12 needs {DRIVERS['cuda12']} or newer"
