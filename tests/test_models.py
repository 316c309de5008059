"""Models that prove it: they learn what they should, in a stated number of steps."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import backends, nn, optim
from minigrad.data import DataLoader, load_digits
from minigrad.nn.functional import cross_entropy
from minigrad.train import Trainer, cnn


@pytest.fixture
def on_the_quickest():
    usable = [name for name in ("numba", "numpy") if backends.status()[name].usable]
    with mg.use_backend(usable[0]):
        yield


def steps(model, batches, rate=5e-3):
    """Take an optimizer's step for each batch, and return the losses."""
    optimizer = optim.Adam(model.parameters(), rate)
    losses = []
    for x, y in batches:
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.usefixtures("on_the_quickest")
def test_a_convolutional_network_learns_digits():
    """95 % of the images that it has not seen, after 120 steps."""
    mg.manual_seed(0)
    train, _, test = (((part.images[:, None] - 0.3) / 0.38, part.labels) for part in load_digits())
    model = cnn((8, 8), 10, channels=(8, 16), hidden=(64,))
    optimizer = optim.Adam(model.parameters(), 5e-3)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, "accuracy")
    trainer.fit(train, epochs=6, batch_size=64, seed=0)
    assert trainer.steps == 120
    assert trainer.evaluate(test)["accuracy"] >= 0.95


NETWORKS = {
    "cnn": lambda: cnn((8, 8), 10, channels=(2, 3), hidden=(8,), dropout=0.1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_backend_takes_the_same_steps(name, backend):
    images, labels = load_digits().train
    data = images[:16, None], labels[:16]

    def losses(where):
        with mg.use_backend(where):
            mg.manual_seed(0)
            return steps(NETWORKS[name](), [*DataLoader(data, batch_size=16)] * 4, rate=0.02)

    found = losses(backend)
    assert found[-1] < found[0]
    np.testing.assert_allclose(found, losses("numpy"), rtol=1e-4)


def test_sizes_of_a_convolutional_network():
    for image in ((8, 8), (9, 15), (28, 28)):
        network = cnn(image, 10)
        assert network(mg.zeros((2, 1, *image))).shape == (2, 10)
    assert cnn((5, 3), 4, channels=(2,), hidden=())(mg.zeros((1, 1, 5, 3))).shape == (1, 4)
    with pytest.raises(ValueError, match="cnn: 4 stages halve 8×28 pixels to nothing; give fewer"):
        cnn((8, 28), 10, channels=(1, 1, 1, 1))
