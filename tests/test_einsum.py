"""einsum beside NumPy's: subscripts of every kind, random ones, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from on_backend import tensor

import minigrad as mg

pytestmark = pytest.mark.usefixtures("on_each_backend")


def drawn(*shapes):
    rng = np.random.default_rng(11)
    return [rng.normal(size=shape) for shape in shapes]


def assert_same(found, expected):
    expected = np.asarray(expected)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12, atol=1e-12)


SUBSCRIPTS = [
    ("", ()),
    (",->", (), ()),
    ("i->", (3,)),
    ("ba", (2, 3)),
    (" i j -> j ", (2, 3)),
    ("b...a", (2, 4, 3)),
    ("iiii", (2, 2, 2, 2)),
    ("iij->ij", (2, 2, 3)),
    ("jii->ij", (3, 2, 2)),
    ("i,i", (3,), (3,)),
    ("ij,ij->i", (2, 3), (2, 3)),
    ("ij,ij", (2, 3), (2, 3)),
    ("aB,Bc", (2, 3), (3, 4)),
    ("ij,jk", (2, 1), (3, 4)),
    ("ii,i->i", (1, 1), (3,)),
    ("i,i->i", (1,), (0,)),
    ("i,j->j", (0,), (2,)),
    ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
    ("...ij,...jk->...ik", (3, 4), (2, 1, 4, 2)),
    ("...,i...->i...", (3,), (2, 4, 3)),
    ("...i->i", (2,)),
    ("i->...i", (2,)),
    ("a,b,c->cab", (2,), (3,), (4,)),
    ("ij,jk,kl,li", (2, 3), (3, 4), (4, 2), (2, 2)),
    ("i,ij,ij,j->", (2,), (2, 3), (2, 3), (3,)),
    ("ijk,jkl,lm->im", (2, 3, 4), (3, 4, 2), (2, 2)),
]


@pytest.mark.parametrize("case", SUBSCRIPTS, ids=lambda case: case[0] or "nothing")
def test_values(case):
    subscripts, *shapes = case
    arrays = drawn(*shapes)
    for xs in (arrays, [x + 1j * x[::-1] if x.ndim else x * 1j for x in arrays]):
        assert_same(mg.einsum(subscripts, *map(tensor, xs)), np.einsum(subscripts, *xs))


LISTS = [
    lambda x, y: (x, [0, 1], y, [1, 2], [0, 2]),
    lambda x, y: (x, [0, 30], y, (30, 2)),
    lambda x, y: (x, [..., 1], y, [1, 2], [2, ...]),
    lambda x, y: (y, [27, 25]),
    lambda x, y: (x, [0, 1], []),
]


@pytest.mark.parametrize("place", range(len(LISTS)))
def test_lists_of_numbers(place):
    x, y = drawn((2, 3), (3, 4))
    assert_same(mg.einsum(*LISTS[place](tensor(x), tensor(y))), np.einsum(*LISTS[place](x, y)))


@st.composite
def sums(draw):
    """Subscripts and shapes: letters of one length each, at times 1, in any operand, any output."""
    lengths = {letter: draw(st.integers(1, 3)) for letter in "abcd"}
    terms = draw(st.lists(st.text("abcd", max_size=3), min_size=1, max_size=4))
    repeated = [{letter for letter in term if term.count(letter) > 1} for term in terms]
    shapes = [
        tuple(1 if draw(st.booleans()) and c not in twice else lengths[c] for c in term)
        for term, twice in zip(terms, repeated, strict=True)
    ]
    output = draw(st.permutations(sorted({*"".join(terms)})))
    output = output[: draw(st.integers(0, len(output)))]
    arrow = draw(st.sampled_from(["", "->" + "".join(output)]))
    return ",".join(terms) + arrow, shapes


@given(sums())
def test_random_sums_and_that_they_are_linear_in_each_operand(drawn_sum):
    subscripts, shapes = drawn_sum
    arrays = drawn(*shapes)
    xs = [tensor(x).requires_grad_() for x in arrays]
    y = mg.einsum(subscripts, *xs)
    assert_same(y, np.einsum(subscripts, *arrays))
    y.sum().backward()
    for x in xs:
        assert (x.grad * x.detach()).sum().item() == pytest.approx(y.sum().item(), abs=1e-10)


def test_derivatives_of_complex_operands():
    def f(a, b):
        z = a + 1j * b
        return mg.abs(mg.einsum("ij,kj,j->ik", z, z * 2j, a[0] + z[1])).sum()

    assert mg.gradcheck(f, list(map(tensor, drawn((2, 3), (2, 3)))), order=2)


def test_dtypes():
    x = mg.ones((2, 3), dtype=mg.float16)
    assert mg.einsum("ij,j", x, mg.arange(3)).dtype == mg.float16
    assert mg.einsum("ij,", x, np.float64(2)).dtype == mg.float16
    assert mg.einsum("ij,j", x, mg.ones(3, dtype=mg.float64)).dtype == mg.float64
    assert mg.einsum("ij->", mg.ones((2, 3), dtype=mg.int8)).dtype == mg.int8
    trues = mg.ones((2, 3), dtype=mg.bool)
    assert mg.einsum("ij->j", trues).tolist() == [True] * 3


def test_nothing_summed_is_a_view():
    x = tensor(np.zeros((2, 2)))
    turned, diagonal, sums = (mg.einsum(f, x) for f in ("ij->ji", "ii->i", "ij->i"))
    x[0, 0] = 1
    assert turned.tolist() == [[1, 0], [0, 0]]
    assert diagonal.tolist() == [1, 0]
    assert sums.tolist() == [0, 0]


def test_products_are_matrix_products():
    """A sum is no elementwise product of the size of both operands together."""
    x = mg.ones((4, 5), requires_grad=True)
    y = mg.einsum("ij,jk,kl->il", x, mg.ones((5, 6)), mg.ones((6, 2)))
    names, nodes = set(), [y.node]
    while nodes:
        node = nodes.pop()
        names.add(node.op.name if node.op else "")
        nodes += node.parents
    assert "matmul" in names and not names & {"multiply", "sum"}


ERRORS = {
    "i,j": "got 1 operands for the 2 in 'i,j'",
    "i": r"the axes of operand 0, of shape \(2, 3\), are not those of 'i' in 'i'",
    "ijk": r"of shape \(2, 3\), are not those of 'ijk'",
    "ij->ik": "no operand has the output's 'k' in 'ij->ik'",
    "ij->ii": "the output has 'i' more than once",
    "...j->j": r"axes under '...': expected it in the output in '...j->j'",
    "i..j": "expected letters, '...', ',' and '->', got '.'",
    "i1": "got '1' in 'i1'",
    "ij->j->k": "got '-' in",
    "ii": r"axis 1 of operand 0, of shape \(2, 3\), has length 3, but 'i' has 2 before it",
}


@pytest.mark.parametrize("subscripts", ERRORS)
def test_errors(subscripts):
    with pytest.raises(ValueError, match=f"^einsum: .*{ERRORS[subscripts]}"):
        mg.einsum(subscripts, mg.ones((2, 3)))


def test_errors_of_several_operands():
    x = mg.ones((2, 3))
    with pytest.raises(ValueError, match=r"axis 0 of operand 1, of shape \(2, 3\).* 'j' has 3"):
        mg.einsum("ij,jk", x, x)
    with pytest.raises(ValueError, match=r"axis 1 of operand 1.* '\.\.\.' has 2 before"):
        mg.einsum("i...,j...", mg.ones((1, 2)), x)
    with pytest.raises(ValueError, match=r"lie in \[0, 52\), got 52"):
        mg.einsum(x, [0, 52])
    for wrong in ((x,), (x, "ij"), (x, 0)):
        with pytest.raises(TypeError, match="einsum: expected subscripts, as in"):
            mg.einsum(*wrong)
