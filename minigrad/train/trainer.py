"""The training loop, and all that is needed to go on with it in another process."""

import math
import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn, cast

import numpy as np

from ..data import DataLoader, Subset, TensorDataset, as_dataset, random_split
from ..engine import Tensor, no_grad
from ..messages import first_true
from ..nn import Module
from ..nn.modes import evaluating
from ..nn.utils import clip_grad_norm_
from ..ops.predicates import isfinite, isnan
from ..ops.shape import concat
from ..ops.updates import scale_update
from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from ..random import get_state, set_state
from ..serialization import load
from .callbacks import LAST, Callback, Checkpoint, Progress
from .history import History, without_times
from .metrics import Loss, Metric, Pass, TrainingPass, metrics_of

#: What a state consists of.
_PARTS = (
    *("model", "optimizer", "schedule", "callbacks", "loaders", "random"),
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
    accumulate: batches whose gradients make one step, that of one large batch of their rows. (Of a
        loss whose mean is not over the rows, as with class weights, it is an average.)
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
        callbacks: Callback | Sequence[Callback] = (),
        *,
        schedule: LRScheduler | None = None,
        schedule_every: str = "epoch",
        accumulate: int = 1,
        max_norm: float | None = None,
        allow_nan: bool = False,
    ) -> None:
        if schedule_every not in ("epoch", "step"):
            raise ValueError(f'schedule_every must be "epoch" or "step", not {schedule_every!r}')
        if schedule is not None and schedule.optimizer is not optimizer:
            raise ValueError("the schedule belongs to another optimizer: make it with this one")
        # `fit` and `evaluate` refuse to begin without what they need of these.
        self.model, self.loss, self.optimizer = model, cast(Loss, loss), cast(Optimizer, optimizer)
        self.metrics: list[Metric] = metrics_of(metrics)
        self.callbacks = _in_order(callbacks)
        # A plateau is one of the epochs' losses.
        by_epoch = isinstance(schedule, ReduceLROnPlateau)
        self.schedule, self.schedule_every = schedule, "epoch" if by_epoch else schedule_every
        self.accumulate = _at_least_1("accumulate", accumulate)
        self.max_norm, self.allow_nan = max_norm, allow_nan
        self.history = History()
        self.epoch = self.steps = self.epochs = 0
        self.stop = False
        #: whether the fit under way goes on with that of a checkpoint
        self.resumed = False
        self._active: list[Callback] = []
        self._first = 0  # epochs before the fit under way
        self._expected = 0  # rows of a whole accumulated step
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
        validation_batch_size: int = EVALUATION_BATCH,
        progress: bool | None = None,
    ) -> History:
        """Train for some epochs and return the history of all epochs so far.

        data, validation: a Dataset or a tuple of arrays (inputs..., targets), cut into batches of
        batch_size and validation_batch_size, the training rows shuffled by seed; or a DataLoader,
        which has its own say in that. validation_split: the share of the rows that is held out at
        random, the same for the same seed. progress: a bar on standard error; None: where that is a
        terminal.

        After `resume`, epochs counts from where the interrupted fit had begun. FloatingPointError
        once the loss is no longer finite; ValueError for empty data and for nan in its arrays.
        """
        if self.loss is None or self.optimizer is None:
            raise RuntimeError("fit needs a loss and an optimizer: Trainer(model, loss, optimizer)")
        epochs = _at_least_1("epochs", epochs)
        self._require_own_parameters()
        if validation_split:
            data, validation = _split(data, validation, validation_split, seed)
        self.loader = self._loader(data, batch_size, shuffle, seed)
        self.held_out = (
            None if validation is None else self._loader(validation, validation_batch_size)
        )
        self._check("training", self.loader)
        if self.held_out is not None:
            self._check("validation", self.held_out)
        self.resumed = self._restored is not None
        if self.resumed:
            self._restore()
        else:
            self._first = self.epoch
            self._begin_epoch()
            for loader in self._loaders().values():
                loader.epoch = loader.epoch  # not in the middle of one, if a batch was looked at
        self.epochs, self.stop = self._first + epochs, False
        self.model.train()
        self._active = [Progress(progress), *self.callbacks]
        try:
            self._emit("on_fit_start")
            while self.epoch < self.epochs and not self.stop:
                self._train_epoch()
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

    def predict(self, inputs: Any, batch_size: int = EVALUATION_BATCH) -> Any:
        """Return the outputs for all rows, detached, in eval mode: a Tensor, or a tuple of them.

        inputs: an array or a list of numbers, a tuple of arrays for a model of several inputs, or a
        DataLoader or Dataset of inputs without targets. ValueError where there are no rows.
        """
        if isinstance(inputs, list):
            inputs = np.asarray(inputs)
        if isinstance(inputs, Tensor | np.ndarray):
            inputs = (inputs,)
        outputs = []
        with evaluating(self.model), no_grad():
            for batch in self._loader(inputs, batch_size):
                outputs.append(self.model(*(batch if isinstance(batch, tuple | list) else [batch])))
        if not outputs:
            raise ValueError("predict: there are no rows")
        if isinstance(outputs[0], tuple):
            return tuple(concat(parts) for parts in zip(*outputs, strict=True))
        return concat(outputs)

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Go on, in the next `fit`, with the run of a checkpoint: a folder's last one, or a file.

        The next `fit` needs the same data and arguments. FileNotFoundError where there is none,
        ValueError for a damaged one, or one that does not fit model, optimizer and callbacks.
        """
        path = Path(path)
        path = path / LAST if path.is_dir() else path
        try:
            self.load_state_dict(load(path))
        except (AttributeError, LookupError, OverflowError, TypeError) as error:
            raise ValueError(f"{os.fspath(path)!r} is a damaged checkpoint: {error!r}") from error
        except (RuntimeError, ValueError) as error:
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
            "loaders": {name: x.state_dict() for name, x in self._loaders().items()},
            "random": get_state(),
            "history": [without_times(row) for row in self.history],
            "progress": {
                "first": self._first,
                "epoch": self.epoch,
                "batch": self.batch,
                "steps": self.steps,
            },
            "pass": self._pass.state_dict(),
            "callbacks": [[type(c).__name__, kept] for c, kept in self._remembering()],
        }

    def _remembering(self) -> list[tuple[Callback, dict[str, Any]]]:
        """Return the callbacks that have something to remember, and what."""
        states = [(callback, callback.state_dict()) for callback in self.callbacks]
        return [(callback, state) for callback, state in states if state]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; the next `fit` goes on from there.

        ValueError or RuntimeError for a state that does not fit; the model changes last of all.
        """
        self._check_state(state)
        names = "first", "epoch", "batch", "steps"
        progress = [operator.index(state["progress"][name]) for name in names]
        history = History(state["history"])
        seen = TrainingPass(self.metrics)
        seen.load_state_dict(state["pass"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        pairs = zip(self._remembering(), state["callbacks"], strict=True)
        for (callback, _), (_, kept) in pairs:
            callback.load_state_dict(kept)
        self.optimizer.load_state_dict(state["optimizer"])
        self.model.load_state_dict(state["model"])
        self._begin_epoch()
        self.history, self._pass = history, seen
        self._first, self.epoch, self.batch, self.steps = progress
        # The loaders are there only in `fit`, and making one may draw from the default generator.
        self._restored = {name: state[name] for name in ("loaders", "random")}

    def _check_state(self, state: Any) -> None:
        names = state if isinstance(state, Mapping) else ()
        if lacking := [name for name in _PARTS if name not in names]:
            raise ValueError(f"this is no state of a Trainer: it lacks {', '.join(lacking)}")

        def kinds(schedule: Any, callbacks: Sequence[str]) -> str:
            return ", ".join([*(["a schedule"] if schedule is not None else []), *callbacks])

        saved = kinds(state["schedule"], [name for name, _ in state["callbacks"]])
        own = kinds(self.schedule, [type(callback).__name__ for callback, _ in self._remembering()])
        if saved != own:
            raise ValueError(
                f"the state was saved with {saved or 'no callbacks'}, this trainer has "
                f"{own or 'none'}"
            )

    def check_finite(self) -> None:
        """Raise FloatingPointError where the epoch's loss so far or a parameter is not finite."""
        if self.batch:
            self._require_finite("training", self._pass.result()["loss"])
        for name, parameter in self.model.named_parameters():
            if not isfinite(parameter).all():
                self._diverged(f"{name} is not finite after {self.steps} steps")

    def _require_finite(self, what: str, loss: float) -> None:
        if not math.isfinite(loss):
            self._diverged(f"the {what} loss is {loss} in epoch {self.epoch + 1}")

    def _diverged(self, how: str) -> NoReturn:
        rate = self.optimizer.param_groups[0]["lr"]
        raise FloatingPointError(
            f"training diverged: {how}, at a learning rate of {rate:g}; lower it, clip the "
            "gradients (max_norm), or find the first bad number with minigrad.detect_anomaly()"
        )

    def _emit(self, event: str, *args: Any) -> None:
        for callback in self._active:
            getattr(callback, event)(self, *args)

    def _loaders(self) -> dict[str, DataLoader]:
        loaders = {"training": self.loader, "validation": self.held_out}
        return {name: loader for name, loader in loaders.items() if loader is not None}

    def _restore(self) -> None:
        """Put the loaders and the random numbers where the checkpoint has them."""
        assert self._restored is not None
        states, loaders = self._restored["loaders"], self._loaders()
        if set(states) != set(loaders):
            raise ValueError(
                f"the checkpoint is of a run with {' and '.join(states)} data; fit was given "
                f"{' and '.join(loaders)} data"
            )
        for name, loader in loaders.items():
            try:
                loader.load_state_dict(states[name])
            except ValueError as error:
                raise ValueError(f"the {name} data are not those of the run: {error}") from error
        set_state(np.asarray(self._restored["random"]))
        self._restored = None

    def _begin_epoch(self) -> None:
        """Forget what is left of an epoch that was not finished."""
        self.batch = 0
        self._waiting = self._rows = 0  # batches, and their rows, since the optimizer's last step
        self._pass = TrainingPass(self.metrics)

    def _train_epoch(self) -> None:
        started = perf_counter()
        self._emit("on_epoch_start")
        for batch in self.loader:
            self._learn(batch)
            self._emit("on_batch_end")
        row: dict[str, float] = {"epoch": self.epoch + 1, **self._pass.result()}
        self._require_finite("training", row["loss"])
        if self.held_out is not None:
            row |= self._evaluated(self.held_out, "val_")
            self._require_finite("validation", row["val_loss"])
        row |= {"lr": self.optimizer.param_groups[0]["lr"], "seconds": perf_counter() - started}
        if self.schedule is not None and self.schedule_every == "epoch":
            by_loss = isinstance(self.schedule, ReduceLROnPlateau)
            self.schedule.step(*([row.get("val_loss", row["loss"])] if by_loss else []))
        self.history.rows.append(row)
        self.epoch += 1
        self._begin_epoch()
        self._emit("on_epoch_end", row)
        self._emit("on_epoch_settled", row)

    def _learn(self, batch: Sequence[Tensor]) -> None:
        """Add a batch's gradients, and step where enough batches have."""
        if not self._waiting:
            self.optimizer.zero_grad()
        outputs, targets, loss = self._outcome(batch)
        rows = len(targets)
        if self.accumulate == 1:
            loss.backward()
        else:
            if not self._waiting:
                self._expected = rows * self.accumulate
            (loss * (rows / self._expected)).backward()
        self._pass.update(outputs, targets, loss)
        self.batch += 1
        self._waiting += 1
        self._rows += rows
        if self._waiting == self.accumulate or self.batch == len(self.loader):
            self._step()

    def _outcome(self, batch: Any) -> tuple[Any, Any, Tensor]:
        if not isinstance(batch, tuple | list) or len(batch) < 2:
            found = "one array" if isinstance(batch, tuple | list) else type(batch).__name__
            raise ValueError(
                "a batch is made of inputs and targets, (inputs..., targets); the data gave "
                + found
            )
        *inputs, targets = batch
        outputs = self.model(*inputs)
        loss = self.loss(outputs, targets)
        if not isinstance(loss, Tensor):
            raise TypeError(
                "the loss must give a Tensor, the mean over the rows of a batch, not "
                f"{type(loss).__name__}"
            )
        if loss.ndim:
            raise ValueError(
                f"the loss must give one number, the mean over the rows; got shape {loss.shape} "
                '(reduction="mean"?)'
            )
        return outputs, targets, loss

    def _step(self) -> None:
        if self.accumulate > 1 and self._rows != self._expected:
            self._scale_gradients(self._expected / self._rows)
        if self.max_norm is not None:
            clip_grad_norm_(self._params(), self.max_norm)
        self.optimizer.step()
        self.steps += 1
        self._waiting = self._rows = 0
        if self.schedule is not None and self.schedule_every == "step":
            self.schedule.step()

    def _scale_gradients(self, factor: float) -> None:
        with no_grad():
            for p in self._params():
                if p.grad is not None:
                    scale_update(p.grad, Tensor(factor, np.float64, backend=p.backend))

    def _params(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _require_own_parameters(self) -> None:
        held = {id(p) for p in self._params()}
        if not any(id(p) in held and p.requires_grad for p in self.model.parameters()):
            raise ValueError(
                "the optimizer holds no trainable parameter of this model; make it with "
                "model.parameters() of the model that is trained"
            )

    def _evaluated(self, loader: DataLoader, prefix: str = "") -> dict[str, float]:
        seen = Pass(self.metrics)
        with evaluating(self.model), no_grad():
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
        dataset, used = loader.dataset, None
        while isinstance(dataset, Subset):
            indices = dataset.indices.numpy()
            dataset, used = dataset.dataset, indices if used is None else indices[used]
        if self.allow_nan or not isinstance(dataset, TensorDataset):
            return
        for number, array in enumerate(dataset.tensors):
            if array.dtype.kind not in "fc" or not isnan(array).any():
                continue
            bad = np.isnan(array.to_host())
            bad[np.setdiff1d(np.arange(len(bad)), used) if used is not None else []] = False
            if bad.any():
                raise ValueError(
                    f"array {number} of the {what} data, of shape {array.shape}, holds nan, first "
                    f"at {first_true(bad)}; clean it, or say allow_nan=True for a model that can "
                    "take it"
                )


def _in_order(callbacks: Callback | Sequence[Callback]) -> list[Callback]:
    """Return the callbacks, the Checkpoints last."""
    given = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
    for callback in given:
        if not isinstance(callback, Callback):
            kind = callback.__name__ if isinstance(callback, type) else type(callback).__name__
            raise TypeError(f"a callback must be an instance of Callback, got {kind}")
    return sorted(given, key=lambda callback: isinstance(callback, Checkpoint))


def _at_least_1(name: str, value: int) -> int:
    if not hasattr(value, "__index__") or operator.index(value) < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return operator.index(value)


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
