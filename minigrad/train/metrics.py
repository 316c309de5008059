"""What a pass over a data set measures: streaming sums on the device, or any (y_true, y_pred)."""

import math
from collections.abc import Callable, Iterable, Mapping
from copy import copy, deepcopy
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..engine import Tensor, no_grad
from ..messages import did_you_mean
from ..ops.reductions import argmax
from ..ops.shape import concat, reshape

#: The history's columns beside the metrics.
COLUMNS = ("loss", "epoch", "lr", "seconds")

#: Batches whose amounts wait on the device, at most.
_KEPT = 1000

#: loss(outputs, targets): the mean over the rows of a batch
Loss = Callable[[Any, Any], Tensor]


class Metric(Protocol):
    """What sees each batch of a pass; only `compute` reads from a device."""

    name: str

    def reset(self) -> None:
        """Begin a pass."""

    def update(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """See one batch, off the tape; loss: its mean."""

    def compute(self) -> float:
        """Return what the batches since `reset` give, nan for none."""


@runtime_checkable
class StreamingMetric(Metric, Protocol):
    """A metric that can be saved in the middle of a pass, so that training batches have it too."""

    def state_dict(self) -> dict[str, Any]:
        """Return what the batches so far have left, made as `save` takes it."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


class _Mean:
    """The mean over all rows of something that each batch has an amount of."""

    name: str

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin a pass."""
        self._total, self._rows = 0.0, 0
        self._amounts: list[tuple[Tensor, int]] = []

    def _add(self, amount: Tensor, times: int, rows: int) -> None:
        # Kept as they are: adding up on the device took 50 µs a batch.
        self._amounts.append((amount, times))
        self._rows += rows
        if len(self._amounts) == _KEPT:
            self._fold()

    def _fold(self) -> None:
        for amount, times in self._amounts:
            self._total += float(amount) * times
        self._amounts.clear()

    def compute(self) -> float:
        """Return the mean over the rows since `reset`, nan for none."""
        self._fold()
        return self._total / self._rows if self._rows else math.nan

    def state_dict(self) -> dict[str, Any]:
        """Return the sum and the rows so far, to go on in the middle of a pass."""
        self._fold()
        return {"total": self._total, "rows": self._rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.reset()
        self._total, self._rows = float(state["total"]), int(state["rows"])


class MeanLoss(_Mean):
    """The mean of the loss over the rows; in training, as they came while the weights changed."""

    name = "loss"

    def update(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Add a batch."""
        self._add(loss.detach(), len(targets), len(targets))


class Accuracy(_Mean):
    """The share of rows, or of places in them, whose class is the target's; see `classes`."""

    name = "accuracy"

    def update(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Add a batch."""
        predicted, true = classes(outputs, targets)
        self._add((predicted == true).sum(), 1, true.size)


def classes(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the predicted and the true classes.

    Integer targets: the prediction is the largest output along axis 1 (axis 0 of one row). Targets
    of the outputs' shape: with several columns the largest of either. Of outputs with one column or
    none, class 1 is where a logit is above 0 and a target above ½. ValueError for anything else.
    """
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        kinds = f"{type(outputs).__name__} and {type(targets).__name__}"
        raise TypeError(f"accuracy: expected outputs and targets that are Tensors, got {kinds}")
    if outputs.shape == (*targets.shape, 1):
        outputs = reshape(outputs, targets.shape)
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
    the targets are integers, outputs elsewhere. name: the function's, unless given. All values are
    kept until `compute`.
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
        self._true: list[Tensor] = []
        self._predicted: list[Tensor] = []

    def update(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Keep a batch."""
        on = self.on
        if on == "auto":
            on = "classes" if targets.dtype.kind in "iu" else "outputs"
        if on == "classes":
            outputs, targets = classes(outputs, targets)
        self._true.append(targets.detach())
        self._predicted.append(outputs.detach())

    def compute(self) -> float:
        """Return what the function gives for all rows since `reset`."""
        if not self._true:
            return math.nan
        value = self.function(concat(self._true).numpy(), concat(self._predicted).numpy())
        if np.ndim(value) or not isinstance(value, float | int | np.number | np.bool_):
            raise TypeError(f"the metric {self.name!r} must give a number, not {value!r}")
        return float(value)


_NAMED: dict[str, type[Accuracy]] = {"accuracy": Accuracy}


def metrics_of(given: Any) -> list[Metric]:
    """Return metrics from names, functions and Metrics, alone, in a list or by name in a dict."""
    if isinstance(given, Mapping):
        found = [_metric(metric, name) for name, metric in given.items()]
    elif isinstance(given, str) or not isinstance(given, Iterable):
        found = [_metric(given, None)]
    else:
        found = [_metric(metric, None) for metric in given]
    names = [*COLUMNS, *(metric.name for metric in found)]
    for name in names:
        if names.count(name) > 1 or name.startswith("val_"):
            raise ValueError(
                f"a metric cannot be called {name!r}: another one, or a column of the history, is; "
                'name the functions by a dict, {"name": function}'
            )
    return found


def _metric(given: Any, name: str | None) -> Metric:
    if isinstance(given, str):
        if given not in _NAMED:
            hint = did_you_mean(given, _NAMED)
            raise ValueError(f"unknown metric {given!r}: expected {', '.join(_NAMED)}{hint}")
        given = _NAMED[given]
    if all(hasattr(given, method) for method in ("reset", "update", "compute")):
        metric: Metric = given() if isinstance(given, type) else copy(given)
        metric.name = name or metric.name
        return metric
    if not callable(given):
        raise TypeError(
            'a metric is "accuracy", a function (y_true, y_pred) or a Metric, '
            f"not {type(given).__name__}"
        )
    return FunctionMetric(given, name)


class Pass:
    """The loss and copies of further metrics over one pass of a data set, fed batch by batch."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.metrics: list[Metric] = [MeanLoss(), *map(deepcopy, metrics)]
        for metric in self.metrics:
            metric.reset()

    def update(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Show a batch to every metric, off the tape."""
        with no_grad():
            outputs = outputs.detach() if isinstance(outputs, Tensor) else outputs
            for metric in self.metrics:
                metric.update(outputs, targets, loss)

    def result(self, prefix: str = "") -> dict[str, float]:
        """Return what the batches so far give, by the metrics' names."""
        return {prefix + metric.name: metric.compute() for metric in self.metrics}


class TrainingPass(Pass):
    """A pass that can be saved and gone on with: of the metrics it has those that are streaming."""

    metrics: list[StreamingMetric]  # type: ignore[assignment]

    def __init__(self, metrics: Iterable[Metric]) -> None:
        super().__init__(metric for metric in metrics if isinstance(metric, StreamingMetric))

    def state_dict(self) -> dict[str, Any]:
        """Return the metrics' states by their names."""
        return {metric.name: metric.state_dict() for metric in self.metrics}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave. ValueError for the state of other metrics."""
        names = [metric.name for metric in self.metrics]
        if not isinstance(state, Mapping) or list(state) != names:
            raise ValueError(f"the state is not one of the metrics {', '.join(names)}")
        for metric in self.metrics:
            metric.load_state_dict(state[metric.name])
