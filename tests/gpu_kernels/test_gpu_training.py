"""A training step with GPU kernels: what it launches, and that the host waits for nothing."""

import dataclasses

import numpy as np

import minigrad as mg
from minigrad import backends
from minigrad.optim import AdamW


def test_the_host_reads_nothing_in_a_training_step(emulated, device, monkeypatch):
    def refuse(*_):
        raise AssertionError("a training step reads the device")

    deaf = dataclasses.replace(emulated, to_numpy=refuse, synchronize=refuse, runs={})
    monkeypatch.setitem(backends._loaded, "emulated", deaf)
    with mg.use_backend("emulated"):
        mg.manual_seed(0)
        model = mg.nn.Sequential(
            mg.nn.Linear(6, 8),
            mg.nn.GELU(),
            mg.nn.LayerNorm(8),
            mg.nn.Dropout(0.5),
            mg.nn.Linear(8, 3),
        )
        optimizer = AdamW(model.parameters(), lr=0.1)
        x, labels = mg.rand(5, 6), mg.tensor(np.arange(5) % 3)
        for _ in range(2):
            optimizer.zero_grad()
            device.launched.clear()
            loss = mg.nn.functional.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
    assert device.launched == [
        "linear_gelu_float",
        "normalize_float_short",
        "dropout_float_each",
        "softmax_cross_entropy_float_warp",
        "masked_float_each",
        "normalize_backward_float_short",
        "add_up_float",
        "linear_gelu_backward_float",
        "add_up_float",
        "adam_update_float",
    ]
    assert np.isfinite(emulated.to_numpy(loss._array))
