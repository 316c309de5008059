"""The comparison of backends: who takes part, what is measured, what is said of it."""

import itertools
import json
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
COMPARE = FOLDER / "compare.py"


@pytest.fixture
def program(monkeypatch):
    """The benchmark's modules by name."""
    monkeypatch.syspath_prepend(FOLDER)
    return __import__


def command(*options):
    return [sys.executable, str(COMPARE), *map(str, options)]


def run(*options, code=0):
    done = subprocess.run(command(*options), capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


# The whole program


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """What a quick run prints, and the folder with its results."""
    folder = tmp_path_factory.mktemp("results")
    options = ["--backends", "numpy,numba", "--peers", "torch,jax"]
    options += ["--ops", "multiply,softmax_cross_entropy,isnan,to", "--json", folder / "quick.json"]
    return run("--quick", *options).stdout, folder


@pytest.fixture
def result(quick):
    return json.loads((quick[1] / "quick.json").read_text("utf-8"))


def test_results_hold_the_facts_of_the_run(result):
    assert result["schema"] == 1
    assert {"commit", "dirty", "date", "rounds", "missing", "control"} <= set(result)
    machine = {"processor", "cores", "threads", "memory_gib", "system", "blas"}
    assert set(result["machine"]) == machine
    assert {"python", "minigrad", "numpy"} <= set(result["versions"])
    assert result["control"]["checks"] > 0


def test_results_name_no_machine_and_no_folder(quick):
    for file in quick[1].iterdir():
        text = file.read_text("utf-8")
        for secret in (platform.node(), str(ROOT), str(Path.home()), sys.prefix):
            assert secret not in text


def test_everyone_trains_or_is_said_to_be_missing(result):
    (row,) = result["training"]["batches"]
    assert not result["training"]["failed"]
    assert set(row["us"]) | set(result["missing"]) == {"floor", "numpy", "numba", "torch", "jax"}
    assert all("install" in reason for reason in result["missing"].values())
    for times in result["training"]["start_up"].values():
        assert set(times) == {"cold_s", "cached_s"}


@pytest.mark.parametrize("name", ["numpy", "numba", "torch", "jax"])
def test_everyone_computes_the_same_losses(result, name):
    if name in result["missing"]:
        pytest.skip(f"{name} {result['missing'][name]}")
    (row,) = result["training"]["batches"]
    assert row["losses"][name] == pytest.approx(row["losses"]["numpy"], rel=1e-5)
    assert row["losses"][name] == sorted(row["losses"][name], reverse=True)
    assert row["disagree"] == []


def test_ops_are_measured_in_every_size_and_pass(result):
    ops = result["ops"]
    assert ops["failed"] == []
    assert set(ops["unmeasured"]) == {"to"}
    measured = {(row["op"], row["size"], row["pass"]) for row in ops["rows"]}
    both = ("forward", "forward + backward")
    wanted = [("multiply", both), ("softmax_cross_entropy", both), ("isnan", both[:1])]
    assert measured == {
        (op, size, direction)
        for op, directions in wanted
        for size in ("small", "large")
        for direction in directions
    }
    compared = {"numba"} - set(result["missing"])
    for row in ops["rows"]:
        assert set(row["us"]) == {"numpy", *compared}
        assert set(row["ratio"]) == compared
        if compared:
            own = row["op"] == "softmax_cross_entropy"
            assert row["kernels"] == ({"numba": ["softmax_cross_entropy"]} if own else {})
            assert set(ops["first_calls"][row["op"]]["numba"]) == {"cold_s", "cached_s"}


def test_report_charts_and_markdown_come_from_the_results(quick):
    printed, folder = quick
    tables = run("--markdown", folder / "quick.json").stdout
    for text in (printed, tables):
        assert "784-256-128-10" in text
        assert "Where minigrad loses" in text
        assert "these figures say nothing about speed" in text
    before = (folder / "training.svg").read_text("utf-8")
    (folder / "training.svg").unlink()
    run("--charts", folder / "quick.json")
    assert (folder / "training.svg").read_text("utf-8") == before


def test_interrupted_keeps_what_was_measured(tmp_path):
    options = ["--quick", "--backends", "numpy", "--peers", "", "--json", tmp_path / "all.json"]
    process = processes.start(command(*options), stderr=subprocess.PIPE)
    with process:
        seen = list(itertools.takewhile(lambda line: "(2 of" not in line, process.stderr))
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in "".join(seen) + rest
    kept = json.loads((tmp_path / "all.partial.json").read_text("utf-8"))
    assert kept["interrupted"]
    assert {row["op"] for row in kept["ops"]["rows"]} >= {"multiply"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--ops", "multipy"], "did you mean 'multiply'"),
        (["--backends", "numpy,cuda"], "unknown name 'cuda'"),
        (["--peers", "keras"], "known: torch, torch.compile, jax"),
        (["--rounds", "0"], "whole number above 0, got '0'"),
        (["--only", "everything"], "invalid choice"),
    ],
    ids=" ".join,
)
def test_wrong_options_are_named(options, says):
    assert says in run(*options, code=2).stderr


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 0}'])
def test_foreign_results_are_refused_in_one_line(tmp_path, text):
    (tmp_path / "foreign.json").write_text(text)
    lines = run("--markdown", tmp_path / "foreign.json", code=1).stderr.splitlines()
    assert len(lines) == 1
    assert "foreign.json" in lines[0]


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
        description = operations.described(name, "numpy", operations.build)
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


# What is said


@pytest.fixture
def told():
    """Results with a loss, a missing floor in one row, a failure."""

    def row(op, size, direction, ratio, kernels):
        us = {"numpy": 10.0, "numba": 10.0 * ratio}
        kept = {"kernels": {"numba": kernels} if kernels else {}, "slow_rounds": 0}
        return {
            "op": op,
            "size": size,
            "pass": direction,
            "us": us,
            "ratio": {"numba": ratio},
        } | kept

    def step(batch, **us):
        to_floor = {name: t / us["floor"] for name, t in us.items()}
        return {"batch": batch, "us": us, "to_floor": to_floor, "slow_rounds": 1, "disagree": []}

    machine = {"processor": "CPU", "cores": 2, "threads": 1, "memory_gib": 8.0}
    return {
        "schema": 1,
        "date": "2030-01-02",
        "commit": "abc1234",
        "dirty": True,
        "machine": machine | {"system": "Linux", "blas": "openblas 1"},
        "versions": {"minigrad": "1.2", "python": "3.11", "numpy": "2.1", "numba": "0.61"},
        "quick": False,
        "missing": {"jax": "is not installed; install it"},
        "training": {
            "network": "784-256-128-10",
            "batches": [
                step(32, floor=100.0, numpy=400.0, numba=150.0, torch=300.0),
                step(1024, floor=1000.0, numpy=3000.0, numba=2000.0, torch=1600.0),
            ],
            "start_up": {"numba": {"cold_s": 3.0, "cached_s": 0.05}},
            "failed": {"torch.compile": "no compiler"},
        },
        "ops": {
            "base": "numpy",
            "rows": [
                row("exp", "small", "forward", 1.2, []),
                row("exp", "large", "forward", 0.9, []),
                row("slow", "small", "forward", 2.0, ["slow"]),
                row("slow", "large", "forward", 0.5, ["slow"]),
                row("fast", "large", "forward + backward", 0.25, ["fast"]),
            ],
            "first_calls": {"fast": {"numba": {"cold_s": 2.0, "cached_s": 0.5}}},
            "failed": [{"op": "fast", "backend": "numba", "reason": "once"}],
            "unmeasured": {"to": "because"},
            "small_only": {"tiny": "so"},
        },
    }


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_report(program, told, form):
    said = getattr(program("report"), form)(told)
    for line in (
        "training step, batch 1,024: torch is faster, minigrad (numba) takes 1.25 × its time",
        "slow, small, forward: numba takes 2.00 × the time of numpy",
        "geometric mean over 3 ops: 0.77",
        "1 of them run the same code on both",
        "jax is missing: is not installed; install it",
        "torch.compile failed: no compiler",
        "fast on numba: once",
        "to is not measured: because",
        "tiny is measured small only: so",
        "the control was slow in rounds that count, in 2 of 7 rows",
        "minigrad 1.2, commit abc1234 with changes, 2030-01-02; CPU, 1 of 2 cores",
    ):
        assert line in said
    assert "batch 32: torch" not in said
    assert "exp, small, forward: numba" not in said


def test_markdown_tables(program, told):
    said = program("report").markdown(told)
    for row in (
        "| batch | floor | numpy | numba | torch |",
        "| 32 | 100 µs | 4.00 × | 1.50 × | 3.00 × |",
        "| numba | 3.00 s | 50.0 ms | 0.1 ms |",
        "| fast | – | – | – | 0.25 | 0.25 |",
        "| slow | 2.00 | – | 0.50 | – | 1.00 |",
    ):
        assert row in said
    assert "| exp |" not in said  # the same code on both


def without(result, *contestants):
    for row in result["training"]["batches"]:
        for name in contestants:
            del row["us"][name], row["to_floor"][name]
        if "floor" in contestants:
            del row["to_floor"]
    return result


@pytest.mark.parametrize("missing", [[], ["floor", "numba"], ["numpy", "numba", "torch"]])
@pytest.mark.parametrize("part", ["both", "training", "ops"])
def test_reports_and_charts_of_whatever_was_measured(program, tmp_path, told, missing, part):
    result = without(told, *missing)
    for other in {"training", "ops"} - {part} if part != "both" else ():
        del result[other]
    assert program("report").text(result)
    assert program("report").markdown(result)
    program("charts").draw(result, tmp_path)
    alone = "training" not in result or len(missing) == 3
    wanted = ({"ops.svg"} if "ops" in result else set()) | (set() if alone else {"training.svg"})
    assert {file.name for file in tmp_path.iterdir()} == wanted
    for file in tmp_path.iterdir():
        words = " ".join(ET.parse(file).getroot().itertext())
        assert "commit abc1234 with changes" in words
        assert ("numba" in words) or "training" in file.name


def test_nothing_is_said_where_minigrad_loses_nowhere(program, told):
    told["training"]["batches"] = told["training"]["batches"][:1]
    told["ops"]["rows"] = told["ops"]["rows"][:2]
    assert "- nowhere in this run" in program("report").markdown(told)


# What the tape keeps


def test_memory_is_counted_printed_and_stored(tmp_path):
    path = tmp_path / "memory.json"
    options = ["--only", "x * y;max_pool2d;linear", "--json", path]
    command = [sys.executable, str(FOLDER / "memory.py"), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    stored = json.loads(path.read_text("utf-8"))
    assert [row["name"] for row in stored["rows"]] == ["x * y", "linear", "max_pool2d"]
    assert {"commit", "machine", "versions"} <= set(stored)
    assert "| `x * y` | 64×256, 64×256 | 128.0 KiB |" in done.stdout
    command[2:] = ["--markdown", str(path)]
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.stdout == done.stdout
    command[2:] = ["--only", "relo"]
    wrong = subprocess.run(command, capture_output=True, text=True)
    assert (wrong.returncode, "unknown rows: relo" in wrong.stderr) == (2, True)


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
    rows = memory.measure(memory.cases())
    assert [row for row in rows if row["minigrad"] > row["torch"]] == []
    assert sum(row["minigrad"] for row in rows) > 0


def test_the_page_has_the_stored_table(program):
    memory = program("memory")
    stored = json.loads(memory.RESULTS.read_text("utf-8"))
    page = (ROOT / "docs" / "memory.md").read_text("utf-8")
    assert memory.markdown(stored) in page, "copy what memory.py --markdown prints into the page"
    assert [row["name"] for row in stored["rows"]] == list(memory.cases())
