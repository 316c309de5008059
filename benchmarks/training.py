"""One training step, in every library: 784-256-128-10, ReLU, cross-entropy, Adam, float32.

All start from the same weights and see the same batch. The first steps are taken at Adam's usual
rate, and their losses compared; then the rate is lowered so far that the network stays where it is:
trained for thousands of steps on one batch, it would end in denormal numbers, which are slow.
"""

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

WIDTHS = (784, 256, 128, 10)
NETWORK = "-".join(map(str, WIDTHS))
BATCHES = (32, 128, 1024)
LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8
RESTING_LR = 1e-8
COMPARED = 5  # steps whose losses are compared


class Run(NamedTuple):
    """step: takes one step and returns the loss before it, if it computes one."""

    step: Callable[[], Any]
    set_lr: Callable[[float], None]
    synchronize: Callable[[], None] = lambda: None


def problem(batch: int) -> tuple[Any, Any, list[tuple[Any, Any]]]:
    """Return inputs, labels, and (weight, bias) of each layer; weights are (out, in)."""
    import numpy as np

    rng = np.random.default_rng(3)
    layers = []
    for before, after in pairwise(WIDTHS):
        bound = before**-0.5
        layers.append(
            (
                rng.uniform(-bound, bound, (after, before)).astype(np.float32),
                rng.uniform(-bound, bound, after).astype(np.float32),
            )
        )
    x = rng.random((batch, WIDTHS[0]), np.float32)
    return x, rng.integers(0, WIDTHS[-1], batch), layers


def eager(
    optimizer: Any, loss_of: Callable[[], Any], synchronize: Callable[[], None] = lambda: None
) -> Run:
    """Return the step as minigrad and PyTorch both write it."""

    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss

    def set_lr(lr: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr

    return Run(step, set_lr, synchronize)


def floor(batch: int) -> Run:
    """The step's eight products through BLAS into ready buffers, then one serial pass of Adam."""
    import math

    import numba
    import numpy as np

    x, _, layers = problem(batch)
    weights = [weight for weight, _ in layers]
    h1, h2, logits = (np.ones((batch, width), np.float32) for width in WIDTHS[1:])
    d1, d2 = np.empty_like(h1), np.empty_like(h2)
    w1, w2, w3 = weights
    g1, g2, g3 = map(np.empty_like, weights)
    size = sum(weight.size + bias.size for weight, bias in layers)
    p, g, m, v = (np.full(size, 1e-3, np.float32) for _ in range(4))

    @numba.njit(error_model="numpy")
    def adam(p: Any, g: Any, m: Any, v: Any, rate: Any, unbias: Any) -> None:
        keep1, take1 = np.float32(BETA1), np.float32(1 - BETA1)
        keep2, take2 = np.float32(BETA2), np.float32(1 - BETA2)
        eps = np.float32(EPS)
        for i in range(p.size):
            m[i] = keep1 * m[i] + take1 * g[i]
            v[i] = keep2 * v[i] + take2 * g[i] * g[i]
            p[i] -= rate * m[i] / (np.sqrt(v[i]) * unbias + eps)

    taken, lr = 0, RESTING_LR

    def step() -> None:
        nonlocal taken
        taken += 1
        np.matmul(x, w1.T, out=h1)
        np.matmul(h1, w2.T, out=h2)
        np.matmul(h2, w3.T, out=logits)
        np.matmul(logits.T, h2, out=g3)
        np.matmul(logits, w3, out=d2)
        np.matmul(d2.T, h1, out=g2)
        np.matmul(d2, w2, out=d1)
        np.matmul(d1.T, x, out=g1)
        rate = np.float32(lr / (1 - BETA1**taken))
        adam(p, g, m, v, rate, np.float32(1 / math.sqrt(1 - BETA2**taken)))

    return Run(step, lambda _: None)


def minigrad(backend: str, batch: int) -> Run:
    import minigrad as mg

    mg.use_backend(backend)
    x, labels, layers = problem(batch)
    first, second, third = (mg.nn.Linear(before, after) for before, after in pairwise(WIDTHS))
    for layer, (weight, bias) in zip((first, second, third), layers, strict=True):
        layer.load_state_dict({"weight": weight, "bias": bias})
    model = mg.nn.Sequential(first, mg.nn.ReLU(), second, mg.nn.ReLU(), third)
    optimizer = mg.optim.Adam(model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS)
    inputs, targets = mg.tensor(x), mg.tensor(labels)

    def loss_of() -> mg.Tensor:
        return mg.nn.functional.cross_entropy(model(inputs), targets)

    return eager(optimizer, loss_of, mg.backends.get(backend).synchronize)


def torch(batch: int, compiled: bool = False) -> Run:
    import torch
    from torch.nn import Linear, ReLU, Sequential
    from torch.nn.functional import cross_entropy

    x, labels, layers = problem(batch)
    linears = [Linear(before, after) for before, after in pairwise(WIDTHS)]
    with torch.no_grad():
        for linear, (weight, bias) in zip(linears, layers, strict=True):
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
    first, second, third = linears
    model = Sequential(first, ReLU(), second, ReLU(), third)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS, fused=True
    )
    inputs, targets = torch.from_numpy(x), torch.from_numpy(labels)

    def forward(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return cross_entropy(model(inputs), targets)

    loss_of = torch.compile(forward) if compiled else forward

    return eager(optimizer, lambda: loss_of(inputs, targets))


def jax(batch: int) -> Run:
    import jax
    import jax.numpy as jnp

    x, labels, layers = problem(batch)
    inputs, targets = jnp.asarray(x), jnp.asarray(labels)
    params = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in layers]
    zeros = jax.tree.map(jnp.zeros_like, params)

    def loss_of(params: Any, inputs: Any, targets: Any) -> Any:
        h = inputs
        for weight, bias in params[:-1]:
            h = jax.nn.relu(h @ weight.T + bias)
        weight, bias = params[-1]
        logs = jax.nn.log_softmax(h @ weight.T + bias)
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

    def step() -> Any:
        nonlocal state
        state, loss = update(state, inputs, targets, lr)
        return loss

    def set_lr(value: float) -> None:
        nonlocal lr
        lr = value

    return Run(step, set_lr, lambda: jax.block_until_ready(state))


FLOOR = "floor"
PEERS: dict[str, Callable[[int], Run]] = {
    "torch": torch,
    "torch.compile": partial(torch, compiled=True),
    "jax": jax,
}


def contestant(name: str) -> tuple[Callable[[str], Callable[[], Any]], Callable[[], None]]:
    """Return the tasks of a contestant by name, as `turns.serve` wants them.

    `BATCH` takes a step, `BATCH|first` too and reads its loss; `BATCH|losses` takes COMPARED steps
    and returns their losses.
    """
    makers = {FLOOR: floor, **PEERS}
    make = cache(makers.get(name) or partial(minigrad, name))
    last: Run | None = None

    def task(name: str) -> Callable[[], Any]:
        nonlocal last
        batch, _, wanted = name.partition("|")
        run = last = make(int(batch))
        if not wanted:
            return run.step

        if wanted == "first":
            return lambda: float(loss) if (loss := run.step()) is not None else None

        def losses() -> list[float]:
            found = [run.step() for _ in range(COMPARED)]
            run.set_lr(RESTING_LR)
            return [float(loss) for loss in found if loss is not None]

        return losses

    return task, lambda: last.synchronize() if last else None
