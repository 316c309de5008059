"""MNIST from the first step to the last: the perceptron, 10 epochs, batch 128, Adam.

Every contestant starts from the same weights and sees the same batches. They take turns epoch by
epoch; the time is that of the epochs' steps, with the gathering of batches, which is the same NumPy
code for all, and without the test after each. Where there is no MNIST, the digits that are shipped
take its place, and the results say so.
"""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any

import training
from arena import Arena, say
from facts import ROOT
from targets import Verdict
from turns import Failed, Lost, turned

EPOCHS, BATCH = 10, 128
CONTESTANTS = ("numpy", "numba", "torch")
BESIDE = ROOT.parent / "shared" / "data" / "mnist"  # data that several projects share
# The most that numba may take of PyTorch's time.
GOAL, TARGET = "ten epochs of MNIST beside PyTorch", 1.0


def folder_of_mnist(asked: Path | None) -> Path | None:
    """Return where MNIST's files are: the folder asked for, or one of the usual ones, if any."""
    from minigrad.data import load_mnist
    from minigrad.data.download import data_folder

    for folder in [asked] if asked else [BESIDE, data_folder() / "mnist"]:
        with suppress(FileNotFoundError):
            load_mnist(folder)
            return folder
    if asked:
        raise SystemExit(f"there is no MNIST in {asked}")
    return None


@cache
def data(folder: str) -> tuple[Any, ...]:
    """Return images as rows and labels, to learn from and to test by; no folder: the digits."""
    import numpy as np

    from minigrad.data import load_digits, load_mnist

    train, validation, test = load_mnist(folder) if folder else load_digits()

    def rows(images: Any) -> Any:
        if not folder:  # 8×8, enlarged to the network's 28×28 with an edge of 2
            images = np.pad(images.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
        return images.reshape(len(images), -1)

    images = np.concatenate([rows(train.images), rows(validation.images)])
    labels = np.concatenate([train.labels, validation.labels])
    return images, labels, rows(test.images), test.labels


def contestant(name: str) -> tuple[Callable[[str], Callable[[], Any]], Callable[[], None]]:
    """Return the tasks of a contestant: `train|FOLDER|EPOCH|STEPS` (0: all) and `test|FOLDER`."""
    import numpy as np

    trainer = training.trainer(name, training.NETS["perceptron"])

    def train(folder: str, epoch: int, steps: int) -> None:
        x, y, *_ = data(folder)
        order = np.random.default_rng(epoch).permutation(len(x))
        starts = range(0, len(x), BATCH)[: steps or None]
        for start in starts:
            rows = order[start : start + BATCH]
            trainer.step(*trainer.given(x[rows], y[rows]))

    def test(folder: str) -> float:
        *_, x, y = data(folder)
        assert trainer.logits is not None
        logits = trainer.logits(*trainer.given(x))
        return float((np.asarray(logits.detach().numpy()).argmax(1) == y).mean())

    def task(wanted: str) -> Callable[[], Any]:
        kind, folder, *numbers = wanted.split("|")
        data(folder)
        if kind == "test":
            return lambda: test(folder)
        epoch, steps = map(int, numbers)
        return lambda: train(folder, epoch, steps)

    return task, trainer.synchronize


def measure(arena: Arena, found: dict[str, Any]) -> None:
    """Fill `found` with each contestant's seconds and accuracy after every epoch."""
    place = folder_of_mnist(arena.mnist)
    folder = str(place) if place else ""
    found.update(
        data="MNIST" if place else "the shipped digits, for want of MNIST",
        network=training.NETS["perceptron"].said,
        batch=BATCH,
        epochs=2 if arena.quick else EPOCHS,
        contestants={},
        failed={},
        slow_epochs=0,
    )
    steps = 20 if arena.quick else 0
    names = [n for n in CONTESTANTS if n in (*arena.backends, *arena.peers)]
    with ExitStack() as stack:
        playing = {name: stack.enter_context(arena.start("mnist", name)) for name in names}
        for name in names:
            found["contestants"][name] = {"seconds": [], "accuracy": []}
            with suppress(Failed, Lost):  # then its first epoch will say so
                playing[name].run(f"train|{folder}|0|1")  # what is compiled or loaded, is now
        for epoch in range(found["epochs"]):
            say(f"mnist: epoch {epoch + 1} of {found['epochs']}")
            for name in turned(list(playing), epoch):
                rows = found["contestants"][name]
                try:
                    took = playing[name].run(f"train|{folder}|{epoch}|{steps}")["seconds"]
                    rows["accuracy"].append(playing[name].run(f"test|{folder}")["value"])
                    rows["seconds"].append(took)
                except (Failed, Lost) as error:
                    found["failed"][name] = str(error)
                    del playing[name]
            found["slow_epochs"] += arena.control.is_slow()


def totals(found: dict[str, Any]) -> dict[str, float]:
    """Return the seconds of those that trained to the end."""
    return {
        name: sum(rows["seconds"])
        for name, rows in found["contestants"].items()
        if len(rows["seconds"]) == found["epochs"]
    }


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    took = totals(found)
    if not {"numba", "torch"} <= set(took):
        return []
    return [Verdict(GOAL, found["data"], took["numba"] / took["torch"], TARGET)]
