import math
from types import SimpleNamespace

import numpy as np
import pytest

import minigrad as mg
from minigrad.optim import SGD, Adagrad, Adam, RMSprop, lr_scheduler
from minigrad.serialization import load, save

STEPS = 100


def chained(*parts):
    return lambda s, o: s.ChainedScheduler([part(s, o) for part in parts])


def one_after_the_other(*parts, at):
    return lambda s, o: s.SequentialLR(o, [part(s, o) for part in parts], milestones=at)


def of(name, *args, **options):
    """How to make a schedule, given minigrad's module or PyTorch's and an optimizer."""
    return lambda s, o: getattr(s, name)(o, *args, **options)


CYCLE = {"max_lr": 0.3, "total_steps": STEPS + 1}
SCHEDULES = {
    "lambda": of("LambdaLR", lambda t: 0.95**t),
    "lambda per group": of("LambdaLR", [lambda t: 1 / (1 + t), lambda t: 1 + t / 7]),
    "step": of("StepLR", 30),
    "step of 7": of("StepLR", step_size=7, gamma=0.8),
    "milestones": of("MultiStepLR", [60, 10, 10, 0], gamma=0.5),
    "exponential": of("ExponentialLR", gamma=0.97),
    "growing": of("ExponentialLR", gamma=1.02),
    "cosine": of("CosineAnnealingLR", T_max=STEPS),
    "cosine up again": of("CosineAnnealingLR", T_max=16, eta_min=0.01),
    "linear": of("LinearLR"),
    "linear down": of("LinearLR", start_factor=1.0, end_factor=0.2, total_iters=40),
    "warm-up": of("LinearWarmup", 10, 0.1),
    "long warm-up": of("LinearWarmup", warmup_steps=300, start_factor=1e-3),
    "one cycle": of("OneCycleLR", **CYCLE),
    "one cycle linear": of("OneCycleLR", **CYCLE, anneal_strategy="linear", pct_start=0.4),
    "one cycle of three": of("OneCycleLR", **CYCLE, three_phase=True),
    "one cycle of three, linear": of(
        "OneCycleLR", **CYCLE, three_phase=True, anneal_strategy="linear"
    ),
    "one cycle from the top": of("OneCycleLR", **CYCLE, pct_start=0.0),
    "one cycle up only": of("OneCycleLR", **CYCLE, pct_start=1.0),
    "one cycle by epochs": of(
        "OneCycleLR",
        max_lr=[0.3, 0.7],
        epochs=11,
        steps_per_epoch=10,
        base_momentum=[0.8, 0.6],
        max_momentum=[0.9, 0.85],
        div_factor=10.0,
        final_div_factor=100.0,
    ),
    "one cycle, momentum as it is": of("OneCycleLR", **CYCLE, cycle_momentum=False),
    "exponential and step": chained(of("ExponentialLR", 0.99), of("StepLR", 9, 0.7)),
    "linear and cosine": chained(
        of("LinearLR", start_factor=0.1, total_iters=20), of("CosineAnnealingLR", 100, eta_min=1e-3)
    ),
    "cosine up again and exponential": chained(
        of("CosineAnnealingLR", 20), of("ExponentialLR", 0.98)
    ),
    "cosine above 0 and exponential": chained(
        of("CosineAnnealingLR", 20, eta_min=0.01), of("ExponentialLR", 0.999)
    ),
    "three at once": chained(
        of("MultiStepLR", [20, 50]), of("LinearWarmup", 12, 0.25), of("ExponentialLR", 0.99)
    ),
    "warm-up, then cosine": one_after_the_other(
        of("LinearWarmup", 10, 0.1), of("CosineAnnealingLR", 90), at=[10]
    ),
    "warm-up, step, exponential": one_after_the_other(
        of("LinearWarmup", 15, 0.2), of("StepLR", 8, 0.6), of("ExponentialLR", 0.95), at=[10, 45]
    ),
    "nothing, then exponential": one_after_the_other(
        of("StepLR", 8, 0.6), of("ExponentialLR", 0.95), at=[0]
    ),
    "warm-up, then one cycle": one_after_the_other(
        of("LinearWarmup", 5, 0.2), of("OneCycleLR", 0.3, total_steps=96), at=[5]
    ),
    "sequence in a chain": chained(
        one_after_the_other(of("LinearLR"), of("StepLR", 8, 0.6), at=[10]),
        of("ExponentialLR", 0.99),
    ),
}
schedules = pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
# What PyTorch has no name or no means for.
OURS = SCHEDULES | {
    "warm-up from 0": of("LinearWarmup", 10),
    "no warm-up": of("LinearWarmup", 0),
    "warm-up from 0 and exponential": chained(of("LinearWarmup", 10), of("ExponentialLR", 0.9)),
    "chain in a sequence": one_after_the_other(
        of("LinearLR"), chained(of("LinearWarmup", 9), of("ExponentialLR", 0.9)), at=[20]
    ),
    "sequence in a sequence": one_after_the_other(
        of("LinearLR"),
        one_after_the_other(of("LinearLR"), of("ExponentialLR", 0.9), at=[10]),
        at=[20],
    ),
}


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch", reason="compares with PyTorch (the extra compare)")
    theirs = torch.optim.lr_scheduler

    def linear_warmup(optimizer, warmup_steps, start_factor):
        return theirs.LinearLR(optimizer, start_factor, 1.0, warmup_steps)

    schedules = SimpleNamespace(**vars(theirs), LinearWarmup=linear_warmup)
    return SimpleNamespace(tensor=torch.tensor, optim=torch.optim, schedules=schedules)


def optimizer_of(kind=SGD, **options):
    params = [mg.ones(2, requires_grad=True), mg.ones(3, requires_grad=True)]
    return kind([{"params": params[0]}, {"params": params[1], "lr": 0.4}], lr=0.1, **options)


def theirs_of(torch, kind=SGD, **options):
    params = [torch.tensor([1.0] * n, requires_grad=True) for n in (2, 3)]
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.4}]
    return getattr(torch.optim, kind.__name__)(groups, lr=0.1, **options)


def settings_of(optimizer):
    """Return what schedules change."""
    return [
        [group["lr"], group.get("momentum", 0), *group.get("betas", ())]
        for group in optimizer.param_groups
    ]


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


@pytest.mark.parametrize("kind", [SGD, Adam, RMSprop])
@schedules
def test_agrees_with_torch(make, kind, torch):
    ours, theirs = optimizer_of(kind), theirs_of(torch, kind)
    schedule, other = make(lr_scheduler, ours), make(torch.schedules, theirs)
    for t in range(STEPS + 1):
        np.testing.assert_allclose(
            settings_of(ours), settings_of(theirs), rtol=1e-10, atol=1e-10, err_msg=f"step {t}"
        )
        assert schedule.get_last_lr() == rates(ours)
        if t < STEPS:
            ours.step()
            theirs.step()
            schedule.step()
            other.step()
    assert schedule.last_epoch == STEPS


def test_unchained_schedules_of_one_optimizer_compose_as_torch_s(torch):
    ours, theirs = optimizer_of(), theirs_of(torch)
    made = [
        [s.LinearLR(o, 0.5, total_iters=30), s.CosineAnnealingLR(o, 200), s.StepLR(o, 10, 0.9)]
        for s, o in ((lr_scheduler, ours), (torch.schedules, theirs))
    ]
    for _ in range(STEPS):
        theirs.step()
        for schedule in (*made[0], *made[1]):
            schedule.step()
        np.testing.assert_allclose(rates(ours), rates(theirs), rtol=1e-10)
    assert made[0][2].base_lrs == [0.1, 0.4]


FORMULAS = {
    "warm-up from 0": lambda base, t: base * min(t / 10, 1),
    "no warm-up": lambda base, t: base,
    "warm-up from 0 and exponential": lambda base, t: base * min(t / 10, 1) * 0.9**t,
    "chain in a sequence": lambda base, t: (
        base * (1 / 3 + 2 / 3 * min(t / 5, 1))
        if t < 20
        else base * min((t - 20) / 9, 1) * 0.9 ** (t - 20)
    ),
    "sequence in a sequence": lambda base, t: (
        base * (1 / 3 + 2 / 3 * min((t if t < 20 else t - 20) / 5, 1))
        if t < 30
        else base * 0.9 ** (t - 30)
    ),
    "step": lambda base, t: base * 0.1 ** (t // 30),
    "cosine up again": lambda base, t: 0.01 + (base - 0.01) * (1 + math.cos(math.pi * t / 16)) / 2,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_closed_forms(name):
    optimizer = optimizer_of()
    schedule = OURS[name](lr_scheduler, optimizer)
    for t in range(STEPS):
        wanted = [FORMULAS[name](base, t) for base in (0.1, 0.4)]
        np.testing.assert_allclose(rates(optimizer), wanted, rtol=1e-12, atol=1e-17)
        schedule.step()


@pytest.mark.parametrize("name", ["warm-up from 0", "warm-up", "cosine", "cosine up again"])
def test_nothing_drifts(name):
    optimizer = optimizer_of()
    schedule = OURS[name](lr_scheduler, optimizer)
    for _ in range(3200):
        schedule.step()
    assert rates(optimizer) == [0.1, 0.4]


@pytest.mark.parametrize("make", OURS.values(), ids=OURS)
def test_resuming_is_exact(make, tmp_path, backend):
    with mg.use_backend(backend):
        optimizer = optimizer_of()
        schedule = make(lr_scheduler, optimizer)
        for _ in range(37):
            schedule.step()
        optimizer.param_groups[1]["lr"] *= 0.7
        saved = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
        save(saved, tmp_path / "checkpoint")
        resumed = optimizer_of()
        other = make(lr_scheduler, resumed)
        checkpoint = load(tmp_path / "checkpoint")
        resumed.load_state_dict(checkpoint["optimizer"])
        other.load_state_dict(checkpoint["schedule"])
        assert other.last_epoch == 37
        assert other.get_last_lr() == schedule.get_last_lr()
        for _ in range(37, STEPS):
            assert settings_of(resumed) == settings_of(optimizer)
            schedule.step()
            other.step()
        assert settings_of(resumed) == settings_of(optimizer)
        assert other.state_dict() == schedule.state_dict()


def test_rates_are_written_in_place_on_the_parameters_backend(backend):
    with mg.use_backend(backend):
        optimizer = optimizer_of()
        held = [group.tensors["lr"] for group in optimizer.param_groups]
        schedule = lr_scheduler.ExponentialLR(optimizer, 0.5)
        schedule.step()
    assert [group.tensors["lr"] is x for group, x in zip(optimizer.param_groups, held, strict=True)]
    assert [x.item() for x in held] == [0.05, 0.2]
    assert {x.backend.name for x in held} == {backend}


def test_options_come_with_the_state():
    schedule = lr_scheduler.StepLR(optimizer_of(), 10, gamma=0.5)
    other = lr_scheduler.StepLR(optimizer_of(), 3)
    other.load_state_dict(schedule.state_dict())
    assert (other.step_size, other.gamma) == (10, 0.5)
    schedule.state_dict()["base_lrs"].append(1.0)
    assert schedule.base_lrs == [0.1, 0.4]


@pytest.mark.parametrize(
    ("first", "then", "missing"),
    [
        (of("StepLR", 10), of("StepLR", 10, gamma=0.5), ["gamma"]),
        (of("OneCycleLR", 0.3, 99), of("OneCycleLR", 0.3, 99, three_phase=True), ["three_phase"]),
        (of("ReduceLROnPlateau"), of("ReduceLROnPlateau", "max", 0.3), ["mode", "factor"]),
    ],
)
def test_options_that_a_state_lacks_stay_as_they_are_here(first, then, missing):
    schedule, other = first(lr_scheduler, optimizer_of()), then(lr_scheduler, optimizer_of())
    for t in range(3):
        schedule.step(*[t] * isinstance(schedule, lr_scheduler.ReduceLROnPlateau))
    state, given = schedule.state_dict(), other.state_dict()
    other.load_state_dict({name: state[name] for name in state if name not in missing})
    assert other.state_dict() == state | {name: given[name] for name in missing}


def test_the_optimizer_s_state_knows_no_schedule():
    optimizer, plain = optimizer_of(), optimizer_of()
    lr_scheduler.OneCycleLR(optimizer, 0.3, 10, cycle_momentum=False)
    assert optimizer.state_dict()["param_groups"][0].keys() == plain.param_groups[0].keys()
    plain.load_state_dict(optimizer.state_dict())
    optimizer.load_state_dict(plain.state_dict())


def test_a_rate_changed_by_hand_is_scaled_from_then_on():
    optimizer = optimizer_of()
    schedule = lr_scheduler.CosineAnnealingLR(optimizer, 100)
    for _ in range(10):
        schedule.step()
    optimizer.param_groups[0]["lr"] /= 4
    for _ in range(40):
        schedule.step()
    np.testing.assert_allclose(rates(optimizer), [0.1 / 2 / 4, 0.4 / 2], rtol=1e-12)


def test_one_cycle_ends_after_its_steps():
    optimizer = optimizer_of()
    schedule = lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=4, anneal_strategy="linear")
    for _ in range(3):
        schedule.step()
    last = settings_of(optimizer)
    np.testing.assert_allclose(rates(optimizer), [0.5 / 25 / 1e4] * 2)
    schedule.step()
    assert settings_of(optimizer) == last
    with pytest.raises(ValueError, match=r"^OneCycleLR: step 5 of 4: the cycle is over; make it"):
        schedule.step()
    assert schedule.last_epoch == 4
    assert settings_of(optimizer) == last


@pytest.mark.parametrize("kind", [SGD, RMSprop])
def test_one_cycle_switches_on_a_momentum_of_0(kind):
    for cycled, wanted in ((True, 0.95), (False, 0)):
        optimizer = optimizer_of(kind)
        lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=4, cycle_momentum=cycled)
        assert [group["momentum"] for group in optimizer.param_groups] == [wanted] * 2


def test_one_cycle_without_momentum():
    optimizer = optimizer_of(Adagrad)
    lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=4, cycle_momentum=False)
    assert rates(optimizer) == [0.02, 0.02]


@pytest.mark.parametrize(("start_factor", "moves"), [(0.0, False), (1 / 10, True)])
def test_the_first_step_of_a_warm_up(start_factor, moves):
    optimizer = optimizer_of()
    lr_scheduler.LinearWarmup(optimizer, 10, start_factor)
    (p,) = optimizer.param_groups[0]["params"]
    p.grad = mg.ones(2)
    optimizer.step()
    assert (p.tolist() != [1.0, 1.0]) == moves


@pytest.mark.parametrize("total_steps", [1, 2, 3])
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("pct_start", [0, 0.3, 0.5, 1])
def test_the_shortest_cycles(total_steps, three_phase, pct_start):
    optimizer = optimizer_of()
    schedule = lr_scheduler.OneCycleLR(
        optimizer, 0.5, total_steps, pct_start=pct_start, three_phase=three_phase
    )
    for _ in range(total_steps):
        assert all(0 < rate <= 0.5 for rate in rates(optimizer))
        schedule.step()


PLATEAUS = [
    {},
    {"mode": "max"},
    {"factor": 0.5, "patience": 2, "threshold": 0.05},
    {"factor": 0.5, "patience": 2, "threshold": 0.05, "threshold_mode": "abs"},
    {"mode": "max", "patience": 3, "threshold": 0.02, "threshold_mode": "abs", "cooldown": 4},
    {"mode": "max", "patience": 0, "factor": 0.9, "cooldown": 2},
    {"patience": 1, "min_lr": 0.01, "cooldown": 1},
    {"patience": 1, "min_lr": [0.05, 0.001]},
    {"patience": 0, "factor": 0.7, "eps": 1e-3},
]
plateaus = pytest.mark.parametrize("options", PLATEAUS, ids=lambda o: "-".join(o) or "defaults")


def metric(t):
    """A loss that falls in steps, with noise, and twice is not finite."""
    return {20: math.nan, 21: math.inf}.get(t, 1 / (1 + t // 12) + 0.1 * math.sin(5 * t))


@plateaus
def test_plateaus_agree_with_torch(options, torch):
    ours, theirs = optimizer_of(), theirs_of(torch)
    schedule = lr_scheduler.ReduceLROnPlateau(ours, **options)
    other = torch.schedules.ReduceLROnPlateau(theirs, **options)
    for t in range(STEPS):
        schedule.step(mg.tensor(metric(t), dtype=np.float64) if t % 2 else metric(t))
        other.step(metric(t))
        np.testing.assert_allclose(rates(ours), rates(theirs), rtol=1e-10, err_msg=f"step {t}")
        assert schedule.get_last_lr() == rates(ours)
        for name in ("last_epoch", "num_bad_epochs", "cooldown_counter", "best", "in_cooldown"):
            assert getattr(schedule, name) == getattr(other, name)


@plateaus
def test_resuming_on_a_plateau_is_exact(options, tmp_path):
    optimizer = optimizer_of()
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    for until in (0, 37):  # at first the best is infinite
        for t in range(schedule.last_epoch, until):
            schedule.step(metric(t))
        save([optimizer.state_dict(), schedule.state_dict()], tmp_path / "checkpoint")
        resumed = optimizer_of()
        other = lr_scheduler.ReduceLROnPlateau(resumed)
        for part, state in zip((resumed, other), load(tmp_path / "checkpoint"), strict=True):
            part.load_state_dict(state)
    for t in range(37, STEPS):
        schedule.step(metric(t))
        other.step(metric(t))
        assert rates(resumed) == rates(optimizer)
    assert other.state_dict() == schedule.state_dict()


def test_warm_up_and_a_plateau_compose():
    optimizer = optimizer_of()
    warm = lr_scheduler.LinearWarmup(optimizer, 10)
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    for _ in range(20):
        warm.step()
        plateau.step(1.0)
    assert plateau.base_lrs == [0.1, 0.4]
    np.testing.assert_allclose(rates(optimizer), [0.1 / 2**9, 0.4 / 2**9])


def grown():
    optimizer = optimizer_of()
    schedule = lr_scheduler.StepLR(optimizer, 3)
    optimizer.add_param_group({"params": mg.ones(2, requires_grad=True)})
    schedule.step()


def make(name, *args, kind=SGD, **options):
    return lambda: getattr(lr_scheduler, name)(optimizer_of(kind), *args, **options)


def composed(name, *parts, **options):
    def compose():
        optimizer = optimizer_of()
        made = [part(lr_scheduler, optimizer) if callable(part) else part for part in parts]
        given = (optimizer, made) if name == "SequentialLR" else (made,)
        return getattr(lr_scheduler, name)(*given, **options)

    return compose


STEP = of("StepLR", 3)
MISUSES = {
    "no optimizer": (
        lambda: lr_scheduler.StepLR([0.1], 3),
        TypeError,
        "StepLR: expected an optimizer, got a list",
    ),
    "no curve": (
        make("LRScheduler"),
        NotImplementedError,
        "LRScheduler has no _curve method: define one",
    ),
    "group added": (
        grown,
        ValueError,
        "StepLR: made for 2 groups, but the optimizer has 3; make a new schedule after",
    ),
    **{
        f"{name} {args or options}": (
            make(name, *args, **options),
            ValueError,
            f"{name}: {message}",
        )
        for name, args, options, message in [
            ("StepLR", (0,), {}, "step_size must be an integer >= 1, got 0"),
            ("StepLR", (2.5,), {}, "step_size must be an integer >= 1, got 2.5"),
            ("StepLR", ("3",), {}, "step_size must be an integer >= 1, got 3"),
            ("StepLR", (3, -1), {}, "gamma must be a number >= 0 and < inf, got -1"),
            ("ExponentialLR", (math.nan,), {}, "gamma must be .* got nan"),
            ("ExponentialLR", (math.inf,), {}, "gamma must be .* got inf"),
            ("ExponentialLR", ("0.9",), {}, "gamma must be .* got 0.9"),
            ("MultiStepLR", ([3, -1],), {}, r"milestones must be a list of .* \[3, -1\]"),
            ("MultiStepLR", (3,), {}, "milestones must be a list of integers >= 0, got 3"),
            ("MultiStepLR", (["3", 1],), {}, "milestones must be a list of"),
            ("CosineAnnealingLR", (0,), {}, "T_max must be an integer >= 1, got 0"),
            ("CosineAnnealingLR", (9, -0.1), {}, "eta_min must be a number >= 0"),
            ("LinearLR", (1.5,), {}, "start_factor must be a number >= 0 and <= 1, got 1.5"),
            ("LinearLR", (), {"end_factor": -1}, "end_factor must be a number >= 0 and <= 1"),
            ("LinearLR", (), {"total_iters": 0}, "total_iters must be an integer >= 1, got 0"),
            ("LinearWarmup", (-1,), {}, "warmup_steps must be an integer >= 0, got -1"),
            ("LinearWarmup", (5, 2), {}, "start_factor must be a number >= 0 and <= 1, got 2"),
            ("LambdaLR", (0.5,), {}, "lr_lambda must be a function, or 2, one for each group"),
            ("LambdaLR", ([abs],), {}, "lr_lambda must be a function, or 2, one for each group"),
            ("OneCycleLR", (0.1,), {}, "needs total_steps, or epochs and steps_per_epoch"),
            ("OneCycleLR", (0.1,), {"epochs": 3}, "needs total_steps, or epochs and steps"),
            ("OneCycleLR", (0.1, 0), {}, "total_steps must be an integer >= 1, got 0"),
            ("OneCycleLR", ([0.1], 9), {}, r"max_lrs must be a number >= 0, or 2, .* got \[0.1\]"),
            ("OneCycleLR", (0.1, 9), {"pct_start": 2}, "pct_start must be a number >= 0 and <= 1"),
            ("OneCycleLR", (0.1, 9), {"div_factor": 0}, "div_factor must be more than 0, got 0"),
            ("OneCycleLR", (0.1, 9), {"base_momentum": 2}, "base_momentums must be .* <= 1, or 2"),
            (
                "OneCycleLR",
                (0.1, 9),
                {"anneal_strategy": "cosine"},
                "anneal_strategy must be one of cos, linear, got 'cosine'; did you mean 'cos'?",
            ),
            (
                "OneCycleLR",
                (0.1, 9),
                {"kind": Adagrad},
                "Adagrad has neither momentum nor betas; pass cycle_momentum=False",
            ),
            ("ReduceLROnPlateau", (), {"factor": 1.0}, "factor must be less than 1, got 1"),
            ("ReduceLROnPlateau", (), {"factor": 1.5}, "factor must be a number >= 0 and <= 1"),
            ("ReduceLROnPlateau", ("mim",), {}, "mode must be one of min, max, got 'mim'; did"),
            ("ReduceLROnPlateau", (), {"threshold_mode": 3}, "threshold_mode must be one of rel"),
            ("ReduceLROnPlateau", (), {"patience": -1}, "patience must be an integer >= 0"),
            ("ReduceLROnPlateau", (), {"min_lr": [1.0]}, "min_lrs must be a number >= 0, or 2"),
        ]
    },
    "empty chain": (
        composed("ChainedScheduler"),
        ValueError,
        "ChainedScheduler: expected at least one schedule, got none",
    ),
    "no schedule": (
        composed("ChainedScheduler", STEP, 0.5),
        TypeError,
        "ChainedScheduler: schedule 1 is a float, no LRScheduler",
    ),
    "plateau in a chain": (
        composed("ChainedScheduler", STEP, of("ReduceLROnPlateau")),
        ValueError,
        "ChainedScheduler: schedule 1 is a ReduceLROnPlateau, whose step takes a metric; step it",
    ),
    "two optimizers": (
        composed("ChainedScheduler", STEP, lambda s, o: s.StepLR(optimizer_of(), 3)),
        ValueError,
        "ChainedScheduler: schedule 1 is one of another optimizer",
    ),
    "another optimizer": (
        lambda: lr_scheduler.SequentialLR(optimizer_of(), [STEP(lr_scheduler, optimizer_of())], []),
        ValueError,
        "SequentialLR: schedule 0 is one of another optimizer",
    ),
    "too many milestones": (
        composed("SequentialLR", STEP, STEP, milestones=[3, 5]),
        ValueError,
        "SequentialLR: 2 schedules need one milestone less, got 2",
    ),
    "falling milestones": (
        composed("SequentialLR", STEP, STEP, STEP, milestones=[5, 3]),
        ValueError,
        r"SequentialLR: milestones must be in rising order, got \[5, 3\]",
    ),
}


@pytest.mark.parametrize(("misuse", "error", "message"), MISUSES.values(), ids=MISUSES)
def test_misuse(misuse, error, message):
    with pytest.raises(error, match=f"^{message}"):
        misuse()


def test_a_refused_schedule_leaves_the_optimizer_alone():
    optimizer = optimizer_of()
    with pytest.raises(ValueError, match="step_size"):
        lr_scheduler.StepLR(optimizer, 0)
    optimizer.param_groups[0]["lr"] = 0.7
    assert lr_scheduler.StepLR(optimizer, 3).base_lrs == [0.7, 0.4]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        *[
            (
                "step",
                lambda s, name=name: s.pop(name),
                "StepLR: expected a dict of last_epoch, base_lrs, _last_lr and of options among "
                r"step_size, gamma, got a dict of \[",
            )
            for name in ("last_epoch", "base_lrs", "_last_lr")
        ],
        *[
            (
                "plateau",
                lambda s, name=name: s.pop(name),
                "ReduceLROnPlateau: expected a dict of .*, best, num_bad_epochs, cooldown_counter "
                "and of options among mode, factor, ",
            )
            for name in ("best", "num_bad_epochs", "cooldown_counter")
        ],
        (
            "lambda",
            lambda s: s.update(gamma=0.5),
            r"LambdaLR: expected a dict of last_epoch, base_lrs, _last_lr, got a dict of .*gamma",
        ),
        ("step", lambda s: s.update(more=1), "StepLR: expected a dict of .*, got a dict of .*more"),
        ("step", lambda s: s.update(step_size=0), "StepLR: step_size must be .*0, in the state"),
        ("step", lambda s: s.update(last_epoch=-1), "StepLR: last_epoch must be an integer >= 0"),
        ("step", lambda s: s.update(last_epoch=None), "StepLR: last_epoch must be .* got None"),
        ("step", lambda s: s.update(base_lrs=[0.1]), "StepLR: base_lrs must be .* 2, one for each"),
        ("step", lambda s: s.update(_last_lr=["a", "b"]), "StepLR: _last_lr must be a number"),
        ("cosine", lambda s: s.update(T_max="9"), "CosineAnnealingLR: T_max must be an integer"),
        ("one cycle", lambda s: s.update(max_lrs=[1]), "OneCycleLR: max_lrs must be a number"),
        (
            "exponential and step",
            lambda s: s["_schedulers"][1].update(gamma=-1),
            "StepLR: gamma must be a number",
        ),
        (
            "exponential and step",
            lambda s: s["_schedulers"].pop(),
            'ChainedScheduler: expected a dict with "_schedulers", the states of 2 schedules, got',
        ),
        (
            "warm-up, then cosine",
            lambda s: s.update(milestones=[3, 5]),
            "SequentialLR: 2 schedules need one milestone less, got 2, in the state",
        ),
        (
            "warm-up, then cosine",
            lambda s: s.clear(),
            r'SequentialLR: expected a dict with "_schedulers", .* got a dict of \[\]',
        ),
    ],
)
def test_states_that_do_not_fit(name, change, message):
    make = {**SCHEDULES, "plateau": of("ReduceLROnPlateau")}[name]
    schedule, other = (make(lr_scheduler, optimizer_of()) for _ in range(2))
    for _ in range(5):
        other.step(*[1.0] * (name == "plateau"))
    state, before = other.state_dict(), schedule.state_dict()
    change(state)
    with pytest.raises(ValueError, match=f"^{message}"):
        schedule.load_state_dict(state)
    assert schedule.state_dict() == before


def test_a_state_that_is_no_dict():
    for name in ("step", "exponential and step"):
        schedule = SCHEDULES[name](lr_scheduler, optimizer_of())
        with pytest.raises(ValueError, match=r"expected a dict .*, got a list"):
            schedule.load_state_dict([])
