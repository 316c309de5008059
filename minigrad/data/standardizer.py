"""Features brought to mean 0 and deviation 1, with statistics that are kept for inference."""

from collections.abc import Mapping
from itertools import takewhile
from typing import Any, Self

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..arrays import get_default_dtype
from ..engine import Tensor
from ..ops import asarray

Array = np.ndarray[Any, Any]


class Standardizer:
    """(x − mean) / std, each feature by its own mean and deviation over the rows.

    axis: what the statistics are taken over; None: one mean and one deviation for all elements,
        as for the pixels of images.

    `mean` and `std` are float64 NumPy arrays, None before `fit`; a feature that is constant has
    the std 1. Results keep a floating dtype, whole numbers become the default one. NumPy arrays
    (and lists) give NumPy arrays, Tensors give Tensors on their backend and the tape.
    """

    def __init__(self, axis: int | tuple[int, ...] | None = 0) -> None:
        self.axis = axis
        self.mean: Array | None = None
        self.std: Array | None = None

    def fit(self, x: Any) -> Self:
        """Take mean and deviation from x. ValueError for no rows, and for nan or infinity in it."""
        values = _host(x)
        if values.dtype.kind not in "biuf":
            raise TypeError(f"Standardizer.fit: expected real numbers, got {values.dtype}")
        if not values.size:
            raise ValueError(f"Standardizer.fit: nothing to learn from, shape {values.shape}")
        bad = ~np.isfinite(values)
        if bad.any():
            first = tuple(np.argwhere(bad)[0].tolist())
            raise ValueError(
                f"Standardizer.fit: x must be finite, got {values[first]} first at {first}; "
                "clean the data before"
            )
        mean = values.mean(self.axis, np.float64, keepdims=True)
        std = values.std(self.axis, np.float64, keepdims=True)
        least = values.min(self.axis, keepdims=True)
        # Rounded sums give a constant feature a deviation of about 1e-17, not 0.
        constant = (least == values.max(self.axis, keepdims=True)) | (std == 0)
        mean, std = np.where(constant, least, mean), np.where(constant, 1.0, std)
        # Reduced axes in front are not needed to broadcast: (1, features) is (features,).
        every = range(values.ndim)
        over = every if self.axis is None else normalize_axis_tuple(self.axis, values.ndim)
        leading = len(list(takewhile(over.__contains__, every)))
        self.mean, self.std = (a.reshape(a.shape[leading:]) for a in (mean, std))
        return self

    def transform(self, x: Any) -> Any:
        """Return (x − mean) / std. ValueError for a shape that does not fit the statistics."""
        tensor, mean, rest, std = self._operands("transform", x)
        return _like(x, (tensor - mean - rest) / std)

    def inverse_transform(self, x: Any) -> Any:
        """Return x * std + mean: from standardized values to those that they came from."""
        tensor, mean, rest, std = self._operands("inverse_transform", x)
        return _like(x, tensor * std + rest + mean)

    def fit_transform(self, x: Any) -> Any:
        """Take mean and deviation from x and return it transformed."""
        return self.fit(x).transform(x)

    __call__ = transform

    def state_dict(self) -> dict[str, Array]:
        """Return mean and std, which `minigrad.save` can keep beside a model."""
        mean, std = self._statistics("state_dict")
        return {"mean": mean, "std": std}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over mean and std; the axis is no part of a state, as only `fit` needs it."""
        missing = {"mean", "std"} - set(state)
        if missing:
            raise ValueError(f"Standardizer.load_state_dict: the state has no {min(missing)!r}")
        mean, std = (_host(state[name]).astype(np.float64) for name in ("mean", "std"))
        if mean.shape != std.shape or not (np.isfinite(mean).all() and (std > 0).all()):
            raise ValueError(
                "Standardizer.load_state_dict: expected finite means and positive deviations of "
                f"one shape, got {mean} and {std}"
            )
        self.mean, self.std = mean, std

    def __repr__(self) -> str:
        fitted = "not fitted" if self.mean is None else f"fitted, shape {self.mean.shape}"
        return f"Standardizer(axis={self.axis}, {fitted})"

    def _statistics(self, caller: str) -> tuple[Array, Array]:
        if self.mean is None or self.std is None:
            raise RuntimeError(
                f"Standardizer.{caller}: there are no statistics yet; call fit(x) with the "
                "training data, or load_state_dict"
            )
        return self.mean, self.std

    def _operands(self, caller: str, x: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return x, mean, what the mean loses in x's dtype, and std, all in that dtype.

        A mean far from 0 beside a small deviation would otherwise shift float32 results.
        """
        mean, std = self._statistics(caller)
        tensor = asarray(x)
        if tensor.dtype.kind != "f":
            tensor = tensor.astype(get_default_dtype())
        if _broadcast(tensor.shape, mean.shape) != tensor.shape:
            raise ValueError(
                f"Standardizer.{caller}: the statistics are of shape {mean.shape}, which does not "
                f"fit x of shape {tensor.shape}"
            )
        rounded = mean.astype(tensor.dtype)
        operands = (rounded, (mean - rounded).astype(tensor.dtype), std.astype(tensor.dtype))
        mean_, rest, std_ = (asarray(a, backend=tensor.backend) for a in operands)
        return tensor, mean_, rest, std_


def _host(x: Any) -> Array:
    return asarray(x).to_host()


def _like(x: Any, result: Tensor) -> Any:
    return result if isinstance(x, Tensor) else result.numpy(copy=True)


def _broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None
