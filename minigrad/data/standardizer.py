"""Features brought to mean 0 and deviation 1, with statistics that are kept for inference."""

from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any, Self

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..arrays import get_default_dtype
from ..engine import Tensor
from ..messages import first_true
from ..ops.creation import asarray

Array = np.ndarray[Any, Any]

_FLOAT64_MAX = float(np.finfo(np.float64).max)


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
        values = _host(_real("fit", x))
        if not values.size:
            raise ValueError(f"Standardizer.fit: nothing to learn from, shape {values.shape}")
        bad = ~np.isfinite(values)
        if bad.any():
            first = first_true(bad)
            raise ValueError(
                f"Standardizer.fit: x must be finite, got {values[first]} first at {first}; "
                "clean the data before"
            )
        least = values.min(self.axis, keepdims=True).astype(np.float64)
        greatest = values.max(self.axis, keepdims=True).astype(np.float64)
        if (greatest / 2 - least / 2 > _FLOAT64_MAX / 2).any():
            raise ValueError(
                f"Standardizer.fit: x spans from {least.min()} to {greatest.max()}, wider than "
                "float64 goes; scale the data before"
            )
        # The squares of a deviation beyond 2**±511 would leave float64.
        exponent = np.frexp(np.maximum(np.abs(least), np.abs(greatest)))[1]
        exponent = np.where(np.abs(exponent) > 256, exponent, 0)
        if exponent.any():
            values = np.ldexp(values.astype(np.float64), -exponent)
        mean = np.ldexp(values.mean(self.axis, np.float64, keepdims=True), exponent)
        std = np.ldexp(values.std(self.axis, np.float64, keepdims=True), exponent)
        # Rounded sums give a constant feature a deviation of about 1e-17, not 0.
        constant = (least == greatest) | (std == 0)
        mean, std = np.where(constant, least, mean), np.where(constant, 1.0, std)
        # Reduced axes in front are not needed to broadcast: (1, features) is (features,).
        every = range(values.ndim)
        over = every if self.axis is None else normalize_axis_tuple(self.axis, values.ndim)
        leading = len(list(takewhile(over.__contains__, every)))
        self.mean, self.std = (a.reshape(a.shape[leading:]) for a in (mean, std))
        return self

    def transform(self, x: Any) -> Any:
        """Return (x − mean) / std.

        ValueError for a shape that does not fit the statistics; and, where the dtype cannot hold
        these, for a result that it cannot hold either.
        """
        return self._computed("transform", x, lambda x, mean, rest, std: (x - mean - rest) / std)

    def inverse_transform(self, x: Any) -> Any:
        """Return x * std + mean: from standardized values to those that they came from."""
        return self._computed(
            "inverse_transform", x, lambda x, mean, rest, std: x * std + rest + mean
        )

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

    def _computed(self, caller: str, x: Any, formula: Callable[..., Tensor]) -> Any:
        """Return formula(x, mean, rest, std) in x's dtype, in float64 where that is too narrow.

        rest is what the mean loses in x's dtype: a mean far from 0 beside a small deviation would
        otherwise shift float32 results.
        """
        mean, std = self._statistics(caller)
        tensor = _real(caller, x)
        if _broadcast(tensor.shape, mean.shape) != tensor.shape:
            raise ValueError(
                f"Standardizer.{caller}: the statistics are of shape {mean.shape}, which does not "
                f"fit x of shape {tensor.shape}"
            )
        dtype = tensor.dtype if tensor.dtype.kind == "f" else get_default_dtype()
        limits, far = np.finfo(dtype), np.abs(mean).max(initial=0)
        held = far <= limits.max and ((limits.tiny <= std) & (std <= limits.max)).all()
        # Of a mean below this, x − mean is in range for every finite x.
        near = far <= float(limits.max) * float(limits.eps) / 4
        working = np.result_type(tensor.dtype, dtype) if held and near else np.dtype(np.float64)

        rounded = mean.astype(working)
        operands = (rounded, (mean - rounded).astype(working), std.astype(working))
        on_backend = (asarray(a, backend=tensor.backend) for a in operands)
        with np.errstate() if held else np.errstate(over="ignore"):
            result = formula(tensor.astype(working, copy=False), *on_backend)
        if not held:
            _require_range(caller, _host(tensor), _host(result), dtype)
        result = result.astype(dtype, copy=False)
        return result if isinstance(x, Tensor) else result.numpy(copy=True)


def _require_range(caller: str, x: Array, result: Array, dtype: np.dtype[Any]) -> None:
    """Raise ValueError where a result of finite x is beyond a dtype."""
    beyond = (np.abs(result) > np.finfo(dtype).max) & np.isfinite(x)
    if beyond.any():
        first = first_true(beyond)
        raise ValueError(
            f"Standardizer.{caller}: {x[first]} at {first} becomes {result[first]:.4g}, which "
            f"{dtype} cannot hold, nor the statistics; give x in a wider dtype"
        )


def _real(caller: str, x: Any) -> Tensor:
    tensor = asarray(x)
    if tensor.dtype.kind not in "biuf":
        raise TypeError(f"Standardizer.{caller}: expected real numbers, got {tensor.dtype}")
    return tensor


def _host(x: Any) -> Array:
    return asarray(x).to_host()


def _broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None
