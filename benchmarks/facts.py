"""What is stored with figures: the machine, the versions, the commit. No names, no paths."""

import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cards
from devices import CPU

ROOT = Path(__file__).resolve().parents[1]


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def memory() -> float | None:
    """Return the GiB of memory; None where the system does not tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def system() -> str:
    try:
        return f"{platform.system()}, {platform.freedesktop_os_release()['PRETTY_NAME']}"
    except (OSError, KeyError):
        return f"{platform.system()} {platform.mac_ver()[0]}".strip()


def blas() -> str:
    import numpy as np

    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{found['name']} {found['version']}"


def versions(*libraries: str) -> dict[str, str]:
    """Return the versions of those that are installed."""
    found = {"python": platform.python_version()}
    for library in libraries:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def cupy_version() -> dict[str, str]:
    """Return CuPy's version, whose distribution is named after the CUDA it was built for."""
    return next(
        (
            {"cupy": found[name]}
            for name in ("cupy-cuda12x", "cupy-cuda13x", "cupy")
            if name in (found := versions(name))
        ),
        {},
    )


def git(*command: str) -> str | None:
    run = ["git", "--no-optional-locks", "-C", str(ROOT), *command]
    try:
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def commit() -> dict[str, Any]:
    """Return the commit and whether files differ from it, results of benchmarks left out."""
    changed = git("status", "--porcelain", "--", ".", ":!benchmarks/results")
    return {
        "commit": git("rev-parse", "--short", "HEAD"),
        "dirty": None if changed is None else bool(changed),
    }


def anonymous(text: str) -> str:
    """Return the text without this machine's folders, which an error message may name."""
    for folder in (ROOT, Path(sys.prefix), Path.home(), Path(tempfile.gettempdir())):
        if folder != Path(folder.anchor):
            text = text.replace(str(folder), "…")
    return text


def facts(threads: int, cores: int, device: str = CPU) -> dict[str, Any]:
    """Return what tells one run from another."""
    gpu = {} if device == CPU else {"gpu": cards.facts()}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        **commit(),
        "machine": {
            "processor": processor(),
            "cores": cores,
            "threads": threads,
            "memory_gib": memory(),
            "system": system(),
            "blas": blas(),
            **gpu,
        },
        "versions": {
            **versions("minigrad", "numpy", "numba", "torch", "jax"),
            **cupy_version(),
        },
    }
