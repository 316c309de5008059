"""Optimizer, the base of all of them, and the groups of parameters that it updates."""

import math
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from itertools import chain
from typing import Any

import numpy as np

from ..engine import Tensor, no_grad
from ..messages import did_you_mean
from ..ops.creation import zeros, zeros_like
from ..ops.shape import permute_dims
from ..ops.updates import assign, clear_grads

#: Hyper-parameters whose values are limited: from the first number to below the second.
_RANGES = {
    "lr": (0, math.inf),
    "momentum": (0, math.inf),
    "weight_decay": (0, math.inf),
    "l1": (0, math.inf),
    "lr_decay": (0, math.inf),
    "initial_accumulator_value": (0, math.inf),
    "eps": (0, math.inf),
    "alpha": (0, 1),
    "betas": (0, 1),
}


class ParamGroup(MutableMapping[str, Any]):
    """Parameters that are updated alike: "params", hyper-parameters by name, and flags.

    A number reads as a float, several as a tuple; they lie on the parameters' backend as well, in
    `tensors`, float64 and 0-d, and assigning writes those in place. ValueError for a number out of
    range, KeyError for an unknown name.
    """

    def __init__(self, params: list[Tensor], options: Mapping[str, Any]) -> None:
        self._values: dict[str, Any] = {"params": params, **options}
        #: what the update ops read: name -> a tensor, or a tuple of them
        self.tensors: dict[str, Any] = {}
        #: the rate from which schedules start, the "lr" when the first of them was made; it is no
        #: option and no part of the state, schedules keep it in theirs
        self.initial_lr: float | None = None
        self.backend = backend = params[0].backend
        for name, value in options.items():
            if isinstance(value, tuple):
                self.tensors[name] = tuple(
                    zeros((), dtype=np.float64, backend=backend) for _ in value
                )
            elif not isinstance(value, bool):
                self.tensors[name] = zeros((), dtype=np.float64, backend=backend)
            self[name] = value

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        value = self.checked(name, value)
        tensors = self.tensors.get(name)
        if isinstance(tensors, tuple):
            for tensor, number in zip(tensors, value, strict=True):
                assign(tensor, number)
        elif tensors is not None:
            assign(tensors, value)
        self._values[name] = value

    def unless_zero(self, name: str) -> Any:
        """Return the tensor of a hyper-parameter, None where it is 0: an input that is absent."""
        return self.tensors[name] if self._values[name] else None

    def checked(self, name: str, value: Any) -> Any:
        """Return the value as it would read after an assignment, or raise what that raises."""
        if name not in self._values:
            hint = did_you_mean(name, self._values)
            raise KeyError(f"unknown option {name!r}: expected one of {', '.join(self)}{hint}")
        tensors = self.tensors.get(name)
        if not isinstance(tensors, tuple):
            return value if tensors is None else _number(name, value)
        if len(value) != len(tensors):
            raise ValueError(f"{name} are {len(tensors)} numbers, got {value}")
        return tuple(_number(name, v) for v in value)

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name!r} cannot be taken out of a group, only changed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options().items())
        return f"ParamGroup({len(self['params'])} params, {options})"

    def options(self) -> dict[str, Any]:
        """Return everything but the parameters."""
        return {name: value for name, value in self.items() if name != "params"}


def _number(name: str, value: Any) -> float:
    number = float(value)
    low, high = _RANGES.get(name, (-math.inf, math.inf))
    if not low <= number < high:
        raise ValueError(f"{name} must lie in [{low}, {high}), got {number}")
    return number


def outline(value: Any) -> str:
    """Return the names in a dict, and of anything else the type, for a message of one line."""
    return f"a dict of {list(value)}" if isinstance(value, Mapping) else f"a {type(value).__name__}"


class Optimizer:
    """The base of the optimizers: subclasses define `_state_for` and `_update`.

    params: an iterable of tensors, or of dicts with "params" and options that differ from the
    defaults. `param_groups` are ParamGroups, `state` is what is kept for each parameter from step
    to step. Parameters without a gradient, which frozen ones never have, are passed over. Errors
    name a parameter that is no leaf or is given twice, and a call in which there is nothing to
    train.
    """

    #: what a subclass keeps of a parameter's shape and dtype from step to step, beside "step"
    _kept: tuple[str, ...] = ()
    #: and what it keeps only of parameters whose group's options ask for it
    _kept_if_asked: tuple[str, ...] = ()

    def __init__(self, params: Any, defaults: Mapping[str, Any]) -> None:
        self.defaults = dict(defaults)
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self.param_groups: list[ParamGroup] = []
        given = self._listed(params)
        if not given:
            raise ValueError(
                f"{self._name}: got no parameters; was an iterator used up before, or are "
                "the layers in a plain list? Use nn.ModuleList then"
            )
        for group in given if isinstance(given[0], Mapping) else [{"params": given}]:
            self.add_param_group(group)
        if not any(p.requires_grad for p in self._params()):
            raise ValueError(
                f"{self._name}: no parameter requires grad, so there is nothing to train; "
                "make them with requires_grad=True"
            )

    @property
    def _name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return f"{self._name}({', '.join(map(repr, self.param_groups))})"

    def _params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _listed(self, params: Any) -> list[Any]:
        if isinstance(params, Tensor | Mapping) or not isinstance(params, Iterable):
            raise TypeError(
                f"{self._name}: expected an iterable of tensors or of groups, "
                f"got a {type(params).__name__}"
            )
        return list(params)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add {"params": tensors, ...} with the defaults for what is not given."""
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(f'{self._name}: a group is a dict with "params", got {param_group!r}')
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else self._listed(params)
        if not params:
            raise ValueError(f"{self._name}: got a group without parameters")
        self._check(params)
        group = ParamGroup(params, self.defaults)
        group.update({name: value for name, value in param_group.items() if name != "params"})
        self.param_groups.append(group)

    def _check(self, params: list[Any]) -> None:
        seen = {id(p) for p in self._params()}
        for position, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"{self._name}: parameter {position} is no Tensor but a {type(p).__name__}"
                )
            which = f"{self._name}: parameter {position} of shape {p.shape}"
            if not p.is_leaf:
                raise ValueError(f"{which} is a result of an operation, not a leaf")
            if p.dtype.kind != "f":
                raise TypeError(f"{which} must be floating, not {p.dtype}")
            if p.device != params[0].device:
                raise ValueError(
                    f"{which} is on {p.device}, the first of its group on {params[0].device}; "
                    f"move all of the model with model.to({p.backend.name!r}), or make two groups"
                )
            if id(p) in seen:
                raise ValueError(f"{which} is given twice")
            seen.add(id(p))

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        with no_grad():
            for group in self.param_groups:
                given = [(p, g) for p in group["params"] if (g := p.grad) is not None]
                if given:
                    self._require_home(given[0][0], group)
                    first, *others = [(p, g, *self._state_for(p, group)) for p, g in given]
                    self._update(first, group, list(chain.from_iterable(others)))

    def _require_home(self, p: Tensor, group: ParamGroup) -> None:
        """Raise ValueError where parameters were moved after the optimizer was made."""
        here, home = p.backend, group.backend
        if here is not home and here.device != home.device:
            raise ValueError(
                f"{self._name}: the parameters are on {here.name} ({here.device}), but were on "
                f"{home.name} ({home.device}) when the optimizer was made; make it after "
                f"model.to({here.name!r}), and take over its state with load_state_dict"
            )

    def _state_for(self, p: Tensor, group: ParamGroup) -> Iterable[Tensor | None]:
        """Return what an update takes of a parameter, beside itself and its gradient."""
        return ()

    def _update(self, first: tuple[Any, ...], group: ParamGroup, more: list[Any]) -> None:
        """Update a parameter, given with its gradient and state, and more of them at once."""
        raise NotImplementedError(f"{self._name} has no _update method: define one")

    def _state_of(self, p: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Return the "step" of p, which updates count, and what is named, zeros if it is new."""
        state = self.state.get(p)
        if state is None:
            state = self.state[p] = {"step": zeros((), dtype=np.float64, backend=p.backend)}
        for name in names:
            if name not in state:
                state[name] = self._zeros(p, name)
        return state

    def _zeros(self, p: Tensor, name: str) -> Tensor:
        """Return zeros like p to keep under a name, each name's at another place of a page.

        Large arrays all begin at the same place of one; then reading here waits for writing there,
        as a processor compares only these bits of addresses first, and a step of Adam over 10
        million elements takes 1.09 of the time.
        """
        if p.size < 4096:
            return zeros_like(p)
        place = (*self._kept, *self._kept_if_asked).index(name) + 1
        skipped = place * 1024 // p.dtype.itemsize
        memory = zeros((skipped + p.size,), dtype=p.dtype, backend=p.backend)
        if p._array.flags.c_contiguous or not p._array.flags.f_contiguous:
            return memory[skipped:].reshape(p.shape)
        return permute_dims(memory[skipped:].reshape(p.shape[::-1]), range(p.ndim)[::-1])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the parameters' gradients, or fill them with zeros in place."""
        clear_grads(self._params(), set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Return {"state": {index: {name: tensor}}, "param_groups": [{..., "params": indices}]}.

        Indices count the parameters through the groups. The tensors share the optimizer's memory.
        """
        index = {id(p): i for i, p in enumerate(self._params())}
        state = {
            index[id(p)]: {name: tensor.detach() for name, tensor in kept.items()}
            for p, kept in self.state.items()
        }
        groups = [
            {**group.options(), "params": [index[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave, with the same groups of parameters in the same order.

        Tensors and arrays are copied. Options that the state lacks become the defaults given here.
        ValueError for a state that does not fit; then nothing is changed.
        """
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            raise ValueError(
                f'{self._name}: expected a dict with "state" and "param_groups", '
                f"got {outline(state_dict)}"
            )
        options = self._checked_options(state_dict["param_groups"])
        state = self._copied_state(state_dict["state"])
        for group, values in zip(self.param_groups, options, strict=True):
            group.update(values)
        self.state = state

    def _checked_options(self, groups: Any) -> list[dict[str, Any]]:
        """Return the options in a state's groups, for as many parameters as there are here."""
        if not isinstance(groups, list | tuple):
            raise ValueError(
                f'{self._name}: "param_groups" must be a list of dicts, got {outline(groups)}'
            )
        for i, group in enumerate(groups):
            if not isinstance(group, Mapping) or not isinstance(group.get("params"), list | tuple):
                raise ValueError(
                    f'{self._name}: group {i} of the state must be a dict with "params", a list, '
                    f"got {outline(group)}"
                )
        sizes = [len(group["params"]) for group in groups]
        expected = [len(group["params"]) for group in self.param_groups]
        if sizes != expected:
            raise ValueError(
                f"{self._name}: expected groups of {expected} parameters, the state has {sizes}"
            )
        indices = [i for group in groups for i in group["params"]]
        if indices != list(range(len(indices))):
            raise ValueError(
                f"{self._name}: expected parameters counted through the groups from 0, "
                f"the state has {indices}"
            )
        pairs = zip(self.param_groups, groups, strict=True)
        return [self._options_of(i, own, saved) for i, (own, saved) in enumerate(pairs)]

    def _options_of(self, i: int, group: ParamGroup, saved: Mapping[str, Any]) -> dict[str, Any]:
        options = self.defaults | {name: saved[name] for name in saved if name != "params"}
        try:
            return {name: group.checked(name, value) for name, value in options.items()}
        except (KeyError, TypeError, ValueError) as error:
            message = error.args[0]  # of a KeyError without quotes
            raise ValueError(f"{self._name}: group {i} of the state: {message}") from error

    def _copied_state(self, state: Any) -> dict[Tensor, dict[str, Tensor]]:
        """Return a state's tensors by parameter, each a copy with its parameter's dtype."""
        if not isinstance(state, Mapping):
            raise ValueError(
                f'{self._name}: "state" must be a dict by parameter, got {outline(state)}'
            )
        params = dict(enumerate(self._params()))
        names = ("step", *self._kept)
        known = {*names, *self._kept_if_asked}
        for i, kept in state.items():
            if i not in params:
                raise ValueError(
                    f"{self._name}: expected the state of parameters below {len(params)}, "
                    f"got that of {i!r}"
                )
            if not isinstance(kept, Mapping) or not set(names) <= set(kept) <= known:
                raise ValueError(
                    f"{self._name}: expected {', '.join(names)} of parameter {i}, "
                    f"the state has {outline(kept)}"
                )
        return {
            params[i]: {name: self._copied(i, params[i], name, kept[name]) for name in kept}
            for i, kept in state.items()
        }

    def _copied(self, index: int, p: Tensor, name: str, value: Any) -> Tensor:
        shape, dtype = ((), np.dtype(np.float64)) if name == "step" else (p.shape, p.dtype)
        if value is None or np.shape(value) != shape:
            raise ValueError(
                f"{self._name}: {name!r} of parameter {index} must have shape {shape}, "
                f"the state has {None if value is None else np.shape(value)}"
            )
        copied = Tensor(value, dtype, backend=p.backend)
        return copied if name == "step" else assign(self._zeros(p, name), copied)
