"""minigrad train: train, test and save a network, and go on after an interruption."""

import argparse
import itertools
import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .. import backends
from ..data import DataLoader
from ..nn import CrossEntropyLoss
from ..optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from ..optim import lr_scheduler as schedules
from ..random import manual_seed
from ..serialization import write_atomically
from ..train import ACTIVATIONS, BEST, LAST, Callback, Checkpoint, EarlyStopping, Trainer
from ..train.history import figure_class
from .common import PLACES, Network, add_backend_option, backend_named, percent, reading
from .images import add_source_options
from .info import versions
from .models import DEFAULTS, MODELS, defaults_of, option, read_checkpoint, refuse_strangers
from .parsing import Refusal, location, number, one_of, reason, whole, widths
from .texts import TextNetwork, add_text_option

METRICS, PLOT = "metrics.json", "history.png"
FILES = (LAST, BEST, METRICS, PLOT)

#: (params, learning rate, weight decay)
OPTIMIZERS: dict[str, Callable[[Any, float, float], Optimizer]] = {
    "adam": lambda params, lr, decay: Adam(params, lr, weight_decay=decay),
    "adamw": lambda params, lr, decay: AdamW(params, lr, weight_decay=decay),
    "sgd": lambda params, lr, decay: SGD(params, lr, momentum=0.9, weight_decay=decay),
    "rmsprop": lambda params, lr, decay: RMSprop(params, lr, weight_decay=decay),
    "adagrad": lambda params, lr, decay: Adagrad(params, lr, weight_decay=decay),
}
LEARNING_RATES = {"adam": 2e-3, "adamw": 2e-3, "sgd": 0.05, "rmsprop": 1e-3, "adagrad": 0.05}


def _has_momentum(group: Mapping[str, Any]) -> bool:
    return bool(group.get("momentum") or "betas" in group)


#: (optimizer, steps of the whole run) -> a schedule that is stepped with the optimizer
SCHEDULES: dict[str, Callable[[Optimizer, int], schedules.LRScheduler | None]] = {
    "constant": lambda optimizer, steps: None,
    "cosine": schedules.CosineAnnealingLR,
    "step": lambda optimizer, steps: schedules.StepLR(optimizer, max(1, -(-steps // 3))),
    "exponential": lambda optimizer, steps: schedules.ExponentialLR(optimizer, 0.01 ** (1 / steps)),
    "warmup": lambda optimizer, steps: schedules.SequentialLR(
        optimizer,
        [
            schedules.LinearWarmup(optimizer, max(1, steps // 10), 1 / max(1, steps // 10)),
            schedules.CosineAnnealingLR(optimizer, max(1, steps - steps // 10)),
        ],
        milestones=[max(1, steps // 10)],
    ),
    "onecycle": lambda optimizer, steps: schedules.OneCycleLR(
        optimizer,
        optimizer.param_groups[0]["lr"],
        total_steps=steps,
        cycle_momentum=_has_momentum(optimizer.param_groups[0]),
    ),
    "plateau": lambda optimizer, steps: schedules.ReduceLROnPlateau(optimizer, patience=2),
}


def add_commands(commands: Any) -> None:
    """Add `train`."""
    parser = commands.add_parser(
        "train",
        argument_default=argparse.SUPPRESS,  # so that --resume sees what was said
        help="train a network on images of ten classes, or on a text",
        description="Train a network on handwritten digits or another set of small images, or on "
        "the characters of a text; test it and save it.",
        epilog="examples:\n"
        "  minigrad train\n"
        "  minigrad train --dataset mnist --data-dir data/mnist --hidden 256,128 --epochs 10\n"
        "  minigrad train --model cnn --dataset mnist --epochs 10\n"
        "  minigrad train --model transformer --text book.txt\n"
        "  minigrad train --dropout 0.2 --schedule warmup --early-stopping 5 --out runs/first\n"
        "  minigrad train --out runs/first --resume",
    )
    parser.set_defaults(run=_train, resume=False, plot=False, out=None, checkpoint_every=None)
    add = parser.add_argument
    _add_choice(add, "model", MODELS, DEFAULTS["model"])
    add_source_options(add, _default("dataset"))
    add_text_option(add, "the beginning of Shakespeare's Coriolanus, which comes with minigrad")
    add_backend_option(add)
    add(
        "--hidden",
        type=widths,
        metavar="WIDTHS",
        help=f'widths of the hidden dense layers, "" for none (default: {_default("hidden")})',
    )
    add(
        "--channels",
        type=widths,
        metavar="COUNTS",
        help="channels of the convolutions, each of which halves the image (default: "
        f"{_default('channels')})",
    )
    _add_choice(add, "activation", ACTIVATIONS, _default("activation"))
    add(
        "--block",
        type=whole(1),
        metavar="N",
        help="characters of a window that a model of texts learns from; one begins at each quarter "
        f"of the last (default: {_default('block')})",
    )
    add(
        "--width",
        type=whole(1),
        metavar="N",
        help=f"numbers for each character in a transformer or lstm (default: {_default('width')})",
    )
    add(
        "--layers",
        type=whole(1),
        metavar="N",
        help=f"layers of a transformer or lstm (default: {_default('layers')})",
    )
    add(
        "--heads",
        type=whole(1),
        metavar="N",
        help=f"heads of a transformer's attention, a divisor of the width (default: "
        f"{_default('heads')})",
    )
    add(
        "--dropout",
        type=number(0, 1),
        metavar="P",
        help="share of the hidden layers' outputs set to 0 in training (default: "
        f"{_default('dropout')})",
    )
    _add_choice(add, "optimizer", OPTIMIZERS, _default("optimizer"))
    rates = ", ".join(f"{rate:g} with {name}" for name, rate in LEARNING_RATES.items())
    rates += f"; {TextNetwork.pace:g} times that for a text"
    add(
        "--lr",
        type=number(0, above=True),
        metavar="RATE",
        help=f"the learning rate, the largest of the schedule (default: {rates})",
    )
    add(
        "--weight-decay",
        type=number(0),
        metavar="W",
        help="what each step adds to the gradient of a weight, as a share of the weight; with "
        "adamw, what it shrinks by beside the gradient (default: 0)",
    )
    _add_choice(add, "schedule", SCHEDULES, _default("schedule"))
    add(
        "--epochs",
        type=whole(1),
        metavar="N",
        help=f"passes over the training data (default: {_default('epochs')})",
    )
    add(
        "--batch-size",
        type=whole(1),
        metavar="N",
        help=f"images, or windows of a text, for each step (default: {_default('batch_size')})",
    )
    add(
        "--early-stopping",
        type=whole(1),
        metavar="N",
        help="stop after N epochs without a smaller validation loss and keep the best weights "
        "(default: never)",
    )
    add(
        "--seed",
        type=whole(0, 2**63 - 1),
        metavar="N",
        help=f"the same seed gives the same network (default: {_default('seed')})",
    )
    add(
        "--out",
        type=location,
        metavar="FOLDER",
        help=f"where {', '.join(FILES[:-1])} go (default: a new folder in runs/)",
    )
    add(
        "--resume",
        action="store_true",
        help="go on with the run in --out, with its settings, as if it had never stopped",
    )
    add(
        "--checkpoint-every",
        type=whole(1),
        metavar="STEPS",
        help=f"write {LAST} after so many steps too (default: after each epoch)",
    )
    add("--plot", action="store_true", help=f"draw losses and accuracies into {PLOT}")


def _add_choice(add: Callable[..., Any], name: str, known: Mapping[str, Any], default: str) -> None:
    *others, last = known
    add(
        f"--{name}",
        type=one_of(name, known),
        metavar="NAME",
        help=f"{', '.join(others)} or {last} (default: {default})",
    )


def _default(setting: str) -> str:
    """Return what is taken where nothing is said, with the models that take something else."""
    found = [(model, defaults_of(model)) for model in MODELS]
    values = {model: _spelled(have[setting]) for model, have in found if setting in have}
    first = next(iter(values.values()))
    others = [f"{model} {value}" for model, value in values.items() if value != first]
    return "; ".join([first, *others])


def _spelled(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _train(args: argparse.Namespace) -> None:
    """Train, test and save a network as the options say."""
    known = {name for model in MODELS for name in defaults_of(model)}
    given = {name: value for name, value in vars(args).items() if name in known}
    if args.plot:
        figure_class()  # better to hear now that it is missing than after the training
    if args.resume and args.out is None:
        raise Refusal("--resume needs --out, the folder of the run to go on with")
    if args.resume and not (Path(args.out) / LAST).is_file():
        raise Refusal(
            f"there is no {LAST} in {args.out} to go on from; leave --resume out to begin"
        )
    about = _saved(args.out, given) if args.resume else {"settings": _settled(given)}
    settings = about["settings"]
    kind = MODELS[settings["model"]]
    with (
        backends.use_backend(settings["backend"]),
        np.errstate(all="ignore"),  # the trainer tells of a loss that is not finite
        _run_folder(args.out, kind.name_data(settings), args.resume) as folder,
    ):
        print(f"backend: {settings['backend']}", flush=True)
        _run(kind, about, folder, args)


def _settled(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a new run."""
    model = given.get("model", DEFAULTS["model"])
    refuse_strangers(model, given)
    settings = {**defaults_of(model), **given}
    usual = MODELS[model].pace * LEARNING_RATES[settings["optimizer"]]
    settings["lr"] = settings["lr"] or usual
    settings["backend"] = backend_named(settings["backend"])
    return settings


def _saved(out: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a folder's checkpoint says of its run, whose data may have moved.

    Refuse other settings.
    """
    _, _, state = read_checkpoint(out)
    about: dict[str, Any] = state["about"]
    settings = about["settings"]
    refuse_strangers(settings["model"], given)
    for name, value in given.items():
        if name in PLACES:
            settings[name] = value
        elif value != settings[name]:
            raise Refusal(
                f"the run in {out} has {option(name)} {settings[name]}, not {value}: leave "
                f"{option(name)} out to go on with it, or choose another --out for a new run"
            )
    settings["backend"] = backend_named(settings["backend"])
    return about


@contextmanager
def _run_folder(out: str | None, name: str, resuming: bool) -> Iterator[Path]:
    """Give the folder that a run writes to; what is made for it and stays empty goes again."""
    folder = Path("runs" if out is None else out)
    made: list[Path] = []
    try:
        try:
            made += [path for path in (folder, *folder.parents) if not path.exists()]
            if out is None:
                folder = _new_folder(folder, f"{name}-{datetime.now():%Y%m%d-%H%M%S}")
                made.insert(0, folder)
            else:
                folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise Refusal(f"--out {folder} is a file, not a folder") from error
        except OSError as error:
            raise Refusal(f"cannot write to the folder {folder}: {error.strerror}") from error
        for file in () if resuming else FILES:
            if (folder / file).exists():
                raise Refusal(
                    f"{folder} holds the {file} of another run; choose another --out, or go on "
                    "with that run by --resume"
                )
        yield folder
    finally:
        for path in made:
            with suppress(OSError):
                path.rmdir()


def _new_folder(parent: Path, name: str) -> Path:
    for turn in itertools.count(1):
        folder = parent / (name if turn == 1 else f"{name}-{turn}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


def _run(
    kind: type[Network], about: Mapping[str, Any], folder: Path, args: argparse.Namespace
) -> None:
    settings = about["settings"]
    data = kind.read(settings)
    with reading(folder / LAST) if args.resume else nullcontext():
        manual_seed(settings["seed"])
        network = kind.new(settings, data)
        found = network.about["checksum"]
        if about.get("checksum", found) != found:  # new runs and old files have none
            (place,) = set(PLACES) & set(kind.source)
            raise Refusal(
                f"the data are not those that the run in {folder} learns from: say by "
                f"{option(place)} where those are, or choose another --out for a new run"
            )
        learn, validation, test = (network.pairs(part) for part in data)
        loader = DataLoader(learn, settings["batch_size"], shuffle=True, seed=settings["seed"])
        trainer = _trainer(network, settings, len(loader), folder, args.checkpoint_every)
        if args.resume:
            trainer.resume(folder)
    sizes = (f"{kind.count(part):,}" for part in data)
    print(
        f"data: {kind.name_data(settings)}, {{}} training, {{}} validation, {{}} test "
        f"{kind.unit}".format(*sizes)
    )
    weights = sum(p.size for p in network.model.parameters())
    print(f"model: {network.describe()}, {weights:,} parameters", flush=True)
    if args.resume:
        _say_where(trainer, settings["epochs"])
    _fit(trainer, loader, validation, settings, folder)
    result = trainer.evaluate(test)
    metrics = {
        "settings": settings,
        "versions": versions(),
        "history": trainer.history.rows,
        "test_loss": result["loss"],
        "test_accuracy": result["accuracy"],
    }
    write_atomically(folder / METRICS, json.dumps(metrics, indent=2).encode() + b"\n")
    if args.plot:
        trainer.history.plot(folder / PLOT)
    print(f"saved: {', '.join(name for name in FILES if (folder / name).exists())} in {folder}")
    for line in network.closing(result):
        print(line)


def _trainer(
    network: Network, settings: Mapping[str, Any], batches: int, folder: Path, every: int | None
) -> Trainer:
    optimizer = OPTIMIZERS[settings["optimizer"]](
        network.model.parameters(), settings["lr"], settings["weight_decay"]
    )
    callbacks: list[Callback] = [Checkpoint(folder, every, about=network.about), _Lines()]
    if settings["early_stopping"] is not None:
        callbacks.append(EarlyStopping(patience=settings["early_stopping"]))
    return Trainer(
        network.model,
        CrossEntropyLoss(),
        optimizer,
        "accuracy",
        callbacks,
        schedule=SCHEDULES[settings["schedule"]](optimizer, settings["epochs"] * batches),
        schedule_every="step",
    )


class _Lines(Callback):
    """Prints a line for each epoch as it ends."""

    def on_epoch_end(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        with tqdm.external_write_mode():  # the bar steps aside for the line
            print(
                f"epoch {row['epoch']:{len(str(trainer.epochs))}}/{trainer.epochs}: "
                f"training loss {row['loss']:.4f}, validation loss {row['val_loss']:.4f}, "
                f"validation accuracy {percent(row['val_accuracy'])}",
                flush=True,
            )


def _say_where(trainer: Trainer, epochs: int) -> None:
    where = f"in epoch {trainer.epoch + 1}, after {trainer.batch:,} of its batches"
    ended = trainer.epoch >= epochs
    print("the run had come to its end" if ended else f"going on {where}", flush=True)


def _fit(
    trainer: Trainer, loader: DataLoader, validation: Any, settings: Mapping[str, Any], folder: Path
) -> None:
    try:
        trainer.fit(loader, validation, epochs=settings["epochs"])
    except FloatingPointError as error:
        what, _, _ = str(error).partition(", at a learning rate")  # which the schedule has lowered
        raise Refusal(f"{what}; lower --lr, which is {settings['lr']:g}") from error
    except KeyboardInterrupt as interruption:
        raise KeyboardInterrupt(_go_on(folder)) from interruption
    except (BrokenPipeError, BlockingIOError):
        raise
    except OSError as error:
        raise Refusal(f"{reason(error)}{_go_on(folder)}") from error
    if trainer.epoch < settings["epochs"]:
        best = next(c.best for c in trainer.callbacks if isinstance(c, EarlyStopping))
        print(f"stopped early: the weights are those of epoch {best.epoch}, {BEST}")


def _go_on(folder: Path) -> str:
    """Return how to go on, where there is something to go on from."""
    if not (folder / LAST).exists():
        return ""
    command = f"minigrad train --out {shlex.quote(str(folder))} --resume"
    return f"; the last checkpoint is whole, go on with: {command}"
