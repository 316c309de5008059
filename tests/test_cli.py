"""The commands as a user types them: what they print, write and refuse."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import processes
import pytest
from test_data import write_mnist

import minigrad as mg
from minigrad import backends, cli
from minigrad.cli import images as image_networks
from minigrad.cli import texts as text_networks
from minigrad.cli import training
from minigrad.cli.images import SOURCES
from minigrad.data import Standardizer, load_digits, load_text
from minigrad.serialization import load, save
from minigrad.train import Trainer, mlp

COMMANDS = ["train", "evaluate", "predict", "generate", "info"]
QUICK = ["--epochs", "2", "--hidden", "8", "--backend", "numpy"]
TEXT = ["--text", "book.txt", "--block", "8", "--width", "8", "--batch-size", "128"]
#: A quick run of each model.
MODELS = {
    "mlp": QUICK,
    "cnn": [*QUICK, "--model", "cnn", "--channels", "2,3"],
    "transformer": [*QUICK[:2], *QUICK[4:], "--model", "transformer", *TEXT, "--heads", "2"],
    "lstm": [*QUICK[:2], *QUICK[4:], "--model", "lstm", *TEXT, "--layers", "2"],
}


def in_about(**changes):
    return lambda state: state | {"about": state["about"] | changes}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIGRAD_BACKEND", raising=False)


@pytest.fixture
def book(monkeypatch):
    """The text of MODELS: book.txt, 3,000 characters of the shipped one; samples of 20."""
    monkeypatch.setattr(text_networks, "LENGTH", 20)
    text = load_text()[:3000]
    Path("book.txt").write_text(text)
    return text


@pytest.fixture
def run(capsys):
    """Run a command in this process: (exit code, lines of standard output, standard error)."""

    def run(*argv):
        code = cli.main(argv)
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    return run


@pytest.fixture
def refused(run):
    """Run a command that must fail, and return its one line."""

    def refused(*argv):
        code, _, error = run(*argv)
        assert code == 2
        assert error.startswith("minigrad: error: ")
        assert error.endswith("\n")
        assert error.count("\n") == 1
        return error.removeprefix("minigrad: error: ").rstrip()

    return refused


def test_train(run, tmp_path):
    code, out, error = run("train", *QUICK)
    assert (code, error) == (0, "")
    assert out[:3] == [
        "backend: numpy",
        "data: digits, 1,257 training, 270 validation, 270 test images",
        "model: 64-8-10, relu, 610 parameters",
    ]
    number = r"\d+\.\d{4}"
    for epoch in (1, 2):
        pattern = rf"epoch {epoch}/2: training loss {number}, validation loss {number}, "
        assert re.fullmatch(pattern + r"validation accuracy \d+\.\d\d %", out[2 + epoch])
    (folder,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"digits-\d{8}-\d{6}", folder.name)
    assert sorted(file.name for file in folder.iterdir()) == [
        *("best.safetensors", "last.safetensors", "metrics.json")
    ]
    files = "last.safetensors, best.safetensors, metrics.json"
    assert out[-2] == f"saved: {files} in {folder.relative_to(tmp_path)}"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert out[-1] == f"test accuracy: {100 * metrics['test_accuracy']:.2f} %"


def test_a_convolutional_network(run, tmp_path):
    code, out, error = run("train", *MODELS["cnn"], "--out", "a")
    assert (code, error) == (0, "")
    assert out[2] == "model: convolutions 8×8×1-2-3, dense 8-10, relu, 271 parameters"
    assert load("a/last.safetensors")["about"]["architecture"] == {
        **{"image": (8, 8), "outputs": 10, "channels": [2, 3], "hidden": [8]},
        **{"activation": "relu", "dropout": 0.25},
    }
    assert run("evaluate", "a")[1][-1] == out[-1]
    np.save("gray.npy", load_digits().test.images[0])
    _, (line,), _ = run("predict", "a", "gray.npy")
    assert re.fullmatch(r"gray\.npy: \d \(\d+\.\d\d %\), or \d \(\d+\.\d\d %\)", line)


@pytest.mark.parametrize(
    ("model", "architecture"),
    [
        ("transformer", "transformer, block 8, width 8, heads 2, layers 2, dropout 0.1"),
        ("lstm", "lstm, width 8, layers 2, dropout 0.0"),
    ],
)
def test_a_model_of_texts(run, book, tmp_path, model, architecture):
    code, out, error = run("train", *MODELS[model])
    assert (code, error) == (0, "")
    assert out[1] == "data: book, 2,700 training, 150 validation, 150 test characters"
    assert out[2].startswith(f"model: {architecture}, ")
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("book-")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert out[6:8] == [
        f"test loss: {metrics['test_loss']:.4f}",
        f"test accuracy: {100 * metrics['test_accuracy']:.2f} %",
    ]
    first, second = "\n".join(out[8:]).split("sample 2:\n")
    assert first.startswith("\nsample 1:\n")
    for sample in (first, second):
        assert 10 < len(sample) < 40
        assert set(sample) <= set(book + "sample 1:")
    _, again, _ = run("evaluate", str(folder))
    assert again == ["data: book, 150 test characters", *out[6:8]]


def test_the_shipped_text(run, monkeypatch):
    monkeypatch.setattr(text_networks, "load_text", lambda path: load_text(path)[:2000])
    code, out, _ = run("train", *MODELS["lstm"][:6], "--block", "8", "--width", "4")
    assert (code, out[1]) == (
        0,
        "data: shakespeare, 1,800 training, 100 validation, 100 test characters",
    )


def test_generate(run, refused, book):
    run("train", *MODELS["transformer"], "--out", "a")

    def written(*options):
        code, out, error = run("generate", "a", "--backend", "numpy", "--length", "9", *options)
        assert (code, error) == (0, "")
        return "\n".join(out)

    first, again, other = (written("--prompt", "All:", "--seed", seed) for seed in "112")
    assert first == again != other
    assert (first[:4], len(first)) == ("All:", 13)
    assert written() != written()
    likeliest = written("--temperature", "0", "--prompt", "All: Speak, speak.")
    assert likeliest == written("--temperature", "0", "--prompt", "All: Speak, speak.")
    assert refused("generate", "a", "--prompt", "Ärger").startswith(
        "Vocabulary: unknown character 'Ä'; known are "
    )
    assert refused("generate", "a", "--prompt", "").startswith(
        "argument --prompt: expected at least one character; leave --prompt out to begin a line"
    )
    assert written("--temperature", "1e-40", "--seed", "1") == written("--temperature", "0")


def test_a_text_of_one_line(run, book):
    """What is generated begins as the samples of the run do: with its first character."""
    Path("book.txt").write_text(book.replace("\n", " "))
    _, out, _ = run("train", *MODELS["lstm"], "--out", "a")
    options = ["--length", "20", "--temperature", "0.8", "--seed", "1", "--backend", "numpy"]
    assert run("generate", "a", *options) == (0, [out[out.index("sample 1:") + 1]], "")


@pytest.mark.parametrize("temperature", ["0", "1"])
def test_weights_that_are_not_finite_write_nothing(run, refused, book, temperature):
    run("train", *MODELS["lstm"], "--out", "a")
    spoil(
        "a/last.safetensors",
        lambda s: s | {"model": {k: v * np.nan for k, v in s["model"].items()}},
    )
    line = refused("generate", "a", "--temperature", temperature)
    assert line.startswith(
        "generate: the model's logits are not finite after 0 numbers: its weights"
    )


def test_commands_for_another_kind_of_network(run, refused, book):
    run("train", *QUICK, "--out", "images")
    run("train", *MODELS["lstm"], "--out", "texts")
    assert refused("predict", "texts", "x.npy").startswith(
        "texts is a model of texts; it writes by"
    )
    assert refused("generate", "images").startswith("images is a model of images; it sorts them by")
    line = refused("evaluate", "texts", "--dataset", "digits")
    assert line == "--dataset is for the model mlp or cnn, not for lstm"
    assert refused("evaluate", "images", "--text", "book.txt").endswith("lstm, not for mlp")
    Path("other.txt").write_text("Ä" * 3000)
    assert "unknown character 'Ä'" in refused("evaluate", "texts", "--text", "other.txt")


def test_texts_that_nothing_is_learned_from(refused):
    options = MODELS["transformer"]
    assert refused("train", *options) == "book.txt: No such file or directory"
    Path("book.txt").touch()
    assert refused("train", *options) == "book.txt is empty"
    Path("book.txt").write_text("abc" * 50)
    line = refused("train", *options)
    assert line.startswith("a part of the text has 7 characters, which is no window of 8 and")
    Path("book.txt").write_bytes(b"abc\xff")
    assert refused("train", *options).startswith("book.txt is not UTF-8: byte 0xff at position 3")


def test_a_moved_text(run, refused, book):
    run("train", *MODELS["lstm"], "--out", "a")
    Path("book.txt").rename("moved.txt")
    assert refused("train", "--out", "a", "--resume") == "book.txt: No such file or directory"
    assert run("train", "--text", "moved.txt", "--out", "a", "--resume")[0] == 0


def test_another_text_is_not_resumed_with(run, refused, book):
    run("train", *MODELS["transformer"], "--out", "a")
    for text in (book.replace("a", "A", 1), book + "ß", book[:2000]):
        for name, where in (("other.txt", ["--text", "other.txt"]), ("book.txt", [])):
            Path(name).write_text(text, encoding="utf-8")
            assert refused("train", "--out", "a", "--resume", *where) == (
                "the data are not those that the run in a learns from: say by --text where those "
                "are, or choose another --out for a new run"
            )


@pytest.mark.parametrize("model", ["mlp", "lstm"])
def test_a_run_that_kept_no_checksum_is_resumed(run, book, model):
    run("train", *MODELS[model], "--out", "a")

    def older(state):
        assert isinstance(state["about"].pop("checksum"), int)
        return state

    spoil("a/last.safetensors", older)
    assert run("train", "--out", "a", "--resume")[0] == 0


def test_metrics(run):
    run("train", *QUICK, "--seed", "5", "--lr", "0.01", "--out", "a")
    metrics = json.loads(Path("a/metrics.json").read_text())
    assert metrics["settings"] == {
        "model": "mlp",
        "dataset": "digits",
        "data_dir": None,
        "hidden": [8],
        "activation": "relu",
        "dropout": 0.0,
        "optimizer": "adam",
        "lr": 0.01,
        "weight_decay": 0.0,
        "schedule": "cosine",
        "epochs": 2,
        "batch_size": 64,
        "early_stopping": None,
        "backend": "numpy",
        "seed": 5,
    }
    assert metrics["versions"]["numpy"] == np.__version__
    assert [epoch["epoch"] for epoch in metrics["history"]] == [1, 2]
    assert set(metrics["history"][0]) == {
        *("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds")
    }


@pytest.mark.parametrize("name", ["last.safetensors", "best.safetensors"])
def test_the_weights_give_the_test_accuracy(run, name):
    run("train", *QUICK, "--activation", "tanh", "--early-stopping", "9", "--out", "a")
    state = load(f"a/{name}")
    about = state["about"]
    model = mlp(**about["architecture"])
    model.load_state_dict(state["model"])
    images, labels = load_digits().test
    standardizer = Standardizer(axis=None)
    standardizer.load_state_dict(about["standardizer"])
    outputs = model(mg.tensor(standardizer(images).reshape(-1, 64)))
    accuracy = (outputs.argmax(axis=-1).numpy() == labels).mean()
    assert accuracy == json.loads(Path("a/metrics.json").read_text())["test_accuracy"]
    assert (about["image"], about["classes"]) == ((8, 8), tuple("0123456789"))
    assert about["settings"] == json.loads(Path("a/metrics.json").read_text())["settings"]


@pytest.mark.parametrize("optimizer", training.OPTIMIZERS)
@pytest.mark.parametrize("schedule", training.SCHEDULES)
def test_every_optimizer_has_every_schedule(run, optimizer, schedule):
    how = ["--optimizer", optimizer, "--schedule", schedule]
    code, out, error = run("train", *QUICK, *how)
    assert (code, error) == (0, "")
    assert re.fullmatch(r"test accuracy: \d+\.\d\d %", out[-1])


@pytest.mark.parametrize("optimizer", training.OPTIMIZERS)
def test_the_same_seed_gives_the_same_file(run, optimizer):
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        run("train", *QUICK, "--optimizer", optimizer, "--seed", seed, "--out", out)
    a, b, c = (Path(name, "last.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.8, 0.8, 0.8]),
        ("cosine", [0.6, 0.2, 0.0]),
        ("step", [0.08, 0.008, 0.0008]),
        ("exponential", [0.8 * 0.01 ** (1 / 3), 0.8 * 0.01 ** (2 / 3), 0.008]),
        ("warmup", [0.69282, 0.25, 0.0]),
        ("onecycle", [0.79, 0.34, 0.0]),
        ("plateau", [0.8, 0.8, 0.8]),
    ],
)
def test_schedules(run, schedule, rates):
    """At the end of each epoch, of 20 steps."""
    options = ["--epochs", "3", "--hidden", "", "--backend", "numpy", "--lr", "0.8"]
    run("train", *options, "--optimizer", "sgd", "--schedule", schedule, "--out", "a")
    history = json.loads(Path("a/metrics.json").read_text())["history"]
    assert [epoch["lr"] for epoch in history] == pytest.approx(rates, rel=0.1, abs=1e-4)


def test_weight_decay_and_dropout_change_the_result(run):
    for out, *options in (("a",), ("b", "--weight-decay", "0.1"), ("c", "--dropout", "0.5")):
        run("train", *QUICK, *options, "--out", out)
    files = [Path(name, "last.safetensors").read_bytes() for name in "abc"]
    assert len(set(files)) == 3


def test_early_stopping(run):
    options = ["--lr", "1.0", "--hidden", "", "--backend", "numpy", "--schedule", "constant"]
    code, out, _ = run("train", *options, "--early-stopping", "2", "--out", "a")
    assert code == 0
    history = json.loads(Path("a/metrics.json").read_text())["history"]
    best = min(history, key=lambda row: row["val_loss"])["epoch"]
    assert len(history) == best + 2 < 30
    assert out[-3] == f"stopped early: the weights are those of epoch {best}, best.safetensors"


def test_plot(run):
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    run("train", *QUICK, "--plot", "--out", "a")
    assert Path("a/history.png").read_bytes().startswith(b"\x89PNG")


def test_plot_without_matplotlib(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert 'pip install "minigrad[plot]"' in refused("train", *QUICK, "--plot", "--out", "a")
    assert not Path("a").exists()


@pytest.mark.parametrize("model", MODELS)
def test_resume(run, refused, monkeypatch, book, model):
    """In the middle of an epoch; tests/test_resume.py has every other kind of interruption."""
    options = [*MODELS[model], "--dropout", "0.2", "--checkpoint-every", "3"]
    run("train", *options, "--out", "whole")

    def interrupted(self, row, prefix=""):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_evaluated", interrupted)
        code, _, error = run("train", *options, "--out", "a b")
    go_on = "minigrad train --out 'a b' --resume"
    assert code == 130
    assert error == (f"minigrad: interrupted; the last checkpoint is whole, go on with: {go_on}\n")
    line = refused("train", *options, "--out", "a b")
    assert line.endswith("choose another --out, or go on with that run by --resume")
    code, out, error = run(*shlex.split(go_on)[1:])
    assert (code, error) == (0, "")
    assert re.fullmatch(r"going on in epoch 1, after (18|9) of its batches", out[3])
    for name in ("last.safetensors", "best.safetensors"):
        assert Path("a b", name).read_bytes() == Path("whole", name).read_bytes()
    code, again, _ = run("train", "--out", "a b", "--resume")
    assert (code, again[3]) == (0, "the run had come to its end")
    assert again[-1] == out[-1]


def test_resume_takes_the_settings_of_the_run(run, refused):
    for _ in range(2):
        assert refused("train", "--resume").startswith("--resume needs --out")
        Path("last.safetensors").touch()  # even where one would do
    line = refused("train", *QUICK, "--out", "a", "--resume")
    assert line == ("there is no last.safetensors in a to go on from; leave --resume out to begin")
    assert run("train", *QUICK, "--out", "a")[0] == 0
    line = refused("train", "--epochs", "5", "--out", "a", "--resume")
    assert line.startswith("the run in a has --epochs 2, not 5: leave --epochs out to go on with")
    assert run("train", "--epochs", "2", "--out", "a", "--resume")[0] == 0


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"hidden": "x"}, "is damaged"),
        ({"lr": None}, "is damaged"),
        ({"batch_size": "8"}, "is damaged"),
        ({"hidden": [9]}, "must have shape (9, 64), the state has (8, 64)"),
        ({"optimizer": "sgd"}, "SGD"),
        ({"schedule": "constant"}, "was saved with a schedule"),
    ],
)
def test_foreign_settings(run, refused, change, line):
    run("train", *QUICK, "--out", "a")

    def changed(state):
        about = state["about"]
        return state | {"about": about | {"settings": about["settings"] | change}}

    spoil("a/last.safetensors", changed)
    assert line in refused("train", "--out", "a", "--resume")


def test_settings_that_an_older_run_had_not_are_the_defaults(run):
    run("train", *QUICK, "--out", "a")

    def older(state):
        settings = dict(state["about"]["settings"])
        del settings["dropout"], settings["model"]
        return state | {"about": state["about"] | {"settings": settings}}

    spoil("a/last.safetensors", older)
    assert run("train", "--out", "a", "--resume")[0] == 0


def test_other_data_are_not_resumed_with(run, refused, tmp_path):
    for folder, *counts in (("data", 24), ("more", 48), ("other", 24, 12)):
        (tmp_path / folder).mkdir()
        write_mnist(tmp_path / folder, *counts)
    options = [*QUICK, "--dataset", "mnist", "--data-dir"]
    run("train", *options, "data", "--out", "a")
    for folder in ("more", "other"):
        line = refused("train", "--data-dir", folder, "--out", "a", "--resume")
        assert line.startswith(
            "the data are not those that the run in a learns from: say by --data"
        )
    Path("data").rename("moved")
    assert run("train", "--data-dir", "moved", "--out", "a", "--resume")[0] == 0


def spoil(path, change):
    save(change(load(path)), path)


@pytest.mark.parametrize("command", ["evaluate a", "predict a x.npy", "train --out a --resume"])
@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda state: {"weight": np.zeros(3)}, "is no checkpoint of minigrad train"),
        (lambda state: state | {"about": {"settings": {}}}, "is no checkpoint of minigrad train"),
        (lambda state: state | {"model": {}}, "0.weight: missing"),
        (in_about(settings=None), "is damaged"),
        (in_about(settings={"dataset": "cifar"}), "no data set 'cifar'"),
        (in_about(image=None), "is damaged"),
        (in_about(image=(8, -8)), "of images (8, -8)"),
        (in_about(classes=("0", "1")), "outputs of the architecture are 10, those of the data 2"),
        (in_about(architecture=[]), "is damaged"),
        (in_about(settings={"dataset": "mnist", "data_dir": 5}), "the setting data_dir is 5"),
        (in_about(settings={"dataset": "digits", "backend": 5}), "the setting backend is 5"),
    ],
)
def test_foreign_checkpoints(run, refused, command, change, line):
    run("train", *QUICK, "--out", "a")
    np.save("x.npy", np.zeros((8, 8)))
    spoil("a/last.safetensors", change)
    assert line in refused(*command.split())


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (in_about(block="x"), "is damaged"),
        (in_about(block=0), "windows of 0 characters"),
        (in_about(characters=5), "is damaged"),
        (in_about(characters="ab"), "characters of the architecture are "),
        (in_about(settings={"model": "lstm", "text": 5}), "the setting text is 5"),
    ],
)
def test_foreign_checkpoints_of_texts(run, refused, book, change, line):
    run("train", *MODELS["lstm"], "--out", "a")
    spoil("a/last.safetensors", change)
    for command in ("evaluate a", "generate a", "train --out a --resume"):
        assert line in refused(*command.split())


@pytest.mark.parametrize("command", ["evaluate a", "predict a x.npy", "train --out a --resume"])
def test_truncated_checkpoints(run, refused, command):
    run("train", *QUICK, "--out", "a")
    path = Path("a/last.safetensors")
    path.write_bytes(path.read_bytes()[:500])
    line = refused(*command.split())
    assert line.startswith(f"{str(path)!r} is no whole safetensors file")


def test_evaluate(run, refused, tmp_path):
    _, trained, _ = run("train", *QUICK, "--out", "a")
    for checkpoint in ("a", "a/last.safetensors"):
        code, out, _ = run("evaluate", checkpoint, "--backend", "numpy")
        assert (code, out[0], out[-1]) == (0, "data: digits, 270 test images", trained[-1])
    history = json.loads(Path("a/metrics.json").read_text())["history"]
    _, out, _ = run("evaluate", "a", "--part", "validation")
    assert out[1] == f"validation loss: {history[-1]['val_loss']:.4f}"
    write_mnist(tmp_path)
    line = refused("evaluate", "a", "--dataset", "mnist", "--data-dir", str(tmp_path))
    assert line == "the network takes images of (8, 8) pixels, not (2, 3)"
    assert refused("evaluate", "b") == "there is no file 'b'"


def test_predict(run, tmp_path):
    image_module = pytest.importorskip("PIL.Image", reason="needs Pillow")
    run("train", "--epochs", "5", "--backend", "numpy", "--out", "a")
    images, labels = load_digits().test
    np.save("gray.npy", images[0])
    np.save("bytes.npy", (images[0] * 255).astype(np.uint8))
    large = np.kron(images[0], np.ones((9, 9)))
    image_module.fromarray((large * 255).astype(np.uint8)).save("large.png")
    image_module.fromarray((255 - large * 255).astype(np.uint8)).convert("RGB").save("dark.png")
    names = ["gray.npy", "bytes.npy", "large.png", "dark.png"]
    code, out, error = run("predict", "a", *names)
    assert (code, error, len(out)) == (0, "", 4)
    for name, line in zip(names, out, strict=True):
        share = r"\(\d+\.\d\d %\)"
        assert re.fullmatch(rf"{name}: {labels[0]} {share}, or \d {share}", line)
    Path("text.png").write_text("no image")
    code, out, error = run("predict", "a", "nowhere.png", "gray.npy", "text.png")
    assert (code, len(out)) == (2, 1)
    first, second = error.splitlines()
    assert first == "minigrad: error: nowhere.png: No such file or directory"
    assert second.startswith("minigrad: error: ")
    assert "text.png" in second


def test_no_network(refused, monkeypatch):
    def offline(folder):
        raise ConnectionError("the file could not be downloaded")

    monkeypatch.setitem(SOURCES, "mnist", SOURCES["mnist"]._replace(reader=offline))
    assert refused("train", "--dataset", "mnist") == "the file could not be downloaded"


def test_no_hidden_layer(run):
    code, out, _ = run("train", "--epochs", "1", "--hidden", "", "--backend", "numpy")
    assert code == 0
    assert out[2] == "model: 64-10, relu, 650 parameters"


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_activations(run, activation):
    code, out, _ = run("train", *QUICK[:2], "--hidden", "7, 6", "--activation", activation)
    assert code == 0
    assert out[2] == f"model: 64-7-6-10, {activation}, 573 parameters"


def test_mnist(run, tmp_path):
    (tmp_path / "data").mkdir()
    write_mnist(tmp_path / "data")
    code, out, _ = run("train", *QUICK, "--dataset", "mnist", "--data-dir", "data")
    assert code == 0
    assert out[1] == "data: mnist, 22 training, 2 validation, 10 test images"
    assert out[2].startswith("model: 6-8-10")
    assert next((tmp_path / "runs").iterdir()).name.startswith("mnist-")


def test_runs_never_share_a_folder(run, tmp_path, monkeypatch):
    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2024, 2, 3, 4, 5, 6)

    monkeypatch.setattr(training, "datetime", Frozen)
    for _ in range(3):
        assert run("train", *QUICK[:4], "--epochs", "1", "--backend", "numpy")[0] == 0
    names = sorted(folder.name for folder in (tmp_path / "runs").iterdir())
    assert names == [f"digits-20240203-040506{more}" for more in ("", "-2", "-3")]


def test_the_best_usable_backend_is_chosen(run, monkeypatch):
    def missing():
        raise backends.BackendUnavailable("not here")

    usable = [name for name, status in backends.status().items() if status.usable]
    best = next(name for name in ("cupy", "numba", "numpy") if name in usable)
    assert run("train", "--epochs", "1", "--hidden", "")[1][0] == f"backend: {best}"
    for name in ("cupy", "numba"):
        monkeypatch.setitem(backends._loaders, name, missing)
        monkeypatch.delitem(backends._loaded, name, raising=False)
    assert run("train", "--epochs", "1", "--hidden", "")[1][0] == "backend: numpy"


def test_the_environment_names_the_backend(run, refused, monkeypatch):
    monkeypatch.setenv("MINIGRAD_BACKEND", "numpy")
    assert run("train", "--epochs", "1", "--hidden", "")[1][0] == "backend: numpy"
    monkeypatch.setenv("MINIGRAD_BACKEND", "nunpy")
    assert refused("train").startswith("unknown backend 'nunpy': expected one of numpy, ")


def test_unusable_backend(refused, monkeypatch):
    def missing():
        raise backends.BackendUnavailable('backend "cupy" needs CuPy; install it with: pip ...')

    monkeypatch.setitem(backends._loaders, "cupy", missing)
    monkeypatch.delitem(backends._loaded, "cupy", raising=False)
    assert refused("train", "--backend", "cupy").startswith('backend "cupy" needs CuPy; install')


def test_info(run, monkeypatch):
    def missing():
        raise backends.BackendUnavailable("needs something; install it with: pip")

    monkeypatch.setitem(backends._loaders, "cupy", missing)
    monkeypatch.delitem(backends._loaded, "cupy", raising=False)
    code, out, error = run("info")
    assert (code, error) == (0, "")
    table = dict(re.split(r":\s+", line, maxsplit=1) for line in out)
    assert table["minigrad"] == mg.__version__
    assert table["python"] == ".".join(map(str, sys.version_info[:3]))
    assert table["numpy"] == np.__version__
    assert table["BLAS"]
    assert int(table["CPU threads"]) > 0
    assert table["backend numpy"] == "usable"
    assert table["backend cupy"] == "not usable: needs something; install it with: pip"


def test_version(run):
    assert run("--version") == (0, ["minigrad 0.1.0"], "")


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_shows_an_example(run, command):
    code, out, error = run(*command, "--help")
    assert (code, error) == (0, "")
    assert re.search(r"\nexamples?:\n  minigrad ", "\n".join(out))


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (
            "",
            "expected a command, one of train, evaluate, predict, generate, info (see minigrad "
            "--help)",
        ),
        (
            "trian",
            "unknown command 'trian': expected one of train, evaluate, predict, generate, info; "
            "did you mean 'train'? (see minigrad --help)",
        ),
        (
            "train --hiden 3",
            "unknown option '--hiden'; did you mean '--hidden'? (see minigrad train --help)",
        ),
        ("train --epoch=3", "unknown option '--epoch'; did you mean '--epochs'?"),
        ("train now", "unknown option 'now' (see minigrad train --help)"),
        ("info now", "unknown option 'now' (see minigrad info --help)"),
        ("--nonsense", "expected a command"),
        ("--nonsense train", "unknown option '--nonsense'"),
        ("-x info", "unknown option '-x' (see minigrad info --help)"),
        ("train --lr", "argument --lr: expected one argument (see minigrad train --help)"),
        ("train --lr fast", "argument --lr: expected a number above 0, got 'fast'"),
        ("train --lr -0.1", "argument --lr: expected a number above 0, got '-0.1'"),
        ("train --lr 0", "argument --lr: expected a number above 0, got '0'"),
        ("train --lr nan", "argument --lr: expected a number above 0, got 'nan'"),
        ("train --lr inf", "argument --lr: expected a number above 0, got 'inf'"),
        ("train --epochs 0", "argument --epochs: expected a whole number from 1 to 2147483647, "),
        ("train --epochs 1.5", "argument --epochs: expected a whole number from 1"),
        ("train --batch-size -2", "argument --batch-size: expected a whole number from 1"),
        ("train --seed -1", "argument --seed: expected a whole number from 0"),
        (
            "train --hidden 256,x",
            "argument --hidden: expected whole numbers above 0 with commas between them, "
            "as 256,128, got '256,x'",
        ),
        ("train --hidden 256,,1", "argument --hidden: expected whole numbers above 0"),
        ("train --hidden 0", "argument --hidden: expected whole numbers above 0"),
        (
            "train --dataset mnits",
            "argument --dataset: unknown data set 'mnits': expected one of digits, mnist, "
            "fashion-mnist; did you mean 'mnist'?",
        ),
        (
            "train --model cmn",
            "argument --model: unknown model 'cmn': expected one of mlp, cnn, transformer, lstm; "
            "did you mean 'cnn'?",
        ),
        ("train --channels 4", "--channels is for the model cnn, not for mlp"),
        ("train --model mlp --text x", "--text is for the model transformer or lstm, not for mlp"),
        (
            "train --model transformer --dataset mnist",
            "--dataset is for the model mlp or cnn, not for transformer",
        ),
        ("train --model lstm --heads 2", "--heads is for the model transformer, not for lstm"),
        ("train --model lstm --hidden 9", "--hidden is for the model mlp or cnn, not for lstm"),
        ("train --model cnn --channels 1,1,1,1", "cnn: 4 stages halve 8×8 pixels to nothing; give"),
        ("train --model cnn --channels 0", "argument --channels: expected whole numbers above 0"),
        (
            "train --model transformer --heads 3",
            "CharTransformer: width must be a multiple of heads, got 64 and 3",
        ),
        ("train --model transformer --text nowhere", "nowhere: No such file or directory"),
        ("generate", "the following arguments are required: CHECKPOINT (see minigrad generate"),
        ("generate x --temperature -1", "argument --temperature: expected a number from 0, got"),
        ("generate x --length 0", "argument --length: expected a whole number from 1"),
        (
            "train --activation rely",
            "argument --activation: unknown activation 'rely': expected one of relu, tanh, "
            "sigmoid; did you mean 'relu'?",
        ),
        (
            "train --optimizer adm",
            "argument --optimizer: unknown optimizer 'adm': expected one of adam, adamw, sgd, "
            "rmsprop, adagrad; did you mean 'adam'?",
        ),
        ("train --backend nunpy", "unknown backend 'nunpy': expected one of numpy, numba, cupy"),
        ("train --data-dir x", "--data-dir is for mnist and fashion-mnist; the digits come with"),
        ("train --dropout 1", "argument --dropout: expected a number from 0 to below 1, got '1'"),
        ("train --weight-decay -1", "argument --weight-decay: expected a number from 0, got '-1'"),
        ("train --early-stopping 0", "argument --early-stopping: expected a whole number from 1"),
        ("train --schedule cosin", "argument --schedule: unknown schedule 'cosin': expected one"),
        ("evaluate", "the following arguments are required: CHECKPOINT (see minigrad evaluate"),
        ("evaluate nowhere", "there is no file 'nowhere'"),
        ("generate nowhere", "there is no file 'nowhere'"),
        ("train --out=", "argument --out: expected a path, got ''; the current folder is . (see"),
        ("train --data-dir=", "argument --data-dir: expected a path, got ''"),
        ("train --model lstm --text=", "argument --text: expected a path, got ''"),
        ("evaluate nowhere --part tset", "argument --part: unknown part 'tset': expected one of"),
        ("predict nowhere", "the following arguments are required: IMAGE (see minigrad predict"),
        ("train --dataset mnist --data-dir nowhere", "there is no folder nowhere"),
        ("train --dataset mnist --data-dir .", ". has no train images: looked for train-images-"),
    ],
)
def test_wrong_options(refused, tmp_path, argv, line):
    assert refused(*argv.split()).startswith(line)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "argv", [["evaluate", ""], ["generate", ""], ["predict", "", "x.png"], ["predict", "x", ""]]
)
def test_an_empty_path_is_no_folder(refused, argv):
    assert re.match(r"argument (CHECKPOINT|IMAGE): expected a path, got ''", refused(*argv))


def test_a_refusal_says_on_which_backend_and_leaves_no_folder(run, tmp_path):
    (tmp_path / "kept").mkdir()
    for out in ("new/deep", "kept/new"):
        code, lines, _ = run("train", *QUICK, "--dataset", "mnist", "--data-dir", "x", "--out", out)
        assert (code, lines) == (2, ["backend: numpy"])
    assert list(tmp_path.rglob("*")) == [tmp_path / "kept"]


def test_damaged_mnist(refused, tmp_path):
    path = write_mnist(tmp_path, packed=False) / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:50])
    line = refused("train", "--dataset", "mnist", "--data-dir", str(tmp_path))
    assert line == f"{path} is truncated: uint8 (10, 2, 3) takes 76 bytes, found 50"


def test_out_must_be_a_folder_to_write_to(refused, run, tmp_path):
    (tmp_path / "file").touch()
    assert refused("train", "--out", "file") == "--out file is a file, not a folder"
    line = refused("train", "--out", "file/below")
    assert line == "cannot write to the folder file/below: Not a directory"
    (tmp_path / "runs").touch()
    assert refused("train").startswith("cannot write to the folder runs: ")
    assert run("train", *QUICK, "--out", "new/deep")[0] == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or not os.geteuid(), reason="root writes anywhere")
def test_unwritable_out(refused, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o555)
    line = refused("train", "--out", "closed")
    assert line == "cannot write to the folder closed: Permission denied"


def test_a_run_is_never_overwritten(run, refused, tmp_path):
    (tmp_path / "a").mkdir()  # an empty folder is fresh enough
    assert run("train", *QUICK, "--out", "a")[0] == 0
    content = (tmp_path / "a" / "last.safetensors").read_bytes()
    line = refused("train", *QUICK, "--seed", "1", "--out", "a")
    assert line.startswith("a holds the last.safetensors of another run; choose another --out")
    assert (tmp_path / "a" / "last.safetensors").read_bytes() == content


def test_divergence(refused):
    line = refused("train", *QUICK, "--lr", "1e30")
    assert line == (
        "training diverged: the training loss is nan in epoch 1; lower --lr, which is 1e+30"
    )


def test_not_enough_memory(refused, monkeypatch):
    def hungry(*sizes, **more):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(image_networks, "mlp", hungry)
    assert refused("train", *QUICK) == "not enough memory: Unable to allocate 9 TiB"


def start(*argv):
    command = [sys.executable, "-m", "minigrad", *argv]
    return processes.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_as_a_process():
    process = start("train", *QUICK)
    out, error = process.communicate()
    assert (process.returncode, error) == (0, "")
    assert re.fullmatch(r"test accuracy: \d+\.\d\d %", out.splitlines()[-1])


def read_until(process, pattern):
    for line in process.stdout:
        if re.match(pattern, line):
            break


@pytest.mark.skipif(os.name != "posix", reason="needs a shell that closes streams")
def test_odd_streams(tmp_path):
    def shell(command, **environment):
        return subprocess.run(
            ["sh", "-c", command.replace("minigrad", f"{sys.executable} -m minigrad", 1)],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
        )

    done = shell(f"minigrad train {' '.join(QUICK)} --out 'ü' ", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"in \xfc" in done.stdout
    for closing in (">&-", "2>&-"):
        done = shell(f"minigrad train {' '.join(QUICK)} {closing}")
        assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_in_a_process(tmp_path):
    process = start("train", "--epochs", "1000000", "--backend", "numpy")
    read_until(process, r"epoch +2/")  # the first epoch is saved
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    (folder,) = (tmp_path / "runs").iterdir()
    go_on = f"minigrad train --out {folder.relative_to(tmp_path)} --resume"
    assert process.returncode == 130
    assert error == (f"minigrad: interrupted; the last checkpoint is whole, go on with: {go_on}\n")
    assert load(folder / "last.safetensors")["progress"]["epoch"] >= 1


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_convolutional_network_ends_with_the_same_bits(run):
    usable = [name for name in ("numba", "numpy") if backends.status()[name].usable]
    how = [*MODELS["cnn"], "--epochs", "15", "--backend", usable[0], "--checkpoint-every", "7"]
    process = start("train", *how, "--out", "parts")
    read_until(process, r"epoch +1/")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert load("parts/last.safetensors")["progress"]["epoch"] < 15
    code, out, _ = run("train", "--out", "parts", "--resume")
    assert (code, out[3][:14]) == (0, "going on in ep")
    run("train", *how, "--out", "whole")
    for name in ("last.safetensors", "best.safetensors"):
        assert Path("parts", name).read_bytes() == Path("whole", name).read_bytes()


@pytest.mark.parametrize("last_line", ["backend", "epoch"])
def test_a_reader_that_leaves(last_line):
    process = start("train", "--epochs", "1000000", "--hidden", "", "--backend", "numpy")
    read_until(process, last_line)
    process.stdout.close()
    assert process.wait() == 2
    assert process.stderr.read() == ""
    process.stderr.close()
