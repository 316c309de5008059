"""Trees: values in nested lists, tuples, named tuples and dictionaries.

`flatten` takes one apart into its values and its structure; the structure builds a tree like it of
other values. None is an empty tree. Whatever is of another type, subclasses of list and dict
included, is a value.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

__all__ = ["Structure", "flatten"]


class Structure(NamedTuple):
    """What is left of a tree without its values.

    kind: the type of the container, None where a value stands. keys: positions, or the keys of a
    dictionary in their order. parts: the structure of what stands at each.
    """

    kind: type | None
    keys: tuple[Any, ...] = ()
    parts: tuple["Structure", ...] = ()

    def build(self, values: Iterable[Any]) -> Any:
        """Return a tree of this structure, its values taken from `values` in their order."""
        if self.kind is None:
            return next(iter(values))
        source = iter(values)
        parts = [part.build(source) for part in self.parts]
        if self.kind is type(None):
            return None
        if issubclass(self.kind, dict):
            return self.kind(zip(self.keys, parts, strict=True))
        make: Callable[[list[Any]], Any] = getattr(self.kind, "_make", self.kind)
        return make(parts)

    def values_of(self, tree: Any, what: str) -> list[Any]:
        """Return the values of a tree of this structure, in this structure's order.

        ValueError, which names the place and begins with `what`, where the tree is another.
        """
        if self.kind is None:
            return [tree]
        kind, keys, parts = _opened(tree)
        if kind is not self.kind or set(keys) != set(self.keys):
            raise ValueError(f"{what}: expected {self}, got {_described(kind or type(tree), keys)}")
        at = dict(zip(keys, parts, strict=True))
        below = zip(self.keys, self.parts, strict=True)
        return [v for key, part in below for v in part.values_of(at[key], f"{what}[{key!r}]")]

    def paths(self, start: str = "") -> Iterator[str]:
        """Yield how each value is reached from the tree called `start`, as Python writes it."""
        if self.kind is None:
            yield start
        for key, part in zip(self.keys, self.parts, strict=True):
            yield from part.paths(f"{start}[{key!r}]")

    def __str__(self) -> str:
        return _described(self.kind, self.keys)


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """Return the values of a tree, depth first in the order of its keys, and its structure."""
    kind, keys, parts = _opened(tree)
    if kind is None:
        return [tree], Structure(None)
    below = [flatten(part) for part in parts]
    values = [v for values, _ in below for v in values]
    return values, Structure(kind, keys, tuple(structure for _, structure in below))


def _opened(tree: Any) -> tuple[type | None, tuple[Any, ...], tuple[Any, ...]]:
    """Return the type of a container, its keys and what stands at them; None for a value."""
    kind = type(tree)
    if kind in (dict, OrderedDict):
        return kind, tuple(tree), tuple(tree.values())
    if kind in (list, tuple) or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
        return kind, tuple(range(len(tree))), tuple(tree)
    return (kind if tree is None else None), (), ()


def _described(kind: type | None, keys: tuple[Any, ...]) -> str:
    if kind is None:
        return "a value"
    if issubclass(kind, dict):
        return f"a {kind.__name__} with the keys {list(keys)}"
    sized = f" of {len(keys)}" if issubclass(kind, list | tuple) else ""
    return f"{kind.__name__}{sized}"
