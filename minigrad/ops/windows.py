"""Windows that move over the last axes of images, as convolutions and pooling look through."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..engine import Tensor

#: How the axes of images are called, by how many there are behind those of channels.
AXES = {1: "l", 2: "h, w", 3: "d, h, w"}


def spans_of(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """Return over how many points a kernel reaches along each axis."""
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))


class Windows(NamedTuple):
    """Where the windows lie; a number for each spatial axis.

    Place k of window i sees x[stride · i + dilation · k - padding], and 0 where that is outside.
    lengths: of x; sizes: how many windows there are.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    lengths: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def spans(self) -> tuple[int, ...]:
        """Over how many points of x a window reaches."""
        return spans_of(self.kernel, self.dilation)

    def are_apart(self) -> bool:
        """Return whether no point is in two windows."""
        return all(span <= step for span, step in zip(self.spans, self.stride, strict=True))

    def are_points(self, axis: int) -> bool:
        """Return whether along an axis each window sees one element, and all are seen."""
        at_once = self.kernel[axis] == self.stride[axis] == 1 and not self.padding[axis]
        return at_once and self.lengths[axis] == self.sizes[axis]

    def mirrored(self) -> "Windows":
        """Return the windows in which elements of x see those that saw them; for a stride of 1."""
        padding = tuple(span - 1 - n for span, n in zip(self.spans, self.padding, strict=True))
        return self._replace(padding=padding, lengths=self.sizes, sizes=self.lengths)

    def unfolded(self, axis: int) -> tuple[int, ...]:
        """Return the shape of space once the axes from `axis` on are places and windows."""
        return (*self.kernel[axis:], *self.lengths[:axis], *self.sizes[axis:])

    def along(self, axis: int) -> Iterator[tuple[int, slice, slice]]:
        """Yield for each place in the windows of an axis what it sees of x, and which windows.

        Windows whose place is outside x are left out.
        """
        stride, length = self.stride[axis], self.lengths[axis]
        for k in range(self.kernel[axis]):
            shift = k * self.dilation[axis] - self.padding[axis]
            first = max(0, -(shift // stride))
            stop = min(self.sizes[axis], -((shift - length) // stride))
            if first < stop:
                start = first * stride + shift
                yield k, slice(start, (stop - 1) * stride + shift + 1, stride), slice(first, stop)

    def keys(self, axis: int) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """Yield for each place in the windows of an axis where it lies in columns and what it sees.

        Keys of arrays (samples, groups, channels, *unfolded(axis)) and such with axis + 1.
        """
        before, after = (slice(None),) * 3, (slice(None),) * (len(self.kernel) - 1 - axis)
        for k, inside, which in self.along(axis):
            yield (*before, k, ..., which, *after), (..., inside, *after)


def windows_over(
    name: str,
    lengths: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: Sequence[tuple[int, int]],
    dilation: tuple[int, ...],
    ceil_mode: bool = False,
) -> Windows:
    """Return how a kernel moves over axes of these lengths; ValueError where it does not fit.

    padding: how many points are before and after each axis. ceil_mode: a last window may hang over
    the end, but begins before it.
    """
    sizes = []
    axes = zip(lengths, spans_of(kernel, dilation), stride, padding, strict=True)
    for axis, (length, span, step, (low, high)) in enumerate(axes, -len(lengths)):
        room = low + length + high - span
        size = (room + (step - 1 if ceil_mode else 0)) // step + 1
        if ceil_mode and (size - 1) * step >= length + low:
            size -= 1
        if size < 1:
            raise ValueError(
                f"{name}: the kernel {kernel} is larger than the input: along axis {axis} it "
                f"reaches over {span} points, of {room + span} with the padding; got the lengths "
                f"{lengths}"
            )
        sizes.append(size)
    before = tuple(low for low, _ in padding)
    return Windows(kernel, stride, before, dilation, lengths, tuple(sizes))


def check_images(name: str, x: Tensor, ndim: int) -> None:
    """Raise ValueError unless x is an image of so many axes with channels, or a batch of them."""
    if x.ndim not in (ndim + 1, ndim + 2):
        axes = AXES[ndim]
        raise ValueError(f"{name}: x has shape (n, c, {axes}) or (c, {axes}), got {x.shape}")
