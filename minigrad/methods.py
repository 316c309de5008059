"""Tensor's operators and NumPy-style methods: each one line that calls an op by name."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .messages import ForeignOperand

if TYPE_CHECKING:
    from .engine import Tensor

#: What the methods call: name -> op, or function over ops. `minigrad.ops` fills it.
OPS: dict[str, "Callable[..., Tensor]"] = {}

#: What methods of no argument call: name -> op of one operand.
UNARY: dict[str, "Callable[[Any], Tensor]"] = {}

#: What the operators call: name -> op of two operands, without the way through OPS (0.3 µs).
BINARY: dict[str, "Callable[[Any, Any], Tensor]"] = {}

_OPERANDS = (int, float, complex, np.generic, np.ndarray)

Axis = int | Sequence[int] | None


Operator = Callable[["Methods", Any], "Tensor"]


def _operators(name: str) -> tuple[Operator, Operator, Operator]:
    """Return `x op y`, `y op x` and `x op= y` of the op called `name`."""

    def operator(self: "Methods", other: Any) -> Any:
        try:
            return BINARY[name](self, other)
        except ForeignOperand as error:
            return _give_way(other, error)

    def reflected(self: "Methods", other: Any) -> "Tensor":
        return BINARY[name](other, self)

    def in_place(self: "Methods", other: Any) -> Any:
        try:
            return self._in_place(name, other)
        except ForeignOperand as error:
            return _give_way(other, error)

    return operator, reflected, in_place


def _give_way(other: Any, error: ForeignOperand) -> Any:
    """Let the other operand's class have its turn; those of Python know nothing of tensors."""
    if type(other).__module__ == "builtins":
        raise error
    return NotImplemented


class Methods:
    """The part of Tensor that users type; what each does is said where its op is defined."""

    __slots__ = ()

    if TYPE_CHECKING:

        def _in_place(self, name: str, other: Any) -> "Tensor": ...

    __add__, __radd__, __iadd__ = _operators("add")
    __sub__, __rsub__, __isub__ = _operators("subtract")
    __mul__, __rmul__, __imul__ = _operators("multiply")
    __truediv__, __rtruediv__, __itruediv__ = _operators("divide")
    __floordiv__, __rfloordiv__, __ifloordiv__ = _operators("floor_divide")
    __mod__, __rmod__, __imod__ = _operators("remainder")
    __pow__, __rpow__, __ipow__ = _operators("pow")
    __matmul__, __rmatmul__, __imatmul__ = _operators("matmul")
    __and__, __rand__, __iand__ = _operators("bitwise_and")
    __or__, __ror__, __ior__ = _operators("bitwise_or")
    __xor__, __rxor__, __ixor__ = _operators("bitwise_xor")
    __lshift__, __rlshift__, __ilshift__ = _operators("bitwise_left_shift")
    __rshift__, __rrshift__, __irshift__ = _operators("bitwise_right_shift")

    def __neg__(self) -> "Tensor":
        return UNARY["negative"](self)

    def __pos__(self) -> "Tensor":
        return UNARY["positive"](self)

    def __abs__(self) -> "Tensor":
        return UNARY["abs"](self)

    def __invert__(self) -> "Tensor":
        return UNARY["bitwise_invert"](self)

    __lt__, __le__ = _operators("less")[0], _operators("less_equal")[0]
    __gt__, __ge__ = _operators("greater")[0], _operators("greater_equal")[0]

    def __eq__(self, other: object) -> Any:
        return _compare("equal", self, other)

    __hash__ = object.__hash__

    def __ne__(self, other: object) -> Any:
        return _compare("not_equal", self, other)

    def __getitem__(self, key: Any) -> "Tensor":
        return OPS["getitem"](self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        OPS["setitem"](self, key, value)

    @property
    def at(self) -> Any:
        """Changes that return a new, differentiable tensor: `x.at[key].set(v)` and `.add(v)`."""
        return OPS["at"](self)

    @property
    def T(self) -> "Tensor":
        """The tensor with its axes reversed."""
        return OPS["transpose"](self)

    @property
    def mT(self) -> "Tensor":
        """The tensor with its last two axes exchanged."""
        return OPS["matrix_transpose"](self)

    @property
    def real(self) -> "Tensor":
        """The real part, as a copy."""
        return UNARY["real"](self)

    @property
    def imag(self) -> "Tensor":
        """The imaginary part, as a copy."""
        return UNARY["imag"](self)

    def conj(self) -> "Tensor":
        return UNARY["conj"](self)

    def abs(self) -> "Tensor":
        return UNARY["abs"](self)

    def exp(self) -> "Tensor":
        return UNARY["exp"](self)

    def log(self) -> "Tensor":
        return UNARY["log"](self)

    def sqrt(self) -> "Tensor":
        return UNARY["sqrt"](self)

    def tanh(self) -> "Tensor":
        return UNARY["tanh"](self)

    def sigmoid(self) -> "Tensor":
        return UNARY["sigmoid"](self)

    def relu(self) -> "Tensor":
        return UNARY["relu"](self)

    def sign(self) -> "Tensor":
        return UNARY["sign"](self)

    def round(self, decimals: int = 0) -> "Tensor":
        return OPS["round"](self, decimals)

    def isnan(self) -> "Tensor":
        return UNARY["isnan"](self)

    def isinf(self) -> "Tensor":
        return UNARY["isinf"](self)

    def isfinite(self) -> "Tensor":
        return UNARY["isfinite"](self)

    def clip(self, min: Any = None, max: Any = None) -> "Tensor":
        return OPS["clip"](self, min, max)

    def sum(
        self, axis: Axis = None, dtype: Any = None, keepdims: bool = False, **unknown: Any
    ) -> "Tensor":
        return OPS["sum"](self, axis=axis, dtype=dtype, keepdims=keepdims, **unknown)

    def prod(
        self, axis: Axis = None, dtype: Any = None, keepdims: bool = False, **unknown: Any
    ) -> "Tensor":
        return OPS["prod"](self, axis=axis, dtype=dtype, keepdims=keepdims, **unknown)

    def mean(self, axis: Axis = None, keepdims: bool = False, **unknown: Any) -> "Tensor":
        return OPS["mean"](self, axis=axis, keepdims=keepdims, **unknown)

    def max(self, axis: Axis = None, keepdims: bool = False, **unknown: Any) -> "Tensor":
        return OPS["max"](self, axis=axis, keepdims=keepdims, **unknown)

    def min(self, axis: Axis = None, keepdims: bool = False, **unknown: Any) -> "Tensor":
        return OPS["min"](self, axis=axis, keepdims=keepdims, **unknown)

    def any(self, axis: Axis = None, keepdims: bool = False, **unknown: Any) -> "Tensor":
        return OPS["any"](self, axis=axis, keepdims=keepdims, **unknown)

    def all(self, axis: Axis = None, keepdims: bool = False, **unknown: Any) -> "Tensor":
        return OPS["all"](self, axis=axis, keepdims=keepdims, **unknown)

    def logsumexp(self, axis: Axis = None, keepdims: bool = False, **unknown: Any) -> "Tensor":
        return OPS["logsumexp"](self, axis=axis, keepdims=keepdims, **unknown)

    def var(
        self, axis: Axis = None, correction: float = 0.0, keepdims: bool = False, **unknown: Any
    ) -> "Tensor":
        return OPS["var"](self, axis=axis, correction=correction, keepdims=keepdims, **unknown)

    def std(
        self, axis: Axis = None, correction: float = 0.0, keepdims: bool = False, **unknown: Any
    ) -> "Tensor":
        return OPS["std"](self, axis=axis, correction=correction, keepdims=keepdims, **unknown)

    def argmax(self, axis: int | None = None, keepdims: bool = False, **unknown: Any) -> "Tensor":
        return OPS["argmax"](self, axis=axis, keepdims=keepdims, **unknown)

    def argmin(self, axis: int | None = None, keepdims: bool = False, **unknown: Any) -> "Tensor":
        return OPS["argmin"](self, axis=axis, keepdims=keepdims, **unknown)

    def argsort(self, axis: int = -1, **options: Any) -> "Tensor":
        return OPS["argsort"](self, axis=axis, **options)

    def softmax(self, axis: int = -1, **unknown: Any) -> "Tensor":
        return OPS["softmax"](self, axis=axis, **unknown)

    def log_softmax(self, axis: int = -1, **unknown: Any) -> "Tensor":
        return OPS["log_softmax"](self, axis=axis, **unknown)

    def reshape(self, *shape: Any) -> "Tensor":
        return OPS["reshape"](self, shape[0] if len(shape) == 1 else shape)

    def flatten(self, start_axis: int = 0, end_axis: int = -1) -> "Tensor":
        return OPS["flatten"](self, start_axis, end_axis)

    def ravel(self) -> "Tensor":
        return OPS["ravel"](self)

    def transpose(self, *axes: Any) -> "Tensor":
        return OPS["transpose"](self, *axes)

    def swapaxes(self, axis1: int, axis2: int) -> "Tensor":
        return OPS["swapaxes"](self, axis1, axis2)

    def expand_dims(self, axis: int | tuple[int, ...] = 0, **unknown: Any) -> "Tensor":
        return OPS["expand_dims"](self, axis, **unknown)

    def squeeze(self, axis: int | tuple[int, ...] | None = None, **unknown: Any) -> "Tensor":
        return OPS["squeeze"](self, axis, **unknown)

    def broadcast_to(self, shape: Sequence[int]) -> "Tensor":
        return OPS["broadcast_to"](self, shape)

    def flip(self, axis: int | tuple[int, ...] | None = None, **unknown: Any) -> "Tensor":
        return OPS["flip"](self, axis=axis, **unknown)

    def repeat(self, repeats: Any, axis: int | None = None, **unknown: Any) -> "Tensor":
        return OPS["repeat"](self, repeats, axis, **unknown)

    def take(self, indices: Any, axis: int | None = None, **unknown: Any) -> "Tensor":
        return OPS["take"](self, indices, axis, **unknown)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> "Tensor":
        return OPS["diagonal"](self, offset, axis1, axis2)

    def nonzero(self) -> Any:
        return OPS["nonzero"](self)

    def copy(self) -> "Tensor":
        return OPS["copy"](self)

    def astype(self, dtype: Any, copy: bool = True) -> "Tensor":
        return OPS["astype"](self, dtype, copy=copy)

    def to(self, backend: Any) -> "Tensor":
        return OPS["to"](self, backend)

    def to_device(self, device: str, /, *, stream: None = None) -> "Tensor":
        return OPS["to_device"](self, device, stream=stream)


def _compare(name: str, x: Methods, other: object) -> Any:
    # What is no operand is unequal, as Python has it: `x == None` is False.
    if isinstance(other, (Methods, *_OPERANDS)):
        return OPS[name](x, other)
    return NotImplemented
