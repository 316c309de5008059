"""The emulation of CUDA on the CPU: that it finds what is wrong with a kernel."""

import emulator
import numpy as np
import pytest
from strict import StrictArray

from minigrad.kernels.gpu.launcher import source_of

pytestmark = pytest.mark.skipif(bool(emulator.MISSING), reason=emulator.MISSING)


def launch(body, threads=64, blocks=1, backwards=False, arrays=None):
    """Run a kernel of that body on (float* x, long long n) and return x."""
    x = StrictArray(np.arange(threads, dtype=np.float32) if arrays is None else arrays)
    text = f'extern "C" __global__ void kernel(float* x, long long n) {{ {body} }}\n'
    emulator.launch(text, "kernel", blocks, threads, (x, threads), backwards)
    return x._host


NUMBERS = np.arange(64, dtype=np.float32)
EVERY_LANE = "0xffffffffu"


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("x[threadIdx.x] *= 2;", NUMBERS * 2),
        ("atomicAdd(x, threadIdx.x == 5 ? 3.0f : 0.0f);", NUMBERS + 3 * (NUMBERS == 0)),
        (
            "__shared__ float s[64]; s[threadIdx.x] = x[threadIdx.x]; __syncthreads();"
            "x[threadIdx.x] = s[63 - threadIdx.x];",
            NUMBERS[::-1],
        ),
        (
            f"x[threadIdx.x] = __shfl_xor_sync({EVERY_LANE}, x[threadIdx.x], 1);",
            NUMBERS.reshape(-1, 2)[:, ::-1].ravel(),
        ),
        (
            f"x[threadIdx.x] = __shfl_sync({EVERY_LANE}, x[threadIdx.x], 3);",
            np.repeat([3, 35], 32),
        ),
        (
            f"x[threadIdx.x] = __shfl_down_sync({EVERY_LANE}, x[threadIdx.x], 31u);",
            [31 + i // 32 * 32 if i % 32 == 0 else i for i in range(64)],
        ),
        (
            f"x[threadIdx.x] = __ballot_sync({EVERY_LANE}, threadIdx.x % 32 < 2);",
            np.full(64, 3),
        ),
        (
            "if (threadIdx.x % 32 < 8) { x[threadIdx.x] += 1; __syncwarp(0xffu); }",
            NUMBERS + (NUMBERS % 32 < 8),
        ),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_it_computes(body, wanted, backwards):
    np.testing.assert_array_equal(launch(body, backwards=backwards), wanted)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("if (threadIdx.x < 3) __syncthreads();", "__syncthreads waits for threads that have"),
        ("if (threadIdx.x == 3) return; __syncthreads();", "threads that have finished"),
        (f"if (threadIdx.x < 3) __syncwarp({EVERY_LANE});", "one of its warp that has finished"),
        (
            f"if (threadIdx.x < 40) __syncthreads(); else __syncwarp({EVERY_LANE});",
            "different barriers",
        ),
        ("__shared__ float s[8]; s[n / 6] = 1; x[0] = s[0];", "out of bounds"),
        (
            "struct alignas(16) Four { float a[4]; };"
            "Four* p = reinterpret_cast<Four*>(x + n / 64); p[0] = p[1];",
            "not aligned",
        ),
    ],
)
def test_what_would_be_undefined_on_a_card_is_an_error(body, says):
    with pytest.raises(RuntimeError, match=f"kernel, block 0: .*{says}"):
        launch(body)
    np.testing.assert_array_equal(launch("x[threadIdx.x] = 1;"), np.ones(64))  # and it goes on


def test_a_missing_barrier_shows_in_the_order_of_threads():
    body = (
        "__shared__ float s[64]; s[threadIdx.x] = x[threadIdx.x];"
        "x[threadIdx.x] = s[63 - threadIdx.x];"
    )
    assert launch(body).tobytes() != launch(body, backwards=True).tobytes()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((1,), "takes 2 arguments, not 1"),
        ((1, np.float32(1)), "argument 1 has 8 bytes, not 4"),
    ],
)
def test_arguments_are_counted_and_measured(args, says):
    text = 'extern "C" __global__ void kernel(float* x, long long n) {}'
    with pytest.raises(RuntimeError, match=says):
        emulator.launch(text, "kernel", 1, 32, args)


@pytest.mark.parametrize(("blocks", "threads"), [(0, 32), (1, 0), (1, 1025)])
def test_launches_that_a_card_refuses(blocks, threads):
    with pytest.raises(RuntimeError, match="a launch without blocks"):
        launch("", threads=threads, blocks=blocks)


def test_a_write_out_of_bounds_is_noticed(emulated, device, monkeypatch):
    text = source_of("cross_entropy").replace("out[j] = 0;", "out[j + task.c] = 0;")
    monkeypatch.setattr(emulator.launcher, "source_of", lambda name: text)
    logits, labels = np.zeros((1, 3), np.float32), np.array([-1])
    params = {"ignore_index": -1, "label_smoothing": 0.0, "reduction": "sum"}
    kernel = emulated.kernels["softmax_cross_entropy"]
    with pytest.raises(AssertionError, match="writes out of bounds"):
        kernel(StrictArray(logits), StrictArray(labels), **params)
    device._guarded.clear()
