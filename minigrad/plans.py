"""What the tape keeps of an operation, and whom backward calls, worked out once.

A rule's signature says what it needs. Which of an op's inputs require grad decides which rules are
called; so for each such set there is one plan, and recording and differentiating a run are a few
look-ups.
"""

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from .engine import Op


def parameters_of(
    function: Callable[..., Any],
) -> tuple[tuple[str, ...], str | None, tuple[str, ...], tuple[str, ...]]:
    """Return the names of positional parameters, of `*xs`, of keyword-only ones, of the defaults.

    A function may say itself, by an attribute `parameters`. Otherwise they are read from the code,
    which takes a tenth of `inspect`'s time: a fourth of minigrad's import.
    """
    if (said := getattr(function, "parameters", None)) is not None:
        parameters: tuple[tuple[str, ...], str | None, tuple[str, ...], tuple[str, ...]] = said
        return parameters
    if hasattr(function, "__wrapped__"):
        function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is not None and not vars(function):  # nothing that says another signature
        names, end = code.co_varnames, code.co_argcount + code.co_kwonlyargcount
        positional, keywords = names[: code.co_argcount], names[code.co_argcount : end]
        variadic = names[end] if code.co_flags & inspect.CO_VARARGS else None
        count = len(function.__defaults__ or ())
        named: Any = function.__kwdefaults__ or ()
        return positional, variadic, keywords, (*positional[len(positional) - count :], *named)
    kinds, found = inspect.Parameter, inspect.signature(function).parameters.values()
    return (
        tuple(p.name for p in found if p.kind is kinds.POSITIONAL_OR_KEYWORD),
        next((p.name for p in found if p.kind is kinds.VAR_POSITIONAL), None),
        tuple(p.name for p in found if p.kind is kinds.KEYWORD_ONLY),
        tuple(p.name for p in found if p.default is not kinds.empty),
    )


def signature_of(forward: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of an op: the inputs of its forward by place alone, params by name."""
    kinds = inspect.Parameter
    return inspect.Signature(
        [
            p.replace(kind=kinds.POSITIONAL_ONLY) if p.kind is kinds.POSITIONAL_OR_KEYWORD else p
            for p in list(inspect.signature(forward).parameters.values())[1:]
        ]
    )


def runner(forward: Callable[..., Any], kernel: Any) -> Callable[..., Any]:
    """Return what computes an op: its kernel, where there is one, and forward where that declines.

    A kernel's pays_from is the size of the first array below which it is not asked: asking would
    cost what many an op of a few numbers takes. So would packing arguments of any number: what is
    returned is written out for the op's own, as `dataclass` does, with names that no input has.
    """
    if kernel is None:
        return forward
    (xp, *inputs), variadic, keywords, optional = parameters_of(forward)
    rest = [f"*{variadic}"] if variadic else []
    absent = [f"{name}=None" if name in optional else name for name in inputs]
    taken = ", ".join([xp, *absent, *(rest or ["*"] * bool(keywords)), *keywords])
    given = ", ".join([*inputs, *rest, *[f"{name}={name}" for name in keywords]])
    measured = bool(getattr(kernel, "pays_from", 0))
    asked = f"{inputs[0]}.size >= _kernel.pays_from" if measured else "True"
    source = f"""
def run({taken}):
    if {asked}:
        _found = _kernel({given})
        if _found is not NotImplemented:
            return _found
    return _forward({xp}, {given})
"""
    scope: dict[str, Any] = {"_forward": forward, "_kernel": kernel}
    exec(source, scope)
    return cast(Callable[..., Any], scope["run"])


class Rule:
    """A derivative rule of one input, or a joint one of several, and the names that it takes.

    only_for: what it takes for some of its inputs alone, and which: kept if one of them is wanted.
    """

    def __init__(
        self, op: "Op", names: tuple[str, ...], function: Callable[..., Any], joint: bool
    ) -> None:
        self.names, self.function, self.joint = names, function, joint
        positional, _, keywords, _ = parameters_of(function)
        self.takes = positional + keywords
        self.only_for: Mapping[str, tuple[str, ...]] = getattr(function, "only_for", {})
        inputs = (*op.inputs, op.variadic)
        known = {*inputs, *op.outputs, *op.params, "position", "wanted", *cotangent_names(op)}
        known |= {f"{name}_{what}" for name in inputs for what in ("shape", "dtype")}
        for name in names:
            if name not in inputs:
                raise TypeError(f"op {op.name!r}: a rule for {name!r}, which is no input")
        for name in self.takes:
            if name not in known:
                raise TypeError(f"op {op.name!r}: the rule for {names} takes unknown {name!r}")

    def needs(self, wanted: Iterable[str]) -> set[str]:
        """Return the names that it takes when these inputs want a cotangent."""
        spared = {n for n, inputs in self.only_for.items() if not {*inputs} & {*wanted}}
        return {*self.takes} - spared


def cotangent_names(op: "Op") -> tuple[str, ...]:
    """Return what rules call the cotangents of the outputs."""
    return ("g",) if len(op.outputs) == 1 else tuple(f"g_{name}" for name in op.outputs)


class Plan:
    """What the tape keeps of an op when a given set of inputs needs gradients, and whom to call.

    bits: one for each of `count` inputs. pick: a getter of the arguments kept. outputs: the
    positions of the outputs kept. about: (position, attribute) kept of inputs. calls: (rule, where
    its results go among the wanted inputs, a getter of its arguments from the list of cotangents,
    kept values, params and an extra, that extra).
    """

    def __init__(self, op: "Op", bits: int, count: int) -> None:
        wanted = tuple(i for i in range(count) if bits >> i & 1)
        fixed = len(op.inputs)
        name_of = [op.inputs[i] if i < fixed else str(op.variadic) for i in range(count)]
        rule_of = {name: rule for rule in op.rules for name in rule.names}
        for i in wanted:
            if name_of[i] not in rule_of:
                raise TypeError(
                    f"{op.name}: no derivative with respect to {name_of[i]!r}, which requires "
                    "grad; detach() it if it is a constant"
                )
        rules = {id(rule_of[name_of[i]]): rule_of[name_of[i]] for i in wanted}.values()
        names = [name_of[i] for i in wanted]
        takes = {name for rule in rules for name in rule.needs(names)}
        positions = {name: i for i, name in enumerate(op.inputs)}
        inputs: tuple[int, ...] = tuple(i for name, i in positions.items() if name in takes)
        spread = tuple(range(fixed, count)) if op.variadic in takes else ()
        self.outputs = tuple(i for i, name in enumerate(op.outputs) if name in takes)
        self.about = tuple(
            (i, what)
            for i, name in enumerate(name_of)
            for what in ("shape", "dtype")
            if f"{name}_{what}" in takes
        )
        # Each value a rule can take by name -> its index, or for a variadic input its indices.
        slots: dict[str, Any] = {name: i for i, name in enumerate(cotangent_names(op))}
        index = itertools.count(len(slots))
        slots.update({op.inputs[i]: next(index) for i in inputs})
        if op.variadic in takes:
            slots[str(op.variadic)] = [next(index) for _ in spread]
        slots.update({op.outputs[i]: next(index) for i in self.outputs})
        for i, what in self.about:
            if i < fixed:
                slots[f"{name_of[i]}_{what}"] = next(index)
            else:
                slots.setdefault(f"{op.variadic}_{what}", []).append(next(index))
        self.kept = len(inputs + spread)
        self.pick = _picker(inputs + spread)
        self.tensors = self.kept + len(self.outputs)
        self.more = bool(self.outputs or self.about)
        slots.update({name: next(index) for name in op.params})
        extra = next(index)
        self.calls: list[tuple[Rule, tuple[int | None, ...], Any, Any]] = []
        for rule in rules:
            targets = [k for k, i in enumerate(wanted) if rule_of[name_of[i]] is rule]
            if rule.joint:
                places = {name_of[wanted[k]]: k for k in targets}
                into = tuple(places.get(name) for name in rule.names)
                self.calls.append((rule, into, _getter(rule, slots, extra), tuple(places)))
            else:
                for k in targets:
                    get = _getter(rule, slots, extra)
                    self.calls.append((rule, (k,), get, wanted[k] - fixed))


def _picker(positions: tuple[int, ...]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """Return what takes the items at positions as a tuple; itemgetter does it in C."""
    if len(positions) == 1:
        return itemgetter(slice(positions[0], positions[0] + 1))
    return itemgetter(*positions) if positions else itemgetter(slice(0))


def _getter(
    rule: Rule, slots: Mapping[str, Any], extra: int
) -> Callable[[list[Any]], tuple[Any, ...]]:
    """Return what picks the rule's arguments from the list of values.

    At the list's end are the extra and a None, which a rule gets for what was not kept.
    """
    slots = {**slots, "position": extra, "wanted": extra}
    where = [slots.get(name, extra + 1) for name in rule.takes]
    if any(isinstance(i, list) for i in where):
        return lambda values: tuple(
            [values[j] for j in i] if isinstance(i, list) else values[i] for i in where
        )
    return _picker(tuple(where))
