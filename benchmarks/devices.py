"""Where contestants compute, and what PyTorch and JAX need to be told for it."""

from collections.abc import Callable
from typing import Any

CPU, GPU = "cpu", "cuda"  # as PyTorch calls them


def torch_on(device: str) -> tuple[Any, Callable[[], None]]:
    """Return PyTorch, and what waits for its device. It convolves in float32, not in TF32."""
    import torch

    torch.backends.cudnn.allow_tf32 = False
    return torch, torch.cuda.synchronize if device == GPU else lambda: None


def jax_in_float32() -> Any:
    """Return JAX, whose products of float32 would else be in TF32 on a GPU."""
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")
    return jax
