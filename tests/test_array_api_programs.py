"""Programs that know nothing but `x.__array_namespace__()`: the same on NumPy arrays and tensors,
and differentiable on tensors.
"""

import numpy as np
import pytest
from against_numpy import assert_same, on

import minigrad as mg


def k_means(points, centres):
    """Lloyd's algorithm: the centres, the labels and the mean squared distance after 5 rounds."""
    xp = points.__array_namespace__()
    clusters = xp.arange(centres.shape[0], device=points.device)
    for _ in range(5):
        distances = xp.sum((points[:, None, :] - centres) ** 2, axis=-1)
        labels = xp.argmin(distances, axis=-1)
        member = xp.astype(labels[:, None] == clusters, points.dtype)
        counts = xp.sum(member, axis=0)[:, None]
        means = (member.mT @ points) / xp.maximum(counts, 1.0)
        centres = xp.where(counts > 0, means, centres)
    return centres, labels, xp.mean(xp.min(distances, axis=-1))


def kalman_filter(measured, transition, noise, seen):
    """Filter a series of single measurements: the last state and the log-likelihood."""
    xp = measured.__array_namespace__()
    size = transition.shape[0]
    state = xp.zeros(size, dtype=measured.dtype, device=measured.device)
    spread = xp.eye(size, dtype=measured.dtype, device=measured.device)
    likelihood = 0.0
    for value in xp.unstack(measured):
        state = transition @ state
        spread = transition @ spread @ transition.mT + noise[0] ** 2 * xp.eye(
            size, dtype=measured.dtype, device=measured.device
        )
        across = spread @ seen
        variance = xp.vecdot(seen, across) + noise[1] ** 2
        surprise = value - xp.vecdot(seen, state)
        state = state + across * surprise / variance
        spread = spread - across[:, None] * across[None, :] / variance
        likelihood = likelihood - 0.5 * (xp.log(variance) + surprise**2 / variance)
    return state, likelihood


def runge_kutta(state, rates):
    """Integrate predators and prey over 10 steps of the classical fourth-order method."""
    xp = state.__array_namespace__()

    def slope(state):
        prey, predators = xp.unstack(state, axis=-1)
        born, eaten, fed, died = xp.unstack(rates)
        return xp.stack(
            [prey * (born - eaten * predators), predators * (fed * prey - died)], axis=-1
        )

    step = 0.1
    for _ in range(10):
        a = slope(state)
        b = slope(state + step / 2 * a)
        c = slope(state + step / 2 * b)
        d = slope(state + step * c)
        state = state + step / 6 * (a + 2 * b + 2 * c + d)
    return state


def principal_components(points):
    """The two directions of greatest variance by power iteration, and the variances."""
    xp = points.__array_namespace__()
    centred = points - xp.mean(points, axis=0, keepdims=True)
    covariance = centred.mT @ centred / (points.shape[0] - 1)
    directions, variances = [], []
    for _ in range(2):
        direction = covariance[:, 0]
        for _ in range(20):
            direction = covariance @ direction
            direction = direction / xp.sqrt(xp.sum(direction**2))
        variance = xp.vecdot(direction, covariance @ direction)
        covariance = covariance - variance * direction[:, None] * direction
        directions.append(direction)
        variances.append(variance)
    return xp.stack(directions), xp.stack(variances)


def ridge_regression(points, targets, penalty):
    """Fit by 20 steps of gradient descent: the weights and the residual."""
    xp = points.__array_namespace__()
    count = points.shape[0]
    weights = xp.zeros(points.shape[1], dtype=points.dtype, device=points.device)
    for _ in range(20):
        residual = points @ weights - targets
        weights = weights - 0.1 * (points.mT @ residual / count + penalty * weights)
    return weights, xp.sqrt(xp.mean(residual**2))


def logistic_regression(points, targets):
    """Fit by 20 steps of gradient descent: the weights, the loss, the accuracy."""
    xp = points.__array_namespace__()
    ones = xp.ones((points.shape[0], 1), dtype=points.dtype, device=points.device)
    points = xp.concat([ones, points], axis=1)
    weights = xp.zeros(points.shape[1], dtype=points.dtype, device=points.device)
    for _ in range(20):
        logits = points @ weights
        probabilities = 1 / (1 + xp.exp(-logits))
        weights = weights - points.mT @ (probabilities - targets) / points.shape[0]
    losses = xp.logaddexp(xp.zeros_like(logits), logits) - targets * logits
    right = xp.astype((logits > 0) == (targets > 0.5), points.dtype)
    return weights, xp.mean(losses), xp.mean(right)


def convolution(image, kernel):
    """Convolve a picture on a torus: a sum of shifted pictures."""
    xp = image.__array_namespace__()
    result = xp.zeros_like(image)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            result = result + kernel[i, j] * xp.roll(image, (i - 1, j - 1), axis=(0, 1))
    return result


def interpolation(knots, values, x):
    """Interpolate linearly between sorted knots, constant outside."""
    xp = knots.__array_namespace__()
    inside = xp.clip(x, xp.min(knots), xp.max(knots))
    right = xp.clip(xp.searchsorted(knots, inside), 1, knots.shape[0] - 1)
    low, high = xp.take(knots, right - 1), xp.take(knots, right)
    share = (inside - low) / (high - low)
    return (1 - share) * xp.take(values, right - 1) + share * xp.take(values, right)


def attention(queries, keys, values):
    """Mix the values by the softmax of scaled products, the future masked."""
    xp = queries.__array_namespace__()
    scores = queries @ keys.mT / queries.shape[-1] ** 0.5
    future = xp.triu(xp.ones(scores.shape[-2:], dtype=xp.bool, device=scores.device), k=1)
    scores = xp.where(future, -xp.inf, scores)
    weights = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
    return weights / xp.sum(weights, axis=-1, keepdims=True) @ values


def optimal_transport(costs):
    """Sinkhorn's iteration for uniform marginals: the plan and its cost."""
    xp = costs.__array_namespace__()
    kernel = xp.exp(-costs)
    scale = xp.ones(costs.shape[1], dtype=costs.dtype, device=costs.device)
    for _ in range(10):
        rows = 1 / (costs.shape[0] * (kernel @ scale))
        scale = 1 / (costs.shape[1] * (rows @ kernel))
    plan = rows[:, None] * kernel * scale
    return plan, xp.sum(plan * costs)


def trimmed_statistics(sample):
    """Sort, cut both ends off, accumulate: the trimmed mean and variance, and the Lorenz curve."""
    xp = sample.__array_namespace__()
    cut = xp.sort(sample, axis=-1)[..., 1:-1]
    shares = cut / xp.sum(cut, axis=-1, keepdims=True)
    lorenz = xp.cumulative_sum(shares, axis=-1, include_initial=True)
    return xp.mean(cut, axis=-1), xp.var(cut, axis=-1, correction=1), lorenz


def rng(*shape, seed=0, low=-1.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape)


POINTS = rng(12, 3) * np.array([3.0, 1.0, 0.3]) + np.repeat(np.eye(3) * 4, 4, axis=0)
TARGETS = (rng(12, seed=3) > 0).astype(float)

#: program -> its inputs; each is differentiated where it is no label or index
PROGRAMS = {
    k_means: [POINTS, POINTS[[0, 5, 10]] + 0.1],
    kalman_filter: [
        np.sin(np.arange(8.0)),
        np.array([[1.0, 0.5], [-0.1, 0.9]]),
        np.array([0.3, 0.5]),
        np.array([1.0, 0.2]),
    ],
    runge_kutta: [rng(3, 2, low=0.5, high=2), np.array([1.1, 0.4, 0.3, 0.6])],
    principal_components: [POINTS],
    ridge_regression: [POINTS / 4, rng(12, seed=1), np.asarray(0.2)],
    logistic_regression: [POINTS / 4, TARGETS],
    convolution: [rng(5, 4), rng(3, 3, seed=1)],
    interpolation: [
        np.array([0.0, 1.0, 2.5, 3.0]),
        np.array([1.0, -1.0, 2.0, 0.5]),
        np.array([-1.0, 0.3, 1.7, 2.6, 2.9, 5.0]),
    ],
    attention: [rng(2, 4, 3), rng(2, 4, 3, seed=1), rng(2, 4, 2, seed=2)],
    optimal_transport: [rng(3, 4, low=0, high=2)],
    trimmed_statistics: [rng(2, 7, low=0.5, high=2)],
}


# The same with the extensions, which have no derivatives yet


def information_filter(spread, seen, noise):
    """Update several measurements at once: the gain and the new spread."""
    xp = spread.__array_namespace__()
    variance = seen @ spread @ seen.mT + noise
    gain = xp.linalg.solve(variance, seen @ spread).mT
    return gain, spread - gain @ seen @ spread


def least_squares(points, targets):
    """The weights by the singular values and by the normal equations, and how well they agree."""
    xp = points.__array_namespace__()
    u, s, vh = xp.linalg.svd(points, full_matrices=False)
    by_values = vh.mT @ ((u.mT @ targets) / s)
    factor = xp.linalg.cholesky(points.mT @ points)
    half = xp.linalg.solve(factor, points.mT @ targets)
    by_factor = xp.linalg.solve(factor.mT, half)
    return by_values, by_factor, xp.linalg.vector_norm(by_values - by_factor) < 1e-10


def smoothed(signal):
    """Keep the low frequencies of a signal."""
    xp = signal.__array_namespace__()
    spectrum = xp.fft.rfft(signal)
    frequencies = xp.fft.rfftfreq(signal.shape[-1], device=signal.device)
    kept = xp.where(frequencies < 0.2, spectrum, 0.0)
    return xp.fft.irfft(kept, n=signal.shape[-1]), xp.abs(spectrum) ** 2


EXTENDED = {
    information_filter: [np.eye(3) + 0.1, rng(2, 3), np.eye(2) * 0.3],
    least_squares: [POINTS, rng(12, seed=1)],
    smoothed: [rng(2, 9)],
}


def name_of(program):
    return program.__name__


@pytest.mark.parametrize("program", [*PROGRAMS, *EXTENDED], ids=name_of)
def test_a_program_is_the_same_on_arrays_and_tensors(backend, program):
    arrays = {**PROGRAMS, **EXTENDED}[program]
    found = program(*on(backend, arrays))
    assert_same(found, program(*arrays), eps=1e4)


@pytest.mark.parametrize("program", PROGRAMS, ids=name_of)
def test_a_program_is_the_same_while_it_is_recorded(backend, program):
    arrays = PROGRAMS[program]
    xs = [mg.tensor(array, requires_grad=True, backend=backend) for array in arrays]
    found = program(*xs)
    found = found if isinstance(found, tuple) else (found,)
    expected = program(*arrays)
    assert_same(tuple(y.detach() for y in found), expected if len(found) > 1 else (expected,), 1e4)


@pytest.mark.parametrize("program", PROGRAMS, ids=name_of)
def test_a_program_has_the_right_gradients(backend, program):
    def total(*xs):
        found = program(*xs)
        found = found if isinstance(found, tuple) else (found,)
        return sum(y.sum() for y in found if y.dtype.kind == "f")

    xs = [mg.tensor(x, requires_grad=True, backend=backend) for x in PROGRAMS[program]]
    assert mg.gradcheck(total, xs)
