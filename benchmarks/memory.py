"""What the tape keeps: the bytes of operations and of models, beside PyTorch's.

Counted is what waits for backward: of minigrad all arrays that the nodes of the recorded
graph have saved, of PyTorch all tensors that `torch.autograd.graph.saved_tensors_hooks` sees. On
both sides a buffer counts once, however many views of it are kept, and whole, however small the
view. The inputs of an operation count where they are saved, since in a network they are results of
others; the batch, the parameters and the buffers of a model, which the caller has anyway, do not.
Needs PyTorch (the `compare` extra) for its half.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from arena import Arena, say
from targets import Verdict

QUICK = ("x * y", "linear", "max_pool2d")
GOAL = "bytes on the tape beside PyTorch"


@dataclass(frozen=True)
class Row:
    """A computation that both libraries can do.

    inputs: shapes of random float32, or arrays. call: takes a library (`minigrad` or `torch`), its
    `nn.functional` and the inputs. theirs: the same of PyTorch where that is written otherwise.
    """

    name: str
    inputs: tuple[Any, ...]
    call: Callable[..., Any]
    theirs: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Model:
    """A module and what one batch gives. build: takes `nn` and gives (module, function of it)."""

    name: str
    inputs: tuple[Any, ...]
    build: Callable[[Any], tuple[Any, Callable[..., Any]]]


def labels(high: int, *shape: int) -> Any:
    return np.random.default_rng(1).integers(0, high, shape)


X, IMAGES, SEQUENCE, STEPS = (64, 256), (8, 16, 28, 28), (8, 4, 64, 32), (8, 64, 32)
LABELS = labels(256, 64)
MASK = np.random.default_rng(2).random(X) < 0.5
PLACES = labels(64, 100)
POSITIVE = np.random.default_rng(3).random(X, np.float32) + 0.5
MATRICES = POSITIVE[:, :64] / 64 + np.eye(64, dtype=np.float32)
SYMMETRIC = MATRICES @ MATRICES.T


def of_matrices(names: str, x: Any = MATRICES) -> list[Row]:
    """Functions of a matrix that `linalg` has under one name."""
    return [
        Row(name, (x,), lambda m, f, x, name=name: getattr(m.linalg, name)(x))
        for name in names.split()
    ]


def in_functional(names: str) -> list[Row]:
    """Functions of one array that `nn.functional` has under one name."""
    return [
        Row(name, (X,), lambda m, f, x, name=name: getattr(f, name)(x)) for name in names.split()
    ]


def of_arrays(names: str, *inputs: Any) -> list[Row]:
    """Functions of arrays that both libraries have under one name."""
    return [
        Row(name, inputs, lambda m, f, *xs, name=name: getattr(m, name)(*xs))
        for name in names.split()
    ]


def recurrent_layer(name: str) -> Callable[[Any], tuple[Any, Callable[..., Any]]]:
    """Return what builds a layer of that name over sequences in batches."""

    def build(nn: Any) -> tuple[Any, Callable[..., Any]]:
        layer = getattr(nn, name)(32, 64, batch_first=True)
        return layer, lambda x: layer(x)[0]

    return build


def attention(need_weights: bool) -> Callable[[Any], tuple[Any, Callable[..., Any]]]:
    """Return what builds self-attention over sequences in batches."""

    def build(nn: Any) -> tuple[Any, Callable[..., Any]]:
        layer = nn.MultiheadAttention(32, 4, batch_first=True)
        return layer, lambda x: layer(x, x, x, need_weights=need_weights)[0]

    return build


FAMILIES: dict[str, Sequence[Row | Model]] = {
    "Elementwise": [
        Row("x + y", (X, X), lambda m, f, x, y: x + y),
        Row("x - y", (X, X), lambda m, f, x, y: x - y),
        Row("x * y", (X, X), lambda m, f, x, y: x * y),
        Row("x / y", (X, POSITIVE), lambda m, f, x, y: x / y),
        Row("x + bias", (X, (256,)), lambda m, f, x, bias: x + bias),
        Row("2 * x", (X,), lambda m, f, x: 2 * x),
        Row("x ** 2", (X,), lambda m, f, x: x**2),
        Row("x ** y", (POSITIVE, X), lambda m, f, x, y: x**y),
        *of_arrays("exp exp2 tanh sigmoid sin cos tan sinh cosh atan asinh abs sign", X),
        *of_arrays("square erf erfc sinc expm1", X),
        *of_arrays("log log2 log10 log1p sqrt reciprocal lgamma digamma", POSITIVE),
        *of_arrays("asin acos atanh", POSITIVE / 2),
        Row("xlogy", (X, POSITIVE), lambda m, f, x, y: m.xlogy(x, y)),
        *of_arrays("maximum minimum hypot logaddexp atan2", X, X),
        Row("clip", (X,), lambda m, f, x: m.clip(x, -1, 1)),
        Row("where", (MASK, X, X), lambda m, f, mask, x, y: m.where(mask, x, y)),
    ],
    "Reductions and scans": [
        *of_arrays("sum mean max min prod", X),
        Row("sum, one axis", (X,), lambda m, f, x: x.sum(0)),
        Row("max, one axis", (X,), lambda m, f, x: x.max(0), lambda m, f, x: x.amax(0)),
        Row("var", (X,), lambda m, f, x: x.var(0), lambda m, f, x: x.var(0, correction=0)),
        Row("std", (X,), lambda m, f, x: x.std(0), lambda m, f, x: x.std(0, correction=0)),
        Row("norm", (X,), lambda m, f, x: m.norm(x), lambda m, f, x: m.linalg.vector_norm(x)),
        Row("logsumexp", (X,), lambda m, f, x: m.logsumexp(x, 1)),
        Row(
            "cumulative_sum",
            (X,),
            lambda m, f, x: m.cumulative_sum(x, axis=1),
            lambda m, f, x: x.cumsum(1),
        ),
        Row(
            "cumulative_prod",
            (X,),
            lambda m, f, x: m.cumulative_prod(x, axis=1),
            lambda m, f, x: x.cumprod(1),
        ),
        Row("sort", (X,), lambda m, f, x: m.sort(x), lambda m, f, x: m.sort(x)[0]),
    ],
    "Shapes and indices": [
        Row("reshape", (X,), lambda m, f, x: x.reshape(256, 64)),
        Row("transpose", (X,), lambda m, f, x: x.mT),
        Row("x[:32]", (X,), lambda m, f, x: x[:32]),
        Row("x[places]", (X, PLACES), lambda m, f, x, places: x[places]),
        Row("concat", (X, X), lambda m, f, x, y: m.concat([x, y])),
        Row("stack", (X, X), lambda m, f, x, y: m.stack([x, y])),
        Row(
            "pad",
            (X,),
            lambda m, f, x: m.pad(x, ((0, 0), (1, 1))),
            lambda m, f, x: f.pad(x, (1, 1)),
        ),
        Row("flip", (X,), lambda m, f, x: m.flip(x, (0,))),
        Row("roll", (X,), lambda m, f, x: m.roll(x, 1, 0)),
        Row(
            "take_along_axis",
            (X, labels(256, 64, 8)),
            lambda m, f, x, places: m.take_along_axis(x, places, 1),
            lambda m, f, x, places: x.gather(1, places),
        ),
    ],
    "Matrices": [
        Row("matmul", (X, (256, 32)), lambda m, f, x, y: x @ y),
        Row("matmul, a batch", ((8, 64, 32), (8, 32, 64)), lambda m, f, x, y: x @ y),
        Row("einsum", (X, (256, 32)), lambda m, f, x, y: m.einsum("ij,jk->ik", x, y)),
        Row("kron", ((8, 8), (16, 16)), lambda m, f, x, y: m.kron(x, y)),
        *of_matrices("inv det slogdet qr pinv"),
        Row("solve", (MATRICES, (64, 8)), lambda m, f, x, y: m.linalg.solve(x, y)),
        Row(
            "solve_triangular",
            (MATRICES, (64, 8)),
            lambda m, f, x, y: m.linalg.solve_triangular(x, y, upper=True),
        ),
        Row("lstsq", ((64, 32), (64, 4)), lambda m, f, x, y: m.linalg.lstsq(x, y)[0]),
        *of_matrices("matrix_norm", X),
        *(
            Row(
                f"matrix_norm, {ord}",
                (MATRICES,),
                lambda m, f, x, ord=ord: m.linalg.matrix_norm(x, ord=ord),
            )
            for ord in ("nuc", 1, 2)
        ),
        *of_matrices("cholesky eigh eigvalsh svdvals", SYMMETRIC),
        Row(
            "svd",
            (MATRICES,),
            lambda m, f, x: m.linalg.svd(x, full_matrices=False),
        ),
    ],
    "Fourier transforms": [
        Row("fft", (X,), lambda m, f, x: m.real(m.fft.fft(x))),
        Row("rfft and irfft", (X,), lambda m, f, x: m.fft.irfft(m.fft.rfft(x))),
    ],
    "Activations": [
        *in_functional(
            "relu relu6 elu selu celu silu mish gelu hardswish hardsigmoid hardtanh leaky_relu glu"
        ),
        Row("gelu, tanh", (X,), lambda m, f, x: f.gelu(x, approximate="tanh")),
        Row("prelu", (X, (1,)), lambda m, f, x, w: f.prelu(x, w)),
        Row("softplus", (X,), lambda m, f, x: m.softplus(x), lambda m, f, x: f.softplus(x)),
        Row("log_sigmoid", (X,), lambda m, f, x: m.log_sigmoid(x), lambda m, f, x: f.logsigmoid(x)),
        Row("softmax", (X,), lambda m, f, x: f.softmax(x, -1)),
        Row("log_softmax", (X,), lambda m, f, x: f.log_softmax(x, -1)),
    ],
    "Losses": [
        Row("cross_entropy", (X, LABELS), lambda m, f, x, y: f.cross_entropy(x, y)),
        Row(
            "cross_entropy, smoothed",
            (X, LABELS),
            lambda m, f, x, y: f.cross_entropy(x, y, label_smoothing=0.1),
        ),
        Row("nll_loss", (X, LABELS), lambda m, f, x, y: f.nll_loss(x, y)),
        Row(
            "binary_cross_entropy_with_logits",
            (X, MASK.astype(np.float32)),
            lambda m, f, x, y: f.binary_cross_entropy_with_logits(x, y),
        ),
        Row("mse_loss", (X, X), lambda m, f, x, y: f.mse_loss(x, y)),
        Row("l1_loss", (X, X), lambda m, f, x, y: f.l1_loss(x, y)),
        Row("smooth_l1_loss", (X, X), lambda m, f, x, y: f.smooth_l1_loss(x, y)),
        Row("huber_loss", (X, X), lambda m, f, x, y: f.huber_loss(x, y)),
        Row(
            "kl_div",
            (-POSITIVE, POSITIVE),
            lambda m, f, x, y: f.kl_div(x, y, reduction="batchmean"),
        ),
        Row(
            "kl_div, of logarithms",
            (-POSITIVE, -POSITIVE),
            lambda m, f, x, y: f.kl_div(x, y, reduction="batchmean", log_target=True),
        ),
        Row(
            "binary_cross_entropy",
            (POSITIVE / 2, POSITIVE / 2),
            lambda m, f, x, y: f.binary_cross_entropy(x, y),
        ),
    ],
    "Layers": [
        Row("linear", (X, (32, 256), (32,)), lambda m, f, x, w, b: f.linear(x, w, b)),
        Row(
            "linear, a batch",
            ((8, 64, 32), (16, 32), (16,)),
            lambda m, f, x, w, b: f.linear(x, w, b),
        ),
        Row("dropout", (X,), lambda m, f, x: f.dropout(x, 0.5)),
        Row("dropout2d", (IMAGES,), lambda m, f, x: f.dropout2d(x, 0.5)),
        Row("embedding", (PLACES, (64, 32)), lambda m, f, i, w: f.embedding(i, w)),
    ],
    "Convolutions": [
        Row(
            "conv1d",
            ((8, 16, 64), (32, 16, 3), (32,)),
            lambda m, f, x, w, b: f.conv1d(x, w, b, padding=1),
        ),
        Row(
            "conv2d",
            (IMAGES, (32, 16, 3, 3), (32,)),
            lambda m, f, x, w, b: f.conv2d(x, w, b, padding=1),
        ),
        Row(
            "conv2d, groups",
            (IMAGES, (16, 1, 3, 3), (16,)),
            lambda m, f, x, w, b: f.conv2d(x, w, b, groups=16),
        ),
        Row(
            "conv_transpose2d",
            (IMAGES, (16, 8, 3, 3), (8,)),
            lambda m, f, x, w, b: f.conv_transpose2d(x, w, b, stride=2),
        ),
        Row("unfold", (IMAGES,), lambda m, f, x: f.unfold(x, 3)),
    ],
    "Normalization": [
        Row(
            "batch_norm",
            (IMAGES, np.zeros(16, np.float32), np.ones(16, np.float32), (16,), (16,)),
            lambda m, f, x, mean, var, w, b: f.batch_norm(
                x, mean.detach(), var.detach(), w, b, training=True
            ),
        ),
        Row("layer_norm", (X, (256,), (256,)), lambda m, f, x, w, b: f.layer_norm(x, (256,), w, b)),
        Row("rms_norm", (X, (256,)), lambda m, f, x, w: f.rms_norm(x, (256,), w)),
        Row("group_norm", (IMAGES, (16,), (16,)), lambda m, f, x, w, b: f.group_norm(x, 4, w, b)),
    ],
    "Pooling": [
        Row("max_pool2d", (IMAGES,), lambda m, f, x: f.max_pool2d(x, 2)),
        Row("max_pool2d, 3, 2, 1", (IMAGES,), lambda m, f, x: f.max_pool2d(x, 3, 2, 1)),
        Row("avg_pool2d", (IMAGES,), lambda m, f, x: f.avg_pool2d(x, 2)),
        Row("adaptive_avg_pool2d", (IMAGES,), lambda m, f, x: f.adaptive_avg_pool2d(x, 1)),
        Row("adaptive_avg_pool2d, 3", (IMAGES,), lambda m, f, x: f.adaptive_avg_pool2d(x, 3)),
        Row("interpolate", (IMAGES,), lambda m, f, x: f.interpolate(x, scale_factor=2)),
        Row(
            "interpolate, bilinear",
            (IMAGES,),
            lambda m, f, x: f.interpolate(x, scale_factor=2, mode="bilinear"),
        ),
    ],
    "Attention": [
        Row(
            "scaled_dot_product_attention",
            (SEQUENCE, SEQUENCE, SEQUENCE),
            lambda m, f, q, k, v: f.scaled_dot_product_attention(q, k, v),
        ),
        Row(
            "scaled_dot_product_attention, causal",
            (SEQUENCE, SEQUENCE, SEQUENCE),
            lambda m, f, q, k, v: f.scaled_dot_product_attention(q, k, v, is_causal=True),
        ),
        *(
            Model(f"MultiheadAttention{', weights' * weights}", (STEPS,), attention(weights))
            for weights in (False, True)
        ),
    ],
    "Recurrent layers": [
        *(Model(name, (STEPS,), recurrent_layer(name)) for name in ("RNN", "GRU", "LSTM")),
    ],
}


def classifier(nn: Any, model: Any) -> tuple[Any, Callable[..., Any]]:
    return model, lambda x, target: nn.functional.cross_entropy(model(x), target)


def perceptron(nn: Any) -> tuple[Any, Callable[..., Any]]:
    layers = [nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)]
    return classifier(nn, nn.Sequential(*layers))


def convolutional(nn: Any) -> tuple[Any, Callable[..., Any]]:
    def block(channels: int, more: int) -> list[Any]:
        convolution = nn.Conv2d(channels, more, 3, padding=1)
        return [convolution, nn.BatchNorm2d(more), nn.ReLU(), nn.MaxPool2d(2)]

    layers = [*block(1, 16), *block(16, 32), nn.Flatten(), nn.Linear(32 * 7 * 7, 10)]
    return classifier(nn, nn.Sequential(*layers))


def recurrent(nn: Any) -> tuple[Any, Callable[..., Any]]:
    embedding, lstm = nn.Embedding(64, 32), nn.LSTM(32, 128, batch_first=True)
    head = nn.Linear(128, 64)

    def loss(characters: Any, following: Any) -> Any:
        logits = head(lstm(embedding(characters))[0])
        return nn.functional.cross_entropy(logits.reshape(-1, 64), following)

    return nn.ModuleList([embedding, lstm, head]), loss


def transformer(nn: Any) -> tuple[Any, Callable[..., Any]]:
    embedding = nn.Embedding(64, 64)
    block = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True)
    head = nn.Linear(64, 64)

    def loss(characters: Any, following: Any) -> Any:
        logits = head(block(embedding(characters)))
        return nn.functional.cross_entropy(logits.reshape(-1, 64), following)

    return nn.ModuleList([embedding, block, head]), loss


TEXT = labels(64, 32, 64), labels(64, 32 * 64)
MODELS = [
    Model("perceptron 784-256-128-10", ((128, 784), labels(10, 128)), perceptron),
    Model("convolutional, 16 and 32 channels", ((128, 1, 28, 28), labels(10, 128)), convolutional),
    Model("recurrent, LSTM of 128", TEXT, recurrent),
    Model("transformer, a block of 64", TEXT, transformer),
]


# Counting


def drawn(inputs: Iterable[Any]) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(x, np.float32) if isinstance(x, tuple) else x for x in inputs]


def owner(array: Any) -> Any:
    """Return what holds the memory of an array: itself, or what it is a view of."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


def kept_by_minigrad(result: Any, given: Iterable[Any] = ()) -> int:
    """Return the bytes that the graph of a result keeps, without the tensors given."""
    from minigrad.engine import Tensor

    owners: dict[int, Any] = {}
    results = result if isinstance(result, tuple) else (result,)
    nodes = list({result.node for result in results if result.node is not None})
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        new = [parent for parent in node.parents if parent not in seen]
        seen.update(new)
        nodes += new
        for value in node.saved:
            if isinstance(value, Tensor):
                held = owner(value._array)
                owners[id(held)] = held
    for tensor in given:
        owners.pop(id(owner(tensor._array)), None)
    return sum(memoryview(held).nbytes for held in owners.values())


def kept_by_torch(compute: Callable[[], Any], given: Iterable[Any] = ()) -> int:
    """Return the bytes that PyTorch saves for backward, without the tensors given."""
    import torch

    storages: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage  # held, so that no other gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = compute()
    for tensor in given:
        storages.pop(tensor.untyped_storage().data_ptr(), None)
    del result
    return sum(storage.nbytes() for storage in storages.values())


def of_minigrad(case: Row | Model) -> int:
    import minigrad as mg

    xs = [mg.tensor(a, backend="numpy") for a in drawn(case.inputs)]
    if isinstance(case, Model):
        model, compute = case.build(mg.nn)
        return kept_by_minigrad(compute(*xs), [*xs, *model.parameters(), *model.buffers()])
    for x in xs:
        x.requires_grad = x.dtype.kind == "f"
    return kept_by_minigrad(case.call(mg, mg.nn.functional, *xs))


def of_torch(case: Row | Model) -> int:
    import torch

    xs = [torch.tensor(a) for a in drawn(case.inputs)]
    if isinstance(case, Model):
        model, compute = case.build(torch.nn)
        held = [*xs, *model.parameters(), *model.buffers()]
        return kept_by_torch(lambda: compute(*xs), held)
    for x in xs:
        x.requires_grad = x.is_floating_point()
    call = case.theirs or case.call
    return kept_by_torch(lambda: call(torch, torch.nn.functional, *xs))


# The comparison


def cases() -> dict[str, tuple[str, Row | Model]]:
    """Return what can be measured by name, each with its family."""
    families: dict[str, list[Any]] = {"Models, one step of training": MODELS, **FAMILIES}
    return {case.name: (family, case) for family, rows in families.items() for case in rows}


def rows(names: Iterable[str], with_torch: bool) -> list[dict[str, Any]]:
    """Return what both keep, in bytes, row by row."""
    known, found = cases(), []
    for name in names:
        family, case = known[name]
        shapes = ["×".join(map(str, array.shape)) for array in drawn(case.inputs)]
        row: dict[str, Any] = {"family": family, "name": name, "inputs": ", ".join(shapes)}
        row["minigrad"] = of_minigrad(case)
        if with_torch:
            row["torch"] = of_torch(case)
        found.append(row)
    return found


def measure(arena: Arena, found: dict[str, Any]) -> None:
    """Fill `found` with what both keep."""
    say("memory: what the tape keeps")
    found["rows"] = rows(QUICK if arena.quick else cases(), "torch" in arena.peers)


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    return [
        Verdict(GOAL, row["name"], row["minigrad"] / row["torch"], 1.0)
        for row in found["rows"]
        if row.get("torch")
    ]
