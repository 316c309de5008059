"""A tensor in plain Python: numbers, sequences, membership, printing."""

import copy
import math
import operator

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg

pytestmark = pytest.mark.usefixtures("on_each_backend")


@pytest.mark.parametrize("value", [2.5, 3, True, 1 + 2j])
def test_one_element_is_a_python_number_whatever_its_axes(value):
    for x in (tensor(value), tensor([[value]])):
        assert complex(x) == value and bool(x) is True
        assert f"{x:.3f}" == f"{value:.3f}"
        if isinstance(value, complex):
            for convert in (float, int, math.floor):
                with pytest.raises(TypeError, match="complex"):
                    convert(x)
            continue
        assert (float(x), int(x)) == (float(value), int(value))
        assert (math.floor(x), round(x), round(x, 1)) == (math.floor(value), round(value), value)
        assert math.sqrt(x) == math.sqrt(value)


def test_a_loss_on_the_tape_is_a_number():
    loss = (tensor([1.0, 2.0], requires_grad=True) ** 2).sum()
    assert f"{loss:.4f}, {round(loss, 2)}, {float(loss)}" == "5.0000, 5.0, 5.0"
    assert f"{loss}" == str(loss) == repr(loss)


@pytest.mark.parametrize("value", [[1.0, 2.0], np.empty((0, 3))])
@pytest.mark.parametrize("convert", [float, int, complex, bool, round, "{:.2f}".format])
def test_several_elements_are_no_number(value, convert):
    with pytest.raises(ValueError, match="shape"):
        convert(tensor(value))


def test_integers_of_no_axes_are_indices():
    i = tensor(2)
    assert operator.index(i) == 2 and [1, 2, 3][i] == 3 and list(range(i)) == [0, 1]
    assert mg.ones(i).shape == (2,) and mg.ones((i, 3)).reshape(i * 3).shape == (6,)
    for x in (tensor(2.0), tensor([2]), tensor(True), tensor(1j)):
        with pytest.raises(TypeError, match="0-d integer"):
            operator.index(x)


def test_membership_is_that_of_any_element():
    x = tensor([[1.0, 2.0], [3.0, 4.0]])
    assert 2 in x and 5.0 not in x
    assert tensor([3.0, 9.0]) in x  # broadcast, as NumPy has it
    assert None not in x and "a" not in x
    assert 1 not in tensor(np.empty((0, 2))) and 3 in tensor(3)
    assert x in [x, None] and [t is x for t in [None, x]] == [False, True]
    with pytest.raises(ValueError, match="ambiguous"):
        assert x in [2 * x]


def test_sequences_go_both_ways_and_stay_on_the_tape():
    x = tensor([1.0, 2.0, 3.0], requires_grad=True)
    first, *_, last = x
    (10 * first + last + sum(reversed(x))).backward()
    assert x.grad.tolist() == [11, 1, 2]
    assert [t.tolist() for t in reversed(tensor([[1], [2]]))] == [[2], [1]]
    assert (max(x.detach()).item(), sorted(tensor([2, 1]))[0].item()) == (3.0, 1)
    for use in (list, reversed, len, max):
        with pytest.raises(TypeError, match="0-d tensor"):
            use(tensor(1.0))


def test_divmod():
    x = tensor([7.0, -7.0])
    assert [part.tolist() for part in divmod(x, 3)] == [[2.0, -3.0], [1.0, 2.0]]
    assert [part.tolist() for part in divmod(15, x)] == [[2.0, -3.0], [1.0, -6.0]]


@pytest.mark.parametrize(
    ("shape", "text"),
    [((), "tensor(1."), ((0,), "tensor([]"), ((0, 3), "tensor([], shape=(0, 3)")],
)
def test_small_tensors_print_their_shape(shape, text, backend):
    note = "" if backend == "numpy" else f", backend={backend}"
    assert repr(mg.ones(shape)) == f"{text}{note})"


def test_copies_of_leaves_and_of_what_holds_them():
    w = tensor([1.0, 2.0], requires_grad=True)
    for again in (copy.copy(w), copy.deepcopy(w), copy.deepcopy({"w": [w, w]})["w"][1]):
        assert again.requires_grad and again.is_leaf and again.backend is w.backend
        again.data[0] = 9.0
        assert w.tolist() == [1.0, 2.0]
    both = copy.deepcopy([w, w])
    assert both[0] is both[1]
    layer = mg.nn.Linear(2, 3)
    other = copy.deepcopy(layer)
    assert other.weight is not layer.weight and isinstance(other.weight, mg.nn.Parameter)
    np.testing.assert_array_equal(other.weight.detach().numpy(), layer.weight.detach().numpy())
    (other(mg.ones(2)).sum()).backward()
    assert layer.weight.grad is None and other.weight.grad.shape == (3, 2)
