"""Readers of data sets and of own data, and standardizing."""

import gzip
import os
import re
import sys
import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad.data import (
    Standardizer,
    files,
    load_csv,
    load_digits,
    load_images,
    load_mnist,
    read_idx,
    read_image,
)

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    header = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim])
    lengths = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + lengths + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_mnist(folder, train=24, test=10, mark="-", packed=True):
    """Write a small MNIST: image i is filled with i, label i is i % 10."""
    for part, n in (("train", train), ("t10k", test)):
        images = np.repeat(np.arange(n, dtype=np.uint8), 6).reshape(n, 2, 3)
        labels = (np.arange(n) % 10).astype(np.uint8)
        for kind, array in (("images", images), ("labels", labels)):
            name = f"{part}-{kind}{mark}idx{array.ndim}-ubyte"
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array), mtime=0))
            else:
                (folder / name).write_bytes(idx_bytes(array))
    return folder


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("packed", [False, True])
def test_read_idx(tmp_path, code, packed):
    array = (np.arange(24).reshape(2, 3, 4) - (0 if code == "u1" else 12)).astype(code)
    path = tmp_path / "a.idx"
    path.write_bytes(gzip.compress(idx_bytes(array), mtime=0) if packed else idx_bytes(array))
    found = read_idx(path)
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array)
    found += 1  # owned and writable


def test_read_idx_keeps_the_byte_order(tmp_path):
    (tmp_path / "a").write_bytes(b"\0\0\x0b\x01\0\0\0\x02\x01\x02\xff\xfe")
    assert read_idx(str(tmp_path / "a")).tolist() == [0x0102, -2]


def test_read_idx_of_no_elements(tmp_path):
    (tmp_path / "a").write_bytes(idx_bytes(np.zeros((0, 3), np.float32)))
    assert read_idx(tmp_path / "a").shape == (0, 3)


GOOD = idx_bytes(np.arange(6, dtype=np.int32).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an IDX file: it begins with nothing"),
        (b"\0\0", "is not an IDX file: it begins with 00 00"),
        (b"PK\x03\x04 and so on", "is not an IDX file: it begins with 50 4b 03 04"),
        (b"\0\0\x0a\x01" + GOOD[4:], "is not an IDX file: it begins with 00 00 0a 01"),
        (b"\0\0\x08\x00", "is not an IDX file"),
        (GOOD[:9], "is not an IDX file"),
        (GOOD[:-1], r"is truncated: int32 \(2, 3\) takes 36 bytes, found 35"),
        (GOOD + b"\0", r"is too long: int32 \(2, 3\) takes 36 bytes, found 37"),
        (
            gzip.compress(GOOD[:20], mtime=0),
            r"is truncated: int32 \(2, 3\) takes 36 bytes, found 20",
        ),
        (gzip.compress(GOOD, mtime=0)[:-12], r"is truncated: .* takes 36 bytes, found \d+"),
        (gzip.compress(GOOD, mtime=0)[:-9] + b"\0" * 9, "is a damaged gzip file"),
    ],
)
def test_read_idx_refuses(tmp_path, content, message):
    path = tmp_path / "bad.idx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_read_idx_of_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.idx"):
        read_idx(tmp_path / "nothing.idx")


def test_digits():
    splits = load_digits()
    assert [len(part.labels) for part in splits] == [1257, 270, 270]
    for images, labels in splits:
        assert images.dtype == np.float32
        assert images.shape == (len(labels), 8, 8)
        assert images.min() == 0
        assert images.max() == 1
        assert labels.dtype == np.int64
        counts = np.bincount(labels, minlength=10) / len(labels)
        np.testing.assert_allclose(counts, 0.1, atol=0.01)


def test_digits_are_split_without_overlap_and_without_loss():
    with np.load(os.path.join(os.path.dirname(mg.data.__file__), "digits.npz")) as file:
        whole = np.sort([hash(image.tobytes()) for image in file["images"]])
    parts = [(part.images * 16).astype(np.uint8) for part in load_digits()]
    found = np.sort([hash(image.tobytes()) for part in parts for image in part])
    np.testing.assert_array_equal(found, whole)


def test_digits_are_always_split_alike():
    # Nothing may move this: results of different years are compared.
    splits = load_digits()
    weights = [int((part.labels * (1 + np.arange(len(part.labels)))).sum()) for part in splits]
    assert weights == [3542345, 166152, 166460]
    mg.manual_seed(5)
    with mg.use_backend("numpy"):
        again = load_digits()
    for part, other in zip(splits, again, strict=True):
        np.testing.assert_array_equal(part.images, other.images)


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("packed", [False, True])
def test_mnist(tmp_path, mark, packed):
    splits = load_mnist(write_mnist(tmp_path, mark=mark, packed=packed))
    assert [part.images.shape for part in splits] == [(22, 2, 3), (2, 2, 3), (10, 2, 3)]
    for images, labels in splits:
        assert images.dtype == np.float32
        assert labels.dtype == np.int64
        fill = np.rint(images[:, 0, 0] * 255).astype(int)
        np.testing.assert_array_equal(images, np.float32(fill[:, None, None] / 255) + images * 0)
        np.testing.assert_array_equal(labels, fill % 10)
    held_out = load_mnist(str(tmp_path)).validation
    np.testing.assert_array_equal(held_out.images, splits.validation.images)


def test_mnist_validation_has_every_class_in_proportion(tmp_path):
    validation = load_mnist(write_mnist(tmp_path, train=240)).validation
    assert np.bincount(validation.labels).tolist() == [2] * 10


def test_mnist_without_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        load_mnist(tmp_path / "nowhere")


@pytest.mark.parametrize("part", ["train", "t10k"])
@pytest.mark.parametrize("kind", ["images", "labels"])
def test_mnist_names_what_is_missing(tmp_path, part, kind):
    (missing,) = write_mnist(tmp_path).glob(f"{part}-{kind}*")
    missing.unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {part} {kind}: looked for ") as caught:
        load_mnist(tmp_path)
    assert missing.name in str(caught.value)


def replace(folder, name, array):
    (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array), mtime=0))


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (LABELS, np.zeros(7, np.uint8), "7 labels for 24 images"),
        (LABELS, np.full(24, 10, np.uint8), "labels must be digits, found 10 at position 0"),
        (LABELS, np.zeros((24, 1), np.uint8), r"expected labels, .*, found uint8 \(24, 1\)"),
        (LABELS, np.zeros(24, np.int32), r"expected labels, .*, found int32 \(24,\)"),
        (IMAGES, np.zeros((24, 6), np.uint8), r"expected images, .*, found uint8 \(24, 6\)"),
        (IMAGES, np.zeros((24, 2, 3), np.float32), r"expected images, .*, found float32"),
        (IMAGES, np.zeros((0, 2, 3), np.uint8), r"expected images, .*, found uint8 \(0, 2, 3\)"),
    ],
)
def test_mnist_refuses(tmp_path, name, array, message):
    replace(write_mnist(tmp_path), name, array)
    with pytest.raises(ValueError, match=message) as caught:
        load_mnist(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / name))


def test_mnist_refuses_images_of_two_sizes(tmp_path):
    replace(write_mnist(tmp_path), IMAGES, np.zeros((24, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"training images of \(4, 4\) pixels, but test images"):
        load_mnist(tmp_path)


def test_mnist_refuses_swapped_files(tmp_path):
    write_mnist(tmp_path)
    images, labels = (tmp_path / f"{name}.gz" for name in (IMAGES, LABELS))
    content = images.read_bytes(), labels.read_bytes()
    labels.write_bytes(content[0])
    images.write_bytes(content[1])
    with pytest.raises(ValueError, match=r"expected images, .*, found uint8 \(24,\)"):
        load_mnist(tmp_path)


FLOATS = ["float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [0, None, -1, (0, 2)])
def test_standardizer(backend, dtype, axis):
    x = np.random.default_rng(0).normal(3, 2, (6, 4, 5)).astype(dtype)
    scale = Standardizer(axis)
    expected = x.astype(np.float64)
    expected = expected - expected.mean(axis, keepdims=True)
    expected /= expected.std(axis, keepdims=True)
    tolerance = {"float16": 4e-3, "float32": 1e-6, "float64": 1e-14}[dtype]

    on_host = scale.fit_transform(x)
    assert isinstance(on_host, np.ndarray)
    on_device = scale(mg.tensor(x, backend=backend))
    assert on_device.backend.name == backend
    for result in (on_host, on_device.numpy()):
        assert result.dtype == dtype
        np.testing.assert_allclose(result, expected, atol=tolerance, rtol=tolerance)
    back = scale.inverse_transform(on_device)
    np.testing.assert_allclose(back.numpy(), x, atol=4 * tolerance, rtol=4 * tolerance)
    fitted = Standardizer(axis).fit(mg.tensor(x, backend=backend))
    assert fitted.mean.dtype == fitted.std.dtype == np.float64
    np.testing.assert_array_equal(fitted.mean, scale.mean)


@pytest.mark.parametrize(
    ("learned", "dtype", "x", "expected"),
    [
        ([[1e-60], [3e-60]], "float32", [[0.0]], [[-2.0]]),
        ([[1e-60], [3e-60]], "float64", [[1e-60], [3e-60]], [[-1.0], [1.0]]),
        ([[1e-200], [3e-200]], "float64", [[1e-200], [3e-200]], [[-1.0], [1.0]]),
        ([[1e200], [-1e200]], "float64", [[1e200], [-1e200]], [[1.0], [-1.0]]),
        ([[1e200], [-1e200]], "float32", [[1e30], [np.inf]], [[0.0], [np.inf]]),
        ([[1.7e308], [1.5e308]], "float64", [[1.7e308], [1.5e308]], [[1.0], [-1.0]]),
        ([[1e5 - 1], [1e5 + 1]], "float16", [[6e4]], [[-4e4]]),
        ([[-6e4], [-4e4]], "float16", [[6e4], [-6e4]], [[11.0], [-1.0]]),
        ([[1e12], [1e12 + 2]], "int64", [[10**12], [10**12 + 2]], [[-1.0], [1.0]]),
        ([[0, 1e-200, 1e200], [1, 3e-200, -1e200]], "float64", [[1, 1e-200, 0]], [[1, -1, 0]]),
    ],
)
def test_standardizer_with_statistics_that_the_dtype_cannot_hold(
    backend, learned, dtype, x, expected
):
    scale = Standardizer().fit(np.array(learned))
    x = np.array(x, dtype)
    result = scale(mg.tensor(x, backend=backend))
    assert result.dtype == ("float32" if dtype == "int64" else dtype)
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-3)
    np.testing.assert_array_equal(scale(x), result.numpy())
    if dtype == "float64":
        np.testing.assert_allclose(scale.inverse_transform(scale(x)), x, rtol=1e-12)


@pytest.mark.parametrize(
    ("learned", "method", "x", "message"),
    [
        (1e5 + np.array([[-1e-6], [1e-6]]), "transform", np.zeros((1, 1), "f2"), "which float16"),
        (
            [[1e-60], [3e-60]],
            "transform",
            np.float32([[0], [1]]),
            r"1\.0 at \(1, 0\) becomes 1e\+60",
        ),
        (
            [[1e200], [-1e200]],
            "inverse_transform",
            np.float32([[1]]),
            r"becomes 1e\+200, .*float32",
        ),
    ],
)
def test_standardizer_refuses_a_result_that_the_dtype_cannot_hold(
    backend, learned, method, x, message
):
    scale = Standardizer().fit(np.array(learned))
    for given in (x, mg.tensor(x, backend=backend)):
        with pytest.raises(ValueError, match=f"Standardizer.{method}: .*{message}"):
            getattr(scale, method)(given)


@pytest.mark.parametrize(
    ("axis", "shape"), [(0, (4, 5)), (None, ()), (-1, (6, 4, 1)), ((0, 2), (4, 1)), (1, (6, 1, 5))]
)
def test_standardizer_keeps_statistics_that_broadcast(axis, shape):
    scale = Standardizer(axis).fit(np.ones((6, 4, 5)))
    assert scale.mean.shape == scale.std.shape == shape


def test_standardizer_is_scikit_learns():
    reference = pytest.importorskip("sklearn.preprocessing", reason="compares with scikit-learn")
    x = np.random.default_rng(1).normal(1e3, 5, (50, 7))
    x[:, 2] = 0.1
    np.testing.assert_allclose(
        Standardizer().fit_transform(x), reference.StandardScaler().fit_transform(x), atol=1e-12
    )


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_standardizer_of_whole_numbers(dtype):
    result = Standardizer().fit_transform(np.array([[0], [1]], dtype))
    assert result.dtype == np.float32
    assert result.tolist() == [[-1], [1]]
    assert Standardizer().fit_transform([[1.0, 4.0], [3.0, 4.0]]).tolist() == [[-1, 0], [1, 0]]


def test_standardizer_is_exact_far_from_zero():
    x = (1e6 + np.random.default_rng(0).normal(size=(1000, 1))).astype(np.float32)
    result = Standardizer().fit_transform(x)
    assert abs(result.mean(dtype=np.float64)) < 1e-6


def test_standardizer_is_differentiable(backend):
    scale = Standardizer().fit(np.array([[1.0], [5.0]]))
    x = mg.tensor([[2.0]], requires_grad=True, backend=backend)
    scale(x).sum().backward()
    assert x.grad.tolist() == [[0.5]]


def test_standardizer_takes_no_rows_and_other_rows():
    scale = Standardizer().fit(np.zeros((3, 2), np.float32))
    assert scale(np.zeros((0, 2), np.float32)).shape == (0, 2)
    assert scale(np.zeros((9, 2), np.float32)[::2]).shape == (5, 2)


def test_standardizer_keeps_its_statistics_in_a_file(tmp_path, backend):
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    scale = Standardizer().fit(x)
    mg.save({"scale": scale.state_dict()}, tmp_path / "scale.safetensors")
    other = Standardizer()
    with mg.use_backend(backend):
        other.load_state_dict(mg.load(tmp_path / "scale.safetensors")["scale"])
    np.testing.assert_array_equal(other(x), scale(x))
    assert repr(other) == "Standardizer(axis=0, fitted, shape (3,))"


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[1.0, 2.0], [3.0, np.nan]], ValueError, r"x must be finite, got nan first at \(1, 1\)"),
        ([[1.0, -np.inf]], ValueError, r"x must be finite, got -inf first at \(0, 1\)"),
        (np.nan, ValueError, r"x must be finite, got nan first at \(\)"),
        (np.zeros((0, 3)), ValueError, r"nothing to learn from, shape \(0, 3\)"),
        ([1j], TypeError, "expected real numbers, got complex64"),
        (np.array([[1.7e308], [-1.7e308]]), ValueError, "x spans from .*, wider than float64 goes"),
    ],
)
def test_standardizer_refuses_to_fit(x, error, message):
    with pytest.raises(error, match=f"Standardizer.fit: {message}"):
        Standardizer().fit(x)


def test_standardizer_refuses():
    scale = Standardizer()
    for call in (scale, scale.transform, scale.inverse_transform):
        with pytest.raises(RuntimeError, match=r"no statistics yet; call fit\(x\)"):
            call(np.zeros((2, 3)))
    with pytest.raises(RuntimeError, match="state_dict: there are no statistics yet"):
        scale.state_dict()
    scale.fit(np.zeros((2, 3)))
    with pytest.raises(
        ValueError, match=r"of shape \(3,\), which does not fit x of shape \(2, 4\)"
    ):
        scale(np.zeros((2, 4)))
    for call in (scale.transform, scale.inverse_transform):
        with pytest.raises(TypeError, match="transform: expected real numbers, got complex64"):
            call(np.zeros((2, 3), np.complex64))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"mean": np.zeros(2)}, "the state has no 'std'"),
        ({"mean": np.zeros(2), "std": np.zeros(2)}, "positive deviations of one shape"),
        ({"mean": np.zeros(2), "std": np.ones(3)}, "positive deviations of one shape"),
        ({"mean": np.full(2, np.nan), "std": np.ones(2)}, "expected finite means"),
    ],
)
def test_standardizer_refuses_a_state(state, message):
    with pytest.raises(ValueError, match=message):
        Standardizer().load_state_dict(state)


IRIS = "length,width,kind\n5.1,3.5,setosa\n7,3.2,virginica\n\n6.4,-1e-1,setosa\n"
PLAIN = "1,2,0\n3,4,1\n"


@pytest.mark.parametrize(
    ("text", "options", "x", "y", "classes"),
    [
        (IRIS, {}, [[5.1, 3.5], [7, 3.2], [6.4, -0.1]], [0, 1, 0], ("setosa", "virginica")),
        (
            IRIS,
            {"target": "kind"},
            [[5.1, 3.5], [7, 3.2], [6.4, -0.1]],
            [0, 1, 0],
            ("setosa", "virginica"),
        ),
        (PLAIN, {}, [[1, 2], [3, 4]], [0, 1], ()),
        (PLAIN, {"target": 0}, [[2, 0], [4, 1]], [1, 3], ()),
        (PLAIN, {"header": True}, [[3, 4]], [1], ()),
        (PLAIN, {"header": True, "target": "2"}, [[3, 1]], [4], ()),
        ("a;b\n1; 2.5\n3;4\n", {"delimiter": ";"}, [[1], [3]], [2.5, 4], ()),
        ('\ufeff"a, b",c\n1,2\n', {}, [[1]], [2], ()),
        ("1,a\n2,b", {"header": False}, [[1], [2]], [0, 1], ("a", "b")),
        ("  \na,b\n   \n1,2\n \t\n3,4\n ", {}, [[1], [3]], [2, 4], ()),
        ("a,a,y\n1,2,3\n", {}, [[1, 2]], [3], ()),
    ],
)
def test_load_csv(tmp_path, text, options, x, y, classes):
    path = tmp_path / "data.csv"
    path.write_text(text, encoding="utf-8")
    table = load_csv(path, **options)
    assert table.x.dtype == np.float32
    assert table.x.flags.c_contiguous
    np.testing.assert_array_equal(table.x, np.float32(x))
    assert table.y.dtype == (np.float32 if isinstance(y[0], float) else np.int64)
    assert table.y.tolist() == y
    assert table.classes == classes


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "is empty"),
        ("a,b\n", {}, "has a header and no rows below it"),
        ("a;b\n1;2\n", {}, "found one column; is the delimiter ','"),
        ("a,b\n1,2\n3\n", {}, "line 3: expected 2 cells, as line 1 has, found 1"),
        ("a,b,c\n1,x,2\n", {}, "line 2, column 'b': expected a finite number, found 'x'"),
        ("a,b,c\n1,2,3\n1,,2\n", {}, "line 3, column 'b': expected a finite number, found ''"),
        ("1,2\nnan,2\n", {}, "line 2, column '1': expected a finite number, found 'nan'"),
        ("1,2\n1e39,2\n", {}, "line 2, column '1': expected a finite number, found '1e39'"),
        ("1,2\n1_0,2\n", {}, "line 2, column '1': expected a finite number, found '1_0'"),
        ("a,2020,b\n1,2,3\n", {}, "line 1, column '1': .* header=True if this line names the col"),
        ("a,b\n1,2\n1,?\n", {}, r"line 3, column 'b': expected a finite number, found '\?'"),
        ("a,b\n1,x\n1,\n", {}, "line 3, column 'b': expected the name of a class, found ''"),
        ("1,x\n2,\n3,y\n", {}, "line 2, column '2': expected the name of a class, found ''"),
        ("1,x\n2,y\n3,5\n", {}, "line 3, column '2': expected the name of a class, found '5'"),
        ("1,5\n2,\n3,6\n", {}, "line 2, column '2': expected a finite number, found ''"),
        ("1,5\n2,6\n3,y\n", {}, "line 3, column '2': expected a finite number, found 'y'"),
        ("a,b\n1,x\n1,y\n", {"classes": ()}, "line 2, .*: expected a finite number, found 'x'"),
        ("1,2\n1,9223372036854775808\n", {}, "line 2, .* a whole number of 64 bits, found '92"),
        ("a,a,y\n1,2,3\n", {"target": "a"}, "has several columns 'a', at 0, 1; give the target's"),
        ("  \n", {}, "is empty"),
        ("a,b\n  \n", {}, "has a header and no rows below it"),
        (PLAIN, {"target": "kind"}, "has no line that names its columns, so 'kind' is not known"),
        (IRIS, {"target": "kin"}, "no column 'kin', only length, width, kind; did you mean 'kind'"),
        (PLAIN, {"target": 3}, "has 3 columns, none at position 3"),
        (PLAIN, {"target": -4}, "has 3 columns, none at position -4"),
        (b"a,b\n\xff,1\n", {}, "is no CSV file in UTF-8"),
    ],
)
def test_load_csv_refuses(tmp_path, text, options, message):
    path = tmp_path / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message) as caught:
        load_csv(path, **options)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("option", "value", "error", "expected"),
    [
        ("target", 1.0, TypeError, "a column's position or name"),
        ("target", None, TypeError, "a column's position or name"),
        *(
            ("delimiter", value, ValueError, "one character, no quote and no line end")
            for value in (";;", "", "\n", '"', None)
        ),
    ],
)
def test_load_csv_refuses_an_option(tmp_path, option, value, error, expected):
    (tmp_path / "data.csv").write_text(PLAIN)
    message = f"load_csv: {option} must be {expected}, got {value!r}"
    with pytest.raises(error, match=re.escape(message)):
        load_csv(tmp_path / "data.csv", **{option: value})


@pytest.mark.parametrize("n", [10**18, 2**63 - 1, -(2**63)])
def test_load_csv_keeps_large_whole_numbers(tmp_path, n):
    (tmp_path / "data.csv").write_text(f"1,{n}\n2,0000000000000000000000003\n")
    y = load_csv(tmp_path / "data.csv", target=np.int64(1)).y
    assert y.dtype == np.int64
    assert y.tolist() == [n, 3]


PETS = "weight,kind\n30,dog\n40,emu\n20,dog\n"


@pytest.mark.parametrize(
    ("text", "given", "y", "classes"),
    [
        (PETS, None, [0, 1, 0], ("dog", "emu")),
        (PETS, ("cat", "dog", "emu"), [1, 2, 1], ("cat", "dog", "emu")),
        (PETS, ["emu", "dog"], [1, 0, 1], ("emu", "dog")),
        (PETS, np.array(["emu", "dog"]), [1, 0, 1], ("emu", "dog")),
        (PLAIN, ("1", "0"), [1, 0], ("1", "0")),
        (PLAIN, (), [0, 1], ()),
    ],
)
def test_load_csv_with_given_classes(tmp_path, text, given, y, classes):
    (tmp_path / "data.csv").write_text(text)
    table = load_csv(tmp_path / "data.csv", classes=given)
    assert table.y.dtype == np.int64
    assert table.y.tolist() == y
    assert table.classes == classes
    assert {type(name) for name in table.classes} <= {str}


@pytest.mark.parametrize(
    ("text", "given", "error", "message"),
    [
        (PETS, ("cat", "emus"), ValueError, "line 2, .* one of the classes cat, emus, found 'dog'"),
        (PETS, ("dog", "emus"), ValueError, "line 3, .*, found 'emu'; did you mean 'emus'"),
        ("\n30,dog\n", ("cat",), ValueError, "line 2, .*, found 'dog'; header=True if this"),
        ("30,a\n1,\n", ("a",), ValueError, "line 2, .* one of the classes a, found ''"),
        (PETS, (), ValueError, "line 2, column 'kind': expected a finite number, found 'dog'"),
        (PETS, ("dog", "emu", "dog"), ValueError, "must be different names, got dog, emu, dog"),
        (PETS, "dog", TypeError, "classes must be a sequence of names, got 'dog'"),
        (PLAIN, (0, 1), TypeError, r"classes must be a sequence of names, got \(0, 1\)"),
    ],
)
def test_load_csv_refuses_other_classes(tmp_path, text, given, error, message):
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(error, match=message):
        load_csv(tmp_path / "data.csv", classes=given)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (IRIS, {}),
        (PLAIN, {"target": 0}),
        ("1, 2\n\n 3.5 ,4\n\n", {}),
        ("a,b\r\n1,2\r\n\r\n3,4\r\n", {}),
        ("a,b\r1,2\r3,4", {}),
        ("\ufeff1;2\n3;4", {"delimiter": ";"}),
        ("1\t2\n3\t4\n", {"delimiter": "\t"}),
        ('"a\nb",c\n"1","x, ""y"""\n"2.5 ","x\nz"\n', {"header": True}),
        ("1e-50,-3.4028234e38\n.5,+7.\n", {}),
        ("1,#\n2,# b\n", {"header": False}),
    ],
)
def test_load_csv_looks_at_single_cells_for_faults_alone(tmp_path, monkeypatch, text, options):
    path = tmp_path / "data.csv"
    path.write_bytes(text.encode())
    with monkeypatch.context() as patch:
        patch.setattr(files, "_read_cells", None)
        quick = load_csv(path, **options)
    monkeypatch.setattr(files, "_read_quickly", lambda layout: None)
    slow = load_csv(path, **options)
    for name in ("x", "y"):
        found, expected = getattr(quick, name), getattr(slow, name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    assert quick.classes == slow.classes


def test_load_csv_takes_what_only_python_reads_as_a_number(tmp_path):
    (tmp_path / "data.csv").write_text("1,\u0664\n\uff12,3\n", encoding="utf-8")
    table = load_csv(tmp_path / "data.csv")
    assert table.x.tolist() == [[1], [2]]
    assert table.y.tolist() == [4, 3]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name need POSIX")
@pytest.mark.parametrize("text", [PLAIN, "1,2,0\n3,4,\u0661\n"])
def test_load_csv_reads_a_pipe(tmp_path, text):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(text, "utf-8"))
    writer.start()
    table = load_csv(tmp_path / "pipe")
    writer.join()
    assert table.x.tolist() == [[1, 2], [3, 4]]
    assert table.y.tolist() == [0, 1]


def test_load_csv_of_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        load_csv(tmp_path / "nothing.csv")


@pytest.fixture
def pillow():
    """Pillow's Image module; the extra `images` brings it."""
    return pytest.importorskip("PIL.Image", reason="reading images needs Pillow")


RAMP = np.arange(6, dtype=np.uint8).reshape(2, 3) * 51


def write_images(folder, pillow, files):
    for name, array in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pillow.fromarray(array).save(folder / name)
    return folder


def test_load_images(tmp_path, pillow):
    files = {"dog/b.png": RAMP, "dog/a.PNG": RAMP * 0, "cat/deep/c.png": RAMP}
    write_images(tmp_path, pillow, files)
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    images, labels, classes = load_images(tmp_path)
    assert classes == ("cat", "dog")
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 1]
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, np.float32([RAMP, RAMP * 0, RAMP]) / np.float32(255))


@pytest.mark.parametrize(
    ("given", "labels"),
    [(None, [0, 1]), (("cat", "dog", "emu"), [1, 2]), (["emu", "dog"], [0, 1])],
)
def test_load_images_with_given_classes(tmp_path, pillow, given, labels):
    write_images(tmp_path, pillow, {"dog/a.png": RAMP * 0, "emu/b.png": RAMP})
    images, found, classes = load_images(tmp_path, classes=given)
    assert found.dtype == np.int64
    assert found.tolist() == labels
    assert classes == tuple(given or ("dog", "emu"))
    assert [classes[label] for label in found] == [("dog", "emu")[int(i.max())] for i in images]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (("cat", "dog"), ValueError, r"emu: expected one of the classes cat, dog"),
        (("emus", "dog"), ValueError, r"emu: expected .* emus, dog; did you mean 'emus'\?"),
        ((), ValueError, r"dog: expected one of the classes \(none given\)"),
        (("dog", "dog"), ValueError, "classes must be different names, got dog, dog"),
        ("dog", TypeError, "classes must be a sequence of names, got 'dog'"),
    ],
)
def test_load_images_refuses_other_classes(tmp_path, given, error, message):
    for name in ("dog", "emu"):
        (tmp_path / name).mkdir()
    with pytest.raises(error, match=message):
        load_images(tmp_path, classes=given)


def test_load_images_with_colours(tmp_path, pillow):
    red = np.zeros((2, 3, 3), np.uint8)
    red[..., 0] = 255
    clear = np.zeros((2, 3, 4), np.uint8)
    write_images(tmp_path, pillow, {"a/1.png": RAMP, "a/2.png": red, "b/3.png": clear})
    images = load_images(str(tmp_path)).images
    assert images.shape == (3, 3, 2, 3)
    np.testing.assert_array_equal(images[0], np.float32([RAMP] * 3) / np.float32(255))
    assert images[1, 0].min() == 1
    assert images[1, 1:].max() == 0
    assert images[2].min() == 1  # what is transparent is white


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        (4, (4, 4)),
        ((2, 3), (2, 3)),
        ([1, 5], (1, 5)),
        (np.int64(3), (3, 3)),
        (np.array([2, 3], np.uint8), (2, 3)),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_load_images_of_a_size(tmp_path, pillow, size, shape, dtype):
    white = np.iinfo(dtype).max
    files = {"a/1.png": np.full((9, 8), white, dtype), "a/2.png": np.full((3, 7), white, dtype)}
    images = load_images(write_images(tmp_path, pillow, files), size).images
    assert images.shape == (2, *shape)
    np.testing.assert_array_equal(images, np.ones((2, *shape), np.float32))


def test_load_images_refuses(tmp_path, pillow):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        load_images(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="expected a sub-folder of images for each class"):
        load_images(tmp_path)
    write_images(tmp_path, pillow, {"a/1.png": RAMP, "b/2.png": RAMP.T})
    with pytest.raises(ValueError, match=r"2\.png has 3×2 pixels, but .*1\.png 2×3; size="):
        load_images(tmp_path)
    with pytest.raises(ValueError, match=r"size must be \(rows, columns\) of at least 1, got 0"):
        load_images(tmp_path, 0)
    for size in ((1, 2, 3), (4,), (2, 0)):
        with pytest.raises(
            ValueError, match=r"size must be \(rows, columns\) of at least 1, got \("
        ):
            load_images(tmp_path, size)
    for size in (3.5, "3", (2, 1.5), "23"):
        with pytest.raises(TypeError, match=r"size must be whole numbers, .*, got [3'(2]"):
            load_images(tmp_path, size)
    (tmp_path / "c").mkdir()
    with pytest.raises(ValueError, match=r"c has no PNG or JPEG image"):
        load_images(tmp_path, 4)


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_images_that_are_damaged(tmp_path, pillow, content):
    noise = np.random.default_rng(0).integers(0, 256, (20, 20), np.uint8)
    path = write_images(tmp_path, pillow, {"a/1.png": noise}) / "a" / "1.png"
    path.write_bytes(path.read_bytes()[:200] if content is None else content)
    for call in (lambda: load_images(tmp_path), lambda: read_image(path)):
        with pytest.raises(ValueError, match=r"1\.png is no whole PNG or JPEG image: "):
            call()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("L", RAMP / 255), ("1", RAMP > 127), ("RGB", RAMP / 255), ("RGBA", RAMP / 255)],
)
def test_read_image(tmp_path, pillow, mode, expected):
    pillow.fromarray(RAMP).convert(mode, dither=0).save(tmp_path / "a.png")
    image = read_image(str(tmp_path / "a.png"))
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, expected, atol=1e-6)
    assert read_image(tmp_path / "a.png", 8).shape == (8, 8)


def test_read_image_of_sixteen_bits(tmp_path, pillow):
    pillow.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png"), RAMP / 255, atol=1e-6)


def test_read_image_of_a_photograph(tmp_path, pillow):
    pillow.fromarray(np.full((6, 4), 128, np.uint8)).save(tmp_path / "a.jpg", exif=b"")
    np.testing.assert_allclose(
        read_image(tmp_path / "a.jpg"), np.full((6, 4), 128 / 255), atol=0.01
    )


ORIENTED = {1: RAMP, 2: RAMP[:, ::-1], 3: RAMP[::-1, ::-1], 4: RAMP[::-1], 5: RAMP.T}
ORIENTED |= {6: RAMP[::-1].T, 7: RAMP[::-1, ::-1].T, 8: RAMP.T[::-1], 0: RAMP, 9: RAMP}


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_read_image_turns_it_upright(tmp_path, pillow, orientation, order, name):
    exif = pillow.Exif()
    exif.endian = order
    exif[0x0112] = orientation
    blocks = RAMP.repeat(16, 0).repeat(16, 1)
    pillow.fromarray(blocks).save(tmp_path / name, exif=exif.tobytes())
    image = read_image(tmp_path / name)[8::16, 8::16]
    np.testing.assert_allclose(image, ORIENTED[orientation] / 255, atol=0.02)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged metadata
@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"II*",
        b"XX*\0\x08\0\0\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff" + bytes(11),
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\xff\xff\xff\xff\xff",
    ],
)
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_read_image_whose_orientation_is_damaged(tmp_path, pillow, exif, name):
    pillow.fromarray(RAMP[:1, :1]).save(tmp_path / name, exif=b"Exif\0\0" + exif)
    assert read_image(tmp_path / name).tolist() == [[0]]


def test_images_beyond_pillows_limit(tmp_path, pillow, monkeypatch):
    pillow.fromarray(RAMP).save(tmp_path / "a.png")
    monkeypatch.setattr(pillow, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(ValueError, match=r"a\.png is no whole .* exceeds limit of 4 pixels"):
        read_image(tmp_path / "a.png")


def npy(header, content=bytes(6), version=1):
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + content


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }  \n",
        "{'shape': (2,3), 'fortran_order': False, 'descr': 'u1'}",
    ],
)
def test_read_image_of_an_array_by_its_header(tmp_path, header, version):
    (tmp_path / "a.npy").write_bytes(npy(header, RAMP.tobytes(), version))
    np.testing.assert_allclose(read_image(tmp_path / "a.npy"), RAMP / 255, atol=1e-6)


@pytest.mark.parametrize("array", [np.asfortranarray(RAMP), RAMP.astype(">u2") * 257])
def test_read_image_of_an_array_of_another_layout(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    image = read_image(tmp_path / "a.npy")
    assert image.flags.c_contiguous
    np.testing.assert_allclose(image, RAMP / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("descr", "shape", "message"),
    [
        ("|u1", "(True,4)", "is no .npy file of numbers"),
        ("|u1", "(2, 3", "is no .npy file of numbers"),
        ("|u1", f"({'9' * 5000}, 1)", "is no .npy file of numbers"),
        (",b1", "(2, 3)", "is no .npy file of numbers"),
        ("<u3", "(2, 3)", "is no .npy file of numbers"),
        ("\\N", "(2, 3)", "is no .npy file of numbers"),
        ("|u1", "(1000000000000, 1)", "is no .npy file of numbers"),
        ("|u1", "(2, 4)", "is no .npy file of numbers"),
        ("|u1", "(6,)", r"expected an image \(rows, columns\) .* found uint8 \(6,\)"),
    ],
)
def test_read_image_refuses_a_header(tmp_path, descr, shape, message):
    path = tmp_path / "a.npy"
    path.write_bytes(npy(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"))
    with pytest.raises(ValueError, match=message) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged metadata
@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "npy"])
def test_damaged_images_are_read_or_refused(tmp_path, pillow, kind):
    path, random = tmp_path / f"a.{kind}", np.random.default_rng(0)
    noise = random.integers(0, 256, (9, 7, 3), np.uint8)
    if kind == "npy":
        np.save(path, noise[..., 0])
    else:
        exif = pillow.Exif()
        exif[0x0112], exif[0x011A] = 6, 72.0
        options = {} if kind == "gif" else {"exif": exif}
        pillow.fromarray(noise).save(path, **options)
    whole = path.read_bytes()
    path = path.with_suffix(".png") if kind == "gif" else path
    for _ in range(400):
        damaged = bytearray(whole)
        for at in random.integers(0, min(len(whole), 250), random.integers(1, 4)):
            if random.random() < 0.7:
                damaged[at : at + 1] = random.bytes(1)
            else:
                del damaged[at : at + random.integers(1, 5)]
        path.write_bytes(damaged)
        try:
            image = read_image(path)
        except ValueError as error:
            assert str(error).startswith(str(path))
        else:
            assert image.dtype == np.float32
            assert ((image >= 0) & (image <= 1)).all()


@pytest.mark.parametrize(
    "array",
    [RAMP, RAMP.astype(np.uint16) * 257, *((RAMP / 255).astype(dtype) for dtype in FLOATS)],
    ids=lambda array: str(array.dtype),
)
def test_read_image_of_an_array(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    image = read_image(tmp_path / "a.npy")
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, RAMP / 255, atol=1e-3 if array.dtype == np.float16 else 1e-6)
    assert read_image(tmp_path / "a.npy", (2, 3)).tolist() == image.tolist()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 3), np.uint8), r"an image \(rows, columns\) .* found uint8 \(2, 3, 3\)"),
        (np.zeros((2, 3), np.int64), r"expected an image .* found int64 \(2, 3\)"),
        (np.zeros((0, 3), np.uint8), r"expected an image .* found uint8 \(0, 3\)"),
        (np.full((2, 3), 255.0), r"must lie in \[0, 1\], found 255.0 at \(0, 0\)"),
        (np.array([[0.5, np.nan]]), r"must lie in \[0, 1\], found nan at \(0, 1\)"),
        (np.array([[2, 0]], np.uint8).view(bool), r"must lie in \[0, 1\], found 2 at \(0, 0\)"),
        (np.array([[{}]], object), "is no .npy file of numbers"),
        (np.array([["a"]]), "expected an image .*, found <U1"),
        (None, "is no .npy file of numbers"),
    ],
)
def test_read_image_refuses_an_array(tmp_path, array, message):
    path = tmp_path / "a.npy"
    if array is None:
        path.write_bytes(b"PK and so on")
    else:
        np.save(path, array)
    with pytest.raises(ValueError, match=message) as caught:
        read_image(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("name", ["a.png", "a.npy"])
def test_read_image_of_no_file(tmp_path, pillow, name):
    with pytest.raises(FileNotFoundError, match=name):
        read_image(tmp_path / name)


def test_images_name_the_extra_they_need(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    np.save(tmp_path / "a.npy", RAMP)
    for path, size in (("a.png", None), ("a.npy", 7)):
        with pytest.raises(ImportError, match=r'pip install "minigrad\[images\]"'):
            read_image(tmp_path / path, size)
