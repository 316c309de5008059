"""Backends: names, defaults, mixing, the strict namespace and refusals on devices."""

import copy
import pickle
from operator import attrgetter

import numpy as np
import pytest

import minigrad as mg
from minigrad import backends, namespaces
from minigrad.ops.fused import FORMULAS

HOST = ["numpy", "numba"]


@pytest.fixture(params=HOST)
def host(request):
    if not backends.status()[request.param].usable:
        pytest.skip(backends.status()[request.param].reason)
    return request.param


# Names and defaults


def test_use_backend_is_a_block_or_a_call(backend):
    before = backends.default()
    with mg.use_backend(backend) as used:
        assert used is backends.get(backend) is backends.default()
        assert mg.tensor([1.0]).backend is mg.zeros(2).backend is used
        with mg.use_backend("numpy"):
            assert mg.tensor([1.0]).backend.name == "numpy"
        assert backends.default() is used
    assert backends.default() is before
    called = mg.use_backend(backend)
    assert mg.tensor([1.0]).backend.name == backend
    with called:
        pass
    assert backends.default() is before


def test_a_default_ends_with_an_exception():
    before = backends.default()
    with pytest.raises(KeyError), mg.use_backend("strict"):
        raise KeyError
    assert backends.default() is before


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("numpi", "; did you mean 'numpy'?"),
        ("nunba", "; did you mean 'numba'?"),
        ("cuppy", "; did you mean 'cupy'?"),
        ("jax", "numpy, numba, cupy"),
    ],
)
@pytest.mark.parametrize(
    "use",
    [
        backends.get,
        mg.use_backend,
        lambda name: mg.tensor([1.0], backend=name),
        lambda name: mg.zeros(2, backend=name),
        lambda name: mg.tensor([1.0]).to(name),
    ],
)
def test_an_unknown_backend_is_answered_with_the_nearest(name, hint, use):
    with pytest.raises(ValueError) as caught:
        use(name)
    assert f"unknown backend {name!r}: expected one of" in str(caught.value)
    assert hint in str(caught.value)


def test_the_environment_chooses_the_default(monkeypatch):
    monkeypatch.setenv("MINIGRAD_BACKEND", "strict")
    assert mg.tensor([1.0]).backend.name == "strict"
    monkeypatch.setenv("MINIGRAD_BACKEND", "stricd")
    with pytest.raises(ValueError, match="did you mean 'strict'"):
        mg.tensor([1.0])


def test_status_says_what_is_usable_and_what_to_install():
    status = backends.status()
    assert {"numpy", "numba", "cupy"} <= set(status)
    assert status["numpy"].usable and not status["numpy"].reason
    for name, entry in status.items():
        assert entry.usable or f'backend "{name}"' in entry.reason
        if entry.usable:
            assert backends.get(name).name == name
        else:
            with pytest.raises(backends.BackendUnavailable, match=name):
                mg.use_backend(name)


def test_a_backend_that_cannot_be_loaded_is_reported(monkeypatch):
    def load():
        raise backends.BackendUnavailable('backend "broken" needs a miracle')

    monkeypatch.setitem(backends._loaders, "broken", load)
    assert backends.status()["broken"] == backends.Status(False, 'backend "broken" needs a miracle')
    with pytest.raises(ImportError, match="miracle"):
        mg.tensor([1.0], backend="broken")


def test_backends_are_one_object_each(backend):
    one = backends.get(backend)
    assert copy.deepcopy(one) is one and pickle.loads(pickle.dumps(one)) is one
    assert repr(one) == f"<backend {backend} on {one.device}>"


# Mixing and moving


def test_numpy_and_numba_mix_and_numba_wins(host):
    x = mg.tensor([1.0, 2.0], requires_grad=True, backend="numpy")
    y = mg.tensor([3.0, 4.0], requires_grad=True, backend=host)
    for z in (x * y, y * x, mg.maximum(x, y), mg.concat([x, y])):
        assert z.backend.name == host
    (x * y).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([3, 4], [1, 2])


@pytest.mark.parametrize(
    "f",
    [
        lambda x, y: x + y,
        lambda x, y: y @ x,
        lambda x, y: mg.concat([x, y]),
        lambda x, y: mg.where(x > 0, y, 0),
        lambda x, y: x[y.astype(np.int64)],
    ],
    ids=["add", "matmul", "concat", "where", "index"],
)
def test_host_and_device_do_not_mix(host, f):
    x, y = mg.tensor([1.0], backend=host), mg.tensor([0.0], backend="strict")
    with pytest.raises(TypeError) as caught:
        f(x, y)
    for part in (f"{host} (cpu)", "strict (strict:0)", f".to('{host}')", ".to('strict')"):
        assert part in str(caught.value)


def test_a_gradient_from_another_backend_keeps_no_kernel_away(host, monkeypatch):
    x, asked = mg.tensor(np.ones(50_000), requires_grad=True, backend=host), []

    def kernel(*arrays):
        asked.append(arrays)
        return NotImplemented

    monkeypatch.setitem(x.backend.kernels, "relu_backward", kernel)
    monkeypatch.delitem(x.backend.runs, FORMULAS["relu_backward"], raising=False)
    mg.nn.functional.relu(x).backward(mg.ones(50_000, dtype="float64", backend="numpy"))
    del x.backend.runs[FORMULAS["relu_backward"]]
    assert len(asked) == 1


def test_moving_is_differentiable(backend, host):
    x = mg.tensor([1.0, 2.0], requires_grad=True, backend=host)
    y = x.to(backend)
    assert (y.backend.name, y.device) == (backend, backends.get(backend).device)
    (y * 3).sum().backward()
    assert x.grad.backend.name == host and x.grad.tolist() == [3, 3]
    assert x.to(host) is x and x.to(backends.get(host)) is x


def test_to_device():
    x = mg.tensor([1.0])
    assert x.to_device("cpu") is x
    there = mg.tensor([1.0], backend="strict")
    assert there.to_device("cpu").backend.name == "numpy"
    with pytest.raises(ValueError, match=r"unknown device 'gpu': expected one of .*cuda:0"):
        x.to_device("gpu")
    assert x.to_device("strict:0").backend.name == "strict"
    with mg.use_backend("strict"):
        assert x.to_device("cpu") is x
    with pytest.raises(ValueError, match="stream=None"):
        x.to_device("cpu", stream=1)


# The namespace


@pytest.mark.parametrize("name", ["vecdot", "unstack", "linalg.vecdot", "einsum", "frobnicate"])
def test_the_namespace_has_no_other_names(backend, name):
    last = name.rpartition(".")[2]
    with pytest.raises(AttributeError, match=f"'{last}' is not in the strict namespace"):
        attrgetter(name)(backends.get(backend).xp)


def test_the_namespace_has_every_name(backend):
    xp = backends.get(backend).xp
    assert all(hasattr(xp, name) for name in namespaces.NAMES)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)], ids=str)
@pytest.mark.parametrize("value", [(), (1,), (3,)], ids=str)
def test_the_faster_broadcast_is_numpys(shape, value):
    try:
        expected = np.broadcast_to(np.ones(value, np.int8), shape)
    except ValueError:
        with pytest.raises(ValueError):
            backends.get("numpy").xp.broadcast_to(np.ones(value, np.int8), shape)
        return
    found = backends.get("numpy").xp.broadcast_to(np.ones(value, np.int8), shape)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert found.tolist() == expected.tolist() and not found.flags.writeable
    assert found.strides == expected.strides


# Refusals on a device wait for the next transfer; test_strict.py has the slot itself


def bad_labels():
    x = mg.tensor(np.ones((3, 2)), backend="strict")
    labels = mg.tensor([0, 7, -1], backend="strict")
    return mg.cross_entropy(x, labels, reduction="none")


@pytest.mark.parametrize(
    "transfer",
    [
        lambda loss: loss.numpy(),
        lambda loss: loss[0].item(),
        repr,
        lambda loss: loss.to("numpy"),
        lambda loss: loss.backend.synchronize(),
    ],
    ids=["numpy", "item", "repr", "to", "synchronize"],
)
def test_a_refusal_is_raised_by_every_transfer_and_once(transfer):
    loss = bad_labels()
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\).*; got 7 at position 1"):
        transfer(loss)
    rows = loss.tolist()
    assert np.isnan(rows).tolist() == [False, True, True]


def test_a_refusal_keeps_its_type_and_gives_way_to_none_before_it():
    x = mg.tensor([1.0, 2.0], backend="strict")
    y = x[mg.tensor([0, 5], backend="strict")]
    bad_labels()
    with pytest.raises(IndexError, match=r"axis 0 must lie in \[-2, 2\); got 5 at position 1"):
        y.numpy()


def test_good_values_are_not_refused():
    x = mg.tensor([1.0, 2.0], backend="strict")
    assert x[mg.tensor([0, -1, 1], backend="strict")].tolist() == [1, 2, 2]
    assert x[mg.tensor(np.empty(0, np.int64), backend="strict")].tolist() == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cuda", "; a GPU is the backend 'cupy'$"),
        ("cuda:0", "; a GPU is the backend 'cupy'$"),
        ("cpu", "; on the CPU there are 'numpy' and 'numba'$"),
        (mg.float64, r"; astype\(\) changes the dtype of a tensor$"),
        ("nunpy", "; did you mean 'numpy'\\?$"),
    ],
)
def test_what_pytorchs_users_call_a_backend(name, says):
    with pytest.raises(ValueError, match=f"unknown backend .*{says}"):
        mg.ones(2).to(name)


@pytest.fixture
def kept_threads():
    """Leave the number of threads as it was."""
    from threadpoolctl import threadpool_limits

    from minigrad.kernels import threads

    with threadpool_limits(user_api="blas"):
        yield threads
        threads.limit = None


def test_the_number_of_threads_holds_for_products_and_for_kernels(kept_threads):
    from threadpoolctl import threadpool_info

    assert mg.get_num_threads() >= 1
    for n in (2, 1):
        mg.set_num_threads(n)
        assert mg.get_num_threads() == kept_threads.limit == n
        pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        assert set(pools) <= {n}


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (1.0, TypeError), (True, TypeError)])
def test_a_number_of_threads_is_a_whole_one(n, error):
    with pytest.raises(error, match="set_num_threads: expected"):
        mg.set_num_threads(n)


def test_warmup_of_what_has_no_kernels_does_nothing():
    mg.warmup("numpy")
    with pytest.raises(ValueError, match="unknown backend"):
        mg.warmup("nympy")
