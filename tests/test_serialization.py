import json
import os
import signal
import subprocess
import sys
import time
from random import Random

import numpy as np
import pytest
import safetensors.numpy

import minigrad as mg
from minigrad.serialization import load, remove_leftovers, save

DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()
DTYPES += ["complex64", "complex128"]


pytestmark = pytest.mark.usefixtures("on_each_backend")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.safetensors"


def host(state):
    """The state with its tensors as (dtype, shape, bytes), and every container's type."""
    if isinstance(state, mg.Tensor):
        state = state.detach().numpy()
    if isinstance(state, np.ndarray):
        return str(state.dtype.newbyteorder("=")), state.shape, state.tolist()
    if isinstance(state, dict):
        return "dict", [(type(k), k, host(v)) for k, v in state.items()]
    if isinstance(state, list | tuple):
        return type(state), [host(v) for v in state]
    return type(state), repr(state)


SHARED = mg.tensor([1.0, 2.0])

STATES = {
    "model": {"0.weight": mg.tensor([[1.0, 2.0]], requires_grad=True), "0.bias": mg.tensor([0.5])},
    "nested": {"a": {"b": [mg.tensor(1), (np.arange(3), {"c": None})]}, "d": ((), [], {})},
    "int keys": {0: mg.tensor(0), "0": mg.tensor(1), -1: {2: "two"}},
    "dots": {"a.b": mg.tensor(0), "a": {"b": mg.tensor(1), "b.": mg.tensor(2)}, "a..b": 3},
    "reserved": {"__metadata__": mg.tensor([1.0]), "": mg.tensor(2), "minigrad": {"": 3}},
    "numbers": [0, -1, 2**70, 0.1, 1e-310, True, False, None, "", "é\n\"'", 5e300],
    "not finite": {"x": [float("nan"), float("inf"), -float("inf"), -0.0]},
    "like its own code": [{"tuple": [1]}, {"tensor": "a"}, {"dict": []}, {"float": "nan"}],
    "shared": {"x": SHARED, "y": SHARED, "view": mg.tensor([[1.0, 2.0], [3.0, 4.0]])[:, 0]},
    "strides": [np.arange(6).reshape(2, 3).T, np.arange(6)[::-2], np.broadcast_to(1.0, (2, 3))],
    "big-endian": np.arange(3, dtype=">f4"),
    "one tensor": mg.tensor([1.0]),
    "nothing": {},
    "one number": 3,
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_round_trip(state, path):
    save(state, path)
    assert host(load(path)) == host(state)


@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 0, 3), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_shape(dtype, shape, path):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    if dtype.startswith("complex"):
        array *= np.array(1 - 2j, dtype)
    save({"x": array}, path)
    x = load(path)["x"]
    assert (x.dtype, x.shape, x.numpy().tobytes()) == (dtype, shape, array.tobytes())


def test_numpy_scalars_become_numbers(path):
    save([np.float32(0.1), np.int64(3), np.bool_(True)], path)
    assert host(load(path)) == host([float(np.float32(0.1)), 3, True])


def test_tensors_are_new_ones_on_the_default_backend(path, backend):
    save({"x": mg.tensor([1.0], requires_grad=True)}, path)
    first, second = load(path)["x"], load(path)["x"]
    assert first.backend.name == backend
    assert not first.requires_grad
    first += 1
    assert second.tolist() == [1.0]


def test_other_programs_read_the_dotted_names(path):
    save({"model": {"0.weight": mg.tensor([1.0]), "steps": [mg.tensor(2)]}, "epoch": 3}, path)
    found = safetensors.numpy.load_file(path)
    assert {name: x.tolist() for name, x in found.items()} == {
        "model.0.weight": [1.0],
        "model.steps.0": 2,
    }


def test_files_of_other_programs_are_flat(path):
    names = {"a.b": np.ones(2, np.float16), "c": np.array(3)}
    safetensors.numpy.save_file(names, path, {"format": "pt"})
    assert {name: x.tolist() for name, x in load(path).items()} == {"a.b": [1.0, 1.0], "c": 3}


def test_random_state_survives(path):
    save({"random": mg.random.get_state()}, path)
    expected = mg.rand(3).tolist()
    mg.random.set_state(load(path)["random"])
    assert mg.rand(3).tolist() == expected


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [object()]}, "save: the value at 'a.0' is a object; expected dicts, lists"),
        (object(), "save: the state is a object; expected"),
        ({"a": {1.5: 2}}, "save: the value at 'a' has the key 1.5, not a str or an int"),
        ({None: 2}, "save: the state has the key None, not a str or an int"),
        ({"a": np.array(["text"])}, "save: the value at 'a': expected numbers of at most 64 bits"),
        ({"a": 1j}, "save: the value at 'a' is a complex; expected"),
        ({"a": {1, 2}}, "save: the value at 'a' is a set; expected"),
    ],
)
def test_what_cannot_be_saved(state, message, path):
    save("old", path)
    with pytest.raises(TypeError, match="^" + message):
        save(state, path)
    assert load(path) == "old"
    assert os.listdir(path.parent) == [path.name]


def test_missing_file(path):
    with pytest.raises(FileNotFoundError, match=r"^load: there is no file '.*state.safetensors'$"):
        load(path)
    with pytest.raises(FileNotFoundError, match=r"^load: there is no file '.*'$"):
        load(path.parent)


def test_missing_folder(path):
    with pytest.raises(FileNotFoundError, match=r"^save: there is no folder '.*'; create it first"):
        save({}, path / "deeper")


def test_every_truncated_file_is_refused(path):
    save({"a": mg.tensor([1.0, 2.0]), "b": 3}, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"^load: '.*' is no whole safetensors file: [^\n]*$"):
            load(path)


@pytest.mark.parametrize(
    "structure",
    [
        "{",
        '{"tensor": "gone"}',
        '{"tensor": ["x"]}',
        '{"set": []}',
        '{"dict": [[[], 1]]}',
        '{"dict": 3}',
        '{"a": 1, "b": 2}',
        '{"complex": "x"}',
        '{"float": 1' + "0" * 400 + "}",
        "9" * 5000,
        "[" * 100_000,
        '{"tuple": [' * 10_000 + "]}" * 10_000,
    ],
    ids=lambda text: text[:20],
)
def test_damaged_structure(structure, path):
    safetensors.numpy.save_file({"x": np.array(1.0)}, path, {"minigrad": structure})
    with pytest.raises(ValueError, match=r"^load: the structure in the metadata of '.*' is damag"):
        load(path)


def garbage(random, depth):
    """JSON much like a structure, and nearly always wrong somewhere."""
    kind = random.randrange(6) if depth else 0
    if kind == 0:
        return random.choice([None, True, -1, 10**400, "x", "pairs", "", {}, []])
    if kind == 1:
        return [garbage(random, depth - 1) for _ in range(random.randrange(3))]
    if kind == 2:
        return {"dict": [[random.choice(["a", 1, [], None]), garbage(random, depth - 1)]]}
    names = ["dict", "tuple", "float", "tensor", "complex", "other"]
    return {name: garbage(random, depth - 1) for name in random.choices(names, k=kind // 5 + 1)}


def test_any_structure_is_read_or_refused(path):
    random, refused = Random(0), 0
    arrays = {"x": np.array(1.0), "pairs": np.ones((3, 2), np.float32)}
    for _ in range(500):
        structure = json.dumps(garbage(random, 4))
        safetensors.numpy.save_file(arrays, path, {"minigrad": structure})
        try:
            load(path)
        except ValueError as error:
            assert str(error).startswith("load: the structure in the metadata of "), structure
            refused += 1
    assert 100 < refused < 500


def test_any_damaged_file_is_read_or_refused(path):
    save({"a": [mg.tensor([1.0, 2.0]), (np.array([1j]), {"b": None})], 3: float("nan")}, path)
    whole, random = path.read_bytes(), Random(0)
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(random.choice([1, 2, 10])):
            damaged[random.randrange(len(whole))] = random.choice(b'\0\xff{}[]":,019eE-ntf\\')
        path.write_bytes(damaged)
        try:
            load(path)
        except ValueError as error:
            assert str(error).startswith("load: "), damaged


@pytest.mark.parametrize(
    ("dtype", "bits"),
    [("BF16", 16), ("F8_E4M3", 8), ("F8_E5M2", 8), ("F8_E8M0", 8), ("F4", 4)],
)
def test_dtypes_that_numpy_lacks(dtype, bits, path):
    size = 4 * bits // 8
    header = json.dumps({"w": {"dtype": dtype, "shape": [4], "data_offsets": [0, size]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * size)
    with pytest.raises(
        ValueError, match=rf"^load: '.*' holds 'w' as {dtype}, for which NumPy has no dtype; conv"
    ):
        load(path)


def test_missing_package(monkeypatch, path):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (lambda: save({}, path), lambda: load(path)):
        with pytest.raises(
            ImportError, match=r"^weight files need safetensors .*pip install safet"
        ):
            call()


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_a_failing_write_leaves_the_old_file(function, error, path, monkeypatch):
    save("old", path)

    def fail(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises(type(error)):
            save("new", path)
    assert load(path) == "old"
    assert os.listdir(path.parent) == [path.name]


def test_contents_reach_the_disk_before_the_name(path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        record = lambda *args, name=name, real=real: (calls.append(name), real(*args))  # noqa: E731
        monkeypatch.setattr(os, name, record)
    save({}, path)
    assert calls == ["fsync", "replace", "fsync"]


def test_permissions_follow_the_umask(path):
    old = os.umask(0o027)
    try:
        save({}, path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_is_followed(path):
    link = path.with_name("latest.safetensors")
    save("old", path)
    link.symlink_to(path)
    save("new", link)
    assert link.is_symlink()
    assert load(path) == load(link) == "new"


WRITER = """
import sys
import minigrad as mg
from minigrad.serialization import save
while True:
    for i in range(2):
        save({"x": mg.full(100_000, i), "i": i}, sys.argv[1])
        print(i, flush=True)
"""


def test_a_killed_writer_leaves_a_whole_file(path, backend):
    if backend == "numba":
        pytest.skip("the backend plays no part in writing")
    for delay in (0.0, 0.003, 0.01, 0.02):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()  # there is a file now
            time.sleep(delay)
            writer.send_signal(signal.SIGKILL)
        state = load(path)
        assert (state["x"] == state["i"]).all()


@pytest.fixture
def dead():
    """The id of a process that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def temporary(path, process, number="0123abcd"):
    """A temporary file as a process leaves it that is killed while it writes to path."""
    file = path.with_name(f".{path.name}.{process}-{number}.tmp")
    file.touch()
    return file


def test_leftovers_of_dead_processes_are_removed(path, dead):
    save("state", path)
    link = path.with_name("latest.safetensors")
    link.symlink_to(path)
    for name in (path, str(path), link):
        left = [temporary(path, dead), temporary(path, dead, "89abcdef")]
        left.append(temporary(path, os.getpid()))  # of an earlier process with this one's id
        remove_leftovers(name)
        assert not [file for file in left if file.exists()]
    assert load(link) == "state"


def test_other_files_stay(path, dead):
    stay = [temporary(path, os.getppid())]
    stay += [temporary(path, process) for process in (0, -1, "x", 10**30)]
    stay += [temporary(path, dead, number) for number in ("0123", "xyz", "0123abcd.more")]
    stay += [temporary(path.with_name(name), dead) for name in ("stateXsafetensors", "*", "a[b]")]
    stay += [path.with_name(".mine.tmp"), path.with_name(f".{path.name}.tmp")]
    for file in stay:
        file.touch()
    remove_leftovers(path)
    assert sorted(path.parent.iterdir()) == sorted(stay)


def test_the_name_of_a_file_is_no_pattern(path, dead):
    mine, other = path.with_name("a[b]*.x"), path.with_name("ab.x")
    left, stays = temporary(mine, dead), temporary(other, dead)
    remove_leftovers(mine)
    assert (left.exists(), stays.exists()) == (False, True)


def test_no_folder_has_no_leftovers(path):
    remove_leftovers(path / "deeper" / "state")


def test_a_file_being_written_stays(path, monkeypatch):
    replace = os.replace

    def replace_later(source, target):
        remove_leftovers(path)
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_later)
    save("state", path)
    assert load(path) == "state"


@pytest.mark.parametrize(
    ("windows", "error"),
    [(False, None), (False, PermissionError()), (True, ProcessLookupError())],
)
def test_processes_that_may_live(windows, error, path, dead, monkeypatch):
    def kill(process, number):
        assert number == 0
        if error:
            raise error

    left = temporary(path, dead)
    with monkeypatch.context() as patch:
        patch.setattr("minigrad.serialization._WINDOWS", windows)
        patch.setattr(os, "kill", kill)
        remove_leftovers(path)
    assert left.exists()


def test_what_a_killed_writer_leaves_is_removed(path):
    command = [sys.executable, "-c", STOPPED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        (left,) = path.parent.iterdir()
        remove_leftovers(path)
        assert left.exists()
        writer.send_signal(signal.SIGKILL)
    remove_leftovers(path)
    assert not os.listdir(path.parent)


STOPPED = """
import os, sys, time
from minigrad.serialization import save
os.fsync = lambda file: (print(flush=True), time.sleep(60))
save({}, sys.argv[1])
"""


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02}q\x00"])
def test_a_file_of_torch_save_is_told_apart(tmp_path, start):
    path = tmp_path / "model.pt"
    path.write_bytes(start + bytes(40))
    with pytest.raises(
        ValueError, match=r"no whole safetensors file: .*; if it is from torch\.save"
    ):
        mg.load(path)
