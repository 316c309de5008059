"""The loop of supervised training, for classifiers: batches of (inputs, labels)."""

import math
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any, NamedTuple, Protocol

from tqdm import tqdm

from ..data import DataLoader
from ..engine import Tensor, no_grad
from ..nn import Module
from ..ops import argmax

#: loss(outputs, labels): the mean over a batch
Loss = Callable[[Any, Any], Tensor]


class Stepper(Protocol):
    """What the loop needs of an optimizer."""

    def zero_grad(self) -> None: ...
    def step(self) -> None: ...


class Evaluation(NamedTuple):
    """The mean loss over the rows, and the share of rows whose largest output is the label's."""

    loss: float
    accuracy: float


class Epoch(NamedTuple):
    """What one pass over the training rows brought.

    training_loss: the mean over the rows as they came, while the weights changed. validation:
    measured after the pass; None where there is no validation loader.
    """

    number: int
    training_loss: float
    validation: Evaluation | None
    seconds: float


def evaluate(model: Module, loader: DataLoader, loss: Loss) -> Evaluation:
    """Return the loss and the accuracy of a classifier, in eval mode and without recording.

    The mode is left as it was found. ValueError for a loader without batches.
    """
    losses, hits, rows = [], [], []
    was_training = model.training
    model.eval()
    try:
        with no_grad():
            for x, labels in loader:
                outputs = model(x)
                losses.append(loss(outputs, labels))
                hits.append((argmax(outputs, axis=-1) == labels).sum())
                rows.append(len(labels))
    finally:
        model.train(was_training)
    return Evaluation(_mean(losses, rows), sum(map(int, hits)) / sum(rows))


def fit(
    model: Module,
    loss: Loss,
    optimizer: Stepper,
    loader: DataLoader,
    validation: DataLoader | None = None,
    *,
    epochs: int = 1,
    progress: bool | None = None,
) -> Iterator[Epoch]:
    """Train, one epoch each time a result is asked for, and yield what it brought.

    progress: a bar on standard error; None: where that is a terminal. FloatingPointError once a
    loss is no longer finite; ValueError for a loader without batches.
    """
    disable = None if progress is None else not progress
    with tqdm(total=epochs * len(loader), unit="batch", leave=False, disable=disable) as bar:
        for number in range(1, epochs + 1):
            started = perf_counter()
            bar.set_description(f"epoch {number}/{epochs}", refresh=False)
            training_loss = _train_once(model, loss, optimizer, loader, bar)
            _require_finite("training", training_loss, number)
            measured = None if validation is None else evaluate(model, validation, loss)
            if measured is not None:
                _require_finite("validation", measured.loss, number)
            yield Epoch(number, training_loss, measured, perf_counter() - started)


def _train_once(
    model: Module, loss: Loss, optimizer: Stepper, loader: DataLoader, bar: "tqdm[Any]"
) -> float:
    losses, rows = [], []
    model.train()
    for x, labels in loader:
        optimizer.zero_grad()
        batch_loss = loss(model(x), labels)
        batch_loss.backward()
        optimizer.step()
        losses.append(batch_loss.detach())
        rows.append(len(labels))
        bar.update()
    return _mean(losses, rows)


def _mean(losses: list[Tensor], rows: list[int]) -> float:
    """Return the mean over all rows of the batches' means. Only here is a device waited for."""
    if not rows:
        raise ValueError("the loader yields no batch; is its data set empty?")
    return math.fsum(float(x) * n for x, n in zip(losses, rows, strict=True)) / sum(rows)


def _require_finite(what: str, value: float, epoch: int) -> None:
    if not math.isfinite(value):
        raise FloatingPointError(f"training diverged: the {what} loss is {value} in epoch {epoch}")
