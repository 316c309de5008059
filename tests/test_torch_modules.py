"""Every module beside PyTorch's of the same name: outputs, gradients, buffers, initial weights.

One `Twin` a module, over a grid of its options, in float64.
"""

import inspect
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

torch = pytest.importorskip("torch", reason="compares with torch (the extra minigrad[compare])")

RTOL, ATOL = 1e-10, 1e-10


def grid(**options):
    """Return every combination of the options' values."""
    return [dict(zip(options, values, strict=True)) for values in product(*options.values())]


def normal(*shape):
    """Return what draws a floating input; a gradient is taken by it."""
    return lambda rng: rng.normal(size=shape)


def probabilities(*shape):
    return lambda rng: rng.random(shape)


def whole(low, high, *shape):
    """Return what draws an integer input."""
    return lambda rng: rng.integers(low, high, shape)


@dataclass(frozen=True)
class Twin:
    """A module and its calls.

    inputs: what draws each argument, or values; several lists of them: several calls one after the
    other, as running statistics need. options: keywords of the constructor. call: keywords of the
    call. renamed: minigrad's option -> PyTorch's. modes: training or not, what is compared. drawn:
    whether initial weights are compared.
    """

    name: str
    calls: list[list[Any]]
    options: list[dict[str, Any]] | tuple[dict[str, Any], ...] = ({},)
    call: list[dict[str, Any]] | tuple[dict[str, Any], ...] = ({},)
    renamed: tuple[tuple[str, str], ...] = ()
    modes: tuple[bool, ...] = (True, False)
    drawn: bool = True

    def theirs(self, options):
        renamed = dict(self.renamed)
        given = {
            renamed.get(k, k): torch.tensor(v) if isinstance(v, np.ndarray) else v
            for k, v in options.items()
        }
        return getattr(torch.nn, self.name)(**given)


REDUCTIONS = ["none", "mean", "sum"]
LOGITS, LABELS = normal(4, 3, 2), whole(0, 3, 4, 2)
WEIGHT = np.array([0.5, 2.0, 1.0])
STEPS, STATES = normal(3, 2, 2), [normal(4, 2, 3), normal(4, 2, 3)]
LATER = np.triu(np.ones((3, 4), bool), 1)  # in MultiheadAttention, true is masked out
PADDING = np.array([[False, False, True, False], [False, False, False, True]])
# Which PyTorch 2.11's group norm does not know.
WITHOUT_BIAS = {"bias": False} if "bias" in inspect.signature(torch.nn.GroupNorm).parameters else {}
LAYERED = [
    {"num_layers": 2, "bidirectional": True},
    {"batch_first": True},
    {"num_layers": 2, "bias": False},
]

TWINS = [
    Twin(
        "Linear",
        [[normal(3)], [normal(2, 4, 3)]],
        grid(in_features=[3], out_features=[2], bias=[True, False]),
    ),
    Twin(
        "Conv1d",
        [[normal(2, 4, 7)], [normal(4, 5)]],
        [
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, **more}
            for more in grid(stride=[1, 2], padding=[0, 2], dilation=[1, 2], groups=[1, 2])
        ],
        modes=(True,),
    ),
    Twin(
        "Conv2d",
        [[normal(2, 2, 6, 5)], [normal(2, 5, 6)]],
        [
            {"in_channels": 2, "out_channels": 4, **more}
            for more in (
                *grid(
                    kernel_size=[3, (1, 3)],
                    padding=[(0, 1), "same", "valid"],
                    padding_mode=["zeros", "reflect", "replicate", "circular"],
                    bias=[True],
                ),
                *grid(
                    kernel_size=[(2, 3)],
                    stride=[3, (1, 2)],
                    padding=[(1, 0)],
                    dilation=[1, (2, 1)],
                    groups=[1, 2],
                    bias=[True, False],
                ),
                {"kernel_size": 1},
            )
        ],
        modes=(True,),
    ),
    Twin(
        "Conv3d",
        [[normal(2, 2, 3, 4, 3)], [normal(2, 3, 3, 3)]],
        [
            {"in_channels": 2, "out_channels": 4, **more}
            for more in (
                {"kernel_size": 2, "stride": (1, 2, 1), "padding": (0, 1, 1), "groups": 2},
                {"kernel_size": (1, 2, 3), "padding": "same", "padding_mode": "circular"},
                {"kernel_size": (3, 2, 1), "dilation": (1, 2, 1), "bias": False},
            )
        ],
        modes=(True,),
    ),
    Twin(
        "Unfold",
        [[normal(2, 2, 4, 5)], [normal(2, 3, 4)]],
        [
            {"kernel_size": 2},
            {"kernel_size": (3, 2), "dilation": (1, 2), "padding": (1, 0), "stride": (2, 1)},
        ],
        modes=(True,),
    ),
    Twin(
        "Fold",
        [[normal(2, 8, 6)], [normal(4, 6)]],
        [
            {"output_size": (3, 4), "kernel_size": 2},
            {
                "output_size": (4, 3),
                "kernel_size": 2,
                "dilation": 2,
                "padding": 1,
                "stride": (2, 1),
            },
        ],
        modes=(True,),
    ),
    *(
        Twin(
            name,
            [[normal(2, 4, *lengths)], [normal(4, *lengths)]],
            [
                {"in_channels": 4, "out_channels": 6, "kernel_size": 3, **more}
                for more in (
                    *grid(stride=[1, 2], padding=[0, 1], dilation=[1, 2], groups=[1, 2]),
                    {"stride": 3, "output_padding": 2, "bias": False},
                    {"dilation": 2, "output_padding": 1},
                )
            ],
            modes=(True,),
        )
        for name, lengths in (("ConvTranspose1d", (4,)), ("ConvTranspose2d", (3, 4)))
    ),
    Twin("Identity", [[normal(2, 3)]]),
    Twin(
        "Flatten",
        [[normal(2, 3, 4)]],
        ({}, {"start_axis": 0}, {"end_axis": 1}),
        renamed=(("start_axis", "start_dim"), ("end_axis", "end_dim")),
    ),
    Twin("Dropout", [[normal(2, 3)]], grid(p=[0.0, 0.5]), modes=(False,)),
    Twin("Dropout1d", [[normal(2, 3)], [normal(2, 3, 2)]], grid(p=[0.5]), modes=(False,)),
    Twin("Dropout2d", [[normal(2, 3, 2, 2)]], grid(p=[0.5]), modes=(False,)),
    *(
        Twin(name, [[normal(2, 3)]], modes=(True,))
        for name in "ReLU Sigmoid Tanh SiLU Mish SELU ReLU6 LogSigmoid Hardswish".split()
    ),
    Twin("GELU", [[normal(2, 3)]], grid(approximate=["none", "tanh"]), modes=(True,)),
    *(
        Twin(name, [[normal(2, 3)]], grid(alpha=[1.0, 0.5]), modes=(True,))
        for name in ("ELU", "CELU")
    ),
    Twin("Softplus", [[normal(2, 3)]], ({}, {"beta": 2.0, "threshold": 0.5}), modes=(True,)),
    Twin("Hardtanh", [[normal(2, 3)]], ({}, {"min_val": -0.5, "max_val": 0.1}), modes=(True,)),
    Twin("LeakyReLU", [[normal(2, 3)]], ({}, {"negative_slope": 0.3}), modes=(True,)),
    Twin("PReLU", [[normal(2, 3)], [normal(2, 3, 2)]], ({}, {"num_parameters": 3, "init": 0.1})),
    Twin("GLU", [[normal(2, 3, 4)]], grid(axis=[0, -1]), renamed=(("axis", "dim"),)),
    Twin(
        "LayerNorm",
        [[normal(2, 3, 4)]],
        [
            *grid(normalized_shape=[4, (3, 4)], elementwise_affine=[True, False]),
            {"normalized_shape": 4, "eps": 0.1, "bias": False},
        ],
        modes=(True,),
    ),
    Twin(
        "RMSNorm",
        [[normal(2, 3, 4)]],
        [
            *grid(normalized_shape=[4, (3, 4)], elementwise_affine=[True, False]),
            {"normalized_shape": 4, "eps": 0.1},
        ],
        modes=(True,),
    ),
    Twin(
        "GroupNorm",
        [[normal(2, 4)], [normal(3, 4, 2, 2)]],
        [
            *grid(num_groups=[1, 2], num_channels=[4], affine=[True, False]),
            {"num_groups": 4, "num_channels": 4, "eps": 0.1, **WITHOUT_BIAS},
        ],
        modes=(True,),
    ),
    *(
        Twin(
            name,
            calls,
            [
                *grid(num_features=[3], momentum=[0.1, None], track_running_stats=[True, False]),
                {"num_features": 3, "affine": False, "eps": 0.1},
            ],
        )
        for name, calls in (
            ("BatchNorm1d", [[normal(4, 3)], [normal(2, 3, 2)], [normal(0, 3)]]),
            ("BatchNorm2d", [[normal(2, 3, 2, 1)], [normal(1, 3, 2, 2)]]),
        )
    ),
    Twin(
        "Embedding",
        [[whole(0, 4, 5)], [whole(0, 4, 2, 3)]],
        grid(num_embeddings=[4], embedding_dim=[3], padding_idx=[None, 1, -1]),
        modes=(True,),
    ),
    *(
        Twin(name, [[normal(2, 3, 4)]], grid(axis=[0, -1]), renamed=(("axis", "dim"),))
        for name in ("Softmax", "LogSoftmax")
    ),
    Twin(
        "MaxPool1d",
        [[normal(2, 3, 6)], [normal(3, 5)]],
        [
            {"kernel_size": 2},
            {"kernel_size": 3, "stride": 2, "padding": 1, "return_indices": True},
            {"kernel_size": 2, "stride": 1, "dilation": 3},
        ],
    ),
    Twin(
        "MaxPool2d",
        [[normal(2, 3, 6, 5)], [normal(3, 5, 7)]],
        [
            *grid(
                kernel_size=[2, (3, 2)],
                stride=[None, (1, 2)],
                padding=[0, 1],
                dilation=[1, 2],
                ceil_mode=[False, True],
            ),
            {"kernel_size": (3, 2), "stride": 2, "padding": 1, "return_indices": True},
        ],
        modes=(True,),
    ),
    Twin(
        "AvgPool1d",
        [[normal(2, 3, 6)], [normal(3, 5)]],
        grid(
            kernel_size=[3],
            stride=[None, 2],
            padding=[1],
            ceil_mode=[False, True],
            count_include_pad=[True, False],
        ),
    ),
    Twin(
        "AvgPool2d",
        [[normal(2, 3, 6, 5)], [normal(3, 5, 7)]],
        [
            *grid(
                kernel_size=[2, (3, 2)],
                stride=[None, (1, 2)],
                padding=[1],
                ceil_mode=[False, True],
                count_include_pad=[True, False],
            ),
            {"kernel_size": 2, "divisor_override": 3},
        ],
        modes=(True,),
    ),
    Twin("AdaptiveAvgPool1d", [[normal(2, 3, 6)], [normal(3, 5)]], grid(output_size=[1, 2, 4, 7])),
    Twin(
        "AdaptiveAvgPool2d",
        [[normal(2, 3, 6, 5)], [normal(3, 5, 7)]],
        grid(output_size=[1, (3, 2), (None, 4)]),
    ),
    *(
        Twin("Upsample", [[normal(2, 3, *lengths)]], options, modes=(True,))
        for lengths, options in [
            ((4,), grid(size=[3, 7], mode=["nearest", "linear"])),
            ((4, 3), grid(scale_factor=[2, 1.5], mode=["nearest"])),
            (
                (4, 3),
                grid(size=[(3, 1), 5], mode=["bilinear"], align_corners=[None, False, True]),
            ),
            (
                (4, 3),
                grid(scale_factor=[2, (0.6, 2.3)], mode=["bilinear"], align_corners=[True, False]),
            ),
            ((2, 3, 2), grid(size=[4], mode=["trilinear", "nearest"])),
        ]
    ),
    *(
        Twin(name, [[normal(2, 3), normal(2, 3)]], grid(reduction=REDUCTIONS))
        for name in ("MSELoss", "L1Loss")
    ),
    Twin(
        "SmoothL1Loss", [[normal(2, 3), normal(2, 3)]], grid(reduction=REDUCTIONS, beta=[0.5, 1.0])
    ),
    Twin("HuberLoss", [[normal(2, 3), normal(2, 3)]], grid(reduction=REDUCTIONS, delta=[0.5, 1.0])),
    *(
        Twin(
            "KLDivLoss",
            [[normal(2, 3), target]],
            grid(reduction=["none", "sum", "batchmean"], log_target=[log_target]),
            modes=(True,),
        )
        for log_target, target in ((False, probabilities(2, 3)), (True, normal(2, 3)))
    ),
    Twin(
        "BCELoss",
        [[probabilities(2, 3), probabilities(2, 3)]],
        grid(reduction=REDUCTIONS, weight=[None, WEIGHT]),
        modes=(True,),
    ),
    Twin(
        "BCEWithLogitsLoss",
        [[normal(2, 3), lambda rng: rng.random((2, 3))]],
        grid(reduction=REDUCTIONS, weight=[None, WEIGHT], pos_weight=[None, WEIGHT]),
    ),
    Twin(
        "NLLLoss",
        [[LOGITS, LABELS]],
        grid(reduction=REDUCTIONS, weight=[None, WEIGHT], ignore_index=[-100, 1]),
    ),
    Twin(
        "CrossEntropyLoss",
        [[LOGITS, LABELS]],
        grid(
            reduction=REDUCTIONS,
            weight=[None, WEIGHT],
            ignore_index=[-100, 1],
            label_smoothing=[0.0, 0.1],
        ),
    ),
    Twin(  # with its weights, over every kind of mask
        "MultiheadAttention",
        [[normal(3, 2, 4), normal(4, 2, 4), normal(4, 2, 4)]],
        [
            {"embed_dim": 4, "num_heads": 2},
            {"embed_dim": 4, "num_heads": 2, "add_bias_kv": True, "add_zero_attn": True},
        ],
        [
            {},
            {"attn_mask": LATER, "average_attn_weights": False},
            {"attn_mask": np.where(LATER, -1.5, 0.5), "key_padding_mask": -PADDING.astype(float)},
            {"attn_mask": np.stack([LATER] * 4), "key_padding_mask": PADDING},
            {"need_weights": False, "key_padding_mask": PADDING},
        ],
        modes=(True,),
    ),
    Twin(
        "MultiheadAttention",
        [[normal(2, 3, 4), normal(2, 4, 3), normal(2, 4, 5)]],
        grid(
            embed_dim=[4], num_heads=[2], kdim=[3], vdim=[5], batch_first=[True], bias=[True, False]
        ),
        [{}, {"need_weights": False, "attn_mask": LATER, "is_causal": True}],
        modes=(True,),
    ),
    Twin(
        "MultiheadAttention",
        [[normal(3, 4), normal(4, 4), normal(4, 4)]],
        grid(embed_dim=[4], num_heads=[2], batch_first=[True, False]),
        [{"average_attn_weights": average} for average in (True, False)],
        modes=(False,),
    ),
    Twin(
        "TransformerEncoderLayer",
        [[normal(3, 2, 4)], [normal(3, 4)]],
        [
            {"d_model": 4, "nhead": 2, "dim_feedforward": 6, "dropout": 0.0, **more}
            for more in (
                {},
                {"activation": "gelu", "norm_first": True, "bias": False},
                {"layer_norm_eps": 0.1},
            )
        ],
        [{}, {"src_mask": LATER[:, :3], "is_causal": True}],
    ),
    Twin(
        "TransformerEncoderLayer",
        [[normal(2, 4, 4)]],
        grid(
            d_model=[4],
            nhead=[2],
            dim_feedforward=[6],
            batch_first=[True],
            norm_first=[True, False],
        ),
        [{"src_key_padding_mask": PADDING}],
        modes=(False,),
        drawn=False,
    ),
    *(
        Twin(
            name,
            [[STEPS]],
            [{"input_size": 2, "hidden_size": 3, **more} for more in ({}, *LAYERED, *extra)],
            modes=(True,),
        )
        for name, extra in {
            "RNN": [{"nonlinearity": "relu"}],
            "LSTM": [{"num_layers": 2, "bidirectional": True, "proj_size": 2}],
            "GRU": [],
        }.items()
    ),
    *(
        Twin(
            name,
            [[STEPS, state], [normal(3, 2), unbatched]],
            [{"input_size": 2, "hidden_size": 3, "num_layers": 2, "bidirectional": True}],
            modes=(False,),
        )
        for name, state, unbatched in (
            ("RNN", STATES[0], normal(4, 3)),
            ("LSTM", STATES, [normal(4, 3), normal(4, 3)]),
            ("GRU", STATES[0], normal(4, 3)),
        )
    ),
    *(
        Twin(
            name,
            [[normal(2)], [normal(4, 2), state]],
            [{"input_size": 2, "hidden_size": 3, **more} for more in ({}, *extra)],
            modes=(True,),
        )
        for name, state, extra in (
            ("RNNCell", normal(4, 3), [{"nonlinearity": "relu"}]),
            ("LSTMCell", [normal(4, 3), normal(4, 3)], []),
            ("GRUCell", normal(4, 3), [{"bias": False}]),
        )
    ),
    Twin(
        "CrossEntropyLoss",
        [[LOGITS, lambda rng: rng.dirichlet(np.ones(3), (4, 2)).transpose(0, 2, 1)]],
        grid(reduction=REDUCTIONS, weight=[None, WEIGHT], label_smoothing=[0.0, 0.1]),
    ),
]

CASES = [
    pytest.param(
        twin,
        options,
        call,
        training,
        id="-".join(
            [
                twin.name,
                *(str(getattr(value, "shape", value)) for value in {**options, **call}.values()),
                "train" if training else "eval",
            ]
        ),
    )
    for twin in TWINS
    for options in twin.options
    for call in twin.call
    for training in twin.modes
]


#: Modules without a twin in PyTorch, or that are compared elsewhere.
ALONE = {"LazyLinear", "Module", "ModuleDict", "ModuleList", "Parameter", "Sequential", "Summary"}
ALONE |= {"Hardsigmoid"}  # PyTorch's derivative is 1/6 rounded to float32


def is_module(name):
    return isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.Module)


def test_every_module_has_a_twin():
    modules = {name for name in nn.__all__ if is_module(name)}
    assert modules - ALONE == {twin.name for twin in TWINS}


@pytest.fixture(autouse=True)
def double_precision():
    theirs, ours = torch.get_default_dtype(), mg.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    mg.set_default_dtype(mg.float64)
    yield
    torch.set_default_dtype(theirs)
    mg.set_default_dtype(ours)


def flat(values):
    """Return the tensors in a result, nested or not, without None."""
    if isinstance(values, tuple | list):
        return [leaf for value in values for leaf in flat(value)]
    return [] if values is None else [values]


def assert_close(found, wanted, note):
    assert found.shape == tuple(wanted.shape), note
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), RTOL, ATOL, err_msg=note)


def drawn(makers, rng):
    """Return fresh arguments; those of one drawing differ between calls."""
    return [
        drawn(make, rng) if isinstance(make, list) else make(rng) if callable(make) else make
        for make in makers
    ]


@pytest.mark.parametrize(("twin", "options", "call", "training"), CASES)
def test_module(twin, options, call, training, on_each_backend):
    rng = np.random.default_rng(5)
    ours, theirs = getattr(nn, twin.name)(**options), twin.theirs(options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    ours.train(training), theirs.train(training)
    for number, makers in enumerate(twin.calls):
        note = f"call {number}"
        arrays = drawn(makers, rng)
        xs, ys = map_floats(arrays, ours_of), map_floats(arrays, theirs_of)
        found, wanted = flat(ours(*xs, **call)), flat(theirs(*ys, **call_of_theirs(call)))
        assert len(found) == len(wanted)
        cotangents = [rng.normal(size=y.shape) for y in found]
        for y, z in zip(found, wanted, strict=True):
            assert_close(y.detach(), z.detach(), note)
        pairs = [
            (y, z, g) for y, z, g in zip(found, wanted, cotangents, strict=True) if z.requires_grad
        ]
        sum((y * mg.tensor(g)).sum() for y, _, g in pairs).backward()
        sum((z * torch.tensor(g)).sum() for _, z, g in pairs).backward()
        for x, y in zip(flat(xs), flat(ys), strict=True):
            if y.requires_grad and y.grad is not None:
                assert_close(x.grad, y.grad, f"{note}, gradient by an input")
        for (name, p), (_, q) in zip(
            ours.named_parameters(), theirs.named_parameters(), strict=True
        ):
            if q.grad is not None:
                assert_close(p.grad, q.grad, f"{note}, gradient of {name}")
        for (name, p), (_, q) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
            assert_close(p, q, f"{note}, buffer {name}")


@pytest.mark.parametrize("twin", [t for t in TWINS if t.name != "Identity"], ids=lambda t: t.name)
@mg.no_grad()
def test_layers_take_arrays_and_lists(twin):
    """Lists: but for layers that are one op, which takes tensors, arrays and numbers."""
    layer = getattr(nn, twin.name)(**twin.options[0]).eval()
    arrays = drawn(twin.calls[0], np.random.default_rng(5))
    wanted = flat(layer(*map_floats(arrays, mg.tensor)))
    lists = map_floats(arrays, np.ndarray.tolist)
    is_op = isinstance(layer, nn.Linear) or type(layer).__module__.endswith("activation")
    for given in [arrays] if is_op else [arrays, lists]:
        for found, out in zip(flat(layer(*given)), wanted, strict=True):
            np.testing.assert_allclose(found.numpy(), out.numpy(), 1e-12)


def map_floats(value, make):
    if isinstance(value, tuple | list):
        return type(value)([map_floats(v, make) for v in value])
    return make(value) if isinstance(value, np.ndarray) else value


def ours_of(array):
    return mg.tensor(array, requires_grad=array.dtype.kind == "f")


def theirs_of(array):
    return torch.tensor(array, requires_grad=array.dtype.kind == "f")


def call_of_theirs(call):
    return {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in call.items()}


DRAWN = [(twin, twin.options[0]) for twin in TWINS if twin.drawn]


@pytest.mark.parametrize(("twin", "options"), DRAWN, ids=lambda part: getattr(part, "name", ""))
def test_initial_weights_are_drawn_alike(twin, options):
    """Mean, spread and largest value of many drawings: equal but for chance."""
    mg.manual_seed(0)
    torch.manual_seed(0)
    ours = [dict(getattr(nn, twin.name)(**options).named_parameters()) for _ in range(100)]
    theirs = [dict(twin.theirs(options).named_parameters()) for _ in range(100)]
    for name in ours[0]:
        a = np.concatenate([p[name].detach().numpy().ravel() for p in ours])
        b = np.concatenate([p[name].detach().numpy().ravel() for p in theirs])
        chance = 5 * b.std() / len(b) ** 0.5
        np.testing.assert_allclose(a.mean(), b.mean(), atol=2 * chance, err_msg=name)
        np.testing.assert_allclose(a.std(), b.std(), atol=chance, err_msg=name)
