"""How CPU kernels are compiled: threads, the disk cache, what is said about it."""

import functools
import shutil
import threading
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from contract import FLOATS, LOOPS, compiler, cpu, needs_compiler, numba, python

ANNOUNCEMENT = "minigrad: compiling CPU kernels (each once; they are cached on disk)\n"


@pytest.fixture
def two_faced(monkeypatch):
    """A loop that answers with the name of the function that ran, on a machine of two cores."""
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    monkeypatch.setattr(compiler, "njit", lambda **options: lambda function: function)
    loop = compiler.loop(parallel_from=10)(lambda: None)
    monkeypatch.setattr(loop, "serial", lambda: "serial")
    monkeypatch.setattr(loop, "parallel", lambda: "parallel")
    return loop


def test_a_loop_is_parallel_from_its_limit(two_faced, monkeypatch):
    assert [two_faced(work) for work in (0, 9, 10, 11)] == ["serial"] * 2 + ["parallel"] * 2
    monkeypatch.setattr(numba, "get_num_threads", lambda: 1)
    assert two_faced(10**9) == "serial"


def test_a_loop_is_serial_while_another_is_parallel(two_faced, monkeypatch):
    monkeypatch.setattr(two_faced, "parallel", lambda: ("within", two_faced(10)))
    assert two_faced(10) == ("within", "serial")


def test_threads_are_kept_off_the_core_that_starts_them(two_faced, monkeypatch):
    core, kept = 3, []
    monkeypatch.setattr(compiler, "_here", compiler._Here())
    monkeypatch.setattr(compiler, "_current_core", lambda: core)
    monkeypatch.setattr(compiler, "_identify", lambda out: out.fill(7))
    monkeypatch.setattr(compiler.os, "sched_getaffinity", lambda _: {1, 3, 5}, raising=False)
    monkeypatch.setattr(
        compiler.os, "sched_setaffinity", lambda *args: kept.append(args), raising=False
    )
    two_faced(10)
    two_faced(10)
    core = 5
    two_faced(10)
    assert kept == [(7, {1, 5}), (7, {1, 3})]
    core = 1
    monkeypatch.setattr(compiler.os, "sched_getaffinity", lambda _: {1})
    two_faced(10)
    assert len(kept) == 2  # there are fewer cores than threads


def test_threads_that_warm_up_at_once_all_do_and_then_none(monkeypatch):
    both, seen = threading.Barrier(2, timeout=60), []

    def kernel(x):
        both.wait()
        seen.append(compiler._warms())

    monkeypatch.setattr(compiler, "TABLE", {"kernel": kernel})
    monkeypatch.setattr(compiler, "CALLS", {"kernel": lambda dtype, n: [([dtype], {})]})
    other = threading.Thread(target=cpu.warmup)
    other.start()
    cpu.warmup()
    other.join()
    assert seen == [True] * 4
    assert not compiler._warming
    assert not compiler._warms()


def test_a_loop_that_fails_lets_the_next_be_parallel(two_faced, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(two_faced, "parallel", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            two_faced(10)
    assert two_faced(10) == "parallel"


def test_a_forked_child_forgets_a_lock_that_was_held(two_faced, monkeypatch):
    monkeypatch.setattr(compiler, "_forked", False)
    monkeypatch.setattr(numba, "threading_layer", lambda: "workqueue")
    monkeypatch.setattr(compiler, "_parallel_lock", threading.Lock())
    with compiler._parallel_lock:
        assert two_faced(10) == "serial"
        compiler._after_fork()
        assert two_faced(10) == "parallel"


@pytest.mark.parametrize(("layer", "ran"), [("omp", "serial"), ("workqueue", "parallel")])
def test_a_forked_child_without_its_parent_s_threads_is_serial(two_faced, monkeypatch, layer, ran):
    monkeypatch.setattr(compiler, "_forked", False)
    monkeypatch.setattr(numba, "threading_layer", lambda: layer)
    compiler._after_fork()
    assert two_faced(10) == ran


def test_products_have_one_thread_inside_and_as_many_as_before_after():
    library = SimpleNamespace(threads=3)
    library.get_num_threads = lambda: library.threads
    library.set_num_threads = functools.partial(setattr, library, "threads")
    scope = compiler._OneBlasThread("numpy")
    scope.found = (library,)
    with scope:
        with scope:
            assert library.threads == 1
        assert library.threads == 1
    assert library.threads == 3
    scope.__enter__()
    scope.renew()
    assert library.threads == 3
    with scope:
        assert library.threads == 1


def test_products_have_one_thread_in_every_thread():
    scope, found = compiler.one_blas_thread, []
    usual = [library.get_num_threads() for library in scope.libraries()]

    def enter():
        with scope:
            found.extend(library.get_num_threads() for library in scope.libraries())

    try:
        for library in scope.libraries():
            compiler.threads.limit_blas(library, 2)
        enter()  # of threads that limit a BLAS, threadpoolctl obeys the first
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
    finally:
        for library, count in zip(scope.libraries(), usual, strict=True):
            compiler.threads.limit_blas(library, count)
    assert found == [1] * 2 * len(usual)


def test_the_blas_of_a_package_is_its_own_or_else_the_system_s(monkeypatch):
    class Controller:
        lib_controllers = tuple(SimpleNamespace(filepath=f"/site/{x}.libs/blas.so") for x in "ab")

        def select(self, user_api):
            assert user_api == "blas"
            return self

    monkeypatch.setattr(compiler.threadpoolctl, "ThreadpoolController", Controller)
    monkeypatch.setattr(compiler.importlib, "import_module", lambda name: None)
    assert compiler._OneBlasThread("b.c").libraries() == Controller.lib_controllers[1:]
    assert compiler._OneBlasThread("c").libraries() == Controller.lib_controllers


@pytest.mark.parametrize("name", LOOPS)
def test_the_two_compilations_have_two_names_in_the_disk_cache(name):
    loop = LOOPS[name]
    functions = [getattr(f, "py_func", f) for f in (loop.serial, loop.parallel)]
    assert len({function.__qualname__ for function in functions}) == 2


@pytest.mark.parametrize(
    ("chosen", "in_code", "stands"),
    [
        (None, "", "omp" if find_spec("numba.np.ufunc.omppool") else "workqueue"),
        (None, "import sys; sys.modules['numba.np.ufunc.omppool'] = None; ", "workqueue"),
        ("omp", "", "omp"),
        ("default", "", "default"),
        (None, "numba.config.THREADING_LAYER = 'threadsafe'; ", "threadsafe"),
    ],
)
def test_the_threading_layer_is_the_user_s_choice(chosen, in_code, stands):
    code = (
        f"import numba; {in_code}import minigrad.kernels.cpu; print(numba.config.THREADING_LAYER)"
    )
    env = {} if chosen is None else {"NUMBA_THREADING_LAYER": chosen}
    ran = python(code, without=["NUMBA_THREADING_LAYER"], **env)
    assert (ran.stdout, ran.stderr) == (stands + "\n", "")


DRAW = """
import numpy as np
from {package} import cpu
print(cpu.__file__)
print([f"{{word:08x}}" for word in cpu.TABLE["random_bits"](np.zeros(3, np.uint64), size=4)])
"""
FIRST_WORDS = "['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']"


def copy_of_kernels(folder):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(cpu.__file__).parents[1], folder / "kernels", ignore=ignored)


@needs_compiler
def test_compilation_is_announced_once_and_only_when_cold(tmp_path):
    draw = DRAW.format(package="minigrad.kernels")
    for expected in (ANNOUNCEMENT, ""):
        ran = python(draw, NUMBA_CACHE_DIR=str(tmp_path))
        assert ran.stdout.splitlines() == [cpu.__file__, FIRST_WORDS]
        assert ran.stderr == expected


def test_only_kernels_are_announced_and_only_once(monkeypatch, capsys):
    fresh = functools.cache(compiler._announce.__wrapped__)
    monkeypatch.setattr(compiler, "_announce", fresh)
    event = numba.core.event

    def compile_something_in(module):
        function = SimpleNamespace(__module__=module)
        data = dict(dispatcher=SimpleNamespace(py_func=function))
        for status in (event.EventStatus.START, event.EventStatus.END):
            event.broadcast(event.Event("numba:compile", status, data))

    compile_something_in("somewhere.else")
    compile_something_in("minigrad.kernels.cpu_of_another")
    assert capsys.readouterr().err == ""
    compile_something_in(cpu.updates.__name__)
    compile_something_in(cpu.philox.__name__)
    assert capsys.readouterr() == ("", ANNOUNCEMENT)


@needs_compiler
def test_kernels_work_where_no_cache_can_be_written(tmp_path):
    # Also for root, who may write everywhere: files stand where the directories would have to be.
    copy_of_kernels(tmp_path)
    (tmp_path / "kernels/cpu/__pycache__").touch()
    (tmp_path / "home").touch()
    home = str(tmp_path / "home" / "nobody")
    ran = python(
        DRAW.format(package="kernels"),
        cwd=tmp_path,
        without=["NUMBA_CACHE_DIR"],
        **dict.fromkeys(["HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"], home),
    )
    copy = str(tmp_path / "kernels" / "cpu" / "__init__.py")
    assert ran.stdout.splitlines() == [copy, FIRST_WORDS], ran.stderr
    assert ran.stderr == ANNOUNCEMENT


def test_what_cannot_be_cached_is_compiled_all_the_same(monkeypatch):
    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: (function, options)

    monkeypatch.setattr(compiler, "njit", njit)
    function, options = compiler.jit("contract", parallel=True)(len)
    assert function is len
    assert options["parallel"]
    assert options["fastmath"] == {"contract"}
    assert options["error_model"] == "numpy"


def test_a_limit_of_threads_holds_in_parallel_loops(two_faced, monkeypatch):
    asked = []
    monkeypatch.setattr(numba, "set_num_threads", asked.append)
    monkeypatch.setattr(compiler.config, "NUMBA_NUM_THREADS", 4)
    monkeypatch.setattr(compiler.threads, "limit", 1)
    assert two_faced(10) == "serial"
    monkeypatch.setattr(compiler.threads, "limit", 2)
    assert two_faced(10) == "parallel"
    assert not asked
    monkeypatch.setattr(compiler.threads, "limit", 3)
    assert two_faced(10) == "parallel"
    assert asked == [3, 2]  # the limit, and then what the thread had before


@needs_compiler
def test_the_disk_cache_notices_a_change_of_any_file(tmp_path):
    copy_of_kernels(tmp_path)
    code = DRAW.format(package="kernels")
    run = functools.partial(python, code, cwd=tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert run().stderr == ANNOUNCEMENT
    assert run().stderr == ""
    with (tmp_path / "kernels/cpu/compiler.py").open("a") as file:
        file.write("# changed\n")
    assert run().stderr == ANNOUNCEMENT


@needs_compiler
def test_processes_that_compile_at_once_do_not_take_each_other_s_machine_code(tmp_path):
    from numba.core.caching import IndexDataCacheFile

    both = [IndexDataCacheFile(str(tmp_path), "kernel", "stamp") for _ in range(2)]
    for file, dtype in zip(both, FLOATS, strict=True):
        compiler._name_by_key(file)
        file._load_index = dict  # neither has seen what the other writes
        file.save((dtype,), f"machine code for {dtype}")
        del file._load_index
    found = [both[0].load((dtype,)) for dtype in FLOATS]
    assert found == [None, f"machine code for {FLOATS[1]}"]
    both[0].save((FLOATS[0],), "again")
    assert [both[1].load((dtype,)) for dtype in FLOATS] == ["again", found[1]]
