"""minigrad on a GPU measured: its kernels beside the card, and training beside PyTorch and JAX.

Parts, each with a file of results, the facts of the card included:

    gpu_kernels  large hot loops beside a copy in the card's memory and the products of cuBLAS
    gpu_step     a training step of three small networks

Needs the extra `cuda12` or `cuda13`, and of PyTorch and JAX the builds for CUDA; who is missing is
named and left out. Everyone computes in float32, not in TF32. A part is stored when it ends, when
its time is over, and as FILE.partial.json when the run is interrupted or killed. `python
benchmarks/run.py --publish` writes the tables into the documents.

    python benchmarks/gpu.py             both parts, within 8 minutes
    python benchmarks/gpu.py gpu_step    one part
    python benchmarks/gpu.py --quick     whether everything works, in about a minute
    PYTHONPATH=. python ...              in a checkout that is not installed
"""

import os
import sys

import run
from arena import say
from devices import GPU

PATIENCE = 120  # seconds; who hangs for longer would leave the others none of the 8 minutes


def main() -> int:
    from minigrad import backends

    parser = run.options_of(__doc__ or "", run.GPU_PARTS)
    parser.add_argument(
        "--minutes",
        type=run.whole,
        default=7,
        help="time for all parts together; what is not measured by then is left out (7)",
    )
    parser.set_defaults(backends=["cupy"], patience=PATIENCE)
    options = run.parsed(parser, run.GPU_PARTS, run.GPU_PARTS)
    reason = backends.status()["cupy"].reason
    if reason:
        say(f"gpu.py: {reason}")
        return 2
    # JAX would take three quarters of the memory and leave the others none.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    return run.measure(options, GPU)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
