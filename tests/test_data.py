"""Readers of data sets and of own data, and standardizing."""

import gzip
import os
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad.data import (
    Standardizer,
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
        (np.zeros((0, 3)), ValueError, r"nothing to learn from, shape \(0, 3\)"),
        ([1j], TypeError, "expected real numbers, got complex64"),
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
        ("a,b\n1,x\n1,\n", {}, "line 2, column 'b': expected a finite number, found 'x'"),
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


@pytest.mark.parametrize(("size", "shape"), [(4, (4, 4)), ((2, 3), (2, 3)), ((1, 5), (1, 5))])
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
        (np.array([[{}]], object), "is no .npy file of numbers"),
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
