"""What a GPU's users are told: of their card, of memory that is short, of backends that meet."""

import re
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad import backends, cli, hardware, nn


@pytest.fixture
def no_driver(tmp_path, monkeypatch):
    """No program is found, nvidia-smi included."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def driver(no_driver):
    """Makes an nvidia-smi that answers with a text."""

    def install(answer, code=0):
        program = no_driver / "nvidia-smi"
        program.write_text(f'#!/bin/sh\necho "{answer}"\nexit {code}\n')
        program.chmod(0o755)

    return install


@pytest.fixture
def table(capsys):
    """Returns what `minigrad info` prints, by the words before the colons."""

    def info():
        assert cli.main(["info"]) == 0
        return dict(
            re.split(r":\s+", line, maxsplit=1) for line in capsys.readouterr().out.split("\n")[:-1]
        )

    return info


def absent():
    raise backends.BackendUnavailable("needs CuPy")


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(backends._loaders, "cupy", absent)
    monkeypatch.delitem(backends._loaded, "cupy", raising=False)


def test_info_without_a_gpu(no_driver, no_cupy, table):
    found = table()
    assert found["GPU"] == "none found: it takes an NVIDIA GPU and its driver, which has nvidia-smi"
    assert not {"GPU driver", "CUDA"} & set(found)


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("590.1", 'for pip install "minigrad[cuda13]"'),
        ("550.54.15", 'for pip install "minigrad[cuda12]"'),
        ("470.2", "too old: CuPy's CUDA 12 needs 525 or newer"),
    ],
)
def test_info_names_the_extra_for_a_driver(no_cupy, driver, table, version, says):
    driver(f"NVIDIA Card, 2048, 1024, {version}")
    found = table()
    assert found["GPU"] == "NVIDIA Card"
    assert found["GPU memory"] == "2.0 GiB, 1.0 GiB of it free"
    assert found["GPU driver"] == f"{version}, {says}"
    assert found["backend cupy"] == "not usable: needs CuPy"


@pytest.mark.parametrize("answer", ["", "No devices were found", "NVIDIA Card, [N/A], 1, 550.1"])
@pytest.mark.parametrize("code", [0, 9])
def test_what_cannot_be_read_of_a_driver_is_left_out(no_cupy, driver, answer, code):
    driver(answer, code)
    assert hardware.gpu() == {}


def test_info_asks_cupy(cupy, no_driver, table):
    found = table()
    assert found["GPU"] == "NVIDIA Pretended"
    assert found["GPU memory"] == "4.0 GiB, 3.0 GiB of it free"
    assert found["CUDA"] == "12.8; the driver runs 12.9 and older"
    assert found["backend cupy"] == "usable"


def fails(*args):
    raise RuntimeError("CuPy failed to load libnvrtc.so.12\nTraceback follows")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("__version__", "13.6.0", "14 or newer and CUDA's libraries (this is 13.6.0); install the"),
        ("arange", fails, "no usable GPU (CuPy failed to load libnvrtc.so.12); check the driver"),
    ],
)
def test_info_says_in_a_line_what_cupy_lacks(cupy, monkeypatch, table, name, value, says):
    monkeypatch.setattr(cupy, name, value)
    assert says in table()["backend cupy"]


def test_why_cupy_cannot_be_imported_is_one_line(tmp_path, monkeypatch):
    if backends.status()["cupy"].usable:
        pytest.skip("stands in for CuPy, and here is a GPU")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)  # one that is installed, for nothing
    page = 'raise ImportError("=====\\nFailed to import CuPy.") from OSError("no libcudart.so.12")'
    (tmp_path / "cupy.py").write_text(page)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(backends.BackendUnavailable) as caught:
        mg.use_backend("cupy")
    assert "needs CuPy 14 or newer and CUDA's libraries (no libcudart.so.12); " in str(caught.value)


# Memory


@pytest.fixture
def full(cupy, monkeypatch):
    """The pretended card, on which nothing is free for products, new arrays and transfers."""

    def fail(*args, **options):
        raise cupy.OutOfMemoryError(4 << 30, 76 << 30)

    for name in ("matmul", "zeros", "exp"):
        monkeypatch.setattr(cupy, name, fail)
    return fail


SHORT = "Out of memory allocating 4,294,967,296 bytes (allocated so far: 81,604,378,624 bytes); try"


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda x: x @ x, "matmul of x: float32 (2, 2), y: float32 (2, 2)"),
        (lambda x: x.exp(), "exp of x: float32 (2, 2)"),
        (lambda x: mg.zeros((2, 2), backend="cupy"), "zeros"),
    ],
)
def test_short_memory_names_the_op_the_request_and_what_to_try(full, call, what):
    x = mg.ones((2, 2), backend="cupy")
    with pytest.raises(MemoryError) as caught:
        call(x)
    assert str(caught.value).startswith(f"{what}: {SHORT}")
    for advice in ("smaller batch", "mg.no_grad()", "mg.checkpoint", "nvidia-smi"):
        assert advice in str(caught.value)


def test_short_memory_in_a_transfer(cupy, full, monkeypatch):
    monkeypatch.setattr(cupy, "asarray", full)
    with pytest.raises(MemoryError) as caught:
        mg.tensor(np.ones((2, 3), np.float32), backend="cupy")
    assert str(caught.value).startswith(f"float32 (2, 3) to cupy: {SHORT}")


# Backends that meet

LAYERS = {
    "linear": (lambda: nn.Linear(3, 2), (4, 3)),
    "batch norm": (lambda: nn.BatchNorm1d(3), (4, 3)),
    "layer norm": (lambda: nn.LayerNorm(3), (4, 3)),
    "rms norm": (lambda: nn.RMSNorm(3), (4, 3)),
    "group norm": (lambda: nn.GroupNorm(1, 3), (4, 3)),
    "convolution": (lambda: nn.Conv2d(1, 2, 3), (2, 1, 5, 5)),
    "attention": (lambda: nn.TransformerEncoderLayer(4, 2, 8), (2, 3, 4)),
    "prelu": (lambda: nn.PReLU(), (4, 3)),
    "rnn": (lambda: nn.RNN(3, 2), (4, 2, 3)),
    "lstm": (lambda: nn.LSTM(3, 2), (4, 2, 3)),
    "gru": (lambda: nn.GRU(3, 2), (4, 2, 3)),
    "network": (lambda: nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)), (4, 3)),
}
BOTH = (
    r"^operands live on different devices: .*move a tensor or a model with \.to\('\w+'\) or \.to\("
)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("given", ["tensor", "array"])
def test_a_model_and_a_batch_on_different_backends(layer, given):
    make, shape = LAYERS[layer]
    model, batch = make().to("strict"), np.ones(shape, np.float32)
    with pytest.raises(TypeError, match=BOTH) as caught:
        model(mg.tensor(batch) if given == "tensor" else batch)
    assert "numpy (cpu)" in str(caught.value) and "strict (strict:0)" in str(caught.value)


LOSSES = {
    "cross-entropy": (nn.functional.cross_entropy, np.zeros(4, np.int64)),
    "nll": (nn.functional.nll_loss, np.zeros(4, np.int64)),
    "soft cross-entropy": (nn.functional.cross_entropy, np.full((4, 3), 1 / 3, np.float32)),
    "mse": (nn.functional.mse_loss, np.ones((4, 3), np.float32)),
    "l1": (nn.functional.l1_loss, np.ones((4, 3), np.float32)),
    "smooth l1": (nn.functional.smooth_l1_loss, np.ones((4, 3), np.float32)),
    "bce": (nn.functional.binary_cross_entropy_with_logits, np.ones((4, 3), np.float32)),
    "kl": (nn.functional.kl_div, np.ones((4, 3), np.float32)),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_outputs_and_targets_on_different_backends(loss):
    call, target = LOSSES[loss]
    outputs = mg.zeros((4, 3), backend="strict", requires_grad=True)
    with pytest.raises(TypeError, match=BOTH):
        call(outputs, mg.tensor(target))


def test_indices_of_an_embedding_on_another_backend():
    model = nn.Embedding(5, 2).to("strict")
    with pytest.raises(TypeError, match=BOTH):
        model(mg.tensor([1, 2]))


def test_parameters_on_different_backends():
    there, here = (nn.Linear(2, 2).to(name) for name in ("strict", "numpy"))
    with pytest.raises(ValueError, match=r"is on cpu, .* group on strict:0; move all of the"):
        mg.optim.Adam([*there.parameters(), *here.parameters()])


@pytest.mark.parametrize("optimizer", [mg.optim.Adam, mg.optim.SGD])
def test_a_model_that_moves_needs_a_new_optimizer(optimizer):
    model, x = nn.Linear(2, 2), np.ones((3, 2), np.float32)

    def step(optimizer):
        optimizer.zero_grad()
        model(mg.tensor(x, backend=model.weight.backend)).sum().backward()
        optimizer.step()

    old = optimizer(model.parameters(), lr=0.1)
    step(old)
    model.to("strict")
    with pytest.raises(ValueError, match=r"on strict \(strict:0\), but were on numpy \(cpu\) when"):
        step(old)
    new = optimizer(model.parameters(), lr=0.1)
    new.load_state_dict(old.state_dict())
    step(new)
