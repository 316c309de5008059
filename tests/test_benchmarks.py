"""The benchmark: who takes part, what is measured, what is said of it."""

import itertools
import json
import os
import platform
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import processes
import pytest

import minigrad as mg
from minigrad.engine import TABLE

NEEDS_TORCH = "compares with torch (the extra minigrad[compare])"
ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks"
RUN, GPU = FOLDER / "run.py", FOLDER / "gpu.py"


@pytest.fixture
def program(monkeypatch):
    """The benchmark's modules by name."""
    monkeypatch.syspath_prepend(FOLDER)
    return __import__


def command(*options, script=RUN):
    return [sys.executable, str(script), *map(str, options)]


def run(*options, code=0, script=RUN, env=None):
    done = subprocess.run(command(*options, script=script), capture_output=True, text=True, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


# The whole program


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """What a quick run of everything prints, and the folder with its results."""
    folder = tmp_path_factory.mktemp("results")
    options = ["--peers", "torch,jax", "--ops", "multiply,softmax_cross_entropy,isnan,to"]
    return run("--quick", *options, "--results", folder).stdout, folder


@pytest.fixture
def results(quick, program):
    return program("run").stored(quick[1])


def test_every_part_is_stored_with_the_facts_of_the_run(results, program):
    assert set(results) == set(program("run").USUAL)
    for part, result in results.items():
        assert (result["schema"], result["part"]) == (2, part)
        assert {"commit", "dirty", "date", "missing", "seconds", "found"} <= set(result)
        machine = {"processor", "cores", "threads", "memory_gib", "system", "blas"}
        assert set(result["machine"]) == machine
        assert {"python", "minigrad", "numpy"} <= set(result["versions"])
    assert results["step"]["control"]["checks"] > 0


def test_results_name_no_machine_and_no_folder(quick):
    for file in quick[1].iterdir():
        text = file.read_text("utf-8")
        for secret in (platform.node(), str(ROOT), str(Path.home()), sys.prefix):
            assert secret not in text


def who_plays(result, *names):
    return {name for name in names if name not in result["missing"]}


def test_everyone_trains_or_is_said_to_be_missing(results):
    found, missing = results["step"]["found"], results["step"]["missing"]
    assert found["failed"] == {}
    assert [row["net"] for row in found["rows"]] == ["perceptron", "convolutional", "transformer"]
    wanted = who_plays(results["step"], "numpy", "numba", "torch", "jax")
    for row in found["rows"]:
        floor = {"floor"} if row["net"] == "perceptron" and "numba" in wanted else set()
        assert set(row["us"]) == set(row["ratio"]) == wanted | floor
        assert row["ratio"][row["base"]] == 1
    assert all("install" in reason for reason in missing.values())


@pytest.mark.parametrize("name", ["numpy", "numba", "torch", "jax"])
def test_everyone_computes_the_same_losses(results, name):
    if reason := results["step"]["missing"].get(name):
        pytest.skip(f"{name} {reason}")
    for row in results["step"]["found"]["rows"]:
        assert row["losses"][name] == pytest.approx(row["losses"]["numpy"], rel=1e-4)
        assert row["losses"][name] == sorted(row["losses"][name], reverse=True)
        assert row["disagree"] == []


def test_ops_are_measured_in_every_size_and_pass(results):
    ops = results["ops"]["found"]
    assert ops["failed"] == []
    assert set(ops["unmeasured"]) == {"to"}
    both = ("forward", "forward + backward")
    wanted = [("multiply", both), ("softmax_cross_entropy", both), ("isnan", both[:1])]
    assert {(row["op"], row["size"], row["pass"]) for row in ops["rows"]} == {
        (op, size, direction)
        for op, directions in wanted
        for size in ("small", "large")
        for direction in directions
    }
    compared = who_plays(results["ops"], "numba")
    for row in ops["rows"]:
        assert set(row["us"]) == {"numpy", *compared}
        assert set(row["ratio"]) == compared
        assert ("numba" in row["kernels"]) == (row["op"] not in ops["same_code"])
    assert ("softmax_cross_entropy" in ops["same_code"]) == (not compared)


def test_kernels_are_compared_with_yardsticks(results):
    found = results["kernels"]["found"]
    assert found["failed"] == []
    others = who_plays(results["kernels"], "numpy", "torch", "jax")
    for row in found["rows"]:
        if "numba" in row["us"]:
            assert others <= set(row["ratio"])
    if "numba" not in results["kernels"]["missing"]:
        assert {"a copy", "a bare loop"} <= set(found["rows"][-1]["ratio"])


def test_all_reach_the_same_accuracy(results):
    found = results["mnist"]["found"]
    assert found["failed"] == {}
    wanted = who_plays(results["mnist"], "numpy", "numba", "torch")
    assert set(found["contestants"]) == wanted
    for rows in found["contestants"].values():
        assert rows["accuracy"] == pytest.approx(
            found["contestants"]["numpy"]["accuracy"], abs=0.02
        )
        assert len(rows["seconds"]) == found["epochs"] == 2


def test_start_up_is_cold_and_cached(results):
    found = results["startup"]["found"]
    assert set(found["steps"]) == who_plays(results["startup"], "numpy", "numba", "torch", "jax")
    for times in found["steps"].values():
        assert set(times) == {"cold_s", "cached_s", "steady_s"}
    assert found["imports"]["minigrad_ms"] > 0


def test_all_parts_are_told_and_drawn(quick, results):
    printed, folder = quick
    for words in (
        "784-256-128-10",
        "`import minigrad` takes",
        "batch 128",
        "## targets",
        "these figures say nothing about speed",
    ):
        assert words in printed
    drawn = {file.name for file in folder.glob("*.svg")}
    assert {"step.svg", "mnist.svg"} <= drawn
    assert ("kernels.svg" in drawn) == ("numba" not in results["kernels"]["missing"])


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_keeps_what_was_measured(tmp_path, sent):
    options = ["ops", "memory", "--quick", "--backends", "numpy", "--peers", ""]
    process = processes.start(command(*options, "--results", tmp_path), stderr=subprocess.PIPE)
    with process:
        seen = list(itertools.takewhile(lambda line: "(2 of" not in line, process.stderr))
        process.send_signal(sent)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in "".join(seen) + rest
    assert [file.name for file in tmp_path.iterdir()] == ["ops.partial.json"]
    kept = json.loads((tmp_path / "ops.partial.json").read_text("utf-8"))
    assert kept["interrupted"]
    assert {row["op"] for row in kept["found"]["rows"]} >= {"multiply"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--ops", "multipy"], "did you mean 'multiply'"),
        (["--backends", "numpy,cuda"], "unknown name 'cuda'"),
        (["--peers", "keras"], "known: torch, torch.compile, jax"),
        (["--rounds", "0"], "whole number above 0, got '0'"),
        (["steps"], "unknown part 'steps' (known: ops, kernels, step"),
    ],
    ids=" ".join,
)
def test_wrong_options_are_named(options, says):
    assert says in run(*options, code=2).stderr


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}'])
def test_foreign_results_are_refused_in_one_line(tmp_path, text):
    (tmp_path / "step.json").write_text(text)
    lines = run("--publish", "--results", tmp_path, code=1).stderr.splitlines()
    assert len(lines) == 1
    assert "step.json holds no results of this program" in lines[0]


# On a GPU


def run_on_gpu(*options, path, code=0):
    folders = [*path, ROOT, os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    return run(*options, code=code, script=GPU, env=env)


@pytest.fixture(scope="module")
def pretended(tmp_path_factory):
    """What a quick run on a pretended card prints, and the folder with its results."""
    folder, tests = tmp_path_factory.mktemp("results"), ROOT / "tests"
    done = run_on_gpu("--quick", "--results", folder, path=[tests / "fake_cupy", tests])
    return done.stdout, folder


def test_gpu_parts_are_stored_with_the_facts_of_the_card(pretended, program):
    found = program("run").stored(pretended[1])
    assert list(found) == ["gpu_kernels", "gpu_step"]
    for result in found.values():
        assert result["found"]["failed"] in ([], {})
        assert result["machine"]["gpu"] == {
            "name": "NVIDIA Pretended",
            "memory_gib": 4.0,
            "driver": result["machine"]["gpu"]["driver"],
            "cuda": "12.8",
            "cublas": 120804,
        }
        assert set(result["missing"]) <= {"torch", "jax"}
    steps, kernels = found["gpu_step"]["found"]["rows"], found["gpu_kernels"]["found"]
    assert [row["net"] for row in steps] == ["perceptron", "convolutional", "transformer"]
    assert all("cupy" in row["us"] for row in [*steps, *kernels["rows"]])
    assert "its products" in kernels["rows"][1]["ratio"]
    assert all(rate > 0 for rate in kernels["rates"].values())


def test_gpu_parts_are_told_and_drawn(pretended):
    printed, folder = pretended
    assert "On NVIDIA Pretended, 4.0 GiB, driver" in printed
    assert "GB/s, read and written" in printed
    assert {file.name for file in folder.glob("*.svg")} == {"gpu_step.svg", "gpu_kernels.svg"}


@pytest.mark.skipif(mg.backends.status()["cupy"].usable, reason="says what lacks without a GPU")
def test_without_a_gpu_one_line_says_what_is_missing():
    done = run_on_gpu(path=[], code=2)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith('gpu.py: backend "cupy" ')


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_peers_that_see_no_gpu_are_missing(program, monkeypatch, library):
    pytest.importorskip(library, reason=NEEDS_TORCH.replace("torch", library))
    arena = program("arena")
    monkeypatch.setitem(arena.SEES_GPU, library, "raise SystemExit(True)")
    arena.sees_gpu.cache_clear()
    assert arena.absentees([], [library], "cuda") == {library: arena.NEEDS_CUDA}
    assert arena.absentees([], [library]) == {}


def test_mnist_is_where_one_says(program, tmp_path):
    with pytest.raises(SystemExit, match=r"there is no MNIST in .*nowhere"):
        program("mnist").folder_of_mnist(tmp_path / "nowhere")


# Taking turns

SERVE = """
import os, sys, time
from turns import serve

def task(name):
    if name == "raise":
        raise ValueError("too\\nlong")
    if name == "die":
        sys.exit("out of paper")
    if name == "hang":
        time.sleep(600)
    if name == "print":
        os.write(1, b"a library speaks\\n")
    return lambda: 7

serve(task)
"""


@pytest.fixture
def contestant(program, tmp_path):
    """Starts contestants, with the patience given, and ends them."""
    turns, script, started = program("turns"), tmp_path / "contestant.py", []
    script.write_text(SERVE)

    def start(patience=60):
        env = {"PYTHONPATH": str(FOLDER)}
        started.append(turns.Contestant(script, "anyone", env=env, patience=patience))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_contestants_answer(contestant):
    one = contestant()
    assert one.run("work")["value"] == 7
    assert one.run("print")["value"] == 7
    assert one.time("work", 0.001) > 0


@pytest.mark.parametrize(
    ("task", "patience", "error", "says"),
    [
        ("raise", 60, "Failed", "^ValueError: too$"),
        ("die", 60, "Lost", "ended at 'die' .exit code 1.: out of paper"),
        ("hang", 1, "Lost", "no answer to 'hang' within 1 s"),
    ],
)
def test_contestants_that_give_no_answer_are_reported(
    program, contestant, task, patience, error, says
):
    turns, one = program("turns"), contestant(patience)
    with pytest.raises(getattr(turns, error), match=says):
        one.run(task)
    if error == "Failed":
        assert one.run("work")["value"] == 7
    else:
        with pytest.raises(turns.Lost):
            one.run("work")


class Scripted:
    """A contestant and a control that take their times from a list."""

    def __init__(self, *values):
        self.values = iter(values)

    def time(self, task, seconds):
        value = next(self.values)
        if isinstance(value, Exception):
            raise value
        return value

    def is_slow(self):
        return next(self.values)


def test_rounds_with_a_slow_control_are_repeated(program):
    turns = program("turns")
    one, other = Scripted(100, 1, 50, 3), Scripted(100, 2, 60, 6)
    control = Scripted(False, False, True, False)
    found = turns.take_turns({"one": one, "other": other}, ["task"], 2, control)
    assert found.times["task"] == {"one": [1, 3], "other": [2, 6]}
    assert found.slow == 0
    assert found.us("task") == {"one": 2, "other": 4}
    assert found.ratio("task", "one", "other") == 0.5


def test_slow_rounds_count_where_there_are_no_others(program):
    turns = program("turns")
    one, control = Scripted(100, 1, 2, 3, 4), Scripted(True, True, False, True, True)
    found = turns.take_turns({"one": one}, ["task"], 2, control)
    assert found.times["task"]["one"] == [2, 1]
    assert found.slow == 1


def test_who_fails_is_left_out_and_the_others_go_on(program):
    turns = program("turns")
    playing = {
        "fails": Scripted(1, turns.Failed("cannot")),
        "lost": Scripted(turns.Lost("gone")),
        "works": Scripted(1, 2, 3),
    }
    found = turns.take_turns(playing, ["task"], 2, Scripted(False, False, False))
    assert found.times["task"] == {"works": [2, 3]}
    assert (found.failed, found.lost) == ({"fails": "cannot"}, {"lost": "gone"})


def test_a_part_whose_time_is_over_keeps_its_rows(program, monkeypatch):
    run, arena = program("run"), program("arena")
    options = run.options_of("", run.PARTS).parse_args(["--quick", "--peers", ""])
    limited = arena.Arena(options)
    limited.limit(-1)

    def measure(arena, found):
        found.update(rows=["a row"])
        arena.require_time()

    monkeypatch.setitem(run.EVERY, "step", measure)
    result = run.measured("step", limited, {})
    assert result["found"] == {"rows": ["a row"]}
    assert result["given_up"].startswith("its time is over")


class Failing:
    """An arena whose contestants all raise an error; counts who is started."""

    backends, peers, quick, threads, block = ["cupy"], [], True, 1, 0

    def __init__(self, device, error):
        self.device, self.error, self.started = device, error, []
        self.control = Scripted(*[False] * 100)

    def start(self, part, name, *_):
        self.started.append(name)
        return self

    def time(self, *_):
        raise self.error

    def rounds(self, usual):
        return 1

    def nothing(self, *_, **__):
        pass

    run, require_time, close, __exit__ = time, nothing, nothing, nothing

    def __enter__(self):
        return self


@pytest.mark.parametrize(("device", "starts"), [("cpu", 1), ("cuda", 4)])
def test_whose_steps_fail_on_a_gpu_starts_anew(program, device, starts):
    arena, found = Failing(device, program("turns").Failed("cannot")), {}
    program("training").measure(arena, found, "gpu_step")
    assert arena.started == ["cupy"] * starts
    assert [row["us"] for row in found["rows"]] == [{}] * 3


@pytest.mark.parametrize(("error", "starts"), [("Failed", 4), ("Lost", 2)])
def test_whose_kernels_fail_on_a_gpu_starts_anew_but_for_who_is_lost_twice(program, error, starts):
    hot_loops, arena = program("hot_loops"), Failing("cuda", getattr(program("turns"), error)("so"))
    found = {}
    hot_loops.measure(arena, found, hot_loops.ON_GPU)
    assert arena.started.count("cupy") == starts
    assert found["failed"][0] == {"contestant": "the card's rates", "reason": "so"}
    assert all(row["us"] == {} for row in found["rows"])


# The ops


@pytest.mark.parametrize("name", TABLE)
def test_every_op_can_be_measured(program, monkeypatch, name):
    operations = program("operations")
    monkeypatch.setattr(operations, "LARGE", 1 << 10)
    monkeypatch.setattr(operations, "plan", operations.plan.__wrapped__)
    if name in operations.LEFT_OUT:
        with pytest.raises(ValueError, match=operations.LEFT_OUT[name]):
            operations.plan(name)
        return
    with np.errstate(all="ignore"):
        description = operations.described(name)
        assert operations.kernels_of(name, "numpy") == []
        for task in operations.tasks(name, description):
            operations.build(*task.split("|"), "numpy")()
    assert "small" in description["shapes"]
    assert ("large" in description["shapes"]) == (description["small_only"] == "")


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("multiply", [[26, 39], [26, 39]]),
        ("matmul", [[18, 27], [27, 36]]),
        ("linear", [[36, 27], [18, 27], [18]]),
        ("softmax_cross_entropy", [[36, 27], [36]]),
        ("isnan", [[26, 39]]),
        ("random_bits", [[3]]),
    ],
)
def test_large_inputs_still_fit_each_other(program, monkeypatch, name, shapes):
    operations = program("operations")
    monkeypatch.setattr(operations, "LARGE", 1 << 10)
    found = operations.plan.__wrapped__(name).cases["large"]
    assert [list(array.shape) for array in operations.present(found)] == shapes


@pytest.mark.parametrize(
    ("shapes", "factor"),
    [([(2, 3)], 418), ([(4,)], 262144), ([()], 1), ([(0, 3), (1, 2)], 524288), ([], 1)],
)
def test_factor_keeps_arrays_below_the_limit(program, shapes, factor):
    assert program("operations").factor(shapes) == factor


# The kernels


def test_every_case_has_a_title_of_its_own(program):
    hot_loops = program("hot_loops")
    for cases in (hot_loops.CASES, hot_loops.GPU_CASES):
        assert len(set(map(hot_loops.title, cases))) == len(cases)


SHORT = {
    "cross_entropy": [(8, 5)],
    "linear": [("relu", 4, 6, 3), ("gelu", 4, 6, 3)],
    "activation": [("relu", 4, 3), ("gelu", 4, 3), ("silu", 4, 3)],
    "softmax": [(4, 3)],
    "layer_norm": [(4, 6)],
    "rms_norm": [(4, 6)],
    "batch_norm": [((3, 4, 5, 5),)],
    "group_norm": [(2, (3, 4, 5, 5))],
    "total": [(None, 4, 3), (0, 4, 3), (1, 4, 3)],
    "embedding": [(20, 5, 3)],
    "gather": [(20, 5)],
    "conv2d": [(2, 3, 4, 6)],
    "pooling": [("max_pool2d", 2, 3, 4, 4), ("avg_pool2d", 2, 3, 4, 4)],
    "attention": [(2, 2, 5, 4)],
}


@pytest.mark.parametrize(
    ("make", "sizes"), [(make, sizes) for make, rows in SHORT.items() for sizes in rows], ids=str
)
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_libraries_compute_the_same(program, make, sizes, library):
    pytest.importorskip(library, reason=NEEDS_TORCH.replace("torch", library))
    hot_loops = program("hot_loops")
    case = getattr(hot_loops, make)(*sizes)
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal(x, np.float32) if isinstance(x, tuple) else x for x in case.inputs
    ]

    def computed(player):
        found = player[0](case, arrays)()
        if library == "jax" and player is theirs and case.wrt and not case.only_backward:
            found = found[1]
        found = found if isinstance(found, tuple | list) else [found]
        return [np.asarray(x.numpy() if hasattr(x, "numpy") else x) for x in found]

    theirs = hot_loops.of_jax() if library == "jax" else hot_loops.of_torch(1)
    for mine, other in zip(computed(hot_loops.of_minigrad("numpy")), computed(theirs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_optimizers_step(program, number, library):
    if library != "numpy":
        pytest.importorskip(library, reason=NEEDS_TORCH.replace("torch", library))
    hot_loops = program("hot_loops")
    update = hot_loops.updates(10)[number]
    makers = {"torch": lambda: hot_loops.of_torch(1), "jax": hot_loops.of_jax}
    build, wait = makers.get(library, lambda: hot_loops.of_minigrad("numpy"))()
    build(update, [np.ones(10, np.float32), np.ones(10, np.float32)])()
    wait()


# What is said


@pytest.fixture
def told():
    """Results with a loss, a failure, what is missing, met and missed targets."""

    def about(part, found, **more):
        machine = {"processor": "CPU", "cores": 2, "threads": 1, "memory_gib": 8.0}
        return {
            "schema": 2,
            "part": part,
            "date": "2030-01-02",
            "commit": "abc1234",
            "dirty": True,
            "machine": machine | {"system": "Linux", "blas": "openblas 1"},
            "versions": {"minigrad": "1.2", "python": "3.11", "numpy": "2.1", "numba": "0.61"},
            "quick": False,
            "missing": {"jax": "is not installed; install it"},
            "found": found,
        } | more

    def op(name, size, direction, ratio, *kernels):
        return {
            "op": name,
            "size": size,
            "pass": direction,
            "us": {"numpy": 10.0, "numba": 10.0 * ratio},
            "ratio": {"numba": ratio},
            "kernels": {"numba": list(kernels)} if kernels else {},
            "slow_rounds": 0,
        }

    def step(batch, **us):
        return {
            "net": "perceptron",
            "said": "784-256-128-10",
            "batch": batch,
            "us": us,
            "base": "torch",
            "ratio": {name: t / us["torch"] for name, t in us.items()},
            "slow_rounds": 1,
            "losses": {},
            "disagree": ["numpy"] if batch == 32 else [],
        }

    def kernel(case, threads, **ratio):
        return {
            "case": case,
            "name": case.split(" (")[0],
            "shape": case.split(" (")[1][:-1],
            "threads": threads,
            "us": {"numba": 1.0},
            "ratio": {name.replace("_", " "): value for name, value in ratio.items()},
            "slow_rounds": 0,
        }

    ops = {
        "base": "numpy",
        "rows": [
            op("exp", "small", "forward", 1.2),
            op("exp", "large", "forward", 0.9),
            op("slow", "small", "forward", 2.0, "slow"),
            op("slow", "large", "forward", 0.5, "slow"),
            op("fast", "large", "forward + backward", 0.25, "fast"),
        ],
        "same_code": ["exp"],
        "failed": [{"op": "fast", "backend": "numba", "reason": "once"}],
        "unmeasured": {"to": "because"},
        "small_only": {"fast": "so", "exp": "for want of length"},
    }
    kernels = [
        kernel("layer norm (4096×1024, 1024)", 1, numpy=0.3, torch=1.5, a_copy=1.2),
        kernel("Adam (10,000,000)", 2, numpy=0.1, torch=0.9, a_copy=1.5, a_bare_loop=1.05),
    ]
    steps = [
        step(32, floor=100.0, numpy=400.0, numba=150.0, torch=300.0),
        step(1024, floor=1000.0, numpy=3000.0, numba=2000.0, torch=1600.0),
    ]
    epochs = {"seconds": [2.0, 2.0], "accuracy": [0.9, 0.97]}
    mnist = {
        "data": "MNIST",
        "network": "784-256-128-10",
        "batch": 128,
        "epochs": 2,
        "contestants": {"numba": epochs, "torch": {**epochs, "seconds": [4.0, 4.0]}},
        "failed": {},
    }
    startup = {
        "imports": {"over_numpy_ms": 41.6},
        "batch": 32,
        "steps": {"numba": {"cold_s": 3.0, "cached_s": 0.05, "steady_s": 1e-4}},
        "failed": {"torch.compile": "no compiler"},
    }
    parts = {
        "ops": ops,
        "kernels": {"rows": kernels, "failed": []},
        "step": {"rows": steps, "failed": {}},
        "mnist": mnist,
        "startup": startup,
        "warmup": {"seconds": {"numba": {"cold_s": 60.0, "cached_s": 1.0}}, "failed": {}},
        "memory": {
            "rows": [
                {"family": "A", "name": "x * y", "inputs": "4", "minigrad": 512, "torch": 2048}
            ]
        },
        "overhead": {
            "rows": [{"task": "multiply, no tape", "ratio": 0.8, "us": {}, "slow_rounds": 0}]
        },
    }
    card = {"name": "Card", "memory_gib": 80.0, "driver": "550.1", "cuda": "12.8", "cublas": 1}
    on_card = {
        "gpu_step": {"rows": [step(128, cupy=300.0, torch=200.0)], "failed": {}},
        "gpu_kernels": {
            "rows": [kernel("softmax (8192×4096)", 1, torch=1.5, a_copy=1.25)],
            "rates": {"copy_gb_s": 2900.4, "product_tflop_s": 50.06},
            "failed": [],
        },
    }
    found = {part: about(part, found) for part, found in {**parts, **on_card}.items()}
    for part in on_card:
        found[part]["machine"]["gpu"] = card
    return found


@pytest.mark.parametrize(
    "line",
    [
        "- perceptron, batch 1,024: PyTorch is faster, minigrad takes 1.25 × its time",
        "- layer norm (4096×1024, 1024), 1 thread: PyTorch is faster, minigrad takes 1.50 × its",
        "- slow, small, forward, an op with a kernel beside numpy: 2.00, at most 1.05 asked",
        "- perceptron, batch 1,024, a training step beside PyTorch: 1.25, at most 1 asked",
        "| a training step beside PyTorch | 1 | **missed in 1 of 2** | 1.25: perceptron, batch ",
        "| a step of an optimizer beside a bare loop | 1.1 | met | 1.05: Adam (10,000,000), all",
        "| perceptron, batch 32 | 0.33 | 1.33 | 0.50 | 1.00 |",
        "| layer norm | 4096×1024, 1024 | 1 | 0.30 | 1.50 | – | 1.20 × a copy |",
        "| slow | 2.00 | – | 0.50 | – | 1.00 |",
        "1 ops run the same code on numpy and numba; where that was measured, nine in ten ratios",
        "Geometric mean over the 2 others: 0.63.",
        "| minigrad, numba | 4.00 s | 0.50 | 97.00 % |",
        "`import minigrad` takes 42 ms of its thread's CPU time beyond `import numpy`",
        "| minigrad, numba | 3.00 s | 50.0 ms | 0.1 ms |",
        "| minigrad, numba | 60.00 s | 1.00 s |",
        "| `x * y` | 4 | 512 B | 2.0 KiB |",
        "| multiply, no tape | 0.80 | 0.90 |",
        "- jax is missing: is not installed; install it",
        "- startup: torch.compile failed: no compiler",
        "- ops: fast, numba, once",
        "- to is not measured: because",
        "- fast is measured small only: so",
        "- perceptron, batch 32: the losses of numpy differ from the others'",
        "- step: the control was slow in rounds that count, in 2 of 2 rows",
        "overhead: minigrad 1.2, commit abc1234 with changes, 2030-01-02; CPU, 1 of 2 cores",
        "- on the GPU, perceptron, batch 128: PyTorch is faster, minigrad takes 1.50 × its time",
        "- softmax (8192×4096), on the GPU: PyTorch is faster, minigrad takes 1.50 × its time",
        "- perceptron, batch 128, a training step on the GPU beside PyTorch: 1.50, at most 1 asked",
        "- softmax (8192×4096), what memory limits on the GPU beside a copy of as many bytes: 1.2",
        "| softmax | 8192×4096 | 1.50 | – | 1.25 × a copy |",
        "On Card, 80.0 GiB, driver 550.1, CUDA 12.8, cuBLAS 1. The time of a step / that of PyTor",
        "The card copies 2,900 GB/s, read and written, and multiplies matrices of float32 at 50.1 ",
        "gpu_step, gpu_kernels: minigrad 1.2, commit abc1234 with changes, 2030-01-02; Card, 80.0",
    ],
)
def test_report(program, told, line):
    assert line in program("report").told(told)


@pytest.mark.parametrize(
    "line", ["batch 32: PyTorch", "| exp |", "exp, small, forward, ", "exp is measured small"]
)
def test_report_leaves_out_what_says_nothing(program, told, line):
    assert line not in program("report").told(told)


def test_nothing_is_said_where_nothing_is_lost(program, told):
    told["step"]["found"]["rows"].pop()
    report, good = program("report"), {name: told[name] for name in ("step", "startup")}
    assert report.losses(good) == "- nowhere in these results"
    assert report.misses(good) == "- none in these results"


@pytest.mark.parametrize(
    "part",
    ["ops", "kernels", "gpu_kernels", "step", "gpu_step", "mnist", "startup", "overhead"],
)
def test_reports_and_charts_of_what_failed_at_once(program, tmp_path, told, part):
    failed = {part: told[part] | {"found": {}, "given_up": "all are lost"}}
    assert f"- {part}: given up: all are lost" in program("report").told(failed)
    program("charts").draw(failed[part], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_nobody_has_measured_is_drawn_as_one(program, tmp_path, told):
    told["gpu_step"]["found"]["rows"].append(
        {**told["gpu_step"]["found"]["rows"][0], "us": {}, "ratio": {}, "base": ""}
    )
    program("charts").draw(told["gpu_step"], tmp_path)
    words = " ".join(ET.parse(tmp_path / "gpu_step.svg").getroot().itertext())
    assert "time of a step / that of PyTorch " in words
    assert "| – | – |" in program("report").told({"gpu_step": told["gpu_step"]})


@pytest.mark.parametrize("part", ["ops", "kernels", "gpu_kernels", "step", "gpu_step", "mnist"])
def test_charts(program, tmp_path, told, part):
    program("charts").draw(told[part], tmp_path)
    (file,) = tmp_path.iterdir()
    words = " ".join(ET.parse(file).getroot().itertext())
    assert "commit abc1234 with changes" in words
    assert "numba" in words
    assert ("Card, 80.0 GiB" in words) == part.startswith("gpu_")
    assert "prefers-color-scheme: dark" in words


def test_pages_have_the_stored_tables(program):
    """Where this fails, `python benchmarks/run.py --publish` writes them."""
    results = program("run").stored(program("run").RESULTS)
    report = program("report")
    for page in report.PAGES:
        assert report.MARKED.search(page.read_text("utf-8"))
        assert report.filled(page, results) == page.read_text("utf-8")


def test_charts_are_those_of_the_stored_results(program, tmp_path):
    run = program("run")
    for result in run.stored(run.RESULTS).values():
        program("charts").draw(result, tmp_path)
    stored = {file.name: file.read_text("utf-8") for file in run.RESULTS.glob("*.svg")}
    assert {file.name: file.read_text("utf-8") for file in tmp_path.iterdir()} == stored


# What the tape keeps


def test_buffers_are_counted_once_and_whole(program):
    memory = program("memory")
    x = mg.tensor(np.ones(1000, np.float32), requires_grad=True)
    y = mg.exp(x)
    assert memory.kept_by_minigrad(y) == 4000
    assert memory.kept_by_minigrad(mg.square(y[:1])) == 4000
    assert memory.kept_by_minigrad(y[:500] * y[500:]) == 4000
    assert memory.kept_by_minigrad(x * y) == 8000
    assert memory.kept_by_minigrad(x * y, [x]) == 4000


def test_buffers_of_torch_are_counted_once_and_whole(program):
    memory, torch = program("memory"), pytest.importorskip("torch", reason=NEEDS_TORCH)
    x = torch.ones(1000, requires_grad=True)
    assert memory.kept_by_torch(lambda: x.exp()) == 4000
    assert memory.kept_by_torch(lambda: x.exp()[:1].square()) == 4000
    assert memory.kept_by_torch(lambda: (y := x.exp())[:500] * y[500:]) == 4000
    assert memory.kept_by_torch(lambda: x * x.exp()) == 8000
    assert memory.kept_by_torch(lambda: x * x.exp(), [x]) == 4000


def test_the_tape_keeps_at_most_what_that_of_torch_keeps(program):
    memory, _ = program("memory"), pytest.importorskip("torch", reason=NEEDS_TORCH)
    rows = memory.rows(memory.cases(), with_torch=True)
    assert [row for row in rows if row["minigrad"] > row["torch"]] == []
    assert sum(row["minigrad"] for row in rows) > 0


def test_the_stored_table_is_whole(program):
    run, memory = program("run"), program("memory")
    rows = run.stored(run.RESULTS)["memory"]["found"]["rows"]
    assert [row["name"] for row in rows] == list(memory.cases())
