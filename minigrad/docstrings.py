"""Docstrings of ops: the string below the assignment, which editors show, for `help` as well."""

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise
from typing import Any


class BelowAssignment:
    """The `__doc__` of a class whose instances have docstrings of their own in their modules.

    The source is read when somebody asks: reading it on import would double the time of that.
    """

    def __init__(self, of_class: str | None) -> None:
        self.of_class = of_class

    def __get__(self, instance: Any, owner: type) -> str | None:
        if instance is None:
            return self.of_class
        return below_assignments(instance.forward.__module__).get(id(instance), self.of_class)


@cache
def below_assignments(module: str) -> dict[int, str]:
    """Return the docstrings below the assignments of a module, by the id of what is assigned."""
    try:
        body = ast.parse(inspect.getsource(sys.modules[module])).body
    except (KeyError, OSError, TypeError):  # no file: typed at a prompt
        return {}
    found = {}
    for node, below in pairwise(body):
        string = getattr(getattr(below, "value", None), "value", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(below, ast.Expr):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and isinstance(string, str):
                value = getattr(sys.modules[module], target.id)
                found[id(value)] = inspect.cleandoc(string)
    return found
