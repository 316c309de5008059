"""What happens beside training: early stopping, checkpoints, the progress bar, or your own."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..messages import did_you_mean
from ..serialization import remove_leftovers, save
from .history import without_times

if TYPE_CHECKING:
    from .trainer import Trainer

LAST, BEST = "last.safetensors", "best.safetensors"


class Callback:
    """Called by `Trainer.fit` at its turning points; subclasses override what they need.

    A callback may read everything of the trainer and set `trainer.stop`. What it has to remember
    when a run is resumed goes through `state_dict` and `load_state_dict`, made as `save` takes it.
    """

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Before the first epoch, or the rest of one that is resumed."""

    def on_epoch_start(self, trainer: "Trainer") -> None:
        """Before the first batch of an epoch."""

    def on_batch_end(self, trainer: "Trainer") -> None:
        """After every batch, and after the optimizer's step where one was due."""

    def on_epoch_end(self, trainer: "Trainer", row: Mapping[str, float]) -> None:
        """After validation; row: the history's new one."""

    def on_epoch_settled(self, trainer: "Trainer", row: Mapping[str, float]) -> None:
        """After every callback's `on_epoch_end`: the time to save what they all remember."""

    def on_fit_end(self, trainer: "Trainer") -> None:
        """After the last epoch, not after an error."""

    def close(self, trainer: "Trainer") -> None:
        """At the very end, after an error too."""

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on; nothing unless overridden."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


class Best:
    """The best value of one column of the history so far.

    monitor: its name; None: "val_loss" where there is validation, else "loss". mode: "min" or
    "max"; None: by the name, for losses and accuracies. min_delta: what counts as better.
    """

    def __init__(
        self, monitor: str | None = None, mode: str | None = None, min_delta: float = 0.0
    ) -> None:
        if mode is None and monitor is not None:
            mode = {"loss": "min", "accuracy": "max"}.get(monitor.rpartition("_")[2])
            if mode is None:
                raise ValueError(f'say whether {monitor!r} is better small or large: mode="min"')
        if mode not in (None, "min", "max"):
            raise ValueError(f'mode must be "min" or "max", not {mode!r}')
        if not min_delta >= 0:
            raise ValueError(f"min_delta must not be negative, got {min_delta}")
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta
        self.value: float | None = None
        self.epoch = 0

    def update(self, row: Mapping[str, float]) -> bool:
        """Return whether a row is better than all before; the first one is, nan never."""
        name = self.monitor or ("val_loss" if "val_loss" in row else "loss")
        if name not in row:
            raise ValueError(
                f"there is no {name!r} to go by, only {', '.join(row)}{did_you_mean(name, row)}"
            )
        value, sign = row[name], -1 if self.mode == "max" else 1
        better = value == value and (
            self.value is None or sign * value < sign * self.value - self.min_delta
        )
        if better:
            self.value, self.epoch = value, int(row["epoch"])
        return better

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and its epoch."""
        return {"value": self.value, "epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.value, self.epoch = state["value"], state["epoch"]


class EarlyStopping(Callback):
    """Stops after `patience` epochs in a row that were no better, and restores the best weights.

    monitor, mode, min_delta: see `Best`. restore_best=False keeps the last weights.
    """

    def __init__(
        self,
        monitor: str | None = None,
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str | None = None,
        restore_best: bool = True,
    ) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1 epoch, got {patience}")
        self.best = Best(monitor, mode, min_delta)
        self.patience, self.restore_best = patience, restore_best
        self.waited = 0
        self._weights: dict[str, Any] | None = None

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Stop at once a run that had stopped before it was resumed; else begin anew."""
        if not trainer.resumed:
            self.best.load_state_dict({"value": None, "epoch": 0})
            self.waited, self._weights = 0, None
        trainer.stop |= self.waited >= self.patience

    def on_epoch_end(self, trainer: "Trainer", row: Mapping[str, float]) -> None:
        """Count an epoch that was no better."""
        if self.best.update(row):
            self.waited = 0
            if self.restore_best:
                state = trainer.model.state_dict()
                self._weights = {name: value.numpy(copy=True) for name, value in state.items()}
        else:
            self.waited += 1
            trainer.stop |= self.waited >= self.patience

    def on_fit_end(self, trainer: "Trainer") -> None:
        """Give the model its best weights back."""
        if self._weights is not None:
            trainer.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and weights, and the epochs waited."""
        return {"best": self.best.state_dict(), "waited": self.waited, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.best.load_state_dict(state["best"])
        self.waited, self._weights = state["waited"], state["weights"]


class Checkpoint(Callback):
    """Writes last.safetensors and, whenever the monitored value is better, best.safetensors.

    folder: made where it is missing, and nobody else's while `fit` is at work. every: steps after
    which the last one is written in the middle of an epoch too; it is written before the first step
    and after each epoch in any case. monitor, mode: see `Best`. about: what else belongs into both
    files, made as `save` takes it. overwrite: replace the files of an earlier run; without it they
    are refused (FileExistsError) unless the trainer has resumed that run.

    Both files hold "model" and "about". The last one holds everything that `Trainer.resume` needs
    to go on with the same bits as if nothing had happened. At every moment each file is the old one
    or the new one, whole; weights that are not finite are never written (FloatingPointError).
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int | None = None,
        monitor: str | None = None,
        mode: str | None = None,
        about: Any = None,
        overwrite: bool = False,
    ) -> None:
        if every is not None and every < 1:
            raise ValueError(f"every must be at least 1 step, got {every}")
        self.folder, self.every, self.about = Path(folder), every, about
        self.best, self.overwrite = Best(monitor, mode), overwrite
        self._better = False
        self._saved_at: int | None = None
        self._lock: int | None = None

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Write the first checkpoint, so that there is one whatever happens next."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.folder)
        for name in (LAST, BEST):
            remove_leftovers(self.folder / name)
        if not trainer.resumed:
            if self._saved_at is None and not self.overwrite:
                self._require_room()
            self._save_last(trainer)
        self._saved_at = trainer.steps

    def _require_room(self) -> None:
        for name in (LAST, BEST):
            if (self.folder / name).exists():
                raise FileExistsError(
                    f"{self.folder} holds the {name} of another run: go on with it by "
                    "trainer.resume(folder), choose another folder, or say overwrite=True"
                )

    def on_batch_end(self, trainer: "Trainer") -> None:
        """Write the last checkpoint where one is due."""
        due = self.every and trainer.steps >= (self._saved_at or 0) + self.every
        if due and not trainer.pending:
            trainer.check_finite()
            self._save_last(trainer)

    def on_epoch_end(self, trainer: "Trainer", row: Mapping[str, float]) -> None:
        """Note whether the epoch was the best."""
        self._better = self.best.update(row)

    def on_epoch_settled(self, trainer: "Trainer", row: Mapping[str, float]) -> None:
        """Write both, the best one first: resuming from an older last one makes it again."""
        trainer.check_finite()
        if self._better:
            model, best = trainer.model.state_dict(), without_times(row)
            save({"model": model, "row": best, "about": self.about}, self.folder / BEST)
        self._save_last(trainer)

    def close(self, trainer: "Trainer") -> None:
        """Leave the folder to others."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _save_last(self, trainer: "Trainer") -> None:
        save({**trainer.state_dict(), "about": self.about}, self.folder / LAST)
        self._saved_at = trainer.steps

    def state_dict(self) -> dict[str, Any]:
        """Return the best value."""
        return {"best": self.best.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.best.load_state_dict(state["best"])


def _lock(folder: Path) -> int | None:
    """Keep other processes from writing to a folder until the handle is closed or we are dead."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise BlockingIOError(
            errno.EWOULDBLOCK, "another run is writing its checkpoints there", str(folder)
        ) from None
    except OSError:  # a file system without locks
        pass
    return handle


class Progress(Callback):
    """A bar on standard error, one tick a batch; shown=None: where that is a terminal."""

    def __init__(self, shown: bool | None = None) -> None:
        self.shown = shown
        self._bar: Any = None

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Show the bar."""
        from tqdm.auto import tqdm

        batches = len(trainer.loader)
        self._bar = tqdm(
            total=trainer.epochs * batches,
            initial=trainer.epoch * batches + trainer.batch,
            unit="batch",
            leave=False,
            disable=None if self.shown is None else not self.shown,
        )

    def on_epoch_start(self, trainer: "Trainer") -> None:
        """Name the epoch."""
        self._bar.set_description(f"epoch {trainer.epoch + 1}/{trainer.epochs}", refresh=False)

    def on_batch_end(self, trainer: "Trainer") -> None:
        """Tick."""
        self._bar.update()

    def on_epoch_end(self, trainer: "Trainer", row: Mapping[str, float]) -> None:
        """Show what the epoch brought."""
        shown = {k: v for k, v in row.items() if k not in ("epoch", "seconds")}
        self._bar.set_postfix(shown, refresh=False)

    def close(self, trainer: "Trainer") -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
