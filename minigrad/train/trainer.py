"""The training loop, and all that is needed to go on with it in another process."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import numpy as np

from ..data import DataLoader, Subset, TensorDataset, random_split
from ..data.base import as_dataset
from ..engine import Tensor, no_grad
from ..nn import Module
from ..nn.utils import clip_grad_norm_
from ..ops import concat, isnan
from ..ops.updates import assign
from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from ..random import get_state, set_state
from ..serialization import load
from .callbacks import LAST, Callback, Checkpoint, Progress
from .history import History, without_times
from .metrics import Loss, Metric, Pass, metrics_of

#: What a state consists of.
_PARTS = (
    *("model", "optimizer", "schedule", "callbacks", "loader", "random"),
    *("history", "progress", "pass"),
)

#: Rows at a time where nothing is learned: the result is the same, only memory is saved.
EVALUATION_BATCH = 512


class Trainer:
    """Trains, evaluates and applies a model on batches (inputs..., targets).

    loss: called as loss(outputs, targets), gives the mean over the rows of a batch. `predict` does
        without it, `evaluate` without an optimizer.
    metrics: "accuracy", functions (y_true, y_pred), Metrics; a list or a dict by name. Streaming
        ones are measured over the training batches as well.
    callbacks: called in this order; Checkpoints last, so that they save what the others changed.
    schedule: stepped after every "epoch" or every "step" of the optimizer, as schedule_every says.
    accumulate: batches whose gradients make one step, that of one large batch of their rows.
    max_norm: gradients are clipped to this norm before each step.
    allow_nan: do not refuse arrays that hold nan.

    `history` has a row for each epoch, `epoch` counts them, `batch` counts the batches in the one
    under way, `steps` the optimizer's steps; `stop` ends `fit` after the epoch.
    """

    def __init__(
        self,
        model: Module,
        loss: Loss | None = None,
        optimizer: Optimizer | None = None,
        metrics: Any = (),
        callbacks: Sequence[Callback] = (),
        *,
        schedule: LRScheduler | None = None,
        schedule_every: str = "epoch",
        accumulate: int = 1,
        max_norm: float | None = None,
        allow_nan: bool = False,
    ) -> None:
        if schedule_every not in ("epoch", "step"):
            raise ValueError(f'schedule_every must be "epoch" or "step", not {schedule_every!r}')
        if accumulate < 1:
            raise ValueError(f"accumulate must be at least 1 batch, got {accumulate}")
        # `fit` and `evaluate` refuse to begin without what they need of these.
        self.model, self.loss, self.optimizer = model, cast(Loss, loss), cast(Optimizer, optimizer)
        self.metrics: list[Metric] = metrics_of(metrics)
        self.callbacks = sorted(callbacks, key=lambda callback: isinstance(callback, Checkpoint))
        # A plateau is one of the epochs' losses.
        by_epoch = isinstance(schedule, ReduceLROnPlateau)
        self.schedule, self.schedule_every = schedule, "epoch" if by_epoch else schedule_every
        self.accumulate, self.max_norm, self.allow_nan = accumulate, max_norm, allow_nan
        self.history = History()
        self.epoch = self.steps = self.epochs = 0
        self.stop = False
        #: whether the fit under way goes on with that of a checkpoint
        self.resumed = False
        self._active: list[Callback] = []
        self._first = 0  # epochs before the fit under way
        self._restored: Mapping[str, Any] | None = None
        self._begin_epoch()

    def fit(
        self,
        data: Any,
        validation: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        validation_split: float = 0.0,
        progress: bool | None = None,
    ) -> History:
        """Train for some epochs and return the history of all epochs so far.

        data, validation: a DataLoader; or a Dataset or a tuple of arrays (inputs..., targets), cut
        into batches of batch_size, the training rows shuffled by seed. validation_split: the share
        of the rows that is held out at random, the same for the same seed. progress: a bar on
        standard error; None: where that is a terminal.

        After `resume`, epochs counts from where the interrupted fit had begun. FloatingPointError
        once the loss is no longer finite; ValueError for empty data and for nan in its arrays.
        """
        if self.loss is None or self.optimizer is None:
            raise RuntimeError("fit needs a loss and an optimizer: Trainer(model, loss, optimizer)")
        if epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {epochs}")
        if validation_split:
            data, validation = _split(data, validation, validation_split, seed)
        self.loader = self._loader(data, batch_size, shuffle, seed)
        held_out = None if validation is None else self._loader(validation, EVALUATION_BATCH)
        for what, loader in (("training", self.loader), ("validation", held_out)):
            if loader is not None:
                self._check(what, loader)
        self.resumed = self._restored is not None
        self._restore()
        if not self.resumed:
            self._first = self.epoch
            self._begin_epoch()
        self.epochs, self.stop = self._first + epochs, False
        self.model.train()
        self._active = [Progress(progress), *self.callbacks]
        try:
            self._emit("on_fit_start")
            while self.epoch < self.epochs and not self.stop:
                self._train_epoch(held_out)
            self._emit("on_fit_end")
        finally:
            self._emit("close")
        return self.history

    def evaluate(self, data: Any, batch_size: int = EVALUATION_BATCH) -> dict[str, float]:
        """Return the loss and the metrics over data, as `fit` takes it, in eval mode."""
        if self.loss is None:
            raise RuntimeError("evaluate needs a loss: Trainer(model, loss)")
        loader = self._loader(data, batch_size)
        self._check("evaluation", loader)
        return self._evaluated(loader)

    def predict(self, inputs: Any, batch_size: int = EVALUATION_BATCH) -> Tensor:
        """Return the outputs for all rows, detached, in eval mode.

        inputs: an array, a tuple of arrays for a model of several inputs, or a DataLoader or
        Dataset of inputs without targets. ValueError where there are no rows.
        """
        if isinstance(inputs, Tensor | np.ndarray):
            inputs = (inputs,)
        with self._evaluating():
            outputs = [self.model(*batch) for batch in self._loader(inputs, batch_size)]
        if not outputs:
            raise ValueError("predict: there are no rows")
        result: Tensor = concat(outputs)
        return result

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Go on, in the next `fit`, with the run of a checkpoint: a folder's last one, or a file.

        The next `fit` needs the same data and arguments. FileNotFoundError where there is none,
        ValueError for a damaged one, or one that does not fit model, optimizer and callbacks.
        """
        path = Path(path)
        path = path / LAST if path.is_dir() else path
        try:
            self.load_state_dict(load(path))
        except (KeyError, TypeError, RuntimeError, ValueError) as error:
            raise ValueError(f"cannot resume from {os.fspath(path)!r}: {error}") from error

    @property
    def pending(self) -> bool:
        """Whether gradients of an accumulated step wait for further batches."""
        return self._waiting > 0

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on with the same bits, made as `save` takes it.

        RuntimeError between the batches of one accumulated step.
        """
        if self.pending:
            raise RuntimeError("gradients wait for the optimizer's step: save after it")
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "loader": self.loader.state_dict(),
            "random": get_state(),
            "history": [without_times(row) for row in self.history],
            "progress": {
                "first": self._first,
                "epoch": self.epoch,
                "batch": self.batch,
                "steps": self.steps,
            },
            "pass": self._pass.state_dict(),
            "callbacks": [[type(c).__name__, c.state_dict()] for c in self.callbacks],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; the next `fit` goes on from there.

        ValueError or RuntimeError for a state that does not fit.
        """
        self._check_state(state)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        for callback, (_, kept) in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(kept)
        self.history = History(state["history"])
        self._begin_epoch()
        self._pass.load_state_dict(state["pass"])
        self._first, self.epoch, self.batch, self.steps = (
            state["progress"][name] for name in ("first", "epoch", "batch", "steps")
        )
        # The loader is there only in `fit`, and making it may draw from the default generator.
        self._restored = {name: state[name] for name in ("loader", "random")}

    def _check_state(self, state: Any) -> None:
        names = state if isinstance(state, Mapping) else ()
        if lacking := [name for name in _PARTS if name not in names]:
            raise ValueError(f"this is no state of a Trainer: it lacks {', '.join(lacking)}")

        def kinds(schedule: Any, callbacks: Sequence[str]) -> str:
            return ", ".join([*(["a schedule"] if schedule is not None else []), *callbacks])

        saved = kinds(state["schedule"], [name for name, _ in state["callbacks"]])
        own = kinds(self.schedule, [type(callback).__name__ for callback in self.callbacks])
        if saved != own:
            raise ValueError(
                f"the state was saved with {saved or 'no callbacks'}, this trainer has "
                f"{own or 'none'}"
            )

    def check_finite(self) -> None:
        """Raise FloatingPointError where the mean loss of the epoch so far is not finite."""
        self._require_finite("training", self._pass.result()["loss"])

    def _require_finite(self, what: str, loss: float) -> None:
        if not math.isfinite(loss):
            rate = self.optimizer.param_groups[0]["lr"]
            raise FloatingPointError(
                f"training diverged: the {what} loss is {loss} in epoch {self.epoch + 1}, at a "
                f"learning rate of {rate:g}; lower it, clip the gradients (max_norm), or find the "
                "first bad number with minigrad.detect_anomaly()"
            )

    def _emit(self, event: str, *args: Any) -> None:
        for callback in self._active:
            getattr(callback, event)(self, *args)

    def _restore(self) -> None:
        """Put the loader and the random numbers where the checkpoint has them."""
        if self._restored is not None:
            self.loader.load_state_dict(self._restored["loader"])
            set_state(np.asarray(self._restored["random"]))
            self._restored = None

    def _begin_epoch(self) -> None:
        """Forget what is left of an epoch that was not finished."""
        self.batch = 0
        self._waiting = self._rows = 0  # batches, and their rows, since the optimizer's last step
        # Of the training batches is measured what can be saved on the way.
        self._pass: Pass = Pass(
            [metric for metric in self.metrics if hasattr(metric, "state_dict")]
        )

    def _train_epoch(self, held_out: DataLoader | None) -> None:
        started = perf_counter()
        self._emit("on_epoch_start")
        for batch in self.loader:
            self._learn(batch)
            self._emit("on_batch_end")
        if self._waiting:
            self._step()
        row: dict[str, float] = {"epoch": self.epoch + 1, **self._pass.result()}
        self._require_finite("training", row["loss"])
        if held_out is not None:
            row |= self._evaluated(held_out, "val_")
            self._require_finite("validation", row["val_loss"])
        row |= {"lr": self.optimizer.param_groups[0]["lr"], "seconds": perf_counter() - started}
        if self.schedule is not None and self.schedule_every == "epoch":
            by_loss = isinstance(self.schedule, ReduceLROnPlateau)
            self.schedule.step(*([row.get("val_loss", row["loss"])] if by_loss else []))
        self.history.rows.append(row)
        self.epoch += 1
        self._begin_epoch()
        self._emit("on_epoch_end", row)

    def _learn(self, batch: Sequence[Tensor]) -> None:
        """Add a batch's gradients, and step where enough batches have."""
        if not self._waiting:
            self.optimizer.zero_grad()
        outputs, targets, loss = self._outcome(batch)
        rows = len(targets)
        (loss if self.accumulate == 1 else loss * rows).backward()
        self._pass.update(outputs, targets, loss)
        self.batch += 1
        self._waiting += 1
        self._rows += rows
        if self._waiting == self.accumulate:
            self._step()

    def _outcome(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        if not isinstance(batch, tuple | list) or len(batch) < 2:
            found = "one array" if isinstance(batch, tuple | list) else type(batch).__name__
            raise ValueError(
                "a batch is made of inputs and targets, (inputs..., targets); the data gave "
                + found
            )
        *inputs, targets = batch
        outputs = self.model(*inputs)
        return outputs, targets, self.loss(outputs, targets)

    def _step(self) -> None:
        params = [p for group in self.optimizer.param_groups for p in group["params"]]
        if self.accumulate > 1:
            with no_grad():
                for p in params:
                    if p.grad is not None:
                        assign(p.grad, p.grad / self._rows)
        if self.max_norm is not None:
            clip_grad_norm_(params, self.max_norm)
        self.optimizer.step()
        self.steps += 1
        self._waiting = self._rows = 0
        if self.schedule is not None and self.schedule_every == "step":
            self.schedule.step()

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Put every module into eval mode and off the tape; leave each as it was found."""
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            with no_grad():
                yield
        finally:
            for module, mode in modes:
                module.training = mode

    def _evaluated(self, loader: DataLoader, prefix: str = "") -> dict[str, float]:
        seen = Pass(self.metrics)
        with self._evaluating():
            for batch in loader:
                seen.update(*self._outcome(batch))
        return seen.result(prefix)

    def _loader(
        self, data: Any, batch_size: int, shuffle: bool = False, seed: int | None = None
    ) -> DataLoader:
        if isinstance(data, DataLoader):
            return data
        where = next(iter(self.model.parameters()), None)
        backend = None if where is None else where.backend
        return DataLoader(data, batch_size, shuffle, seed=seed, backend=backend)

    def _check(self, what: str, loader: DataLoader) -> None:
        """Refuse, before the first step, data that nothing can be learned from."""
        if not len(loader):
            raise ValueError(f"there are no {what} batches: the data set is empty or too short")
        dataset = loader.dataset
        while isinstance(dataset, Subset):
            dataset = dataset.dataset
        if self.allow_nan or not isinstance(dataset, TensorDataset):
            return
        for number, array in enumerate(dataset.tensors):
            if array.dtype.kind in "fc" and isnan(array).any():
                at = tuple(np.argwhere(np.isnan(array.to_host()))[0].tolist())
                raise ValueError(
                    f"array {number} of the {what} data, of shape {array.shape}, holds nan, first "
                    f"at {at}; clean it, or say allow_nan=True for a model that can take it"
                )


def _split(data: Any, validation: Any, share: float, seed: int | None) -> tuple[Any, Any]:
    """Return the rows to learn from and those held out."""
    if validation is not None or isinstance(data, DataLoader):
        raise ValueError(
            "validation_split holds out rows of a Dataset or of arrays; give either it or "
            "validation, and with a DataLoader only validation"
        )
    if not 0 < share < 1:
        raise ValueError(f"validation_split must lie between 0 and 1, got {share}")
    dataset = as_dataset(data)
    held_out = max(1, round(share * len(dataset)))
    learn, rest = random_split(dataset, [len(dataset) - held_out, held_out], seed=seed or 0)
    return learn, rest
