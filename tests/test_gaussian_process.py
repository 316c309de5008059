"""A Gaussian process whose hyper-parameters are fitted through cholesky, slogdet and solve."""

import math

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg

pytestmark = pytest.mark.usefixtures("on_each_backend")

LENGTH, NOISE, STEPS = 1.5, 0.1, 40
X = np.linspace(0, 12, 32)


def covariance(xp, x, length, amplitude, noise):
    """The squared exponential kernel between all points of x, with noise on the diagonal."""
    distance = (x[:, None] - x[None, :]) / length
    diagonal = xp.eye(x.shape[0], dtype=x.dtype)
    return amplitude**2 * xp.exp(-0.5 * distance * distance) + noise**2 * diagonal


def observed():
    """One draw of the process at X: what is to be explained."""
    draws = np.random.default_rng(4).normal(size=X.size)
    return np.linalg.cholesky(covariance(np, X, LENGTH, 1.0, NOISE)) @ draws


def by_cholesky(matrix, y):
    lower = mg.linalg.cholesky(matrix)
    white = mg.linalg.solve_triangular(lower, y, upper=False)
    return mg.square(white).sum() + 2 * mg.log(mg.linalg.diagonal(lower)).sum()


def by_slogdet(matrix, y):
    return mg.vecdot(y, mg.linalg.solve(matrix, y)) + mg.linalg.slogdet(matrix).logabsdet


def log_likelihood(parameters, energy):
    """Of what is observed, by the logarithms of length, amplitude and noise."""
    y = tensor(observed())
    length, amplitude, noise = mg.exp(parameters)
    matrix = covariance(mg, tensor(X), length, amplitude, noise)
    return -0.5 * (energy(matrix, y) + X.size * math.log(2 * math.pi))


@pytest.mark.parametrize("energy", [by_cholesky, by_slogdet])
def test_derivatives_of_the_likelihood(energy):
    parameters = tensor(np.log([1.1, 0.8, 0.3]))
    assert mg.gradcheck(lambda p: log_likelihood(p, energy), [parameters], order=2)


@pytest.mark.parametrize("energy", [by_cholesky, by_slogdet])
def test_the_hyper_parameters_are_found(energy):
    parameters = tensor(np.log([0.5, 0.5, 0.5]), requires_grad=True)
    optimizer = mg.optim.Adam([parameters], lr=0.1)
    likelihoods = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        likelihood = log_likelihood(parameters, energy)
        (-likelihood).backward()
        optimizer.step()
        likelihoods.append(likelihood.item())
    truth = log_likelihood(tensor(np.log([LENGTH, 1.0, NOISE])), energy).item()
    length, _, noise = np.exp(parameters.detach().numpy())
    assert likelihoods[0] < -20 < 0 < truth < likelihoods[-1]
    assert abs(length / LENGTH - 1) < 0.2 and abs(noise / NOISE - 1) < 0.5
