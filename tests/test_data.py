"""Data sets, the IDX reader and the loader."""

import gzip
import os
import subprocess
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad.data import DataLoader, TensorDataset, load_digits, load_mnist, read_idx

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


def test_tensor_dataset():
    x, y = np.arange(6, dtype=np.float32).reshape(3, 2), mg.tensor([0, 1, 2])
    dataset = TensorDataset(x, y)
    assert len(dataset) == 3
    row, label = dataset[1]
    assert row.tolist() == [2, 3]
    assert label.item() == 1
    assert [t.shape for t in dataset[[2, 0]]] == [(2, 2), (2,)]
    assert [label.item() for _, label in dataset] == [0, 1, 2]


@pytest.mark.parametrize(
    ("arrays", "shapes"),
    [
        ((), "of none"),
        ((np.zeros(3), np.zeros((4, 2))), r"\(3,\), \(4, 2\)"),
        ((np.zeros(3), np.float32(1)), r"\(3,\), \(\)"),
    ],
)
def test_tensor_dataset_refuses(arrays, shapes):
    with pytest.raises(ValueError, match=f"same first length, got shapes {shapes}"):
        TensorDataset(*arrays)


def rows(loader):
    """One epoch's rows: the only array of each batch, as a list of lists."""
    return [batch.tolist() for (batch,) in loader]


@pytest.mark.parametrize(
    ("n", "drop_last", "sizes"),
    [(10, False, [4, 4, 2]), (10, True, [4, 4]), (8, True, [4, 4]), (3, True, []), (0, False, [])],
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches(n, drop_last, sizes, shuffle):
    loader = DataLoader((np.arange(n),), 4, shuffle, drop_last, seed=0)
    found = rows(loader)
    assert [len(batch) for batch in found] == sizes
    assert len(loader) == len(sizes)
    flat = [i for batch in found for i in batch]
    assert len(set(flat)) == len(flat)
    if not shuffle:
        assert flat == list(range(sum(sizes)))


def test_batches_are_tensors_on_the_backend(backend):
    x, y = np.arange(10, dtype=np.float32).reshape(5, 2), np.arange(5)
    with mg.use_backend(backend):
        loader = DataLoader((x, y), batch_size=2, shuffle=True, seed=3)
    for inputs, labels in loader:
        assert inputs.backend.name == labels.backend.name == backend
        assert inputs.dtype == np.float32
        np.testing.assert_array_equal(inputs[:, 0].numpy(), 2 * labels.numpy())
    named = DataLoader(TensorDataset(x, y), batch_size=2, shuffle=True, seed=3, backend=backend)
    orders = [
        [y.tolist() for _, y in each] for each in (named, DataLoader((x, y), 2, True, seed=3))
    ]
    assert orders[0] == orders[1]


def test_batches_are_one_indexing_call_for_each_array():
    loader = DataLoader((np.zeros((6, 2)), np.zeros(6)), batch_size=3, shuffle=True, seed=0)
    with mg.profile() as profile:
        list(loader)
    # In each of two batches: a slice of the order, then both arrays by it.
    assert profile.rows["getitem", "forward"].calls == 2 * 3


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_copies(shuffle):
    x = np.zeros((4, 2))
    for (batch,) in DataLoader((x,), batch_size=2, shuffle=shuffle, seed=0):
        batch += 1
    assert not x.any()


def test_order_is_a_function_of_seed_and_epoch():
    loader = DataLoader((np.arange(50),), 7, shuffle=True, seed=1)
    epochs = [rows(loader) for _ in range(3)]
    assert loader.epoch == 3
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]

    mg.manual_seed(99)
    mg.rand(1000)
    again = DataLoader((np.arange(50),), 7, shuffle=True, seed=1)
    again.epoch = 2
    assert rows(again) == epochs[2]
    again.epoch = 0
    assert rows(again) == epochs[0]
    assert rows(DataLoader((np.arange(50),), 7, shuffle=True, seed=2)) != epochs[0]


def test_order_is_not_the_default_generators():
    mg.manual_seed(1)
    drawn = mg.random.permutation(50).tolist()
    assert rows(DataLoader((np.arange(50),), 50, shuffle=True, seed=1)) != [drawn]


def test_epoch_counts_the_iterations_begun():
    loader = DataLoader((np.arange(50),), 50, shuffle=True, seed=0)
    left = [next(iter(loader))[0].tolist() for _ in range(2)]
    assert left[0] != left[1]
    assert loader.epoch == 2
    first, second = zip(*zip(loader, loader, strict=True), strict=True)
    assert [b.tolist() for (b,) in first] != [b.tolist() for (b,) in second]
    assert loader.epoch == 4


def test_seed_comes_from_the_default_generator_once():
    mg.manual_seed(4)
    loader = DataLoader((np.arange(30),), 30, shuffle=True)
    state = mg.random.get_state()
    epochs = [rows(loader), rows(loader)]
    np.testing.assert_array_equal(mg.random.get_state(), state)
    mg.manual_seed(4)
    same, other = (DataLoader((np.arange(30),), 30, shuffle=True) for _ in range(2))
    assert [rows(same), rows(same)] == epochs
    assert rows(other) != epochs[0]
    mg.manual_seed(4)
    before = mg.random.get_state()
    DataLoader((np.arange(30),), 30)
    np.testing.assert_array_equal(mg.random.get_state(), before)


@pytest.mark.parametrize("size", [0, -1])
def test_loader_refuses_a_batch_size(size):
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {size}"):
        DataLoader((np.zeros(3),), size)


def test_loader_refuses_what_is_no_data_set():
    with pytest.raises(TypeError, match="expected a TensorDataset or a tuple of arrays, got ndarr"):
        DataLoader(np.zeros(3))
    with pytest.raises(ValueError, match="same first length"):
        DataLoader((np.zeros(3), np.zeros(2)))


def test_order_is_the_same_in_another_process():
    code = (
        "import numpy as np; from minigrad.data import DataLoader;"
        "print([b.tolist() for (b,) in DataLoader((np.arange(20),), 6, shuffle=True, seed=7)])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = rows(DataLoader((np.arange(20),), 6, shuffle=True, seed=7))
    assert run.stdout.strip() == str(expected)
