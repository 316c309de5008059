"""Vectors of numbers in registers, for loops whose sums must stay there.

LLVM makes vectors of a loop over an array by itself. But a sum over an outer loop it loads from the
array and stores again at every step, since it cannot know that no other array overlaps this one;
and for fear of a lower clock it uses half of AVX-512's width. In a product of small matrices both
cost more than half of the time. These functions say what is to be a vector: ``load`` and ``store``
move WIDTH bytes of numbers, ``load_long`` LONG bytes, ``multiply_add`` multiplies them by one
number and adds, ``maximum`` compares, ``fetch`` asks for what will be needed. A function that calls
``wide`` has the vectors that LLVM makes in it as wide as these.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils as untyped_cgutils
from numba.core import extending, types

from .compiler import Array

# Numba's own types are partial.
cgutils: Any = untyped_cgutils
intrinsic: Callable[[Any], Any] = extending.intrinsic
models: Any = extending.models
overload, register_model = extending.overload, extending.register_model

#: bytes of a vector; without AVX-512 there are 16 registers of 32 bytes, or more of 16
WIDTH = 64 if binding.get_host_cpu_features().get("avx512f") else 32
#: bytes of a long one, of which nine fit into the registers
LONG = 2 * WIDTH if WIDTH == 64 else WIDTH


def load(array: Array, at: Any) -> Any:
    """Return the vector of the numbers of a flat array from a place on; nothing checks the end."""
    return array[at : at + WIDTH // array.itemsize].copy()


def load_long(array: Array, at: Any) -> Any:
    """Return a long vector of the numbers of a flat array from a place on."""
    return array[at : at + LONG // array.itemsize].copy()


def load_like(vector: Any, array: Array, at: Any) -> Any:
    """Return a vector as long as another of the numbers of a flat array from a place on."""
    return array[at : at + vector.size].copy()


def store(array: Array, at: Any, vector: Any) -> None:
    """Write a vector to the numbers of a flat array from a place on."""
    array[at : at + vector.size] = vector


def multiply_add(x: Any, vector: Any, total: Any) -> Any:
    """Return total + x * vector, rounded once where the CPU can do so."""
    return total + x * vector


def maximum(x: Any, y: Any) -> Any:
    """Return the greater number of each place, y's where one is nan."""
    return np.where(x > y, x, y)


def fetch(array: Array, at: Any) -> None:
    """Let the CPU begin to read the line of cache with the number of a flat array at a place."""


def wide() -> None:
    """Let LLVM use AVX-512's whole width in the loops of the function that calls this.

    Measured on Cascade Lake beside half of the width: gelu 0.7 of the time, silu and its derivative
    0.75 in cache, softmax 0.8; loops of little arithmetic gain nothing.
    """


class Vector(types.Type):
    """What Numba calls a vector of so many bytes of a dtype's numbers."""

    def __init__(self, dtype: Any, width: int) -> None:
        self.dtype, self.count = dtype, 8 * width // dtype.bitwidth
        super().__init__(f"Vector({dtype}, {self.count})")


@register_model(Vector)
class _Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, vector: Vector) -> None:
        number = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(number, vector.count))


def _pointer(context: Any, builder: Any, kind: Any, vector: Any, array: Any, at: Any) -> Any:
    data = cgutils.create_struct_proxy(kind)(context, builder, array).data
    pointer = context.get_value_type(vector).as_pointer()
    return builder.bitcast(builder.gep(data, [at]), pointer)


def _loading(vector: Any, array: Any) -> Callable[..., Any]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        loaded = builder.load(_pointer(context, builder, array, vector, *args[-2:]))
        loaded.align = array.dtype.bitwidth // 8
        return loaded

    return generate


@intrinsic
def _load(_: Any, array: Any, at: Any) -> Any:
    vector = Vector(array.dtype, WIDTH)
    return vector(array, types.uint64), _loading(vector, array)


@intrinsic
def _load_long(_: Any, array: Any, at: Any) -> Any:
    vector = Vector(array.dtype, LONG)
    return vector(array, types.uint64), _loading(vector, array)


@intrinsic
def _load_like(_: Any, vector: Any, array: Any, at: Any) -> Any:
    return vector(vector, array, types.uint64), _loading(vector, array)


@intrinsic
def _store(_: Any, array: Any, at: Any, vector: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, array, vector, *args[:2])
        builder.store(args[2], pointer).align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.none(array, types.uint64, vector), generate


@intrinsic
def _multiply_add(_: Any, x: Any, vector: Any, total: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, zero = args[1].type, ir.Constant(ir.IntType(32), 0)
        first = builder.insert_element(ir.Constant(kind, ir.Undefined), args[0], zero)
        places = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
        same = builder.shuffle_vector(first, first, places)
        name = f"llvm.fmuladd.v{kind.count}f{vector.dtype.bitwidth}"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind] * 3), name
        )
        return builder.call(function, [same, args[1], args[2]])

    return vector(vector.dtype, vector, vector), generate


@intrinsic
def _maximum(_: Any, x: Any, y: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return x(x, y), generate


@intrinsic
def _fetch(_: Any, array: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        place = _pointer(context, builder, array, types.uint8, *args)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        to_write, to_every_cache, data = 0, 3, 1
        flags = [ir.Constant(flag, value) for value in (to_write, to_every_cache, data)]
        builder.call(function, [place, *flags])
        return context.get_dummy_value()

    return types.none(array, types.uint64), generate


@intrinsic
def _wide(_: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # llvmlite's own `add` knows no attribute that has a value.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), generate


@overload(wide, inline="always")  # what a function of its own would say, it would say of itself
def _wide_in_kernels() -> Callable[..., Any]:
    def implementation() -> Any:
        return _wide()

    return implementation


@overload(fetch)
def _fetch_in_kernels(array: Any, at: Any) -> Callable[..., Any]:
    def implementation(array: Any, at: Any) -> Any:
        return _fetch(array, at)

    return implementation


@overload(load)
def _load_in_kernels(array: Any, at: Any) -> Callable[..., Any]:
    def implementation(array: Any, at: Any) -> Any:
        return _load(array, at)

    return implementation


@overload(load_long)
def _load_long_in_kernels(array: Any, at: Any) -> Callable[..., Any]:
    def implementation(array: Any, at: Any) -> Any:
        return _load_long(array, at)

    return implementation


@overload(load_like)
def _load_like_in_kernels(vector: Any, array: Any, at: Any) -> Callable[..., Any]:
    def implementation(vector: Any, array: Any, at: Any) -> Any:
        return _load_like(vector, array, at)

    return implementation


@overload(store)
def _store_in_kernels(array: Any, at: Any, vector: Any) -> Callable[..., Any]:
    def implementation(array: Any, at: Any, vector: Any) -> Any:
        return _store(array, at, vector)

    return implementation


@overload(multiply_add)
def _multiply_add_in_kernels(x: Any, vector: Any, total: Any) -> Callable[..., Any]:
    def implementation(x: Any, vector: Any, total: Any) -> Any:
        return _multiply_add(x, vector, total)

    return implementation


@overload(maximum)
def _maximum_in_kernels(x: Any, y: Any) -> Callable[..., Any]:
    def implementation(x: Any, y: Any) -> Any:
        return _maximum(x, y)

    return implementation
