"""Backends: an array namespace and a table of kernels each, and the loading of the libraries."""

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .messages import no_cupy, which_backend
from .namespaces import Namespace, scatter_add_of
from .refusals import ErrorSlot, refuse_now

Array = Any  # numpy.ndarray, cupy.ndarray, or the tests' array that refuses every conversion
Kernel = Callable[..., Any]


def device_backend(
    name: str,
    device: str,
    module: Any,
    array_type: type,
    to_numpy: Callable[[Array], Any],
    from_numpy: Callable[[Any], Array],
    synchronize: Callable[[], None],
    kernels: Callable[[ErrorSlot], Mapping[str, Kernel]] = lambda slot: {},
    uploads: Callable[[], Any] | None = None,
) -> "Backend":
    """Return a backend whose memory is not the host's: what it refuses is raised at transfers.

    `kernels` makes the table of those that note refusals in the slot themselves; `uploads` what
    copies the batches of a loader's iteration, as `minigrad.kernels.gpu.Uploads` does.
    """
    slot = ErrorSlot(module, to_numpy)
    return Backend(
        name,
        device,
        array_type,
        Namespace(module, scatter_add_of(module), slot.refuse, lenient=True),
        kernels(slot),
        to_numpy=slot.checked(to_numpy),
        from_numpy=from_numpy,
        synchronize=slot.checked(synchronize),
        uploads=uploads,
    )


@dataclass(frozen=True, eq=False)
class Backend:
    """One way to compute: arrays of `array_type`, a namespace over them, faster kernels by op name.

    `to_numpy` and `from_numpy` cross between host and device, `uploads` beside its work; `warmup`
    compiles the kernels; `runs` is the engine's cache of what each op resolves to.
    """

    name: str
    device: str
    array_type: type
    xp: Namespace
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    to_numpy: Callable[[Array], Any] = np.asarray
    from_numpy: Callable[[Any], Array] = np.asarray
    synchronize: Callable[[], None] = lambda: None
    warmup: Callable[[], None] = lambda: None
    uploads: Callable[[], Any] | None = None
    runs: dict[Any, Kernel] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return f"<backend {self.name} on {self.device}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return get, (self.name,)  # one object per process: backends are compared by identity


class BackendUnavailable(ImportError):
    """A backend that cannot be used here; the message says why and what to install."""


def _load_numpy() -> Backend:
    return Backend("numpy", "cpu", np.ndarray, Namespace(np, np.add.at, refuse_now, lenient=False))


def _load_numba() -> Backend:
    try:
        cpu = importlib.import_module("minigrad.kernels.cpu")
    except ImportError as error:
        raise BackendUnavailable(
            f'backend "numba" needs Numba ({error}); install it with: pip install "minigrad[numba]"'
        ) from error
    return Backend("numba", "cpu", np.ndarray, get("numpy").xp, cpu.TABLE, warmup=cpu.warmup)


def _load_cupy() -> Backend:
    try:
        cupy = importlib.import_module("cupy")
        if int(cupy.__version__.partition(".")[0]) < 14:
            raise ImportError(f"this is {cupy.__version__}")
        cupy.arange(1)  # takes the driver, memory of the card and CUDA's compiler
        cupy.cuda.device.get_cublas_handle()
    except Exception as error:
        raise BackendUnavailable(no_cupy(error)) from error
    return device_backend(
        "cupy",
        "cuda:0",
        cupy,
        cupy.ndarray,
        to_numpy=cupy.asnumpy,
        from_numpy=cupy.asarray,
        synchronize=lambda: cupy.cuda.get_current_stream().synchronize(),
        kernels=importlib.import_module("minigrad.kernels.gpu").on_cupy,
        uploads=importlib.import_module("minigrad.kernels.gpu").Uploads,
    )


_loaders: dict[str, Callable[[], Backend]] = {
    "numpy": _load_numpy,
    "numba": _load_numba,
    "cupy": _load_cupy,
}
_loaded: dict[str, Backend] = {}
_default: ContextVar[Backend | None] = ContextVar("minigrad_default_backend", default=None)


def register(name: str, loader: Callable[[], Backend]) -> None:
    """Make a backend known under `name`; `loader` runs on its first use."""
    _loaders[name] = loader
    _loaded.pop(name, None)


def get(name: str) -> Backend:
    """Return the backend called `name`, loading it on first use.

    Raises ValueError for an unknown name and BackendUnavailable (an ImportError) where its
    library or device is missing.
    """
    if name in _loaded:
        return _loaded[name]
    if name not in _loaders:
        hint = which_backend(name, _loaders)
        raise ValueError(f"unknown backend {name!r}: expected one of {', '.join(_loaders)}{hint}")
    # setdefault: two threads that load at once must end with one object.
    return _loaded.setdefault(name, _loaders[name]())


def default() -> Backend:
    """Return the backend on which new tensors are made in this context."""
    return _default.get() or get(os.environ.get("MINIGRAD_BACKEND") or "numpy")


def resolve(backend: str | Backend | None, device: str | None = None) -> Backend:
    """Return a backend given as itself or by name; for None, one on the device, or the default.

    ValueError for a device that is not known, or not the backend's.
    """
    chosen = get(backend) if isinstance(backend, str) else backend or default()
    if device is None or device == chosen.device:
        return chosen
    homes = {b.device: b.name for b in _loaded.values()} | {"cpu": "numpy", "cuda:0": "cupy"}
    if device not in homes:
        raise ValueError(f"unknown device {device!r}: expected one of {', '.join(homes)}")
    if backend is not None:
        raise ValueError(f"backend {chosen.name!r} is on {chosen.device!r}, not on {device!r}")
    return get(homes[device])


def of_device_array(array: Array) -> Backend | None:
    """Return the backend to which a raw array off the host belongs; None for anything else."""
    devices = (backend for backend in _loaded.values() if backend.device != "cpu")
    return next((backend for backend in devices if isinstance(array, backend.array_type)), None)


def common(left: Backend, right: Backend) -> Backend:
    """Return the backend of a result of both; TypeError for host and device, which do not mix."""
    if left is right or left.device == right.device:
        return left if left.kernels else right
    raise TypeError(
        f"operands live on different devices: {left.name} ({left.device}) and {right.name} "
        f"({right.device}); move a tensor or a model with .to({left.name!r}) or .to({right.name!r})"
    )


def use_backend(name: str) -> AbstractContextManager[Backend]:
    """Make `name` the default backend: from now on when called, until the end of a `with` block.

    Holds for this thread (context); raises as `get` does.
    """
    backend = get(name)
    token = _default.set(backend)

    @contextmanager
    def restore() -> Iterator[Backend]:
        try:
            yield backend
        finally:
            _default.reset(token)

    return restore()


class Status(NamedTuple):
    """Whether a backend can be used here; `reason` says why not, and what to install."""

    usable: bool
    reason: str = ""


def status() -> dict[str, Status]:
    """Return for each known backend whether it is usable and, if not, why and what to install."""
    report = {}
    for name in _loaders:
        try:
            get(name)
            report[name] = Status(True)
        except BackendUnavailable as error:
            report[name] = Status(False, str(error))
    return report
