"""The command line: minigrad train | info. What cannot be done is one line and exit code 2."""

import argparse
import importlib.metadata
import itertools
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NoReturn

import numpy as np
from tqdm import tqdm

from . import backends
from .data import DataLoader, Part, Splits, load_digits, load_mnist
from .messages import did_you_mean
from .nn import CrossEntropyLoss
from .optim import SGD, Adam, Optimizer
from .random import manual_seed
from .serialization import save, write_atomically
from .train import ACTIVATIONS, Epoch, evaluate, fit, mlp

WEIGHTS, METRICS = "last.safetensors", "metrics.json"
BEST_FIRST = ("cupy", "numba", "numpy")
CLASSES = 10

#: Rows at a time where nothing is learned: the result is the same, only memory is saved.
EVALUATION_BATCH = 1000

OPTIMIZERS: dict[str, Callable[[Any, float], Optimizer]] = {
    "adam": lambda params, lr: Adam(params, lr),
    "sgd": lambda params, lr: SGD(params, lr, momentum=0.9),
}
LEARNING_RATES = {"adam": 2e-3, "sgd": 0.05}


class Refusal(Exception):
    """What a command cannot do; the message is the line that the user gets."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 after an error, 130 after Ctrl-C."""
    try:
        args = _parsed(sys.argv[1:] if argv is None else argv)
        if args is not None:
            args.run(args)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except MemoryError as error:
        return _complain(f"error: not enough memory: {error}", 2)
    except OSError as error:
        return _complain(f"error: {_reason(error)}", 2)
    except Refusal as error:
        return _complain(f"error: {error}", 2)
    return 0


def _complain(line: str, code: int) -> int:
    print("minigrad:", " ".join(line.split()), file=sys.stderr)
    return code


def _reason(error: OSError) -> str:
    """Return what happened to which file, without the number of the error."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    return f"unknown {what} {name!r}: expected one of {', '.join(known)}{did_you_mean(name, known)}"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refusal(f"{message} (see {self.prog} --help)")


def _parsed(argv: Sequence[str]) -> argparse.Namespace | None:
    """Return the options of a command and, as `run`, what carries it out.

    None after --help and --version, which print by themselves.
    """
    parser, commands = _parsers()
    if argv and not argv[0].startswith("-") and argv[0] not in commands:
        parser.error(_unknown("command", argv[0], commands))
    try:
        args, unknown = parser.parse_known_args(argv)
    except SystemExit:
        return None
    if "run" not in args:
        parser.error(f"expected a command, one of {', '.join(commands)}")
    if unknown:
        name = unknown[0].partition("=")[0]
        known = [f"--{option.replace('_', '-')}" for option in vars(args) if option != "run"]
        commands[argv[0]].error(f"unknown option {name!r}{did_you_mean(name, known)}")
    return args


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    shared: dict[str, Any] = {
        "allow_abbrev": False,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }
    parser = _Parser(
        "minigrad",
        description="Automatic differentiation from scratch: train a network, or look around.",
        epilog="example:\n  minigrad train",
        **shared,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"minigrad {_version()}",
        help="show the version",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    train = commands.add_parser(
        "train",
        help="train a network on handwritten digits",
        description="Train a network of dense layers on handwritten digits, test it and save it.",
        epilog="examples:\n"
        "  minigrad train\n"
        "  minigrad train --dataset mnist --data-dir data/mnist --hidden 256,128 --epochs 10",
        **shared,
    )
    train.set_defaults(run=_train)
    add = train.add_argument
    add(
        "--dataset",
        type=_one_of("data set", ["digits", "mnist"]),
        default="digits",
        metavar="NAME",
        help="digits, which comes with minigrad, or mnist (default: %(default)s)",
    )
    add("--data-dir", metavar="FOLDER", help="the folder with MNIST's four IDX files")
    add(
        "--hidden",
        type=_widths,
        default=[512],
        metavar="WIDTHS",
        help='widths of the hidden layers, "" for none (default: 512)',
    )
    add(
        "--activation",
        type=_one_of("activation", ACTIVATIONS),
        default="relu",
        metavar="NAME",
        help="relu, tanh or sigmoid (default: %(default)s)",
    )
    add(
        "--optimizer",
        type=_one_of("optimizer", OPTIMIZERS),
        default="adam",
        metavar="NAME",
        help="adam or sgd, with momentum 0.9 (default: %(default)s)",
    )
    rates = ", ".join(f"{rate:g} with {name}" for name, rate in LEARNING_RATES.items())
    add(
        "--lr",
        type=_positive,
        metavar="RATE",
        help=f"learning rate at the start, from where it falls to 0 (default: {rates})",
    )
    add(
        "--epochs",
        type=_whole(1),
        default=30,
        metavar="N",
        help="passes over the training images (default: %(default)s)",
    )
    add(
        "--batch-size",
        type=_whole(1),
        default=64,
        metavar="N",
        help="images for each step (default: %(default)s)",
    )
    add("--backend", metavar="NAME", help="cupy, numba or numpy (default: the first usable one)")
    add(
        "--seed",
        type=_whole(0, 2**63 - 1),
        default=0,
        metavar="N",
        help="the same seed gives the same network (default: %(default)s)",
    )
    add(
        "--out",
        metavar="FOLDER",
        help=f"where {WEIGHTS} and {METRICS} go (default: a new folder in runs/)",
    )
    info = commands.add_parser(
        "info",
        help="show versions, backends and what they run on",
        description="Show versions, backends (and why one is not usable), BLAS and CPU threads.",
        epilog="example:\n  minigrad info",
        **shared,
    )
    info.set_defaults(run=_info)
    return parser, {"train": train, "info": info}


def _one_of(what: str, known: Iterable[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(_unknown(what, text, known))
        return text

    return parse


def _whole(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    def parse(text: str) -> int:
        with suppress(ValueError):
            if least <= int(text) <= most:
                return int(text)
        raise argparse.ArgumentTypeError(
            f"expected a whole number from {least} to {most}, got {text!r}"
        )

    return parse


def _positive(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")


def _widths(text: str) -> list[int]:
    try:
        return [_whole(1)(width) for width in text.split(",")] if text.strip() else []
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected whole numbers above 0 with commas between them, as 256,128, got {text!r}"
        ) from None


def _train(args: argparse.Namespace) -> None:
    """Train, test and save a network as the options say."""
    args.lr = args.lr or LEARNING_RATES[args.optimizer]
    with (
        backends.use_backend(_backend(args.backend)) as backend,
        np.errstate(all="ignore"),  # `fit` tells of a loss that is not finite
        _run_folder(args) as folder,
    ):
        args.backend = backend.name
        print(f"backend: {backend.name}", flush=True)
        data = _load(args)
        normalization = _normalization(data.train)
        architecture = {
            "inputs": data.train.images[0].size,
            "hidden": args.hidden,
            "outputs": CLASSES,
            "activation": args.activation,
        }
        manual_seed(args.seed)
        model = mlp(**architecture)
        optimizer = OPTIMIZERS[args.optimizer](model.parameters(), args.lr)
        loss = CrossEntropyLoss()
        _describe(args, data, sum(p.size for p in model.parameters()))
        learn, validation, test = (_rows(part, **normalization) for part in data)
        epochs = fit(
            model,
            loss,
            optimizer,
            DataLoader(learn, args.batch_size, shuffle=True, seed=args.seed),
            DataLoader(validation, EVALUATION_BATCH),
            epochs=args.epochs,
        )
        history = _followed(_slowing(epochs, optimizer, args.epochs), args)
        result = evaluate(model, DataLoader(test, EVALUATION_BATCH), loss)
        state = {
            "architecture": architecture,
            "normalization": normalization,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        save(state, folder / WEIGHTS)
        metrics = {
            "settings": {k: v for k, v in vars(args).items() if k not in ("run", "out")},
            "versions": _versions(),
            "history": history,
            "test_loss": result.loss,
            "test_accuracy": result.accuracy,
        }
        write_atomically(folder / METRICS, json.dumps(metrics, indent=2).encode() + b"\n")
        print(f"saved: {folder / WEIGHTS}, {folder / METRICS}")
        print(f"test accuracy: {_percent(result.accuracy)}")


def _backend(asked: str | None) -> str:
    """Return the backend that an option or the environment names, otherwise the best usable one."""
    asked = asked or os.environ.get("MINIGRAD_BACKEND")
    for name in [asked] if asked else BEST_FIRST:
        try:
            return backends.get(name).name
        except (ValueError, backends.BackendUnavailable) as error:
            reason = error
    raise Refusal(reason) from reason


@contextmanager
def _run_folder(args: argparse.Namespace) -> Iterator[Path]:
    """Give the folder that a run writes to; what is made for it and stays empty goes again."""
    folder = Path("runs" if args.out is None else args.out)
    made: list[Path] = []
    try:
        try:
            made += [path for path in (folder, *folder.parents) if not path.exists()]
            if args.out is None:
                folder = _new_folder(folder, f"{args.dataset}-{datetime.now():%Y%m%d-%H%M%S}")
                made.insert(0, folder)
            else:
                folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                pass  # better to fail now than after the training
        except FileExistsError as error:
            raise Refusal(f"--out {folder} is a file, not a folder") from error
        except OSError as error:
            raise Refusal(f"cannot write to the folder {folder}: {error.strerror}") from error
        for name in (WEIGHTS, METRICS):
            if (folder / name).exists():
                raise Refusal(f"{folder} holds the {name} of another run; choose another --out")
        yield folder
    finally:
        for path in made:
            with suppress(OSError):
                path.rmdir()


def _new_folder(parent: Path, name: str) -> Path:
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


def _load(args: argparse.Namespace) -> Splits:
    if args.dataset == "digits":
        if args.data_dir is not None:
            raise Refusal("--data-dir is for --dataset mnist; the digits come with minigrad")
        return load_digits()
    if args.data_dir is None:
        raise Refusal("--dataset mnist needs --data-dir, the folder with its four IDX files")
    try:
        return load_mnist(args.data_dir)
    except ValueError as error:
        raise Refusal(error) from error


def _normalization(part: Part) -> dict[str, float]:
    mean, std = part.images.mean(dtype=np.float64), part.images.std(dtype=np.float64)
    return {"mean": float(mean), "std": float(std) or 1.0}


def _rows(part: Part, mean: float, std: float) -> tuple[Any, Any]:
    """Return images as normalised rows, float32 (n, pixels), and the labels."""
    rows = part.images.reshape(len(part.images), -1)
    return (rows - np.float32(mean)) / np.float32(std), part.labels


def _describe(args: argparse.Namespace, data: Splits, weights: int) -> None:
    learn, validation, test = (f"{len(part.labels):,}" for part in data)
    widths = "-".join(map(str, [data.train.images[0].size, *args.hidden, CLASSES]))
    print(f"data: {args.dataset}, {learn} training, {validation} validation, {test} test images")
    print(f"model: {widths}, {args.activation}, {weights:,} parameters", flush=True)


def _slowing(epochs: Iterator[Epoch], optimizer: Optimizer, total: int) -> Iterator[Epoch]:
    """Pass the epochs on and lower the learning rate after each, on a straight line to 0."""
    (group,) = optimizer.param_groups
    start = group["lr"]
    for epoch in epochs:
        yield epoch
        if epoch.number < total:
            group["lr"] = start * (1 - epoch.number / total)


def _followed(epochs: Iterator[Epoch], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Print a line for each epoch as it ends and return what they all brought."""
    history, width = [], len(str(args.epochs))
    try:
        for number, training_loss, validation, seconds in epochs:
            assert validation is not None
            with tqdm.external_write_mode():  # the bar steps aside for the line
                print(
                    f"epoch {number:{width}}/{args.epochs}: training loss {training_loss:.4f}, "
                    f"validation loss {validation.loss:.4f}, "
                    f"validation accuracy {_percent(validation.accuracy)}",
                    flush=True,
                )
            history.append(
                {
                    "epoch": number,
                    "training_loss": training_loss,
                    "validation_loss": validation.loss,
                    "validation_accuracy": validation.accuracy,
                    "seconds": seconds,
                }
            )
    except FloatingPointError as error:
        raise Refusal(f"{error}; lower --lr, which was {args.lr:g}") from error
    return history


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _info(args: argparse.Namespace) -> None:
    """Print what minigrad runs on."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    lines = [*_versions().items(), ("BLAS", f"{blas['name']} {blas.get('version', '')}".strip())]
    lines.append(("CPU threads", str(_threads())))
    for name, status in backends.status().items():
        lines.append(
            (f"backend {name}", "usable" if status.usable else f"not usable: {status.reason}")
        )
    for name, value in lines:
        print(f"{name + ':':<16}{value}")


def _version() -> str:
    return str(sys.modules["minigrad"].__version__)


def _versions() -> dict[str, str]:
    """Return the versions of what takes part, without importing any of it."""
    versions = {
        "minigrad": _version(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    # CuPy's package is named after the CUDA it was built for.
    for package in ("numba", "cupy", "cupy-cuda12x", "cupy-cuda13x"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def _threads() -> int:
    """Return how many CPU threads this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
