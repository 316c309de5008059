"""Schedules: they change an optimizer's learning rates from step to step.

A schedule is one formula, the rate at step t of a group that begins with a base rate. Schedules of
one optimizer compose: each multiplies the rate that it finds by how much its own formula changes.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy, deepcopy
from numbers import Integral, Real
from typing import Any, Self

from ..messages import did_you_mean
from .optimizer import Optimizer, ParamGroup, outline

__all__ = [
    "ChainedScheduler",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "LinearWarmup",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]


class LRScheduler:
    """The base of the schedules: subclasses define the rate of group i at step t, `_curve`.

    Making a schedule sets the rates of step 0; call `step()` after the optimizer's, once an epoch
    or once a batch: that is the unit of t. A group's base rate is its "lr" when the first schedule
    of its optimizer was made. A rate changed by hand in between is scaled from then on as the
    schedule's own would be. ValueError for options out of range, and once groups were added.

    `load_state_dict` goes on from what `state_dict` gave; the rates themselves are in the
    optimizer's state, so load both, after making both.
    """

    #: attributes that are no part of the state
    _left_out: tuple[str, ...] = ("optimizer",)
    #: those that say where the schedule is; the others in its state are options
    _place: tuple[str, ...] = ("last_epoch", "base_lrs", "_last_lr")

    def __init__(self, optimizer: Optimizer) -> None:
        self._attach(optimizer)
        self._go_to(0)

    def _attach(self, optimizer: Optimizer) -> None:
        """Check the options and take the base rates, but leave the rates as they are."""
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{self._name}: expected an optimizer, got a {type(optimizer).__name__}"
            )
        groups = optimizer.param_groups
        self.optimizer = optimizer
        self.last_epoch = 0
        self.base_lrs = [g["lr"] if g.initial_lr is None else g.initial_lr for g in groups]
        self._last_lr = [g["lr"] for g in groups]
        self._check()
        for group, rate in zip(groups, self.base_lrs, strict=True):
            group.initial_lr = rate

    @property
    def _name(self) -> str:
        return type(self).__name__

    @property
    def _floor(self) -> float:
        """What the curve comes down to: distances from it are what schedules multiply."""
        return 0.0

    def step(self) -> None:
        """Set the rates of the next step."""
        self._go_to(self.last_epoch + 1)

    def get_last_lr(self) -> list[float]:
        """Return the rates that were set last, one for each group."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """Return where the schedule is and its options: numbers, strings and lists of them."""
        return deepcopy({k: v for k, v in vars(self).items() if k not in self._left_out})

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state; the options in it replace those given here.

        ValueError for a state that does not fit; then nothing is changed.
        """
        self._adopt(self._loaded(state_dict))

    def _loaded(self, state: Any) -> Self:
        """Return a copy of the schedule in that state, checked."""
        options = [name for name in LRScheduler.state_dict(self) if name not in self._place]
        known = {*self._place, *options}
        if not isinstance(state, Mapping) or not set(self._place) <= set(state) <= known:
            expected = f"a dict of {', '.join(self._place)}"
            if options:
                expected += f" and of options among {', '.join(options)}"
            raise ValueError(f"{self._name}: expected {expected}, got {outline(state)}")
        twin = copy(self)
        vars(twin).update(deepcopy(dict(state)))
        try:
            twin._check()
        except ValueError as error:
            raise ValueError(f"{error}, in the state") from error
        return twin

    def _adopt(self, twin: Self) -> None:
        vars(self).update(vars(twin))

    def _groups(self) -> list[ParamGroup]:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            raise ValueError(
                f"{self._name}: made for {len(self.base_lrs)} groups, but the optimizer has "
                f"{len(groups)}; make a new schedule after add_param_group"
            )
        return groups

    def _go_to(self, t: int) -> None:
        """Set the rates of step t, from those of the step before, at 0 from the base rates."""
        groups = self._groups()
        rates = [self._rate(i, t, group["lr"]) for i, group in enumerate(groups)]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate
        self.last_epoch, self._last_lr = t, rates

    def _restart(self) -> None:
        """Begin again from the base rates, whatever the rates are now."""
        for group, rate in zip(self._groups(), self.base_lrs, strict=True):
            group["lr"] = rate
        self._go_to(0)

    def _rate(self, i: int, t: int, lr: float) -> float:
        """Return the rate of group i at step t, where lr is what it has now."""
        before = self._curve(i, t - 1) if t else self.base_lrs[i]
        after, floor = self._curve(i, t), self._floor
        if lr == before:
            return after
        if before == floor:  # nothing to multiply
            return lr + (after - before)
        return floor + (lr - floor) * ((after - floor) / (before - floor))

    def _curve(self, i: int, t: int) -> float:
        raise NotImplementedError(f"{self._name} has no _curve method: define one")

    def _check(self) -> None:
        """Raise ValueError for attributes out of range, and make the numbers Python's."""
        self._whole("last_epoch")
        self._each("base_lrs")
        self._each("_last_lr")

    def _whole(self, name: str, low: int = 0) -> None:
        value = getattr(self, name)
        if not _is_whole(value, low):
            self._refuse(name, f"an integer >= {low}", value)
        setattr(self, name, int(value))

    def _real(self, name: str, high: float = math.inf) -> None:
        value = getattr(self, name)
        if not _is_within(value, high):
            limit = f"<= {high}" if high < math.inf else "< inf"
            self._refuse(name, f"a number >= 0 and {limit}", value)
        setattr(self, name, float(value))

    def _each(self, name: str, high: float = math.inf) -> None:
        """Check numbers, one for each group; a number alone stands for all."""
        value, count = getattr(self, name), len(self.optimizer.param_groups)
        values = list(value) if isinstance(value, list | tuple) else [value] * count
        if len(values) != count or not all(_is_within(v, high) for v in values):
            limit = f">= 0 and <= {high}" if high < math.inf else ">= 0"
            self._refuse(name, f"a number {limit}, or {count}, one for each group", value)
        setattr(self, name, [float(v) for v in values])

    def _steps(self, name: str) -> None:
        value = getattr(self, name)
        steps = list(value) if isinstance(value, Iterable) else [value]
        if not isinstance(value, Iterable) or not all(_is_whole(step, 0) for step in steps):
            self._refuse(name, "a list of integers >= 0", value)
        setattr(self, name, [int(step) for step in steps])

    def _one_of(self, name: str, known: Sequence[str]) -> None:
        if (value := getattr(self, name)) not in known:
            hint = did_you_mean(str(value), known)
            self._refuse(name, f"one of {', '.join(known)}", f"{value!r}{hint}")

    def _refuse(self, name: str, expected: str, value: Any) -> None:
        shown = value if isinstance(value, str) else repr(value)
        raise ValueError(f"{self._name}: {name} must be {expected}, got {shown}")


def _is_whole(value: Any, low: int) -> bool:
    return isinstance(value, Integral) and int(value) >= low


def _is_within(value: Any, high: float) -> bool:
    return isinstance(value, Real) and 0 <= float(value) <= high and math.isfinite(value)


class LambdaLR(LRScheduler):
    """base · lr_lambda(t); a list of functions is one for each group.

    What other schedules do to the rate is overwritten. The functions are no part of the state.
    """

    _left_out = ("optimizer", "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
    ) -> None:
        self.lr_lambdas: Any = lr_lambda
        super().__init__(optimizer)

    def _check(self) -> None:
        super()._check()
        given, count = self.lr_lambdas, len(self.base_lrs)
        functions = list(given) if isinstance(given, list | tuple) else [given] * count
        if len(functions) != count or not all(map(callable, functions)):
            self._refuse("lr_lambda", f"a function, or {count}, one for each group", given)
        self.lr_lambdas = functions

    def _rate(self, i: int, t: int, lr: float) -> float:
        return self._curve(i, t)

    def _curve(self, i: int, t: int) -> float:
        return self.base_lrs[i] * float(self.lr_lambdas[i](t))


class StepLR(LRScheduler):
    """base · gamma^(t // step_size)."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def _check(self) -> None:
        super()._check()
        self._whole("step_size", 1)
        self._real("gamma")

    def _curve(self, i: int, t: int) -> float:
        return self.base_lrs[i] * self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    """base · gamma^n, n the number of milestones that t has reached."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        self.milestones: Any = milestones
        self.gamma = gamma
        super().__init__(optimizer)

    def _check(self) -> None:
        super()._check()
        self._steps("milestones")
        self.milestones.sort()
        self._real("gamma")

    def _curve(self, i: int, t: int) -> float:
        return self.base_lrs[i] * self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(LRScheduler):
    """base · gamma^t."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def _check(self) -> None:
        super()._check()
        self._real("gamma")

    def _curve(self, i: int, t: int) -> float:
        return self.base_lrs[i] * self.gamma**t


class CosineAnnealingLR(LRScheduler):
    """eta_min + (base − eta_min) · (1 + cos(π t / T_max)) / 2: up again after T_max.

    Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), equation 5,
    without the restarts.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def _check(self) -> None:
        super()._check()
        self._whole("T_max", 1)
        self._real("eta_min")

    @property
    def _floor(self) -> float:
        return self.eta_min

    def _curve(self, i: int, t: int) -> float:
        # The same as a squared sine, which is exactly 0 at T_max and exact in the digits near it.
        to_go = (self.T_max - t) % (2 * self.T_max)
        height = math.sin(math.pi / 2 * (to_go / self.T_max)) ** 2
        return self.eta_min + (self.base_lrs[i] - self.eta_min) * height


class LinearLR(LRScheduler):
    """base times a factor that goes from start_factor, at step 0, to end_factor, at total_iters.

    The factor is start_factor + (end_factor − start_factor) · min(t / total_iters, 1).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer)

    def _check(self) -> None:
        super()._check()
        self._real("start_factor", 1)
        self._real("end_factor", 1)
        self._whole("total_iters", 1)

    def _curve(self, i: int, t: int) -> float:
        return self.base_lrs[i] * _between(self.start_factor, self.end_factor, t, self.total_iters)


class LinearWarmup(LRScheduler):
    """base · (start_factor + (1 − start_factor) · min(t / warmup_steps, 1)): a rise to base.

    The rate is base from step warmup_steps on. It is LinearLR(start_factor, 1, warmup_steps), but
    can last 0 steps and begin at 0; then it comes first in a chain, as others find nothing to
    multiply, and the first step, at rate 0, moves nothing. The usual remedy is
    start_factor=1/warmup_steps. Goyal et al., "Accurate, large minibatch SGD" (2017), section 2.2.
    """

    def __init__(self, optimizer: Optimizer, warmup_steps: int, start_factor: float = 0.0) -> None:
        self.warmup_steps, self.start_factor = warmup_steps, start_factor
        super().__init__(optimizer)

    def _check(self) -> None:
        super()._check()
        self._whole("warmup_steps")
        self._real("start_factor", 1)

    def _curve(self, i: int, t: int) -> float:
        return self.base_lrs[i] * _between(self.start_factor, 1.0, t, self.warmup_steps)


def _between(start: float, end: float, t: float, length: float) -> float:
    """Return what lies between start and end, t / length of the way."""
    return start + (end - start) * (t / length) if t < length else end


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr, then down to that / final_div_factor of the start.

    The way up takes pct_start of all steps, which are total_steps or epochs · steps_per_epoch;
    three_phase: the way down takes as long, and what is left goes on to the end. anneal_strategy is
    "cos" or "linear". cycle_momentum: "momentum", or the first of "betas", goes down from
    max_momentum to base_momentum while the rate goes up, and back, which switches on a momentum of
    0 as well; ValueError for an optimizer that has neither. max_lr and the momenta are numbers or
    lists, one for each group. Everything set by others is overwritten. Step total_steps, after the
    last batch, keeps the last rate; ValueError beyond it. Smith & Topin, "Super-convergence: very
    fast training of neural networks using large learning rates" (2018).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: needs total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        self.total_steps = total_steps
        self.pct_start, self.anneal_strategy = pct_start, anneal_strategy
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        self.three_phase, self.cycle_momentum = bool(three_phase), bool(cycle_momentum)
        self.max_lrs: Any = max_lr
        self.base_momentums: Any = base_momentum
        self.max_momentums: Any = max_momentum
        super().__init__(optimizer)

    def _attach(self, optimizer: Optimizer) -> None:
        super()._attach(optimizer)
        self.base_lrs = [rate / self.div_factor for rate in self.max_lrs]
        for group, rate in zip(optimizer.param_groups, self.base_lrs, strict=True):
            group.initial_lr = rate

    def _check(self) -> None:
        super()._check()
        self._whole("total_steps", 1)
        self._real("pct_start", 1)
        self._one_of("anneal_strategy", ("cos", "linear"))
        for name in ("div_factor", "final_div_factor"):
            self._real(name)
            if getattr(self, name) == 0:
                self._refuse(name, "more than 0", 0)
        self._each("max_lrs")
        for name in ("base_momentums", "max_momentums"):
            self._each(name, 1)
        if self.cycle_momentum and self._momentum_name() is None:
            raise ValueError(
                f"OneCycleLR: {type(self.optimizer).__name__} has neither momentum nor betas; "
                "pass cycle_momentum=False"
            )

    def _momentum_name(self) -> str | None:
        return next((n for n in ("betas", "momentum") if n in self.optimizer.defaults), None)

    def _go_to(self, t: int) -> None:
        if t > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {t} of {self.total_steps}: the cycle is over; make it with as "
                "many total_steps as there are batches in all epochs"
            )
        super()._go_to(t)
        if self.cycle_momentum:
            for i, group in enumerate(self._groups()):
                low, high = self.base_momentums[i], self.max_momentums[i]
                momentum = self._on_the_way(t, [high, low, high, high])
                if self._momentum_name() == "betas":
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum

    def _rate(self, i: int, t: int, lr: float) -> float:
        return self._curve(i, t)

    def _curve(self, i: int, t: int) -> float:
        start = self.max_lrs[i] / self.div_factor
        end = start / self.final_div_factor
        return self._on_the_way(t, [start, self.max_lrs[i], *[start] * self.three_phase, end])

    def _on_the_way(self, t: int, levels: Sequence[float]) -> float:
        """Return the value at step t, where phase k goes from level k to level k + 1."""
        last = self.total_steps - 1
        t = min(t, last)
        ends = [self.pct_start * self.total_steps - 1, last]
        if self.three_phase:
            ends.insert(1, 2 * ends[0])
        phase = next((k for k, end in enumerate(ends) if t <= end), len(ends) - 1)
        begun = ends[phase - 1] if phase else 0.0
        length = ends[phase] - begun
        done = (t - begun) / length if length > 0 else 1.0
        if self.anneal_strategy == "cos":
            done = (1 - math.cos(math.pi * done)) / 2
        return levels[phase] + (levels[phase + 1] - levels[phase]) * done


class ReduceLROnPlateau(LRScheduler):
    """The rate times factor, not below min_lr, once a metric is no better for patience steps.

    step(metric): a number or a tensor of one, which is waited for. mode "min" or "max" says what
    better is: by more than threshold, of the best so far ("rel") or as it is ("abs"). After a
    reduction, cooldown steps are not counted; one by eps or less is not made. nan is no better.
    min_lr is a number or a list, one for each group.
    """

    _place = (*LRScheduler._place, "best", "num_bad_epochs", "cooldown_counter")

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.eps = cooldown, eps
        self.min_lrs: Any = min_lr
        self.best = -math.inf if mode == "max" else math.inf
        self.num_bad_epochs = self.cooldown_counter = 0
        self._attach(optimizer)

    def _check(self) -> None:
        super()._check()
        self._one_of("mode", ("min", "max"))
        self._one_of("threshold_mode", ("rel", "abs"))
        self._real("factor", 1)
        if self.factor == 1:
            self._refuse("factor", "less than 1", 1)
        self._real("threshold")
        self._real("eps")
        self._each("min_lrs")
        for name in ("patience", "cooldown", "num_bad_epochs", "cooldown_counter"):
            self._whole(name)
        if not isinstance(self.best, Real):
            self._refuse("best", "a number", self.best)

    @property
    def in_cooldown(self) -> bool:
        """Whether the last reduction is so recent that bad steps are not counted."""
        return self.cooldown_counter > 0

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Take the metric of one more step."""
        groups, metric = self._groups(), float(metrics)
        if self._is_better(metric):
            self.best, self.num_bad_epochs = metric, 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
            for group, least in zip(groups, self.min_lrs, strict=True):
                rate = max(group["lr"] * self.factor, least)
                if group["lr"] - rate > self.eps:
                    group["lr"] = rate
        self.last_epoch += 1
        self._last_lr = [group["lr"] for group in groups]

    def _is_better(self, metric: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "abs":
            return sign * metric > sign * self.best + self.threshold
        return sign * metric > sign * self.best * (1 + sign * self.threshold)


class _Composite(LRScheduler):
    """What is made of other schedules of one optimizer."""

    _left_out = ("optimizer", "_schedulers")
    _schedulers: list[LRScheduler]

    def _take(self, schedulers: Iterable[LRScheduler], optimizer: Any) -> Optimizer:
        """Keep the schedules and return the one optimizer that they have."""
        self._schedulers = list(schedulers)
        if not self._schedulers:
            raise ValueError(f"{self._name}: expected at least one schedule, got none")
        for i, schedule in enumerate(self._schedulers):
            if not isinstance(schedule, LRScheduler):
                raise TypeError(
                    f"{self._name}: schedule {i} is a {type(schedule).__name__}, no LRScheduler"
                )
            if isinstance(schedule, ReduceLROnPlateau):
                raise ValueError(
                    f"{self._name}: schedule {i} is a ReduceLROnPlateau, whose step takes a "
                    "metric; step it by itself"
                )
            if schedule.optimizer is not (optimizer or self._schedulers[0].optimizer):
                raise ValueError(f"{self._name}: schedule {i} is one of another optimizer")
        return self._schedulers[0].optimizer

    def state_dict(self) -> dict[str, Any]:
        """Return the state, those of the schedules as a list under "_schedulers"."""
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def _loaded(self, state: Any) -> Self:
        states = state.get("_schedulers") if isinstance(state, Mapping) else None
        if not isinstance(states, list | tuple) or len(states) != len(self._schedulers):
            raise ValueError(
                f'{self._name}: expected a dict with "_schedulers", the states of '
                f"{len(self._schedulers)} schedules, got {outline(state)}"
            )
        twin = super()._loaded({k: v for k, v in state.items() if k != "_schedulers"})
        pairs = zip(self._schedulers, states, strict=True)
        twin._schedulers = [schedule._loaded(saved) for schedule, saved in pairs]
        return twin

    def _adopt(self, twin: Self) -> None:
        for schedule, theirs in zip(self._schedulers, twin._schedulers, strict=True):
            schedule._adopt(theirs)
        twin._schedulers = self._schedulers
        super()._adopt(twin)


class SequentialLR(_Composite):
    """One schedule after the other: the next begins, from its base rates, at each milestone.

    schedulers: all of `optimizer`, one more than milestones, which are steps in rising order.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Iterable[LRScheduler],
        milestones: Iterable[int],
    ) -> None:
        self.milestones: Any = milestones
        self._attach(self._take(schedulers, optimizer))
        self._restart()

    def _check(self) -> None:
        super()._check()
        self._steps("milestones")
        if self.milestones != sorted(self.milestones):
            self._refuse("milestones", "in rising order", self.milestones)
        if len(self.milestones) != len(self._schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(self._schedulers)} schedules need one milestone less, got "
                f"{len(self.milestones)}"
            )

    def _go_to(self, t: int) -> None:
        place = bisect_right(self.milestones, t)
        schedule = self._schedulers[place]
        if t == 0:
            schedule._go_to(0)
        elif place and self.milestones[place - 1] == t:
            schedule._restart()
        else:
            schedule.step()
        self.last_epoch, self._last_lr = t, schedule.get_last_lr()


class ChainedScheduler(_Composite):
    """Several schedules at once: each changes the rate that the one before it leaves."""

    def __init__(
        self, schedulers: Iterable[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        self._attach(self._take(schedulers, optimizer))

    def _go_to(self, t: int) -> None:
        for schedule in self._schedulers:
            if t:
                schedule.step()
            else:
                schedule._go_to(0)
        self.last_epoch, self._last_lr = t, self._schedulers[-1].get_last_lr()
