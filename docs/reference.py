"""Write the API reference from the docstrings: python docs/reference.py [FOLDER], by default site.

Needs the extra "docs". The public names are those that `__all__` lists, from `minigrad` downwards.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pdoc
from pdoc import doc, doc_ast, extract

import minigrad
from minigrad.engine import Op, Tensor


def write(folder: Path) -> None:
    """Write one page for each public module into a folder, which is made where it is missing."""
    modules = [doc.Module.from_name(name) for name in extract.walk_specs(["minigrad"])]
    ops = documented_ops()
    origins = {member.taken_from for module in modules for member in module.members.values()}
    for module in modules:
        for name, member in module.members.items():
            if isinstance(getattr(member, "default_value", None), Op):
                module.members[name] = as_function(module, name, *ops[member.default_value])
        for member in module.members.values():
            complete(member, origins)
    pdoc.render.configure(docformat="markdown", footer_text=f"minigrad {minigrad.__version__}")
    pdoc.pdoc("minigrad", output_directory=folder)


def documented_ops() -> dict[Op, tuple[Op, str, str, Path, tuple[int, int]]]:
    """Return for each public op itself, its docstring, and the source, file and lines it has."""
    found = {}
    families = [m for name, m in sys.modules.items() if name.startswith("minigrad.ops.")]
    for module in families:
        file = Path(module.__file__)
        source = file.read_text(encoding="utf-8")
        strings = doc_ast.walk_tree(module).var_docstrings
        for node in ast.parse(source).body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                op = getattr(module, getattr(target, "id", ""), None)
                if isinstance(op, Op) and target.id in strings:
                    lines = node.lineno, node.end_lineno
                    code = ast.get_source_segment(source, node)
                    found[op] = op, strings[target.id], code, file, lines
    return found


def as_function(
    module: doc.Module, name: str, op: Op, text: str, code: str, file: Path, lines: tuple[int, int]
) -> doc.Function:
    """Return an op as what it is to its users: a function of its inputs and params."""

    def function() -> None: ...

    kinds = inspect.Parameter
    required = len(op.inputs) - op.optional
    parameters = [
        kinds(x, kinds.POSITIONAL_OR_KEYWORD, default=kinds.empty if i < required else None)
        for i, x in enumerate(op.inputs)
    ]
    parameters += [kinds(op.variadic, kinds.VAR_POSITIONAL)] if op.variadic else []
    parameters += [kinds(param, kinds.KEYWORD_ONLY) for param in op.params]
    function.__signature__ = inspect.Signature(parameters, return_annotation=Tensor)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    member = doc.Function(module.modulename, name, function, (module.modulename, name))
    member.source, member.source_file, member.source_lines = code, file, lines
    return member


def complete(member: doc.Doc, origins: Iterable[tuple[str, str]]) -> None:
    """List the parameters in docstrings, and show what classes inherit from private ones.

    origins: where the public names are defined. A method that only calls a public function says so.
    """
    if isinstance(member, doc.Function):
        member.docstring = listed(member.docstring, member.signature)
    if not isinstance(member, doc.Class):
        return
    constructor = member.members.get("__init__")
    if isinstance(constructor, doc.Function):
        member.docstring = listed(member.docstring, constructor.signature)
    for name, inner in list(member.members.items()):
        if isinstance(inner, doc.Variable) and not inner.docstring:
            del member.members[name]  # an attribute that the class's docstring speaks of, or none
            continue
        module, qualname = inner.taken_from
        base = module, qualname.rpartition(".")[0]
        if module.startswith("minigrad.") and base not in origins:
            inner.taken_from = member.modulename, f"{member.qualname}.{name}"
        complete(inner, origins)


def listed(text: str, signature: inspect.Signature) -> str:
    """Return a docstring whose lines that begin with a parameter's name are items of a list."""
    names = "|".join(map(re.escape, signature.parameters)) or "(?!)"
    return re.sub(rf"(?m)^((?:{names})(?:, (?:{names}))*): ", r"- **\1**: ", text)


if __name__ == "__main__":
    write(Path(*sys.argv[1:2] or ["site"]))
