"""A training step of three small networks, in every library: cross-entropy, Adam, float32.

All start from the same weights and see the same batch. The first steps are taken at Adam's usual
rate, and their losses compared; then the rate is lowered so far that the network stays where it is:
trained for thousands of steps on one batch, it would end in denormal numbers, which are slow.
"""

import math
import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

from arena import PEERS, Arena, say
from devices import CPU, GPU, jax_in_float32, torch_on
from targets import Verdict
from turns import Contestant, Failed, Lost, take_turns

LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8
RESTING_LR = 1e-8
COMPARED = 5  # steps whose losses are compared
ROUNDS = 11  # some steps are nearer to each other than one round's noise, about a tenth
AGREEMENT = 1e-4  # relative, of these losses
FLOOR = "floor"


class Net(NamedTuple):
    """A network and its batches.

    build: takes `nn` of minigrad or PyTorch and returns a module. jax: computes its logits from
    JAX, its parameters by name and the inputs. batch: draws inputs and labels.
    """

    said: str
    build: Callable[[Any], Any]
    jax: Callable[[Any, Any, Any], Any]
    batch: Callable[[Any, int], tuple[Any, Any]]
    sizes: tuple[int, ...]


# The networks

WIDTHS = (784, 256, 128, 10)
VOCABULARY, LENGTH, WIDTH, HEADS, HIDDEN = 65, 64, 64, 4, 256


def perceptron(nn: Any) -> Any:
    a, b, c, d = WIDTHS
    return nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Linear(b, c), nn.ReLU(), nn.Linear(c, d))


def perceptron_in_jax(jax: Any, p: Any, x: Any) -> Any:
    h = jax.nn.relu(x @ p["0.weight"].T + p["0.bias"])
    h = jax.nn.relu(h @ p["2.weight"].T + p["2.bias"])
    return h @ p["4.weight"].T + p["4.bias"]


def convolutional(nn: Any) -> Any:
    def block(channels: int, more: int) -> list[Any]:
        return [nn.Conv2d(channels, more, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]

    layers = [*block(1, 16), *block(16, 32), nn.Flatten(), nn.Linear(32 * 7 * 7, 10)]
    return nn.Sequential(*layers)


def convolutional_in_jax(jax: Any, p: Any, x: Any) -> Any:
    for weight, bias in (("0.weight", "0.bias"), ("3.weight", "3.bias")):
        x = jax.lax.conv_general_dilated(x, p[weight], (1, 1), "SAME")
        x = jax.nn.relu(x + p[bias][:, None, None])
        lowest, windows = -jax.numpy.inf, (1, 1, 2, 2)
        x = jax.lax.reduce_window(x, lowest, jax.lax.max, windows, windows, "VALID")
    return x.reshape(len(x), -1) @ p["7.weight"].T + p["7.bias"]


def transformer(nn: Any) -> Any:
    functional = nn.functional

    class Transformer(nn.Module):  # type: ignore[misc,name-defined]
        """Characters to logits of those that follow: one block, normalised before each half."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, WIDTH)
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
            self.head = nn.Linear(WIDTH, VOCABULARY)

        def forward(self, characters: Any) -> Any:
            x = self.embedding(characters)
            heads = self.qkv(self.norm1(x)).reshape(-1, LENGTH, 3, HEADS, WIDTH // HEADS)
            q, k, v = (heads[:, :, i].swapaxes(1, 2) for i in range(3))
            seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(seen.swapaxes(1, 2).reshape(-1, LENGTH, WIDTH))
            x = x + self.down(functional.gelu(self.up(self.norm2(x))))
            return self.head(x).reshape(-1, VOCABULARY)

    return Transformer()


def transformer_in_jax(jax: Any, p: Any, characters: Any) -> Any:
    def linear(name: str, x: Any) -> Any:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(name: str, x: Any) -> Any:
        scaled = jax.nn.standardize(x, epsilon=1e-5)
        return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]

    x = p["embedding.weight"][characters]
    heads = linear("qkv", norm("norm1", x)).reshape(-1, LENGTH, 3, HEADS, WIDTH // HEADS)
    q, k, v = (heads[:, :, i] for i in range(3))
    seen = jax.nn.dot_product_attention(q, k, v, is_causal=True)
    x = x + linear("out", seen.reshape(-1, LENGTH, WIDTH))
    hidden = jax.nn.gelu(linear("up", norm("norm2", x)), approximate=False)
    return linear("head", x + linear("down", hidden)).reshape(-1, VOCABULARY)


def images(shape: tuple[int, ...], rng: Any, size: int) -> tuple[Any, Any]:
    return rng.random((size, *shape), "float32"), rng.integers(0, 10, size)


def text(rng: Any, size: int) -> tuple[Any, Any]:
    characters = rng.integers(0, VOCABULARY, (size, LENGTH + 1))
    return characters[:, :-1].copy(), characters[:, 1:].ravel()


NETS = {
    "perceptron": Net(
        "-".join(map(str, WIDTHS)),
        perceptron,
        perceptron_in_jax,
        partial(images, WIDTHS[:1]),
        (32, 128, 1024),
    ),
    "convolutional": Net(
        "two 3×3 convolutions, 16 and 32 channels, each with max pooling; a dense layer; 28×28",
        convolutional,
        convolutional_in_jax,
        partial(images, (1, 28, 28)),
        (64,),
    ),
    "transformer": Net(
        f"a block of {WIDTH}, {HEADS} heads, {HIDDEN} hidden, GELU, layer norm; {LENGTH} "
        f"characters of {VOCABULARY}",
        transformer,
        transformer_in_jax,
        text,
        (16,),
    ),
}
# The most that a step on a backend may take of the time of PyTorch's, with its fused Adam.
GOALS = {
    "numba": "a training step beside PyTorch",
    "cupy": "a training step on the GPU beside PyTorch",
}
TARGETS = {
    "numba": {("perceptron", size): 1.0 for size in (32, 128, 1024)},
    "cupy": {("perceptron", size): 1.0 for size in (128, 1024)},
}


def weights(parameters: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return first weights by name, for parameters of these shapes."""
    import numpy as np

    rng, found = np.random.default_rng(3), {}
    for name, shape in parameters.items():
        bound = math.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.1
        middle = float("norm" in name and name.endswith("weight"))
        found[name] = rng.uniform(middle - bound, middle + bound, shape).astype(np.float32)
    return found


# The libraries


class Trainer(NamedTuple):
    """A network of a library, to be trained.

    given: makes the library's own of NumPy arrays. step: takes one step on what was given and
    returns the loss before it. logits: computes them from what was given.
    """

    given: Callable[..., tuple[Any, ...]]
    step: Callable[..., Any]
    set_lr: Callable[[float], None]
    logits: Callable[[Any], Any] | None = None
    synchronize: Callable[[], None] = lambda: None


def eager(
    given: Callable[..., tuple[Any, ...]], model: Any, loss_of: Any, optimizer: Any, wait: Any
) -> Trainer:
    """Return the step as minigrad and PyTorch both write it."""

    def step(inputs: Any, targets: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(inputs, targets)
        loss.backward()
        optimizer.step()
        return loss

    def set_lr(lr: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr

    return Trainer(given, step, set_lr, model, wait)


def minigrad(backend: str, net: Net) -> Trainer:
    import minigrad as mg

    mg.use_backend(backend)
    model = net.build(mg.nn)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    model.load_state_dict(weights(shapes))
    optimizer = mg.optim.Adam(model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS)

    def given(*arrays: Any) -> tuple[Any, ...]:
        return tuple(mg.asarray(array) for array in arrays)

    def loss_of(inputs: Any, targets: Any) -> Any:
        return mg.nn.functional.cross_entropy(model(inputs), targets)

    return eager(given, model, loss_of, optimizer, mg.backends.get(backend).synchronize)


def torch(net: Net, device: str, compiled: bool = False) -> Trainer:
    torch, wait = torch_on(device)
    model = net.build(torch.nn).to(device)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    model.load_state_dict({k: torch.from_numpy(v) for k, v in weights(shapes).items()})
    optimizer = torch.optim.Adam(
        model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS, fused=True
    )

    def given(*arrays: Any) -> tuple[Any, ...]:
        return tuple(torch.from_numpy(array).to(device) for array in arrays)

    def loss_of(inputs: Any, targets: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(inputs), targets)

    # Without dynamic=False a second batch size would compile for any size, which is slower.
    loss = torch.compile(loss_of, dynamic=False) if compiled else loss_of
    return eager(given, model, loss, optimizer, wait)


def jax(net: Net, device: str) -> Trainer:
    import minigrad as mg

    jax = jax_in_float32()
    jnp = jax.numpy
    shapes = {name: tuple(p.shape) for name, p in net.build(mg.nn).named_parameters()}
    params = jax.tree.map(jnp.asarray, weights(shapes))
    zeros = jax.tree.map(jnp.zeros_like, params)

    def loss_of(params: Any, inputs: Any, targets: Any) -> Any:
        logs = jax.nn.log_softmax(net.jax(jax, params, inputs))
        return -jnp.take_along_axis(logs, targets[:, None], axis=1).mean()

    @partial(jax.jit, donate_argnums=0)
    def update(state: Any, inputs: Any, targets: Any, lr: float) -> Any:
        params, m, v, taken = state
        loss, grads = jax.value_and_grad(loss_of)(params, inputs, targets)
        taken += 1
        m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, grads)
        v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, grads)
        rate, unbias = lr / (1 - BETA1**taken), 1 / jnp.sqrt(1 - BETA2**taken)
        params = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) * unbias + EPS), params, m, v
        )
        return (params, m, v, taken), loss

    state = (params, zeros, jax.tree.map(jnp.copy, zeros), jnp.float32(0))
    lr = LR

    def step(inputs: Any, targets: Any) -> Any:
        nonlocal state
        state, loss = update(state, inputs, targets, lr)
        return loss

    def set_lr(value: float) -> None:
        nonlocal lr
        lr = value

    def given(*arrays: Any) -> tuple[Any, ...]:
        return tuple(map(jnp.asarray, arrays))

    return Trainer(given, step, set_lr, synchronize=lambda: jax.block_until_ready(state))


MAKERS: dict[str, Callable[[Net, str], Trainer]] = {
    "torch": torch,
    "torch.compile": partial(torch, compiled=True),
    "jax": jax,
}


def trainer(name: str, net: Net, device: str = CPU) -> Trainer:
    """Return the trainer of a backend, or of a peer on a device."""
    return MAKERS[name](net, device) if name in MAKERS else minigrad(name, net)


def floor(size: int) -> Callable[[], None]:
    """Return the perceptron's least: eight products through BLAS, and one serial pass of Adam.

    The products go into ready buffers.
    """
    import numba
    import numpy as np

    x = images(WIDTHS[:1], np.random.default_rng(3), size)[0]
    ones = [np.ones((after, before), np.float32) for before, after in pairwise(WIDTHS)]
    h1, h2, logits = (np.ones((size, width), np.float32) for width in WIDTHS[1:])
    d1, d2 = np.empty_like(h1), np.empty_like(h2)
    w1, w2, w3 = ones
    g1, g2, g3 = map(np.empty_like, ones)
    p, g, m, v = (np.full(sum(w.size + len(w) for w in ones), 1e-3, np.float32) for _ in range(4))

    @numba.njit(error_model="numpy")
    def adam(p: Any, g: Any, m: Any, v: Any, rate: Any, unbias: Any) -> None:
        keep1, take1 = np.float32(BETA1), np.float32(1 - BETA1)
        keep2, take2 = np.float32(BETA2), np.float32(1 - BETA2)
        eps = np.float32(EPS)
        for i in range(p.size):
            m[i] = keep1 * m[i] + take1 * g[i]
            v[i] = keep2 * v[i] + take2 * g[i] * g[i]
            p[i] -= rate * m[i] / (np.sqrt(v[i]) * unbias + eps)

    rate, unbias = np.float32(RESTING_LR), np.float32(1)

    def step() -> None:
        np.matmul(x, w1.T, out=h1)
        np.matmul(h1, w2.T, out=h2)
        np.matmul(h2, w3.T, out=logits)
        np.matmul(logits.T, h2, out=g3)
        np.matmul(logits, w3, out=d2)
        np.matmul(d2.T, h1, out=g2)
        np.matmul(d2, w2, out=d1)
        np.matmul(d1.T, x, out=g1)
        adam(p, g, m, v, rate, unbias)

    return step


def contestant(
    name: str, device: str = CPU
) -> tuple[Callable[[str], Callable[[], Any]], Callable[[], None]]:
    """Return the tasks of a contestant by name, as `turns.serve` wants them.

    `NET|SIZE` takes a step, `NET|SIZE|first` too and reads its loss; `NET|SIZE|losses` takes
    COMPARED steps and returns their losses.
    """
    import numpy as np

    last: Trainer | None = None

    @cache
    def ready(net: str, size: int) -> tuple[Trainer, tuple[Any, ...]]:
        found = trainer(name, NETS[net], device)
        return found, found.given(*NETS[net].batch(np.random.default_rng(4), size))

    ready_floor = cache(floor)

    def task(wanted: str) -> Callable[[], Any]:
        nonlocal last
        net, size, *rest = wanted.split("|")
        if name == FLOOR:
            return ready_floor(int(size))
        made, batch = ready(net, int(size))
        last = made
        if not rest:
            return partial(made.step, *batch)
        if rest == ["first"]:
            return lambda: float(made.step(*batch))

        def losses() -> list[float]:
            found = [made.step(*batch) for _ in range(COMPARED)]
            made.set_lr(RESTING_LR)
            return [float(loss) for loss in found]

        return losses

    return task, lambda: last.synchronize() if last else None


# The comparison


def disagreeing(losses: Mapping[str, list[float]]) -> list[str]:
    """Return who computed other losses than the median contestant."""
    medians = [statistics.median(step) for step in zip(*losses.values(), strict=True)]
    return [
        name
        for name, values in losses.items()
        if any(
            not abs(loss - median) <= AGREEMENT * abs(median)
            for loss, median in zip(values, medians, strict=True)
        )
    ]


def measure(arena: Arena, found: dict[str, Any], part: str = "step") -> None:
    """Fill `found` with the step of every contestant for every network and batch size."""
    found.update(rows=[], failed={})
    names = [*arena.backends, *arena.peers]
    if "numba" in arena.backends:
        names.insert(0, FLOOR)
    with ExitStack() as stack:
        playing = {name: stack.enter_context(arena.start(part, name)) for name in names}
        for net, what in NETS.items():
            for size in what.sizes[:1] if arena.quick else what.sizes:
                arena.require_time()
                say(f"{part}: {net}, batch {size}")
                row, broken = compared(arena, playing, net, size, found["failed"])
                found["rows"].append(row)
                # What goes wrong on a GPU can stay with the process.
                for name in broken if arena.device == GPU else ():
                    playing[name].close(kill=True)
                    playing[name] = stack.enter_context(arena.start(part, name))


def compared(
    arena: Arena, playing: dict[str, Contestant], net: str, size: int, failed: dict[str, str]
) -> tuple[dict[str, Any], set[str]]:
    """Return the row of one network and batch size, and who failed; who is lost plays no more."""
    task, losses, ready = f"{net}|{size}", {}, {}
    broken: set[str] = set()
    for name in list(playing):
        if name == FLOOR and net != "perceptron":
            continue
        try:
            if name != FLOOR:
                losses[name] = playing[name].run(f"{task}|losses")["value"]
            ready[name] = playing[name]
        except Failed as error:
            failed[f"{name}, {net}"] = str(error)
            broken.add(name)
        except Lost as error:
            failed[name] = str(error)
            del playing[name]
    turns = take_turns(ready, [task], arena.rounds(ROUNDS), arena.control, arena.block)
    for name, reason in {**turns.failed, **turns.lost}.items():
        failed[f"{name}, {net}"] = reason
    for name in turns.lost:
        del playing[name]
    us = turns.us(task)
    base = next((name for name in ("torch", *us) if name in us), "")
    row = {
        "net": net,
        "said": NETS[net].said,
        "batch": size,
        "us": us,
        "base": base,
        "ratio": {name: turns.ratio(task, name, base) for name in us},
        "slow_rounds": turns.slow,
        "losses": losses,
        "disagree": disagreeing(losses),
    }
    return row, broken | set(turns.failed)


def defeats(found: dict[str, Any]) -> list[tuple[str, str, float]]:
    """Return (step, peer, our fastest backend's time / the peer's) where that is above 1."""
    lost = []
    for row in found.get("rows", []):
        own = [r for name, r in row["ratio"].items() if name not in (FLOOR, *PEERS)]
        for peer in PEERS:
            if own and row["ratio"].get(peer, math.inf) < min(own):
                lost.append((title(row), peer, min(own) / row["ratio"][peer]))
    return lost


def title(row: dict[str, Any]) -> str:
    return f"{row['net']}, batch {row['batch']:,}"


def verdicts(found: dict[str, Any], own: str = "numba") -> list[Verdict]:
    targets = TARGETS[own]
    return [
        Verdict(GOALS[own], title(row), row["ratio"][own], targets[row["net"], row["batch"]])
        for row in found["rows"]
        if (row["net"], row["batch"]) in targets and row["base"] == "torch" and own in row["ratio"]
    ]
