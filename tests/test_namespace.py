"""What can be asked of minigrad as an array namespace: dtypes, devices, constants."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import backends

DTYPES = [mg.bool, mg.int8, mg.int64, mg.uint8, mg.float16, mg.float32, mg.float64, mg.complex64]
KINDS = {
    "bool": [mg.bool],
    "signed integer": [mg.int8, mg.int16, mg.int32, mg.int64],
    "unsigned integer": [mg.uint8, mg.uint16, mg.uint32, mg.uint64],
    "real floating": [mg.float32, mg.float64],
    "complex floating": [mg.complex64, mg.complex128],
}
KINDS["integral"] = KINDS["signed integer"] + KINDS["unsigned integer"]
KINDS["numeric"] = KINDS["integral"] + KINDS["real floating"] + KINDS["complex floating"]


def test_constants():
    assert (mg.e, mg.pi, mg.inf, mg.newaxis) == (math.e, math.pi, math.inf, None)
    assert math.isnan(mg.nan)
    assert mg.ones(3)[mg.newaxis].shape == (1, 3)


@pytest.mark.parametrize("one", DTYPES, ids=str)
@pytest.mark.parametrize("other", DTYPES, ids=str)
def test_result_type_is_that_of_arithmetic(one, other):
    x, y = mg.ones(2, dtype=one), mg.ones(2, dtype=other)
    expected = mg.where(mg.ones(2, dtype=mg.bool), x, y).dtype
    for a, b in ((one, other), (x, y), (x.numpy(), other), (one.type, str(other))):
        assert mg.result_type(a, b) == mg.result_type(b, a) == expected
    if one.kind == other.kind or "b" in (one.kind, other.kind):
        assert expected == np.result_type(one, other)


def test_numbers_are_weak_in_result_type():
    assert (
        mg.result_type(mg.float16, 2.0) == mg.result_type(np.float64(2), mg.float16) == mg.float16
    )
    assert mg.result_type(mg.int8, 1000) == mg.int8
    assert mg.result_type(mg.bool, 1) == mg.result_type(1, True) == mg.int64
    assert mg.result_type(mg.int64, 1.0) == mg.result_type(0.5) == mg.float32
    assert mg.result_type(mg.float64, 1j) == mg.complex128
    assert mg.result_type(True) == mg.bool
    with pytest.raises(ValueError, match="at least one"):
        mg.result_type()
    with pytest.raises(TypeError, match="dtype"):
        mg.result_type(mg.float32, None)


def test_can_cast_is_numpys():
    for one in DTYPES:
        for other in DTYPES:
            expected = np.can_cast(one, other)
            assert mg.can_cast(one, other) == mg.can_cast(mg.ones(2, dtype=one), other) == expected
    with pytest.raises(TypeError, match="expected a dtype"):
        mg.can_cast(1, mg.int8)


def test_isdtype():
    for kind, members in KINDS.items():
        for dtype in DTYPES[:4] + DTYPES[5:]:
            assert mg.isdtype(dtype, kind) == np.isdtype(dtype, kind) == (dtype in members)
    assert mg.isdtype(mg.float16, "real floating")
    assert mg.isdtype(mg.float32, mg.float32) and not mg.isdtype(mg.float32, mg.float64)
    assert mg.isdtype(np.float32, (mg.int8, ("bool", "real floating")))
    assert not mg.isdtype(mg.float32, ())
    with pytest.raises(ValueError, match="unknown kind 'reals'"):
        mg.isdtype(mg.float32, "reals")
    with pytest.raises(TypeError, match="expected a dtype"):
        mg.isdtype(mg.ones(2), "bool")
    with pytest.raises(TypeError):
        mg.isdtype(mg.float32, 3)


@pytest.mark.parametrize("dtype", [mg.float16, mg.float32, mg.float64, mg.complex64], ids=str)
def test_finfo(dtype):
    found, expected = mg.finfo(dtype), np.finfo(dtype)
    assert found == mg.finfo(mg.ones(2, dtype=dtype))
    for name in ("bits", "eps", "max", "min", "smallest_normal", "dtype"):
        value = getattr(found, name)
        assert value == getattr(expected, name)
        assert type(value) in (int, float) or name == "dtype"
    with pytest.raises(TypeError, match="iinfo"):
        mg.finfo(mg.int8)


@pytest.mark.parametrize("dtype", [mg.int8, mg.int64, mg.uint8, mg.uint64], ids=str)
def test_iinfo(dtype):
    found, expected = mg.iinfo(dtype), np.iinfo(dtype)
    assert found == mg.iinfo(mg.ones(2, dtype=dtype))
    assert (found.bits, found.max, found.min) == (expected.bits, expected.max, expected.min)
    assert type(found.max) is int and found.dtype == dtype
    for other in (mg.float32, mg.bool):
        with pytest.raises(TypeError, match="finfo"):
            mg.iinfo(other)


def test_a_tensor_knows_its_namespace():
    x = mg.ones(2)
    for version in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
        assert x.__array_namespace__(api_version=version) is mg
    with pytest.raises(ValueError, match=r"'2030.12'.*2024\.12"):
        x.__array_namespace__(api_version="2030.12")
    assert mg.__array_api_version__ == "2024.12"


def test_the_namespace_tells_of_itself(backend):
    info = mg.__array_namespace_info__()
    assert info.capabilities() == {
        "boolean indexing": True,
        "data-dependent shapes": True,
        "max dimensions": 64,
    }
    device = backends.get(backend).device
    assert {"cpu", device} <= set(info.devices())
    with mg.use_backend(backend):
        assert info.default_device() == device == mg.zeros(1).device
        assert info.default_dtypes() == info.default_dtypes(device=device)
        assert mg.zeros(1).dtype == info.default_dtypes()["real floating"]
        assert mg.asarray(1j).dtype == info.default_dtypes()["complex floating"]
        assert mg.asarray(1).dtype == info.default_dtypes()["integral"]
        assert mg.argmax(mg.ones(2)).dtype == info.default_dtypes()["indexing"]
    for ask in (info.dtypes, info.default_dtypes):
        with pytest.raises(ValueError, match="unknown device"):
            ask(device="tpu")


def test_the_namespace_tells_its_dtypes():
    info = mg.__array_namespace_info__()
    names = [str(dtype) for dtype in KINDS["bool"] + KINDS["numeric"]]
    assert sorted(info.dtypes()) == sorted(names)
    assert all(getattr(mg, name) == dtype for name, dtype in info.dtypes(device="cpu").items())
    for kind, members in KINDS.items():
        assert set(info.dtypes(kind=kind).values()) == set(members)
    assert set(info.dtypes(kind=("bool", "real floating"))) == {"bool", "float32", "float64"}
    assert info.dtypes(kind=()) == {}
    with pytest.raises(ValueError, match="unknown kind"):
        info.dtypes(kind="real")
