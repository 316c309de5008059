"""The array API standard: names, signatures, dtypes, inspection, and what a user asks of them."""

import inspect
import math
from itertools import product

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.array_api import make_strategies_namespace
from standard import (
    ATTRIBUTES,
    CONSTANTS,
    DTYPES,
    INSPECTION,
    KINDS,
    METHODS,
    PROMOTIONS,
    REAL_FLOATS,
    SCALARS,
    SIGNATURES,
    VERSION,
)

import minigrad as mg

EXTENSIONS = ("linalg", "fft")


def named(name):
    """Return what a dotted name of the standard is in minigrad."""
    found = mg
    for part in name.split("."):
        found = getattr(found, part)
    return found


# Names and signatures


@pytest.mark.parametrize("name", CONSTANTS)
def test_the_constants_are_those_of_the_standard(name):
    found, expected = getattr(mg, name), CONSTANTS[name]
    assert found is expected or (type(found) is float and repr(found) == repr(expected))


@pytest.mark.parametrize("name", DTYPES)
def test_a_dtype_is_itself_and_no_other(name):
    dtype = getattr(mg, name)
    assert [getattr(mg, other) == dtype for other in DTYPES] == [o == name for o in DTYPES]
    assert hash(dtype) == hash(mg.zeros(1, dtype=dtype).dtype)
    assert mg.zeros(1, dtype=dtype).dtype == dtype


def assert_allows_what(standard, ours, implicit=False):
    """Fail unless ours takes every call that the standard allows, with the same meaning.

    Keywords may be given by place as well; further ones, and further defaults, are allowed; what is
    given by place only may have another name. implicit: the caller is Python's syntax, which names
    no argument.
    """
    kinds = inspect.Parameter
    places, found = [*ours.parameters.values()], {**ours.parameters}
    for place, (name, expected) in enumerate(standard.parameters.items()):
        if expected.kind is kinds.KEYWORD_ONLY:
            parameter = found.pop(name)
            assert parameter.kind in (kinds.KEYWORD_ONLY, kinds.POSITIONAL_OR_KEYWORD), name
        else:
            parameter = found.pop(places[place].name)
            if not implicit:
                assert parameter.kind is expected.kind, name
                assert parameter.name == name or parameter.kind is kinds.POSITIONAL_ONLY
        if expected.default is not kinds.empty:
            assert parameter.default == expected.default, name
            assert type(parameter.default) is type(expected.default), name
    for name, parameter in found.items():
        assert parameter.default is not kinds.empty or parameter.kind is kinds.VAR_KEYWORD, name


@pytest.mark.parametrize(
    "ours",
    [
        lambda x, /, *, axis=None: None,
        lambda x, /, *, keepdims=False: None,
        lambda x, /, *, axis=0, keepdims=False: None,
        lambda x, /, *, axis=None, keepdims=0: None,
        lambda x, y, /, *, axis=None, keepdims=False: None,
        lambda x, *, axis=None, keepdims=False: None,
        lambda x, /, *, axis=None, keepdims=False, more: None,
        lambda *args, **keywords: None,
    ],
)
def test_another_signature_is_noticed(ours):
    with pytest.raises((AssertionError, KeyError, IndexError)):
        assert_allows_what(SIGNATURES["max"], inspect.signature(ours))


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_function_has_the_signature_of_the_standard(name):
    assert_allows_what(SIGNATURES[name], inspect.signature(named(name)))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_signature_of_the_standard(name):
    keywords = [p for p in METHODS[name].parameters.values() if p.kind is p.KEYWORD_ONLY]
    ours = inspect.signature(getattr(mg.zeros(1), name))
    assert_allows_what(METHODS[name], ours, implicit=not keywords)


@pytest.mark.parametrize("name", INSPECTION)
def test_an_inspection_function_has_the_signature_of_the_standard(name):
    found = getattr(mg.__array_namespace_info__(), name)
    assert_allows_what(INSPECTION[name], inspect.signature(found))


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_function_is_public_and_documented(name):
    module, _, bare = name.rpartition(".")
    if not bare.startswith("__"):
        assert bare in (named(module) if module else mg).__all__
    assert bare in dir(named(module) if module else mg)


def test_the_namespace_says_its_version_and_is_found_through_its_arrays(on_each_backend):
    x = mg.ones(2)
    assert mg.__array_api_version__ == VERSION
    assert x.__array_namespace__() is mg
    assert x.__array_namespace__(api_version=None) is mg
    for version in ("2021.12", "2022.12", "2023.12", VERSION):
        assert x.__array_namespace__(api_version=version) is mg
    with pytest.raises(ValueError, match=r"2024\.12"):
        x.__array_namespace__(api_version="2012.21")


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_array_has_the_attributes_of_the_standard(on_each_backend, name):
    x = mg.tensor(np.arange(6.0).reshape(2, 3))
    found = getattr(x, name)
    known = {"dtype": np.dtype(float), "ndim": 2, "shape": (2, 3), "size": 6}
    if name in known:
        assert found == known[name]
        assert type(found) in (int, tuple) or name == "dtype"
    elif name == "device":
        assert mg.zeros(1, device=found).device == found
    else:
        np.testing.assert_array_equal(found.to_host(), x.to_host().T)


# Inspection


def test_the_capabilities_are_all_there():
    capabilities = mg.__array_namespace_info__().capabilities()
    assert capabilities == {
        "boolean indexing": True,
        "data-dependent shapes": True,
        "max dimensions": 64,
    }
    assert [type(v) for v in capabilities.values()] == [bool, bool, int]
    x = mg.zeros((1,) * 64)
    assert x.ndim == 64


def test_every_device_can_be_used():
    info = mg.__array_namespace_info__()
    devices = info.devices()
    assert isinstance(devices, list)
    assert info.default_device() in devices
    assert "cpu" in devices
    for device in devices:
        assert mg.zeros(2, device=device).device == device
        assert mg.to_device(mg.zeros(2), device).device == device


def test_the_default_device_is_where_new_arrays_are(backend):
    with mg.use_backend(backend):
        device = mg.__array_namespace_info__().default_device()
        assert mg.zeros(2).device == device
        assert mg.zeros(2, device=device).device == device
        assert mg.zeros(2, device=device).backend.name == backend


@pytest.mark.parametrize("device", [None, "cpu"])
def test_the_default_dtypes_are_those_of_new_arrays(device):
    assert mg.__array_namespace_info__().default_dtypes(device=device) == {
        "real floating": mg.asarray(1.0).dtype,
        "complex floating": mg.asarray(1j).dtype,
        "integral": mg.asarray(1).dtype,
        "indexing": mg.argmax(mg.asarray([1])).dtype,
    }


def test_the_default_dtypes_follow_the_default_dtype():
    before = mg.get_default_dtype()
    try:
        mg.set_default_dtype(np.float64)
        dtypes = mg.__array_namespace_info__().default_dtypes()
    finally:
        mg.set_default_dtype(before)
    assert (dtypes["real floating"], dtypes["complex floating"]) == (mg.float64, mg.complex128)


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize(
    "kind", [None, *KINDS, ("bool", "integral"), ("signed integer", "complex floating"), ()]
)
def test_the_dtypes_of_a_kind(kind, device):
    chosen = tuple(KINDS) if kind is None else kind if isinstance(kind, tuple) else (kind,)
    expected = {name: getattr(mg, name) for one in chosen for name in KINDS[one]}
    assert mg.__array_namespace_info__().dtypes(kind=kind, device=device) == expected


@pytest.mark.parametrize("function", ["dtypes", "isdtype"])
def test_an_unknown_kind_is_refused(function):
    with pytest.raises(ValueError, match="floatign"):
        if function == "dtypes":
            mg.__array_namespace_info__().dtypes(kind="floatign")
        else:
            mg.isdtype(mg.float32, "floatign")


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="tpu"):
        mg.zeros(2, device="tpu")
    with pytest.raises(ValueError, match="tpu"):
        mg.zeros(2).to_device("tpu")


# Functions of dtypes


@pytest.mark.parametrize("name", DTYPES)
def test_isdtype_knows_the_kinds(name):
    dtype = getattr(mg, name)
    for kind, names in KINDS.items():
        assert mg.isdtype(dtype, kind) is (name in names)
        assert mg.isdtype(dtype, (kind, "bool")) is (name in [*names, "bool"])
    for other in DTYPES:
        assert mg.isdtype(dtype, getattr(mg, other)) is (name == other)
        assert mg.isdtype(dtype, ("real floating", getattr(mg, other))) is (
            name in [*REAL_FLOATS, other]
        )
    assert mg.isdtype(dtype, ()) is False


def test_half_precision_is_a_real_floating_dtype_too():
    assert mg.isdtype(mg.float16, "real floating") is True
    assert mg.isdtype(mg.float16, "integral") is False


@pytest.mark.parametrize("name", DTYPES)
def test_result_type_is_the_tables(backend, name):
    for (one, other), expected in PROMOTIONS.items():
        if one == name:
            dtypes = [getattr(mg, one), getattr(mg, other)]
            arrays = [mg.tensor(np.zeros(2, dtype), backend=backend) for dtype in dtypes]
            for pair in product(*zip(dtypes, arrays, strict=True)):
                assert mg.result_type(*pair) == getattr(mg, expected), other
            assert mg.result_type(*arrays, *dtypes) == getattr(mg, expected), other


@pytest.mark.parametrize("name", DTYPES)
def test_python_scalars_leave_result_type_alone(on_each_backend, name):
    dtype = getattr(mg, name)
    assert mg.result_type(dtype) == mg.result_type(mg.zeros(2, dtype=dtype)) == dtype
    for scalar in SCALARS[name]:
        for one in (dtype, mg.zeros((), dtype=dtype)):
            assert mg.result_type(one, scalar(1)) == mg.result_type(scalar(1), one) == dtype


def test_result_type_promotes_scalars_of_a_higher_kind_to_the_default_dtypes():
    assert mg.result_type(mg.int32, 1.0) == mg.float32
    assert mg.result_type(mg.float64, 1j) == mg.complex128
    assert mg.result_type(mg.float32, 1j) == mg.complex64
    assert mg.result_type(mg.int8, mg.float32) == mg.float32
    assert mg.result_type(mg.bool, 1) == mg.int64


def test_result_type_of_nothing_is_refused():
    with pytest.raises((TypeError, ValueError)):
        mg.result_type()


@pytest.mark.parametrize("name", DTYPES)
def test_can_cast_is_what_promotion_does(name):
    source = getattr(mg, name)
    for other in DTYPES:
        target = getattr(mg, other)
        found = mg.can_cast(source, target)
        assert type(found) is bool
        if (promoted := PROMOTIONS.get((name, other))) is not None:
            assert found is (promoted == other), other
        assert mg.can_cast(mg.zeros(2, dtype=source), target) is found, other


@pytest.mark.parametrize("name", DTYPES)
def test_finfo_and_iinfo(on_each_backend, name):
    dtype = getattr(mg, name)
    if name == "bool":
        return
    info, facts = (mg.iinfo, np.iinfo) if name in KINDS["integral"] else (mg.finfo, np.finfo)
    expected = facts(dtype)
    for found in (info(dtype), info(mg.zeros(2, dtype=dtype))):
        assert type(found.bits) is int
        assert found.bits == expected.bits
        assert found.dtype == np.dtype(expected.dtype)
        fields = ("max", "min") if info is mg.iinfo else ("max", "min", "eps", "smallest_normal")
        for field in fields:
            assert type(getattr(found, field)) is (int if info is mg.iinfo else float), field
            assert getattr(found, field) == getattr(expected, field), field


@pytest.mark.parametrize(("function", "name"), [("finfo", "int32"), ("iinfo", "float32")])
def test_finfo_and_iinfo_refuse_the_other_kind(function, name):
    with pytest.raises((TypeError, ValueError)):
        getattr(mg, function)(getattr(mg, name))


# Hypothesis: strategies that know nothing but the standard


@pytest.fixture(scope="module")
def strategies():
    return make_strategies_namespace(mg, api_version=VERSION)


@pytest.mark.parametrize("name", DTYPES)
@settings(max_examples=10)
@given(data=st.data())
def test_hypothesis_draws_arrays_of_every_dtype(backend, strategies, name, data):
    with mg.use_backend(backend):
        x = data.draw(strategies.arrays(name, strategies.array_shapes(min_dims=0, min_side=0)))
        assert (x.dtype, x.backend.name) == (getattr(mg, name), backend)


@given(data=st.data())
def test_hypothesis_draws_dtypes(strategies, data):
    assert data.draw(strategies.scalar_dtypes()) in [getattr(mg, name) for name in DTYPES]
    small, large = data.draw(strategies.mutually_broadcastable_shapes(2)).input_shapes
    assert mg.broadcast_arrays(mg.zeros(small), mg.zeros(large))[0].ndim == max(
        len(small), len(large)
    )


@given(data=st.data())
def test_hypothesis_indexes_arrays(backend, strategies, data):
    with mg.use_backend(backend):
        shape = data.draw(strategies.array_shapes(max_dims=3, max_side=4))
        x = mg.asarray(np.arange(math.prod(shape)).reshape(shape))
        key = data.draw(strategies.indices(shape, allow_newaxis=True))
        expected = x.to_host()[key]
        np.testing.assert_array_equal(x[key].to_host(), expected)
        mask = data.draw(strategies.arrays("bool", shape))
        np.testing.assert_array_equal(x[mask].to_host(), x.to_host()[mask.to_host()])
        x[key] = 7
        np.testing.assert_array_equal(x[key].to_host(), np.full_like(expected, 7))
