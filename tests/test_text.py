"""Texts in numbers and windows."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.data import DataLoader, Vocabulary, load_text, text_windows


def test_the_shipped_text():
    text = load_text()
    assert (len(text), len(set(text))) == (101_640, 61)
    assert text.startswith("First Citizen:\nBefore we proceed any further, hear me speak.\n")
    assert text.endswith("\n\nMENENIUS:\nFie, fie, fie!\n")


def test_a_text_of_ones_own(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffÄ, ß\r\nλ\r\n".encode())
    assert load_text(path) == load_text(str(path)) == "Ä, ß\nλ\n"


def test_no_text(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(FileNotFoundError, match=r"a\.txt"):
        load_text(path)
    for content in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.txt is empty"):
            load_text(path)
    path.write_bytes(b"abc\xe4")
    with pytest.raises(ValueError, match=r"a\.txt is not UTF-8: byte 0xe4 at position 3"):
        load_text(path)


def test_vocabulary():
    vocabulary = Vocabulary("to be\n")
    assert vocabulary.characters == "\n beot"
    assert len(vocabulary) == 6
    codes = vocabulary.encode("boot\n")
    assert codes.dtype == np.int64
    assert codes.tolist() == [2, 4, 4, 5, 0]
    assert vocabulary.decode(codes) == vocabulary.decode(mg.tensor(codes)) == "boot\n"
    assert vocabulary.decode(vocabulary.encode("")) == ""
    assert Vocabulary(vocabulary.characters).characters == vocabulary.characters


def test_what_is_not_in_a_vocabulary():
    vocabulary = Vocabulary("abc")
    with pytest.raises(ValueError, match=r"unknown character 'd'; known are 'a', 'b', 'c'$"):
        vocabulary.encode("abcd")
    with pytest.raises(ValueError, match=r"unknown characters '\\n', 'x', 'ä'; known"):
        vocabulary.encode("ä\nxx")
    with pytest.raises(ValueError, match=r"unknown character 'z'; known are 'a', .*, 'h', \.\.\.$"):
        Vocabulary("abcdefghij").encode("az")
    for code in (-1, 3):
        with pytest.raises(IndexError, match=rf"in \[0, 3\), got {code} at position 1"):
            vocabulary.decode([0, code])
    for codes in (0, [[0]], [0.0]):
        with pytest.raises(TypeError, match=r"expected whole numbers \(n,\)"):
            vocabulary.decode(codes)
    with pytest.raises(ValueError, match="at least one character"):
        Vocabulary("")


@pytest.mark.usefixtures("on_each_backend")
@pytest.mark.parametrize("given", [np.array, mg.tensor])
def test_windows(given):
    windows = text_windows(given(np.arange(8)), 3)
    assert len(windows) == 2
    loader = DataLoader(windows, batch_size=2)
    ((x, y),) = loader
    assert (x.dtype, x.backend) == (np.int64, loader.backend)
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert y.tolist() == [[1, 2, 3], [4, 5, 6]]
    overlapping, _ = text_windows(given(np.arange(8)), 3, stride=2)[:]
    assert overlapping.tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]


def test_no_windows():
    with pytest.raises(ValueError, match=r"need at least 4 characters, got shape \(3,\)"):
        text_windows(np.arange(3), 3)
    assert len(text_windows(np.arange(4), 3)) == 1
    for sizes in ((0,), (3, 0)):
        with pytest.raises(ValueError, match="must be at least 1"):
            text_windows(np.arange(9), *sizes)
