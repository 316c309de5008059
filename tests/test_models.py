"""Models that prove it: they learn what they should, in a stated number of steps."""

from itertools import islice

import numpy as np
import pytest

import minigrad as mg
from minigrad import backends, nn, optim
from minigrad.data import DataLoader, Vocabulary, load_digits, load_text, text_windows
from minigrad.nn.functional import cross_entropy
from minigrad.train import CharRNN, CharTransformer, Trainer, cnn

TEXT = load_text()
VOCABULARY = Vocabulary(TEXT)
CODES = VOCABULARY.encode(TEXT)
WINDOWS, HELD_OUT = (text_windows(codes, 32) for codes in (CODES[:-3000], CODES[-3000:]))

#: Small models of texts, how many steps of 16 windows they take, and a bound on their loss on the
#: held-out windows then. Who knows only how often each character comes has 3.30; who knows how
#: often each comes after each other one, 2.37.
MODELS = {
    "lstm": (lambda: CharRNN(len(VOCABULARY), width=64), 60, 2.25),
    "transformer": (lambda: CharTransformer(len(VOCABULARY), block=32, layers=1), 120, 2.33),
}
each_model_of_texts = pytest.mark.parametrize("name", MODELS)


@pytest.fixture
def on_the_quickest():
    usable = [name for name in ("numba", "numpy") if backends.status()[name].usable]
    with mg.use_backend(usable[0]):
        yield


def steps(model, batches):
    """Take an optimizer's step for each batch, and return the losses."""
    optimizer = optim.Adam(model.parameters(), 1e-2)
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


@pytest.mark.usefixtures("on_the_quickest")
@each_model_of_texts
def test_a_model_of_texts_learns_shakespeare(name):
    make, count, bound = MODELS[name]
    mg.manual_seed(0)
    model = make()
    steps(model, islice(DataLoader(WINDOWS, batch_size=16, shuffle=True, seed=0), count))
    assert Trainer(model, nn.CrossEntropyLoss()).evaluate(HELD_OUT)["loss"] < bound


NETWORKS = {
    "cnn": lambda: cnn((8, 8), 10, channels=(2, 3), hidden=(8,), dropout=0.1),
    "lstm": lambda: CharRNN(len(VOCABULARY), width=4, layers=2, dropout=0.1),
    "transformer": lambda: CharTransformer(len(VOCABULARY), 8, 4, heads=2, dropout=0.1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_backend_takes_the_same_steps(name, backend):
    images, labels = load_digits().train
    data = (images[:16, None], labels[:16]) if name == "cnn" else text_windows(CODES[:130], 8)[:]

    def losses(where):
        with mg.use_backend(where):
            mg.manual_seed(0)
            return steps(NETWORKS[name](), [*DataLoader(data, batch_size=16)] * 4)

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


@each_model_of_texts
def test_what_comes_later_changes_nothing_before(name):
    model = MODELS[name][0]()
    codes = CODES[:20].copy()
    logits = model(mg.tensor(codes[None]))
    assert logits.shape == (1, len(VOCABULARY), 20)
    codes[10] = 0
    other = model(mg.tensor(codes[None]))
    np.testing.assert_allclose(
        other[:, :, :10].detach().numpy(), logits[:, :, :10].detach().numpy(), rtol=1e-5, atol=1e-6
    )
    assert (other[:, :, 10:] != logits[:, :, 10:]).any()


@pytest.mark.usefixtures("on_each_backend")
@each_model_of_texts
def test_generating(name):
    """Without chance, the likeliest each time; with it, what the seed says, in eval mode."""
    mg.manual_seed(0)
    model = MODELS[name][0]()
    prompt = mg.tensor(CODES[:30])
    found = model.generate(prompt, 5, temperature=0)
    assert (found.shape, found.dtype) == ((5,), np.int64)
    text = mg.concat([prompt, found])
    for place in range(30, 35):
        seen = text[max(place - 32, 0) : place]
        assert model(seen[None])[0, :, -1].argmax().item() == text[place].item()
    state = mg.random.get_state()
    first, again, other = (model.generate(prompt, 9, seed=seed).tolist() for seed in (1, 1, 2))
    assert first == again != other
    np.testing.assert_array_equal(mg.random.get_state(), state)
    assert model.training
    assert model.generate(prompt, 9).tolist() != model.generate(prompt, 9).tolist()
    assert model.generate(CODES[:1], 0).shape == (0,)


@pytest.mark.usefixtures("on_each_backend")
def test_the_smallest_temperatures_take_the_likeliest():
    mg.manual_seed(0)
    model = CharRNN(5, width=4)
    likeliest = model.generate([0], 9, temperature=0).tolist()
    for temperature in (1e-6, 1e-40, 5e-324):
        assert model.generate([0], 9, temperature, seed=1).tolist() == likeliest
    assert len(set(model.generate([0], 60, 1e300, seed=1).tolist())) == 5
    with mg.no_grad():
        model.head.bias[2] += 1e9
    assert model.generate([0], 3, 1e-300, seed=1).tolist() == [2, 2, 2]


@pytest.mark.usefixtures("on_each_backend")
@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite(temperature, value):
    model = CharRNN(5, width=4)
    with mg.no_grad():
        model.head.bias[2] = value
    with pytest.raises(FloatingPointError, match="logits are not finite after 0 numbers"):
        model.generate([0], 3, temperature)


def test_what_generating_refuses():
    model = CharRNN(5, width=4)
    for prompt in ([], [[1]]):
        with pytest.raises(ValueError, match="expected a prompt of at least one number"):
            model.generate(np.array(prompt, int), 3)
    for length, temperature in ((-1, 1.0), (1, -1.0), (1, float("nan"))):
        with pytest.raises(ValueError, match="must not be negative"):
            model.generate([0], length, temperature)
    with pytest.raises(ValueError, match="sees 4 characters, got 5: cut the text into windows"):
        CharTransformer(5, block=4, width=4, heads=2)(mg.zeros((1, 5), dtype=mg.int64))
