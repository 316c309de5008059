"""What launches kernels through CuPy, on something that stands for CuPy."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minigrad import refusals
from minigrad.kernels import gpu
from minigrad.kernels.gpu.launcher import OPTIONS, source_of


@pytest.fixture
def cupy(monkeypatch):
    """A module with what the launcher asks of CuPy, which notes what is compiled and launched."""
    stream = SimpleNamespace(ptr=1)

    class Array(np.ndarray):
        @property
        def data(self):
            return SimpleNamespace(ptr=self.ctypes.data)

    def made(create):
        return lambda shape, dtype: create(shape, dtype).view(Array)

    class RawModule:
        def __init__(self, code, options):
            fake.compiled.append((code, options))

        def get_function(self, name):
            return lambda *call: fake.launched.append((name, *call))

    fake = SimpleNamespace(
        empty=made(np.empty),
        zeros=made(np.zeros),
        cuda=SimpleNamespace(get_current_stream=lambda: stream),
        RawModule=RawModule,
        stream=stream,
        compiled=[],
        launched=[],
    )
    monkeypatch.setitem(sys.modules, "cupy", fake)
    return fake


def test_a_source_is_compiled_once_and_scalars_are_arguments(cupy):
    slot = refusals.ErrorSlot(np, np.asarray)
    kernel = gpu.on_cupy(slot)["softmax_cross_entropy"]
    logits, labels = cupy.zeros((5, 3), np.float32), cupy.zeros((5,), np.int64)
    for ignore_index in (-100, 1):
        params = {"ignore_index": ignore_index, "label_smoothing": 0.5, "reduction": "sum"}
        loss, dlogits, total = kernel(logits, labels, **params)
        assert (loss.shape, dlogits.shape, total.shape) == ((), (5, 3), ())
    assert cupy.compiled == [(source_of("cross_entropy"), OPTIONS)]
    (name, blocks, threads, args), second = cupy.launched
    assert (name, blocks, threads) == ("softmax_cross_entropy_float_warp", (2,), (128,))
    assert (args[0] is logits, args[2:6]) == (True, (None, 5, 3, -100))
    assert second[3][5] == 1


def test_each_stream_counts_its_own_blocks(cupy):
    kernel = gpu.on_cupy(refusals.ErrorSlot(np, np.asarray))["softmax_cross_entropy"]
    logits, labels = cupy.zeros((5, 3), np.float32), cupy.zeros((5,), np.int64)
    for stream in (1, 2, 1):
        cupy.stream.ptr = stream
        kernel(logits, labels, ignore_index=-1, label_smoothing=0.0, reduction="mean")
    counters = [launch[3][14] for launch in cupy.launched]
    assert counters[0] is counters[2] is not counters[1]
    assert all(counter.dtype == np.uint32 for counter in counters)
