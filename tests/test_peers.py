"""Values and gradients beside PyTorch's, JAX's and SciPy's, over the inputs of the sample rows.

A library that is not installed is skipped. How gradients differ at kinks: docs/kinks.py.
"""

from itertools import chain

import numpy as np
import pytest
from samples import ROWS
from samples.einsum import einsum_of
from samples.indexing import indexed, replaced
from samples.linalg import eigh_of, of_symmetric, qr_of, svd_of
from test_ops import of_free, real_parts, tensors

from minigrad.ops.indexing import Array


class Library:
    """A library that is imported where it is first used; without it, that test is skipped."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, name):
        needed = f"compares with {self._name} (the extra minigrad[compare])"
        return getattr(pytest.importorskip(self._name, reason=needed), name)


torch, functional = Library("torch"), Library("torch.nn.functional")
matrices, torch_fourier = Library("torch.linalg"), Library("torch.fft")
jax, jnp, jax_nn = Library("jax"), Library("jax.numpy"), Library("jax.nn")
jax_special, jax_fourier = Library("jax.scipy.special"), Library("jax.numpy.fft")
special, fourier = Library("scipy.special"), Library("scipy.fft")


def called(library, name):
    """A peer that takes the arrays, then the params in their order."""
    return lambda *xs, **params: getattr(library, name)(*xs, *params.values())


def same(library, names):
    """Such peers, for functions that go by one name."""
    return {name: called(library, name) for name in names.split()}


def with_keywords(library, names):
    """Peers that know the params by minigrad's names."""

    def peer(name):
        return lambda *xs, **params: getattr(library, name)(*xs, **params)

    return {name: peer(name) for name in names.split()}


def transforms(library, axis="axis", axes="axes"):
    """Fourier transforms along one axis, along several, and their mirrors.

    axis, axes: the library's names of these keywords.
    """

    def peer(**functions):
        def f(x, kind, **params):
            if -1 in (params.get("s") or ()):  # to the end of an axis
                return NotImplemented
            spelled = {{"axis": axis, "axes": axes}.get(k, k): v for k, v in params.items()}
            return getattr(library, functions[kind])(x, **spelled)

        return f

    return {
        "fftn": peer(one="fft", all="fftn"),
        "ifftn": peer(one="ifft", all="ifftn"),
        "rfftn": peer(one="rfft", all="rfftn", mirrored="ihfft"),
        "irfftn": peer(one="irfft", all="irfftn", mirrored="hfft"),
    }


# PyTorch


def of_tensors(library, name):
    """A function of PyTorch's that takes no numbers beside tensors."""
    return lambda *xs, **params: getattr(library, name)(*xs, *map(torch.tensor, params.values()))


def along(name, library=torch, **defaults):
    """A reduction of PyTorch's, which calls axes dim."""

    def f(x, axis=None, keepdims=False, **more):
        if axis == () or not x.ndim:
            return NotImplemented  # () is all axes there, none here
        if axis is None:
            x, axis = x.reshape(-1), 0
        return getattr(library, name)(x, dim=axis, keepdim=keepdims, **{**defaults, **more})

    return f


def along_one(name):
    """A reduction of PyTorch's over one axis."""
    f = along(name)
    return lambda x, axis=None, **more: (
        NotImplemented if isinstance(axis, tuple) else f(x, axis, **more)
    )


def scan(name):
    def f(x, axis=0, include_initial=False):
        missing = include_initial or not x.ndim
        return NotImplemented if missing else getattr(torch, name)(x, axis)

    return f


def quantile(x, q=0.3, axis=None, keepdims=False, method="linear"):
    known = method in ("linear", "lower", "higher", "midpoint", "nearest")
    if not known or np.ndim(q) > 1:
        return NotImplemented
    return along_one("quantile")(x, axis, keepdims=keepdims, q=q, interpolation=method)


def unique(x):
    _, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True)
    first = torch.full_like(counts, x.numel())
    places = torch.arange(x.numel())
    return first.scatter_reduce(0, inverse.reshape(-1), places, "amin"), inverse, counts


def softmax_of_torch(name):
    return lambda x, axis=-1: getattr(torch, name)(x, axis)


def loss(name):
    """A loss of logits or of log-probabilities."""
    return lambda x, labels, weight=None, **params: getattr(functional, name)(
        x, labels, weight, **params
    )


def binary_loss(logits, target, pos_weight=None):
    weight = None if pos_weight is None else pos_weight.detach()  # of which it has no derivative
    return functional.binary_cross_entropy_with_logits(
        logits, target, pos_weight=weight, reduction="none"
    )


def attention(query, key, value, attn_mask=None, **params):
    return functional.scaled_dot_product_attention(query, key, value, attn_mask, **params)


def pooling(name, **more):
    """A pooling of PyTorch's over as many axes as a case says."""
    return lambda x, axes, **options: getattr(functional, f"{name}{axes}d")(x, **options, **more)


def normalization(name):
    def f(x, weight=None, *bias, **params):
        factors = {"weight": weight} | ({"bias": bias[0]} if bias else {})
        return getattr(functional, name)(x, **factors, **params)

    return f


def batch_norm(x, mean, var, *factors, **params):
    running = [r if r is None else r.detach() for r in (mean, var)]  # no derivative there
    return functional.batch_norm(x, *running, *factors, **params)


def torch_indexed(x, *indices, key):
    key = key(*indices)
    backward = isinstance(key, slice) and (key.step or 1) < 0
    return NotImplemented if backward else x[key]  # PyTorch's slices go forward alone


def torch_replaced(x, v, *indices, key):
    if torch_indexed(x, *indices, key=key) is NotImplemented:
        return NotImplemented
    y = x.clone()
    y[key(*indices)] = v
    return y


def torch_increased(x, v, *indices, key):
    places = torch_indexed(torch.arange(x.numel()).reshape(x.shape), *indices, key=key)
    if places is NotImplemented:
        return NotImplemented
    added = torch.as_tensor(v, dtype=x.dtype).broadcast_to(places.shape)
    return x.reshape(-1).index_add(0, places.reshape(-1), added.reshape(-1)).reshape(x.shape)


def torch_scatter(v, *indices, key, shape):
    (k,) = key
    at = indices[k.number] if type(k) is Array else slice(*k)
    return torch_increased(torch.zeros(shape, dtype=v.dtype), v, key=lambda: at)


def take(x, indices, axis=0):
    return x[(slice(None),) * (axis % x.ndim) + (indices.long(),)]


def repeat(x, to, axis=None):
    return torch.repeat_interleave(x, torch.tensor(to[0], dtype=torch.int64), axis)


def split(x, indices_or_sections, axis=0):
    return torch.tensor_split(x, indices_or_sections, axis)


def unless_completed(factorization):
    """A factorization of PyTorch's; it has no derivative where columns complete a factor."""

    def f(x, **params):
        completed = x.shape[-1] != x.shape[-2] and list(params.values()) in (["complete"], [True])
        return NotImplemented if completed else factorization(torch)(x, **params)

    return f


#: op -> the same of PyTorch. A peer may give the first outputs alone, or NotImplemented.
TORCH = {
    # elementwise
    **same(
        torch,
        """
        add subtract multiply divide reciprocal floor_divide remainder pow square positive negative
        conj real abs sign exp log sqrt tanh sigmoid relu sin cos tan asin acos atan sinh cosh asinh
        acosh atanh expm1 log1p exp2 log2 log10 floor ceil trunc copysign nextafter maximum minimum
        logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor
        bitwise_left_shift bitwise_right_shift isnan isinf isfinite signbit erf erfc lgamma sinc
        xlogy
        """,
    ),
    **{name: of_tensors(torch, name) for name in ("atan2", "hypot", "logaddexp")},
    **with_keywords(torch, "round"),
    **with_keywords(functional, "softplus gelu elu celu leaky_relu hardtanh"),
    **same(functional, "silu mish selu relu6 hardsigmoid hardswish prelu glu"),
    "smooth_l1": lambda d, beta: functional.smooth_l1_loss(
        d, torch.zeros_like(d), reduction="none", beta=beta
    ),
    "kl_div_of_logarithms": lambda log_p, target: functional.kl_div(
        log_p, target, reduction="none", log_target=True
    ),
    "binary_cross_entropy": lambda p, target: functional.binary_cross_entropy(
        p, target, reduction="none"
    ),
    "embedding": lambda indices, weight, **params: functional.embedding(
        indices.long(), weight, **params
    ),
    **{name: normalization(name) for name in ("layer_norm", "rms_norm", "group_norm")},
    "batch_norm": batch_norm,
    "polygamma": lambda x, n: torch.polygamma(n, x),
    "where": lambda condition, x, y: torch.where(condition != 0, x, y),
    "clip": lambda x, min=None, max=None: (
        NotImplemented if min is None and max is None else torch.clamp(x, min, max)
    ),
    "equal": called(torch, "eq"),
    "not_equal": called(torch, "ne"),
    "less": called(torch, "lt"),
    "less_equal": called(torch, "le"),
    "greater": called(torch, "gt"),
    "greater_equal": called(torch, "ge"),
    "bitwise_invert": called(torch, "bitwise_not"),
    # reductions, scans, order
    **{name: along(name) for name in "sum mean logsumexp any all argmax argmin".split()},
    **{name: along(name, correction=0) for name in ("var", "std")},
    "max": along("amax"),
    "min": along("amin"),
    "norm": along("vector_norm", matrices),
    "prod": along_one("prod"),
    "cumulative_sum": scan("cumsum"),
    "cumulative_prod": scan("cumprod"),
    "quantile": quantile,
    "sort": lambda x, axis=-1, descending=False: torch.sort(
        x, dim=axis, descending=descending, stable=True
    )[0],
    "argsort": lambda x, axis=-1, descending=False, stable=True: torch.argsort(
        x, dim=axis, descending=descending, stable=True
    ),
    "topk": lambda x, k, axis=-1, largest=True: torch.topk(x, k, axis, largest)[0],
    "unique": unique,
    "unique_values": called(torch, "unique"),
    # shapes
    **same(
        torch,
        """
        broadcast_to squeeze tril triu ravel swapaxes zeros_like ones_like full_like
        """,
    ),
    "copy": called(torch, "clone"),
    "astype": lambda x, dtype: x.to(getattr(torch, str(dtype))),
    "reshape": lambda x, shape: x.reshape(shape),
    "permute_dims": called(torch, "permute"),
    "transpose": lambda x: x.permute(tuple(reversed(range(x.ndim)))),
    "matrix_transpose": lambda x: x.mT,
    "moveaxis": lambda x, to: torch.movedim(x, *to),
    "expand_dims": lambda x, axis: (
        NotImplemented if isinstance(axis, tuple) else torch.unsqueeze(x, axis)
    ),
    "flatten": lambda x, start_axis=0, end_axis=-1: torch.flatten(x, start_axis, end_axis),
    "flip": lambda x, axis=None: torch.flip(
        x, tuple(range(x.ndim)) if axis is None else np.atleast_1d(axis).tolist()
    ),
    "repeat": repeat,
    "tile": lambda x, to: torch.tile(x, np.atleast_1d(to[0]).astype(int).tolist()),
    "diagonal": lambda x, offset=0, axis1=0, axis2=1: torch.diagonal(x, offset, axis1, axis2),
    "concat": lambda *xs, axis: NotImplemented if axis is None else torch.cat(xs, axis),
    "stack": lambda *xs, axis: torch.stack(xs, axis),
    "unstack": called(torch, "unbind"),
    "split": split,
    "meshgrid": lambda *xs, indexing="xy": torch.meshgrid(*xs, indexing=indexing),
    "broadcast_arrays": called(torch, "broadcast_tensors"),
    # indexing
    "getitem": torch_indexed,
    "index_set": torch_replaced,
    "setitem": torch_replaced,
    "index_add": torch_increased,
    "scatter": torch_scatter,
    "nonzero": lambda x: torch.nonzero(x, as_tuple=True),
    "take": take,
    # matrices
    **same(matrices, "det inv svdvals"),
    **with_keywords(matrices, "matrix_rank pinv solve"),
    "cholesky": of_symmetric(lambda x, upper: matrices.cholesky(x, upper=upper)),
    "eigvalsh": of_symmetric(called(matrices, "eigvalsh")),
    "solve_triangular": lambda x, y, **params: (
        NotImplemented if y.ndim < 2 else matrices.solve_triangular(x, y, **params)
    ),
    "kron": called(torch, "kron"),
    "lstsq": lambda x, y: (
        NotImplemented if x.ndim != y.ndim else matrices.lstsq(x, y, driver="gelsd").solution
    ),
    "matmul": called(torch, "matmul"),
    "cross": lambda x, y, axis: (
        NotImplemented if x.ndim != y.ndim else matrices.cross(x, y, dim=axis)
    ),
    "slogdet": called(matrices, "slogdet"),
    "eigh": eigh_of(torch),
    "einsum": einsum_of(torch),
    "qr": unless_completed(qr_of),
    "svd": unless_completed(svd_of),
    # neural
    **{name: softmax_of_torch(name) for name in ("softmax", "log_softmax")},
    "softmax_cross_entropy": loss("cross_entropy"),
    "soft_cross_entropy": lambda x, target: functional.cross_entropy(x, target, reduction="none"),
    "nll_loss": loss("nll_loss"),
    "binary_cross_entropy_with_logits": binary_loss,
    "one_hot": lambda labels, num_classes: functional.one_hot(labels.long(), num_classes),
    # Fourier transforms
    **transforms(torch_fourier, "dim", "dim"),
    "linear": called(functional, "linear"),
    **dict.fromkeys(
        ("linear_value", "linear_input"),
        lambda x, weight, bias=None, activation="": getattr(functional, activation)(
            functional.linear(x, weight, bias)
        ),
    ),
    "scaled_dot_product_attention": attention,
    **with_keywords(
        functional, "conv1d conv2d conv3d conv_transpose1d conv_transpose2d unfold fold"
    ),
    "max_pool2d": pooling("max_pool"),
    "max_indices": lambda x, axes, **options: pooling("max_pool", return_indices=True)(
        x, axes, **options
    )[1],
    "avg_pool2d": pooling("avg_pool"),
    **with_keywords(functional, "adaptive_avg_pool2d interpolate"),
}

JAX = {
    **transforms(jax_fourier),
    **same(
        jnp,
        """
        where add subtract multiply divide reciprocal remainder pow square positive negative conj
        real imag abs sign exp log sqrt tanh sin cos tan asin acos atan atan2 hypot sinh cosh asinh
        acosh atanh expm1 log1p exp2 log2 log10 floor ceil trunc copysign nextafter maximum minimum
        sinc logaddexp matmul copy astype reshape expand_dims squeeze broadcast_to flip
        matrix_transpose
        """,
    ),
    **with_keywords(
        jnp,
        """
        clip round floor_divide sum mean var std max min prod cumulative_sum cumulative_prod median
        argmax argmin count_nonzero sort roll pad tril triu diagonal take
        take_along_axis zeros ones full empty arange linspace empty_like
        """,
    ),
    **same(jax_nn, "sigmoid relu"),
    **with_keywords(jax_nn, "softmax log_softmax"),
    **with_keywords(jax_special, "erf erfc logsumexp xlogy"),
    "lgamma": called(jax_special, "gammaln"),
    "permute_dims": called(jnp, "transpose"),
    "eye": lambda rows, columns=None, **options: jnp.eye(rows, columns, **options),
    "concat": lambda *xs, axis: jnp.concat(xs, axis=axis),
    "stack": lambda *xs, axis: jnp.stack(xs, axis=axis),
    "diff": lambda x, prepend=None, append=None, **params: jnp.diff(
        x, prepend=prepend, append=append, **params
    ),
    "topk": lambda x, k, axis: jax.lax.top_k(x, k, axis=axis)[0],
    "searchsorted": lambda x1, x2, sorter=None, side="left": jnp.searchsorted(
        x1, x2, side=side, sorter=sorter
    ),
    "getitem": indexed,
    "index_set": replaced,
    "index_add": lambda x, v, *indices, key: x.at[key(*indices)].add(v),
}


SCIPY = {
    **same(special, "erf erfc exp2 expm1 log1p xlogy"),
    "sigmoid": called(special, "expit"),
    "lgamma": called(special, "gammaln"),
    "polygamma": lambda x, n: special.polygamma(n, x),
    **with_keywords(special, "logsumexp softmax log_softmax"),
    **with_keywords(fourier, "fftfreq rfftfreq"),
    **transforms(fourier),
}

#: op -> why no peer has it
ALONE = {
    **dict.fromkeys(
        "absorb absorb_both sum_to spread recurrence reorder tie_mean tied share to assign "
        "convolution convolution_transpose convolution_weight".split(),
        "a part of other ops",
    ),
    **dict.fromkeys(
        (
            "random_bits random_reserve random_unit random_normal random_integers random_order "
            "dropout"
        ).split(),
        "of minigrad's own random bits",
    ),
    **dict.fromkeys(
        "sgd_update adagrad_update rmsprop_update adam_update scale_update".split(),
        "a step of an optimizer",
    ),
    **dict.fromkeys(
        ("total_norm", "total_p_norm", "limit_update"), "a part of the clipping of gradients"
    ),
    **dict.fromkeys("rnn lstm gru".split(), "a part of a layer: test_torch_modules.py"),
    "cross_entropy_target": "a part of the loss",
    "masked": "the derivative of dropout",
    **dict.fromkeys(("normalize", "rms_normalize"), "a part of the normalizations"),
    "attention_weights": "a part of attention",
    **dict.fromkeys("max_unpool max_pick avg_unpool".split(), "a derivative of pooling"),
    "max_pool": "max_pool1d and max_pool2d, which are compared",
    "avg_pool": "avg_pool1d and avg_pool2d, which are compared",
    **dict.fromkeys(("resample", "resample_back"), "a part of interpolate, and its derivative"),
    "cofactor": "a part of the determinant",
}

#: (library, op): no derivative there
FLAT = {
    ("torch", "floor_divide"),
    ("torch", "nextafter"),
    ("torch", "unique_values"),
    ("jax", "nextafter"),
}


def test_every_op_has_a_peer_or_a_reason_to_have_none():
    compared = {*TORCH, *JAX, *SCIPY}
    assert compared | set(ALONE) == set(ROWS)
    assert not compared & set(ALONE)


def as_tuple(ys):
    if ys is NotImplemented:
        raise NotImplementedError
    return tuple(real_parts(ys if isinstance(ys, tuple | list) else (ys,)))


# Each returns the results, and the gradients of the floating ones' sum, weighted, by the inputs
# that are free: positions in arrays. A gradient is None where the library has none.


def by_torch(peer, arrays, params, free, weights):
    xs = [None if a is None else torch.tensor(a) for a in arrays]
    for i in free:
        xs[i].requires_grad_()
    ys = as_tuple(peer(*xs, **params))
    if free:
        tracked = [y for y in ys if y.requires_grad]
        sum((y * torch.tensor(weights(y.shape))).sum() for y in tracked).backward()
    gradients = [None if xs[i].grad is None else xs[i].grad.numpy() for i in free]
    return [y.detach().resolve_neg().numpy() for y in ys], gradients


def by_jax(peer, arrays, params, free, weights):
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        xs = [None if a is None else jnp.asarray(a) for a in arrays]

        def f(*moved):
            places = dict(zip(free, moved, strict=True))
            return as_tuple(peer(*(places.get(i, x) for i, x in enumerate(xs)), **params))

        def pulled_back(*moved):
            ys, pull = jax.vjp(f, *moved)
            return ys, pull(tuple(weights(y.shape) for y in ys))

        ys, gradients = jax.jit(pulled_back)(*(xs[i] for i in free)) if free else (f(), ())
        return [np.asarray(y) for y in ys], [np.asarray(g) for g in gradients]


def by_scipy(peer, arrays, params, free, weights):
    return [np.asarray(y) for y in as_tuple(peer(*arrays, **params))], [None] * len(free)


LIBRARIES = {"torch": (TORCH, by_torch), "jax": (JAX, by_jax), "scipy": (SCIPY, by_scipy)}


def both(library, name, case, arrays, weights):
    """Return pairs (theirs, ours) of results and of gradients; None where they lack the case."""
    peers, evaluate = LIBRARIES[library]
    xs = tensors(arrays, "numpy")
    f, moved = of_free(name, case, xs, "numpy")
    for x in moved:
        x.requires_grad = case.up_to(ROWS[name].order) and (library, name) not in FLAT
    ys = f(*moved)
    tracked = [i for i, y in enumerate(ys) if y.requires_grad]
    free = [i for i, x in enumerate(xs) if tracked and x is not None and x.requires_grad]
    try:
        results, gradients = evaluate(peers[name], arrays, case.params, free, weights)
    except NotImplementedError:
        return None
    ys = ys[: len(results)]
    if free:
        sum((ys[i] * weights(ys[i].shape)).sum() for i in tracked if i < len(ys)).backward()
    found = [xs[i].grad.numpy() for i in free]
    return (
        [(theirs, y.detach().numpy()) for theirs, y in zip(results, ys, strict=True)],
        [(theirs, g) for theirs, g in zip(gradients, found, strict=True) if theirs is not None],
    )


def agree(theirs, ours):
    return theirs.shape == ours.shape and np.allclose(theirs, ours, 1e-6, 1e-7, equal_nan=True)


def normal(shape):
    return np.random.default_rng(3).standard_normal(shape)


@pytest.mark.parametrize(
    ("library", "name"), [(key, name) for key, (peers, _) in LIBRARIES.items() for name in peers]
)
def test_values_and_gradients(library, name):
    cases = [case for case in ROWS[name].cases if not case.is_empty()]
    if library == "jax":  # which compiles each for 0.1 s
        cases = cases[-1:] if name in TORCH else cases[-2:]
    compared = 0
    for case in cases:
        pairs = both(library, name, case, case.arrays(), normal)
        for theirs, ours in chain(*pairs or ()):
            assert agree(theirs, ours), f"{case}: {library} has {theirs}, minigrad {ours}"
        compared += pairs is not None
    assert compared


def test_a_wrong_gradient_is_noticed(monkeypatch):
    monkeypatch.setitem(TORCH, "sin", lambda x: torch.sin(x).detach() + 0 * x)
    with pytest.raises(AssertionError, match="torch has"):
        test_values_and_gradients("torch", "sin")
