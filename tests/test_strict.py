"""Test the tester: the strict array refuses what a device's arrays refuse."""

import numpy as np
import pytest
from strict import MODULE as xp
from strict import StrictArray, load

from minigrad import namespaces


@pytest.fixture
def x():
    return StrictArray(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32))


@pytest.fixture
def host():
    return np.ones((2, 2), np.float32)


REFUSED = {
    "np.asarray": lambda x, host: np.asarray(x),
    "a list of them": lambda x, host: np.array([x, x]),
    "ufuncs": lambda x, host: np.exp(x),
    "functions": lambda x, host: np.sum(x),
    "float": lambda x, host: float(x[0, 0]),
    "int": lambda x, host: int(x[0, 0]),
    "index": lambda x, host: [1, 2][x[0, 0]],
    "bool": lambda x, host: bool(x[0, 0]),
    "complex": lambda x, host: complex(x[0, 0]),
    "a truth value": lambda x, host: x[0, 0] == 1 or None,
    "iteration": lambda x, host: list(x),
    "unpacking": lambda x, host: (*x,),
    "host on the right": lambda x, host: x + host,
    "host on the left": lambda x, host: host @ x,
    "host in place": lambda x, host: x.__iadd__(host),
    "device into host": lambda x, host: host.__iadd__(x),
    "NumPy scalars": lambda x, host: x * np.float32(2),
    "float64 scalars, which are Python floats": lambda x, host: x * np.float64(2),
    "comparison with host": lambda x, host: x == host,
    "host in a function": lambda x, host: xp.maximum(x, host),
    "host in a list": lambda x, host: xp.stack([x, host]),
    "host in a keyword": lambda x, host: xp.full_like(x, 0, dtype=host),
    "host becoming device": lambda x, host: xp.asarray(host),
    "host values alone": lambda x, host: xp.sum(1.0),
    "a host condition": lambda x, host: xp.where(True, x, 0),
    "host as an index": lambda x, host: x[np.array([0])],
    "a NumPy integer as an index": lambda x, host: x[np.int64(0)],
    "masks": lambda x, host: x[x > 2],
    "writing host values": lambda x, host: x.__setitem__(0, host[0]),
    "host written to": lambda x, host: xp.add.at(x, (xp.asarray([0]),), host[:1]),
    "complex numbers added up": lambda x, host: xp.add.at(
        xp.astype(x, np.complex64), (xp.asarray([0]),), 1
    ),
    "keywords CuPy lacks": lambda x, host: xp.max(x, initial=0),
    "keywords CuPy lacks in linalg": lambda x, host: xp.linalg.cholesky(x, upper=True),
    "host in linalg": lambda x, host: xp.linalg.solve(x, host),
    "batches that CuPy does not broadcast": lambda x, host: xp.linalg.solve(x, xp.stack([x, x])),
    "shapes that CuPy does not broadcast": lambda x, host: xp.linalg.cross(xp.stack([x, x]), x),
    "host values in fft": lambda x, host: xp.fft.fftn(host),
    "methods' keywords": lambda x, host: x.sum(where=x > 0),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_refuses(what, x, host):
    with pytest.raises(TypeError):
        REFUSED[what](x, host)


def test_it_has_the_strict_names_and_no_other():
    assert set(vars(xp)) == namespaces.NAMES | {"linalg", "fft"}
    assert set(vars(xp.linalg)) == namespaces.LINALG_NAMES
    assert set(vars(xp.fft)) == namespaces.FFT_NAMES
    for part, name in (("", "unstack"), ("linalg", "vecdot"), ("fft", "hfft")):
        namespace = getattr(load().xp, part) if part else load().xp
        with pytest.raises(AttributeError, match=name):
            getattr(namespace, name)


def test_results_stay_on_the_device(x):
    results = [x.sum(), x[0, 0], x.max(axis=0), xp.sum(x), x @ x, -x, 2 - x, x > 1, x.T]
    results += [xp.where(x > 1, x, 0), *xp.nonzero(x), xp.zeros((2,), dtype=np.float32)]
    assert {type(y) for y in results} == {StrictArray}
    assert x.sum().shape == () and (x * 2).dtype == np.float32


def test_elements_are_views(x):
    x[0, 0][...] = 7.0
    y = x
    y += 1
    assert load().to_numpy(x).tolist() == [[8, 3], [4, 5]]


def test_indices_wrap_around_as_on_a_gpu(x):
    rows = x[xp.asarray([2, -3])]
    assert load().to_numpy(rows).tolist() == [[1, 2], [3, 4]]


def test_singular_matrices_pass_unnoticed_as_on_a_gpu():
    x = xp.zeros((2, 2), dtype=np.float32)
    assert np.isnan(load().to_numpy(xp.linalg.inv(x))).all()


def test_crossing_copies(host):
    backend = load()
    array = backend.from_numpy(host)
    host[:] = 5
    backend.to_numpy(array)[:] = 6
    assert backend.to_numpy(array).tolist() == [[1, 1], [1, 1]]


def test_a_refusal_is_raised_once_at_the_next_transfer(x):
    backend = load()
    backend.xp.refuse(x > 2, x, "too large")
    backend.xp.refuse(x > 0, x, "not the first")
    with pytest.raises(ValueError, match=r"too large; got 3 at position \(1, 0\)"):
        backend.to_numpy(x)
    backend.synchronize()
