"""Checkpoints: a run that was killed, anywhere, ends with the bits of one that was not."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
from test_train import blobs

import minigrad as mg
from minigrad import nn, optim
from minigrad.data import DataLoader
from minigrad.optim import lr_scheduler
from minigrad.train import BEST, LAST, Callback, Checkpoint, EarlyStopping, Trainer, mlp

EPOCHS = 4
DATA, HELD_OUT = blobs(90), blobs(30, seed=1)

OPTIMIZERS = {
    "adam": lambda params: optim.Adam(params, 1e-2),
    "sgd": lambda params: optim.SGD(params, 0.05, momentum=0.9, nesterov=True),
    "rmsprop": lambda params: optim.RMSprop(params, 1e-2, momentum=0.5, centered=True),
}
SCHEDULES = {
    "none": lambda optimizer: None,
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 24),
    "onecycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=24),
    "plateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=0),
    "warmup": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [
            lr_scheduler.LinearWarmup(optimizer, 5),
            lr_scheduler.ChainedScheduler(
                [
                    lr_scheduler.StepLR(optimizer, 4, 0.5),
                    lr_scheduler.ExponentialLR(optimizer, 0.9),
                ]
            ),
        ],
        milestones=[5],
    ),
}


class Killed(BaseException):
    """Ends a run as SIGKILL would: nothing is tidied up or saved."""


def deadly(batches):
    """A loss that survives a number of training batches."""
    criterion, left = nn.CrossEntropyLoss(), [batches]

    def loss(outputs, targets):
        if mg.is_grad_enabled():
            left[0] -= 1
            if left[0] < 0:
                raise Killed
        return criterion(outputs, targets)

    return loss


def run(
    folder,
    *,
    survives=10**9,
    resume=False,
    before=lambda net: None,
    optimizer="adam",
    schedule="cosine",
    every=None,
    extra=(),
    **more,
):
    """Train in a folder, with dropout; what a resumed run draws before has another seed."""
    mg.manual_seed(77 if resume else 0)
    model = mlp(2, [8, 8], 3, dropout=0.3)
    stepper = OPTIMIZERS[optimizer](model.parameters())
    net = Trainer(
        model,
        deadly(survives),
        stepper,
        metrics="accuracy",
        callbacks=[Checkpoint(folder, every), *extra, EarlyStopping(patience=3)],
        schedule=SCHEDULES[schedule](stepper),
        schedule_every="step",
        max_norm=1.0,
        **more,
    )
    if resume:
        net.resume(folder)
    before(net)
    try:
        net.fit(DATA, HELD_OUT, epochs=EPOCHS, batch_size=16)
    except Killed:
        return None
    return net


def shaken(batch, generator):
    x, y = batch
    return x + mg.random.normal(x.shape, generator=generator), y


def assert_same_files(one, other):
    for name in (LAST, BEST):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("every", [None, 1, 4])
def test_resuming_gives_the_same_bits(tmp_path, optimizer, schedule, every):
    how = {"optimizer": optimizer, "schedule": schedule, "every": every}
    whole = run(tmp_path / "whole", **how)
    assert run(tmp_path / "parts", survives=8, **how) is None
    assert run(tmp_path / "parts", survives=6, resume=True, **how) is None
    parts = run(tmp_path / "parts", resume=True, **how)
    assert_same_files(tmp_path / "whole", tmp_path / "parts")
    for name, value in whole.model.state_dict().items():  # after the best were restored
        assert value.numpy().tobytes() == parts.model.state_dict()[name].numpy().tobytes()
    assert parts.history["loss"] == whole.history["loss"]


@pytest.mark.parametrize("survives", range(0, 24, 5))
def test_resuming_on_every_backend(backend, tmp_path, survives):
    with mg.use_backend(backend):
        run(tmp_path / "whole", accumulate=2, every=1)
        assert run(tmp_path / "parts", survives=survives, accumulate=2, every=1) is None
        run(tmp_path / "parts", resume=True, accumulate=2, every=1)
    assert_same_files(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("workers", [0, 3])
def test_resuming_a_loader_that_prefetches_and_augments(tmp_path, workers):
    def learn(folder, survives=10**9, resume=False):
        mg.manual_seed(3)
        model = mlp(2, [8], 3)
        optimizer = optim.Adam(model.parameters())
        loader = DataLoader(DATA, 16, shuffle=True, num_workers=workers, transform=shaken)
        net = Trainer(model, deadly(survives), optimizer, callbacks=[Checkpoint(folder, every=2)])
        if resume:
            net.resume(folder / LAST)
        with suppress(Killed):
            net.fit(loader, epochs=3)

    learn(tmp_path / "whole")
    learn(tmp_path / "parts", survives=9)
    learn(tmp_path / "parts", resume=True)
    assert (tmp_path / "whole" / LAST).read_bytes() == (tmp_path / "parts" / LAST).read_bytes()


def test_a_finished_run_can_be_given_more_epochs(tmp_path):
    def learn(folder, epochs, resume=False):
        mg.manual_seed(0)
        model = mlp(2, [8], 3)
        stepper = optim.Adam(model.parameters())
        net = Trainer(model, nn.CrossEntropyLoss(), stepper, callbacks=[Checkpoint(folder)])
        if resume:
            net.resume(folder)
        net.fit(DATA, epochs=epochs, seed=1)
        return net

    learn(tmp_path / "whole", 5)
    learn(tmp_path / "parts", 2)
    assert learn(tmp_path / "parts", 2, resume=True).epoch == 2
    assert learn(tmp_path / "parts", 5, resume=True).epoch == 5
    assert_same_files(tmp_path / "whole", tmp_path / "parts")


def test_an_early_stop_is_remembered(tmp_path):
    def learn(resume=False):
        model = mlp(2, [], 3)
        stepper = optim.SGD(model.parameters(), lr=0.0)
        callbacks = [EarlyStopping(patience=2), Checkpoint(tmp_path)]
        net = Trainer(model, nn.CrossEntropyLoss(), stepper, callbacks=callbacks)
        if resume:
            net.resume(tmp_path)
        net.fit(DATA, HELD_OUT, epochs=9, seed=1)
        return net

    assert learn().epoch == learn(resume=True).epoch == 3


def test_the_best_checkpoint(tmp_path):
    net = run(tmp_path)
    best = min(net.history, key=lambda row: row["val_loss"])
    state = mg.load(tmp_path / BEST)
    assert state["row"]["epoch"] == best["epoch"]
    model = mlp(2, [8, 8], 3, dropout=0.3)
    model.load_state_dict(state["model"])
    again = Trainer(model, nn.CrossEntropyLoss()).evaluate(HELD_OUT)
    assert again["loss"] == pytest.approx(best["val_loss"], rel=1e-6)


def test_evaluating_between_resuming_and_fitting_changes_nothing(tmp_path):
    run(tmp_path / "whole", every=1)
    assert run(tmp_path / "parts", survives=8, every=1) is None
    run(tmp_path / "parts", resume=True, every=1, before=lambda net: net.evaluate(HELD_OUT))
    assert_same_files(tmp_path / "whole", tmp_path / "parts")


def test_a_loader_that_was_looked_at(tmp_path):
    """As one does to give lazy layers their sizes; or after an interruption in one process."""

    def learn(folder, survives=10**9, resume=False, again=False):
        mg.manual_seed(1)
        loader = DataLoader(DATA, 16, shuffle=True, seed=5)
        held_out = DataLoader(HELD_OUT, 8, shuffle=True, seed=6, transform=shaken)
        next(iter(loader))
        model = mlp(2, [8], 3)
        stepper = optim.Adam(model.parameters())
        net = Trainer(model, deadly(survives), stepper, callbacks=[Checkpoint(folder, every=1)])
        if resume:
            net.resume(folder)
        with suppress(Killed):
            net.fit(loader, held_out, epochs=3)

    learn(tmp_path / "whole")
    learn(tmp_path / "parts", survives=2)
    learn(tmp_path / "parts", survives=9, resume=True)
    learn(tmp_path / "parts", resume=True)
    assert_same_files(tmp_path / "whole", tmp_path / "parts")


def test_two_checkpoints(tmp_path):
    """Each keeps its own best, whichever of their files the run is resumed from."""

    def learn(folder, source=None, survives=10**9):
        mg.manual_seed(0)
        model = mlp(2, [8], 3)
        kept = [
            Checkpoint(folder / "loss", monitor="val_loss"),
            Checkpoint(folder / "accuracy", monitor="val_accuracy"),
        ]
        stepper = optim.SGD(model.parameters(), lr=0.5)
        net = Trainer(model, deadly(survives), stepper, "accuracy", kept)
        if source:
            net.resume(folder / source)
        with suppress(Killed):
            net.fit(DATA, HELD_OUT, epochs=5, batch_size=16, seed=2)

    learn(tmp_path / "whole")
    for source in ("loss", "accuracy"):
        learn(tmp_path / source, survives=21)
        learn(tmp_path / source, source)
        for name in ("loss", "accuracy"):
            assert_same_files(tmp_path / "whole" / name, tmp_path / source / name)


def test_the_files_of_another_run_are_not_overwritten(tmp_path):
    first = run(tmp_path)
    before = (tmp_path / LAST).read_bytes()
    with pytest.raises(FileExistsError, match=r"holds the last.safetensors of another run"):
        run(tmp_path)
    assert (tmp_path / LAST).read_bytes() == before
    first.fit(DATA, HELD_OUT, epochs=1, batch_size=16)  # it is its own
    assert mg.load(tmp_path / BEST)["row"]["val_loss"] == min(first.history["val_loss"])


@pytest.mark.skipif(os.name != "posix", reason="needs file locks")
def test_one_run_in_a_folder_at_a_time(tmp_path):
    class Another(Callback):
        def on_epoch_start(self, trainer):
            with pytest.raises(BlockingIOError, match="another run is writing"):
                run(tmp_path, resume=True)

    run(tmp_path, extra=[Another()])
    run(tmp_path, resume=True)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """The loss is finite, but its derivative is not: sqrt at 0."""
    model = nn.Linear(1, 1)
    stepper = optim.SGD(model.parameters(), lr=0.1)
    net = Trainer(
        model,
        lambda outputs, targets: mg.sqrt(outputs * 0).mean(),
        stepper,
        callbacks=[Checkpoint(tmp_path)],
    )
    x = np.ones((4, 1), np.float32)
    message = "weight is not finite after 1 steps"
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=message):
        net.fit((x, x), epochs=2)
    assert np.isfinite(mg.load(tmp_path / LAST)["model"]["weight"].numpy()).all()
    assert not (tmp_path / BEST).exists()


def test_callbacks_that_remember_nothing_may_come_and_go(tmp_path):
    assert run(tmp_path, survives=8) is None
    assert run(tmp_path, resume=True, extra=[Callback()]).epoch == EPOCHS


def test_a_refused_checkpoint_leaves_the_model_alone(tmp_path):
    run(tmp_path)
    state = mg.load(tmp_path / LAST)
    model = mlp(2, [8, 8], 3, dropout=0.3)
    before = {name: value.numpy(copy=True) for name, value in model.state_dict().items()}
    stepper = optim.Adam(model.parameters())
    net = Trainer(model, nn.CrossEntropyLoss(), stepper, "accuracy", [EarlyStopping()])
    with pytest.raises(ValueError, match="was saved with a schedule"):
        net.load_state_dict(state)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_left_over_files_of_a_killed_process_go(tmp_path):
    for name in (f".{LAST}.4194304-0123abcd.tmp", ".mine.tmp"):
        (tmp_path / name).touch()
    run(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".mine.tmp", BEST, LAST]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"weight": np.zeros(3)}, "no state of a Trainer: it lacks model, optimizer"),
        (lambda s: [1, 2], "no state of a Trainer"),
        (lambda s: s | {"schedule": None}, "was saved with EarlyStopping, Checkpoint, this "),
        (lambda s: s | {"callbacks": s["callbacks"][:1]}, "with a schedule, EarlyStopping, this"),
        (lambda s: s | {"model": {}}, "0.weight: missing"),
        (lambda s: s | {"optimizer": {"state": {}, "param_groups": []}}, "groups of"),
        (lambda s: s | {"progress": {}}, "is a damaged checkpoint: KeyError"),
        (lambda s: s | {"progress": None}, "is a damaged checkpoint: TypeError"),
        (
            lambda s: s | {"loaders": s["loaders"] | {"validation": s["loaders"]["training"]}},
            "the validation data are not those of the run",
        ),
        (lambda s: s | {"loaders": {"training": {}}}, "of a run with training data; fit was given"),
        (lambda s: s | {"random": np.zeros(2)}, "a random state is"),
        (lambda s: s | {"schedule": {}}, "CosineAnnealingLR: expected a dict of last_epoch"),
        (lambda s: s | {"pass": {}}, "the state is not one of the metrics loss, accuracy"),
    ],
)
def test_foreign_checkpoints(tmp_path, change, message):
    run(tmp_path)
    mg.save(change(mg.load(tmp_path / LAST)), tmp_path / LAST)
    with pytest.raises(ValueError, match=message):
        run(tmp_path, resume=True)


@pytest.mark.parametrize("length", [0, 7, 100, 2000])
def test_truncated_checkpoints(tmp_path, length):
    run(tmp_path)
    content = (tmp_path / LAST).read_bytes()
    (tmp_path / LAST).write_bytes(content[:length])
    with pytest.raises(ValueError, match=r"cannot resume from '.*last.safetensors'"):
        run(tmp_path, resume=True)


def test_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file '.*last.safetensors'"):
        run(tmp_path, resume=True)


def test_a_state_is_taken_between_steps():
    class Asking(Callback):
        def on_batch_end(self, trainer):
            assert trainer.pending
            trainer.state_dict()

    model = mlp(2, [], 3)
    stepper = optim.SGD(model.parameters())
    net = Trainer(model, nn.CrossEntropyLoss(), stepper, callbacks=[Asking()], accumulate=2)
    with pytest.raises(RuntimeError, match="gradients wait for the optimizer's step"):
        net.fit(DATA)


def test_a_loss_that_is_not_finite_is_not_saved(tmp_path):
    model = mlp(2, [], 3)
    stepper = optim.SGD(model.parameters(), lr=1e38)
    net = Trainer(model, nn.CrossEntropyLoss(), stepper, callbacks=[Checkpoint(tmp_path, every=1)])
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError):
        net.fit(DATA, epochs=9, batch_size=16)
    saved = mg.load(tmp_path / LAST)["model"]
    assert all(np.isfinite(value.numpy()).all() for value in saved.values())


SCRIPT = """
import contextlib, os, random, signal, sys, time
from minigrad import cli, load

def start(folder):
    child = os.fork()
    if not child:
        resume = ["--resume"] if os.path.exists(f"{folder}/last.safetensors") else []
        with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink):
            code = cli.main([
                *("train", "--out", folder, *resume, "--backend", "numpy", "--hidden", "24"),
                *("--epochs", "12", "--batch-size", "32", "--dropout", "0.2"),
                *("--schedule", "warmup", "--early-stopping", "9", "--checkpoint-every", "3"),
            ])
        os._exit(code)
    return child

def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

began = time.perf_counter()
assert ended(start("whole")) == 0
length = time.perf_counter() - began

chance, kills, runs = random.Random(int(sys.argv[1])), 0, 0
while kills < 20:
    folder, code, runs = f"parts-{runs}", -signal.SIGKILL, runs + 1
    while code == -signal.SIGKILL:
        child = start(folder)
        if kills < 20:
            time.sleep(chance.uniform(0, length / 4))
            os.kill(child, signal.SIGKILL)
        code = ended(child)
        kills += code == -signal.SIGKILL
        for name in ("last", "best"):
            if os.path.exists(f"{folder}/{name}.safetensors"):
                load(f"{folder}/{name}.safetensors")
    assert code == 0, code
    for name in ("last", "best"):
        with open(f"whole/{name}.safetensors", "rb") as one:
            with open(f"{folder}/{name}.safetensors", "rb") as other:
                assert one.read() == other.read(), (name, folder)
    assert not [name for name in os.listdir(folder) if name.endswith(".tmp")]
print(kills, "kills in", runs, "runs")
"""


def in_a_process(tmp_path, script, *argv):
    return subprocess.run(
        [sys.executable, "-c", script, *argv],
        cwd=tmp_path,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_twenty_times(tmp_path):
    done = in_a_process(tmp_path, SCRIPT, "5")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("20 kills")


LIMITED = """
import resource, sys
from minigrad import cli

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(cli.main(sys.argv[2:]))
"""

#: Files of 60 KB before the first step, of 180 KB once the optimizer has its state.
TRAIN = ["train", "--backend", "numpy", "--hidden", "200", "--epochs", "2", "--dropout", "0.5"]


@pytest.fixture(params=["quota", "full disk"])
def small(request, tmp_path):
    """(a folder, the largest size of a file in it, what makes room): 200 KB in all."""
    pytest.importorskip("resource", reason="needs POSIX limits")
    folder = tmp_path / "small"
    folder.mkdir()
    if request.param == "quota":
        yield folder, 100_000, lambda: None
        return
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    grow = [str(mount), "-o", "remount,size=10m", str(folder)]
    yield folder, 10**9, lambda: subprocess.run(grow, check=True)
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, small):
    folder, limit, make_room = small
    done = in_a_process(tmp_path, LIMITED, str(10**9), *TRAIN, "--out", "whole")
    assert done.returncode == 0
    done = in_a_process(tmp_path, LIMITED, str(limit), *TRAIN, "--out", str(folder / "run"))
    assert done.returncode == 2
    assert re.fullmatch(
        r"minigrad: error: .*last.safetensors: (File too large|No space left on device); the last "
        r"checkpoint is whole, go on with: minigrad train --out .*/run --resume\n",
        done.stderr,
    )
    assert mg.load(folder / "run" / LAST)["progress"]["steps"] == 0
    done = in_a_process(tmp_path, LIMITED, "10000", *TRAIN, "--out", "tiny")
    assert done.returncode == 2
    assert done.stderr == f"minigrad: error: {tmp_path / 'tiny' / LAST}: File too large\n"
    assert not (tmp_path / "tiny").exists()
    assert not list(folder.glob("run/.*"))
    make_room()
    again = ["train", "--out", str(folder / "run"), "--resume"]
    done = in_a_process(tmp_path, LIMITED, str(10**9), *again)
    assert (done.returncode, done.stderr) == (0, "")
    assert_same_files(tmp_path / "whole", folder / "run")
