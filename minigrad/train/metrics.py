"""What a pass over a data set measures: streaming sums on the device, or any (y_true, y_pred)."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from ..engine import Tensor, no_grad
from ..messages import did_you_mean
from ..ops import argmax, astype, full
from ..ops.updates import assign

#: loss(outputs, targets): the mean over the rows of a batch
Loss = Callable[[Any, Any], Tensor]


class Metric(Protocol):
    """What sees each batch of a pass. `compute` is the only place that reads from a device.

    One that is streaming has `state_dict` and `load_state_dict` as well, and is measured over the
    training batches too; the others only where nothing is learned.
    """

    name: str

    def reset(self) -> None:
        """Begin a pass."""

    def update(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """See one batch; loss: its mean."""

    def compute(self) -> float:
        """Return what the batches since `reset` give, nan for none."""


class _Mean:
    """The mean over all rows of something that each batch has a sum of, kept on the device."""

    name: str

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin a pass."""
        self._total: Tensor | float = 0.0
        self._rows = 0

    def _add(self, amount: Tensor, rows: int) -> None:
        amount = astype(amount, np.float64)
        if not isinstance(self._total, Tensor):
            self._total = full((), self._total, dtype=np.float64, backend=amount.backend)
        assign(self._total, self._total + amount)
        self._rows += rows

    def compute(self) -> float:
        """Return the mean over the rows since `reset`, nan for none."""
        return float(self._total) / self._rows if self._rows else math.nan

    def state_dict(self) -> dict[str, Any]:
        """Return the sum and the rows so far, to go on in the middle of a pass."""
        return {"total": float(self._total), "rows": self._rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._total, self._rows = state["total"], state["rows"]


class MeanLoss(_Mean):
    """The mean of the loss over the rows; in training, as they came while the weights changed."""

    name = "loss"

    def update(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Add a batch."""
        self._add(loss.detach() * len(targets), len(targets))


class Accuracy(_Mean):
    """The share of rows, or of places in them, whose class is the target's; see `classes`."""

    name = "accuracy"

    def update(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Add a batch."""
        predicted, true = classes(outputs, targets)
        self._add((predicted == true).sum(), true.size)


def classes(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the predicted and the true classes.

    Integer targets: the prediction is the largest output along axis 1 (axis 0 of one row). Targets
    of the outputs' shape: with several columns the largest of either, with one or none class 1
    where a logit is above 0 and a target above ½. ValueError for anything else.
    """
    if outputs.shape == targets.shape:
        if targets.ndim < 2 or targets.shape[1] == 1:
            return outputs > 0, (targets if targets.dtype.kind == "b" else targets > 0.5)
        return argmax(outputs, axis=1), argmax(targets, axis=1)
    axis = 1 if outputs.ndim > 1 else 0
    if (
        targets.dtype.kind not in "iu"
        or outputs.shape[:axis] + outputs.shape[axis + 1 :] != targets.shape
    ):
        raise ValueError(
            "accuracy: expected integer targets without the class axis of the outputs, or targets "
            f"of their shape; got {targets.dtype} {targets.shape} for outputs {outputs.shape}"
        )
    return argmax(outputs, axis=axis), targets


class FunctionMetric:
    """A metric that is a function of a whole pass: f(y_true, y_pred) on NumPy arrays.

    on: what y_pred is. "classes": predicted classes, as `classes` has them, and y_true the true
    ones; "outputs": the model's outputs, and y_true the targets as they are; "auto": classes where
    the targets are integers, outputs elsewhere. name: the function's, unless given. Values are kept
    on the host until `compute`.
    """

    def __init__(
        self, function: Callable[[Any, Any], Any], name: str | None = None, on: str = "auto"
    ) -> None:
        if on not in ("auto", "classes", "outputs"):
            raise ValueError(f'on must be "auto", "classes" or "outputs", not {on!r}')
        self.function, self.on = function, on
        self.name = str(name or getattr(function, "__name__", type(function).__name__))
        self.reset()

    def reset(self) -> None:
        """Begin a pass."""
        self._true: list[Any] = []
        self._predicted: list[Any] = []

    def update(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Keep a batch."""
        on = self.on
        if on == "auto":
            on = "classes" if targets.dtype.kind in "iu" else "outputs"
        if on == "classes":
            outputs, targets = classes(outputs, targets)
        self._true.append(targets.detach().numpy(copy=True))
        self._predicted.append(outputs.detach().numpy(copy=True))

    def compute(self) -> float:
        """Return what the function gives for all rows since `reset`."""
        if not self._true:
            return math.nan
        true, predicted = np.concatenate(self._true), np.concatenate(self._predicted)
        return float(self.function(true, predicted))


_NAMED: dict[str, type[Accuracy]] = {"accuracy": Accuracy}


def metrics_of(given: Any) -> list[Metric]:
    """Return metrics from names, functions and Metrics, alone, in a list or by name in a dict."""
    if isinstance(given, Mapping):
        found = [_metric(metric, name) for name, metric in given.items()]
    elif isinstance(given, str) or not isinstance(given, Iterable):
        found = [_metric(given, None)]
    else:
        found = [_metric(metric, None) for metric in given]
    names = [metric.name for metric in found]
    if repeated := {name for name in names if name == "loss" or names.count(name) > 1}:
        raise ValueError(
            f"the metric {min(repeated)!r} is there twice; name the functions by a dict, "
            '{"name": function}'
        )
    return found


def _metric(given: Any, name: str | None) -> Metric:
    if isinstance(given, str):
        if given not in _NAMED:
            hint = did_you_mean(given, _NAMED)
            raise ValueError(f"unknown metric {given!r}: expected {', '.join(_NAMED)}{hint}")
        given = _NAMED[given]()
    if all(hasattr(given, method) for method in ("reset", "update", "compute")):
        if name is not None:
            given.name = name
        metric: Metric = given
        return metric
    if not callable(given):
        raise TypeError(
            'a metric is "accuracy", a function (y_true, y_pred) or a Metric, '
            f"not {type(given).__name__}"
        )
    return FunctionMetric(given, name)


class Pass:
    """The loss and further metrics of one pass over a data set, fed batch by batch."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.metrics: list[Metric] = [MeanLoss(), *metrics]
        for metric in self.metrics:
            metric.reset()

    def update(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Show a batch to every metric, off the tape."""
        with no_grad():
            outputs = outputs.detach()
            for metric in self.metrics:
                metric.update(outputs, targets, loss)

    def result(self, prefix: str = "") -> dict[str, float]:
        """Return what the batches so far give, by the metrics' names."""
        return {prefix + metric.name: metric.compute() for metric in self.metrics}

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the metrics, which all must be streaming."""
        return {metric.name: metric.state_dict() for metric in self.metrics}  # type: ignore[attr-defined]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on in the middle of a pass from what `state_dict` gave."""
        for metric in self.metrics:
            metric.load_state_dict(state[metric.name])  # type: ignore[attr-defined]
