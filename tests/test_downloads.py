"""Data sets that are fetched, from a server on this machine: no test needs a network."""

import gzip
import hashlib
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from minigrad.data import FASHION_CLASSES, datasets, load_fashion_mnist, load_mnist
from minigrad.data.download import RemoteFile, data_folder, fetch


def idx(array):
    lengths = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes(), mtime=0)


CONTENT = {
    f"{part}-{kind}-idx{array.ndim}-ubyte.gz": idx(array)
    for part, n in (("train", 24), ("t10k", 10))
    for kind, array in (
        ("images", np.repeat(np.arange(n, dtype=np.uint8), 6).reshape(n, 2, 3)),
        ("labels", np.arange(n, dtype=np.uint8) % 10),
    )
}
IMAGES = "train-images-idx3-ubyte.gz"


class Handler(BaseHTTPRequestHandler):
    """/good/ has the files; the other folders have each its fault."""

    def do_GET(self):
        _, folder, name = self.path.split("/")
        self.server.asked.append(self.path)
        content = CONTENT.get(name)
        if folder == "missing" or content is None:
            self.send_error(404)
            return
        if folder == "moved":
            self.send_response(302)
            self.send_header("Location", f"/good/{name}")
            self.end_headers()
            return
        sent = {
            "good": content,
            "wrong": content[:-1] + b"\0" + content[-1:],
            "other": content[:-1] + bytes([content[-1] ^ 1]),
            "truncated": content[:-5],
            "short": content[:-5],
            "endless": content * 1000,
        }[folder]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content if folder == "truncated" else sent)))
        self.end_headers()
        with suppress(ConnectionError):  # the client had enough
            self.wfile.write(sent)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server on a free port; `asked` lists the paths that were asked for."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    server.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def remote(name):
    content = CONTENT.get(name, b"nothing")
    return RemoteFile(name, len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("folder", ["good", "moved"])
def test_fetch(server, tmp_path, folder, capsys):
    path = fetch(remote(IMAGES), [f"{server.url}{folder}/"], tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / IMAGES
    assert path.read_bytes() == CONTENT[IMAGES]
    assert [p.name for p in path.parent.iterdir()] == [IMAGES]
    assert capsys.readouterr() == ("", "")  # no bar where standard error is no terminal


@pytest.mark.parametrize(
    ("folder", "fault"),
    [
        ("missing", "HTTP Error 404: Not Found"),
        ("other", "expected the SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}"),
        ("wrong", r"expected \d+ bytes, got more than \d+"),
        ("endless", r"expected \d+ bytes, got more than \d+"),
        ("short", r"expected \d+ bytes, got \d+"),
        ("truncated", r"expected \d+ bytes, got \d+|IncompleteRead"),
    ],
)
def test_fetch_refuses(server, tmp_path, folder, fault):
    url = f"{server.url}{folder}/"
    with pytest.raises(ConnectionError, match=rf"from {url}{IMAGES} \({fault}.*\); ") as caught:
        fetch(remote(IMAGES), [url], tmp_path / "data")
    message = str(caught.value)
    assert message.startswith(f"{IMAGES} could not be downloaded")
    assert message.endswith(f"put it into the folder {tmp_path / 'data'}")
    assert "\n" not in message
    assert not (tmp_path / "data").exists()


def test_fetch_tries_the_mirrors_in_turn(server, tmp_path):
    mirrors = [f"{server.url}{folder}/" for folder in ("missing", "other", "good", "wrong")]
    assert fetch(remote(IMAGES), mirrors, tmp_path).read_bytes() == CONTENT[IMAGES]
    assert [path.split("/")[1] for path in server.asked] == ["missing", "other", "good"]


def refusing(server):
    """Stop listening: the port is then one that refuses connections."""
    server.shutdown()
    server.server_close()
    return server.url


def test_fetch_offline(server, tmp_path):
    url = refusing(server)
    with pytest.raises(ConnectionError, match=r"Connection refused.* or .*Connection refused"):
        fetch(remote(IMAGES), [url, url], tmp_path)


def test_fetch_shows_a_bar_on_a_terminal(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    fetch(remote(IMAGES), [f"{server.url}good/"], tmp_path)
    out, err = capsys.readouterr()
    assert out == ""
    assert IMAGES in err


def test_fetch_into_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        fetch(remote(IMAGES), [f"{server.url}good/"], tmp_path / "file" / "data")
    assert len(server.asked) == 1  # no other mirror would help


SETS = [
    (load_mnist, "_MNIST", "mnist"),
    (load_fashion_mnist, "_FASHION", "fashion-mnist"),
]


@pytest.fixture(params=SETS, ids=[name for _, _, name in SETS])
def reader(request, server, tmp_path, monkeypatch):
    """(reader, its folder) of a data set that the server has."""
    load, constants, name = request.param
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path))
    files = {key: remote(f.name) for key, f in getattr(datasets, f"{constants}_FILES").items()}
    monkeypatch.setattr(datasets, f"{constants}_FILES", files)
    monkeypatch.setattr(datasets, f"{constants}_MIRRORS", (f"{server.url}good/",))
    return load, tmp_path / name


def test_readers_download_what_is_missing(reader, server):
    load, folder = reader
    splits = load()
    assert [part.images.shape for part in splits] == [(22, 2, 3), (2, 2, 3), (10, 2, 3)]
    assert sorted(path.name for path in folder.iterdir()) == sorted(CONTENT)
    assert len(server.asked) == 4

    (folder / IMAGES).unlink()
    again = load()
    assert server.asked[4:] == [f"/good/{IMAGES}"]
    np.testing.assert_array_equal(again.train.images, splits.train.images)


def test_readers_take_files_put_there_by_hand(reader, server):
    load, folder = reader
    folder.mkdir()
    for name, content in CONTENT.items():
        plain = name.removesuffix(".gz").replace("-idx", ".idx")
        (folder / plain).write_bytes(gzip.decompress(content))
    assert len(load().test.labels) == 10
    assert len(load(folder).test.labels) == 10
    assert server.asked == []


def test_readers_offline_name_the_url_and_the_folder(reader, server):
    load, folder = reader
    url = refusing(server)
    with pytest.raises(ConnectionError) as caught:
        load()
    assert f"{url}good/{IMAGES}" in str(caught.value)
    assert str(caught.value).endswith(f"put it into the folder {folder}")


def test_readers_do_not_download_into_a_given_folder(reader, server, tmp_path):
    load, _ = reader
    (tmp_path / "own").mkdir()
    with pytest.raises(FileNotFoundError, match="has no train images"):
        load(tmp_path / "own")
    assert server.asked == []


@pytest.mark.parametrize(("_load", "constants", "_name"), SETS)
def test_tables_are_complete(_load, constants, _name):
    files = getattr(datasets, f"{constants}_FILES")
    assert [f.name for f in files.values()] == list(CONTENT)
    assert list(files) == [(p, k) for p in ("train", "t10k") for k in ("images", "labels")]
    for file in files.values():
        assert len(bytes.fromhex(file.sha256)) == 32
        assert file.size > 4000
    for mirror in getattr(datasets, f"{constants}_MIRRORS"):
        assert mirror.startswith("http")
        assert mirror.endswith("/")


def test_fashion_has_ten_classes():
    assert len(set(FASHION_CLASSES)) == 10
    assert FASHION_CLASSES[0] == "T-shirt/top"
    assert FASHION_CLASSES[9] == "Ankle boot"


def test_data_folder(monkeypatch):
    monkeypatch.setenv("MINIGRAD_DATA", "~/sets")
    assert data_folder() == Path.home() / "sets"
    monkeypatch.delenv("MINIGRAD_DATA")
    monkeypatch.setattr(
        platformdirs, "user_cache_dir", lambda name, appauthor: f"/cache/{name}-{appauthor}"
    )
    assert data_folder() == Path("/cache/minigrad-False")


def test_data_folder_of_nobody(monkeypatch):
    monkeypatch.setenv("MINIGRAD_DATA", "~no-such-user/sets")
    with pytest.raises(ValueError, match="MINIGRAD_DATA='~no-such-user/sets' is no folder: "):
        load_mnist()
