"""Attention beyond its sample rows: what is masked, large logits, dropout, what the tape keeps."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F
from minigrad.ops.attention import attend

RNG = np.random.default_rng(3)


def drawn(*shape, **options):
    return mg.tensor(RNG.normal(size=shape), requires_grad=True, **options)


MASKS = {
    "booleans": np.array([[True, False, True], [False, False, False]]),
    "floats": np.array([[0.0, -np.inf, 0.5], [-np.inf, -np.inf, -np.inf]]),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("dropout_p", [0.0, 0.5])
def test_a_query_that_sees_nothing_gives_0_with_the_gradient_0(mask, dropout_p, on_each_backend):
    query, key, value = drawn(2, 4), drawn(3, 4), drawn(3, 2)
    out = F.scaled_dot_product_attention(query, key, value, mask, dropout_p)
    assert not out.detach()[1].numpy().any()
    out.sum().backward()
    assert np.isfinite(key.grad.numpy()).all()
    assert not query.grad[1].numpy().any()
    assert not key.grad[1].numpy().any()
    assert not value.grad[1].numpy().any()
    assert (
        not mg.hessian(
            lambda q: F.scaled_dot_product_attention(q, key.detach(), value.detach(), mask).sum()
        )(query.detach())[1]
        .numpy()
        .any()
    )


def test_what_is_masked_counts_nothing_but_nan(on_each_backend):
    query, value = drawn(2, 4).detach(), drawn(3, 2).detach().numpy(copy=True)
    key = drawn(3, 4).detach().numpy(copy=True)
    mask = np.array([True, True, False])
    wanted = F.scaled_dot_product_attention(query, mg.tensor(key[:2]), mg.tensor(value[:2]))
    key[2], value[2] = np.nan, 1e30
    found = F.scaled_dot_product_attention(query, mg.tensor(key), mg.tensor(value), mask)
    np.testing.assert_allclose(found.numpy(), wanted.numpy())
    value[2, 1] = np.nan
    found = F.scaled_dot_product_attention(query, mg.tensor(key), mg.tensor(value), mask)
    assert np.isnan(found.numpy()).tolist() == [[False, True]] * 2


@pytest.mark.parametrize("dtype", [mg.float16, mg.float32, mg.float64])
def test_large_logits(dtype, on_each_backend):
    """Of scores -1e4, 0 and 1e4, and of two that are 1e4: all or half of the weight."""
    key = mg.tensor([[-100.0], [0.0], [100.0], [100.0]], dtype=dtype)
    value = mg.tensor([[1.0], [2.0], [3.0], [5.0]], dtype=dtype, requires_grad=True)
    query = mg.tensor([[100.0], [-100.0]], dtype=dtype, requires_grad=True)
    out = F.scaled_dot_product_attention(query, key, value)
    assert out.detach().numpy().tolist() == [[4.0], [1.0]]
    out.sum().backward()
    np.testing.assert_allclose(value.grad.numpy().ravel(), [1, 0, 0.5, 0.5], rtol=1e-3)
    np.testing.assert_allclose(query.grad.numpy(), 0, atol=0.5)  # (x̄ - x)·100 at 1e4 of 1e-3


def test_float16_is_computed_in_float32(backend):
    """Each product of query and key is too large for float16, the scaled score is not."""
    query, key = (mg.tensor(np.full((1, 64), 200.0, "f2"), backend=backend) for _ in range(2))
    value = mg.tensor(np.ones((1, 1), "f2"), backend=backend)
    out = F.scaled_dot_product_attention(query, key, value, scale=1e-5)
    assert out.dtype == mg.float16
    assert out.item() == 1


def test_dropout_drops_weights_and_keeps_the_mean(on_each_backend):
    mg.manual_seed(0)
    query, key, value = drawn(1, 2).detach(), drawn(5, 2).detach(), mg.eye(5)
    weights = F.scaled_dot_product_attention(query, key, value).numpy()[0]
    rows = mg.asarray(query).broadcast_to((4000, 2))
    kept = F.scaled_dot_product_attention(rows, key, value, dropout_p=0.4).numpy()
    np.testing.assert_allclose((kept == 0).mean(axis=0), 0.4, atol=0.04)
    np.testing.assert_allclose(kept.mean(axis=0), weights, rtol=0.08)
    np.testing.assert_allclose(kept.max(axis=0), weights / 0.6, rtol=1e-6)
    assert not F.scaled_dot_product_attention(rows, key, value, dropout_p=1).numpy().any()


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_see_what_was_dropped(create_graph, on_each_backend):
    query, key, value = drawn(3, 2), drawn(4, 2), drawn(4, 2)

    def f(query, key, value):
        mg.manual_seed(1)
        return F.scaled_dot_product_attention(query, key, value, dropout_p=0.5)

    assert mg.gradcheck(f, (query, key, value), order=1 + create_graph)


def test_a_float_mask_of_another_dtype_has_a_gradient_in_its_own(on_each_backend):
    query, key, value = (drawn(3, 2, dtype=mg.float16) for _ in range(3))
    mask = drawn(3, 3, dtype=mg.float32)
    out = F.scaled_dot_product_attention(query, key, value, mask)
    assert out.dtype == mg.float16
    out.sum().backward()
    assert mask.grad.dtype == mg.float32
    assert query.grad.dtype == mg.float16


@pytest.mark.parametrize("widest", ["query", "key", "value", "mask"])
@pytest.mark.parametrize("dtype", [mg.float16, mg.float32])
def test_weights_have_gradients_in_each_inputs_own_dtype(widest, dtype, on_each_backend):
    names = ("query", "key", "value", "mask")
    given = {name: drawn(3, 3, dtype=mg.float64 if name == widest else dtype) for name in names}
    out, weights = attend(*given.values(), need_weights=True)
    (out * weights).sum().backward()
    for x in given.values():
        assert x.grad.dtype == x.dtype


def test_the_tape_keeps_no_probabilities():
    """At most what PyTorch keeps: query, key, value, the result, one number a query."""
    query, key, value = drawn(2, 50, 4), drawn(2, 60, 4), drawn(2, 60, 4)
    out = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    kept = sum(x.size for x in out.node.saved if isinstance(x, mg.Tensor))
    assert kept == query.size + key.size + value.size + out.size + 2 * 50


def test_merging_the_heads_of_the_result_copies_nothing():
    query, key, value = drawn(2, 3, 5, 4), drawn(2, 3, 6, 4), drawn(2, 3, 6, 4)
    out = F.scaled_dot_product_attention(query, key, value).detach()
    merged = mg.permute_dims(out, (0, 2, 1, 3)).reshape((2, 5, 12))
    assert np.shares_memory(merged.numpy(), out.numpy())


def heads(**options):
    """Return a layer whose biases are not 0, and its inputs."""
    layer = nn.MultiheadAttention(4, 2, batch_first=True, **options)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer, drawn(2, 3, 4, dtype=mg.float32)


def assert_equal(found, wanted):
    np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), 1e-5, 1e-6)


def test_self_attention_is_attention_of_three_copies(on_each_backend):
    layer, x = heads()
    copies = [x.detach().requires_grad_() for _ in range(3)]
    out, weights = layer(x, x, x)
    apart, weights_apart = layer(*copies)
    assert_equal(out, apart)
    assert_equal(weights, weights_apart)
    (out.sum() + (weights * weights).sum()).backward()
    (apart.sum() + (weights_apart * weights_apart).sum()).backward()
    assert_equal(x.grad, copies[0].grad + copies[1].grad + copies[2].grad)


CAUSAL = np.triu(np.ones((3, 3), bool), 1)
PADDING = np.array([[False, False, True], [False, False, False]])


@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True, "add_zero_attn": True}])
def test_masks_may_be_of_any_kind(options, on_each_backend):
    layer, x = heads(**options)
    biases = np.where(CAUSAL, -np.inf, 0)
    wanted, weights = layer(x, x, x, attn_mask=CAUSAL, key_padding_mask=PADDING)
    for call in (
        {"attn_mask": biases, "key_padding_mask": PADDING},
        {"attn_mask": CAUSAL, "key_padding_mask": np.where(PADDING, -np.inf, 0)},
        {"attn_mask": np.stack([CAUSAL] * 4), "key_padding_mask": PADDING},
        {"is_causal": True, "key_padding_mask": PADDING},
        {"is_causal": True, "attn_mask": CAUSAL, "key_padding_mask": PADDING},
        {"attn_mask": (CAUSAL | PADDING[:, None, None]).repeat(2, 1).reshape(4, 3, 3)},
    ):
        out, found = layer(x, x, x, **call)
        assert_equal(out, wanted)
        assert_equal(found, weights)
        assert_equal(layer(x, x, x, need_weights=False, **call)[0], wanted)
    assert_equal(layer(x, x, x, is_causal=True)[0], layer(x, x, x, attn_mask=CAUSAL)[0])


BIASES = np.where(CAUSAL, -np.inf, 0.0)


@pytest.mark.parametrize(
    "call",
    [
        {"attn_mask": BIASES},
        {"attn_mask": BIASES.tolist()},
        {"attn_mask": BIASES, "key_padding_mask": PADDING},
        {"attn_mask": CAUSAL, "key_padding_mask": np.where(PADDING, -np.inf, 0.0)},
    ],
)
def test_masks_widen_nothing(call, on_each_backend, monkeypatch):
    layer, x = heads()
    encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    before = mg.get_default_dtype()
    try:
        mg.set_default_dtype(mg.float64)
        out, weights = layer(x, x, x, **call)
        assert out.dtype == weights.dtype == mg.float32
        masks = {"src_" + k.removeprefix("attn_"): v for k, v in call.items()}
        assert encoder(x, **masks).dtype == mg.float32
        if call.keys() == {"attn_mask"}:
            found = F.scaled_dot_product_attention(x, x, x, call["attn_mask"])
            assert found.dtype == mg.float32
    finally:
        mg.set_default_dtype(before)


def test_a_mask_beyond_float16_hides_there_too(on_each_backend):
    query, key, value = (drawn(3, 2, dtype=mg.float16) for _ in range(3))
    found = F.scaled_dot_product_attention(query, key, value, np.where(CAUSAL, -1e9, 0))
    assert_equal(found, F.scaled_dot_product_attention(query, key, value, ~CAUSAL))


@pytest.mark.parametrize("need_weights", [False, True])
def test_a_sequence_that_is_all_padding_gives_the_bias(need_weights, on_each_backend):
    layer, x = heads()
    padding = np.array([[True] * 3, [False] * 3])
    out, weights = layer(x, x, x, key_padding_mask=padding, need_weights=need_weights)
    assert_equal(out[0], mg.stack([layer.out_proj.bias] * 3))
    assert (weights is None) != need_weights
    (out.sum() if weights is None else out.sum() + weights.sum()).backward()
    for tensor in (x, *layer.parameters()):
        assert np.isfinite(tensor.grad.numpy()).all()
    assert not x.grad[0].numpy().any()


def test_weights_are_those_before_dropout(on_each_backend):
    layer, x = heads(dropout=0.5)
    dropped, weights = layer(x, x, x)
    out, wanted = layer.eval()(x, x, x)
    assert_equal(weights, wanted)
    assert np.abs((out - dropped).detach().numpy()).max() > 1e-3


def test_an_empty_batch(on_each_backend):
    layer, _ = heads()
    x = drawn(0, 3, 4, dtype=mg.float32)
    out, weights = layer(x, x, x)
    assert (out.shape, weights.shape) == ((0, 3, 4), (0, 3, 3))
    out.sum().backward()
    assert not layer.in_proj_weight.grad.numpy().any()


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda m, x: nn.MultiheadAttention(5, 2), ValueError, "multiple of num_heads, got 5 and"),
        (lambda m, x: nn.MultiheadAttention(4, 2, dropout=2), ValueError, r"\[0, 1\], got 2"),
        (lambda m, x: m(x, x, x[..., :3]), ValueError, r"\(batch, time, features\).*\(2, 3, 3\)"),
        (lambda m, x: m(x, x[:1], x[:1]), ValueError, r"one batch; got \(2, 3, 4\), \(1, 3, 4\)"),
        (lambda m, x: m(x, x[:, :2], x), ValueError, "as many steps in key and value"),
        (lambda m, x: m(x[0, 0], x, x), ValueError, r"got \(4,\), \(2, 3, 4\)"),
        (
            lambda m, x: m(x, x, x, attn_mask=CAUSAL[:2]),
            ValueError,
            r"attn_mask of shape \(3, 3\) or \(4, 3, 3\), got \(2, 3\)",
        ),
        (
            lambda m, x: m(x, x, x, key_padding_mask=PADDING.T),
            ValueError,
            r"key_padding_mask of shape \(2, 3\), got \(3, 2\)",
        ),
        (
            lambda m, x: m(x, x, x, attn_mask=CAUSAL.astype(int)),
            TypeError,
            "attn_mask is of booleans, true where a key is masked out.*int64",
        ),
    ],
)
def test_errors_of_multi_head_attention(call, error, says):
    with pytest.raises(error, match=says):
        call(*heads())


def test_weights_that_a_layer_does_not_have_are_none():
    assert nn.MultiheadAttention(4, 2).q_proj_weight is None
    assert nn.MultiheadAttention(4, 2, vdim=3).in_proj_weight is None


def test_a_causal_encoder_layer_needs_no_mask(on_each_backend):
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, activation=mg.tanh, batch_first=True)
    x = drawn(2, 3, 4, dtype=mg.float32)
    out = layer(x, is_causal=True)
    assert_equal(out, layer(x, src_mask=CAUSAL))
    assert_equal(out[:, :2], layer(x[:, :2], is_causal=True))


def test_an_encoder_layer_drops_only_while_training(on_each_backend):
    layer, x = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5), drawn(3, 2, 4, dtype=mg.float32)
    assert np.abs((layer(x) - layer(x)).detach().numpy()).max() > 1e-3
    layer.eval()
    assert_equal(layer(x), layer(x))


@pytest.mark.parametrize(
    ("activation", "error", "says"),
    [("glu", ValueError, '"relu", "gelu" or a function, got \'glu\''), (3, TypeError, "got int")],
)
def test_errors_of_an_encoder_layer(activation, error, says):
    with pytest.raises(error, match=says):
        nn.TransformerEncoderLayer(4, 2, activation=activation)
