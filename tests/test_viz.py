"""Pictures of the tape, and what Jupyter shows of tensors and modules."""

import gc
import random
import re
import weakref
import xml.etree.ElementTree as ElementTree
from itertools import combinations, pairwise

import numpy as np
import pytest

import minigrad as mg
from minigrad import engine, markup
from minigrad.viz import Drawing, draw, layout, record, svg
from minigrad.viz.words import WORDS

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def on_backend(backend):
    """Every tensor below is made on the backend under test."""
    with mg.use_backend(backend):
        yield


def leaf(values, dtype=np.float64):
    return mg.tensor(np.asarray(values, dtype), requires_grad=True)


def boxes(drawing):
    """Return the lines of text of each box, from well-formed XML."""
    root = ElementTree.fromstring(str(drawing))
    groups = [g for g in root.iter(f"{SVG}g") if g.find(f"{SVG}title") is not None]
    return [[t.text or "" for t in g.iter(f"{SVG}text")] for g in groups]


def box(drawing, title):
    found = [lines[1:] for lines in boxes(drawing) if lines[0] == title]
    assert len(found) == 1, boxes(drawing)
    return [" ".join(line.split()) for line in found[0] if line]


def flows(drawing):
    """Return what is written on the arrows."""
    root = ElementTree.fromstring(str(drawing))
    return sorted(t.text for t in root.iter(f"{SVG}text") if t.get("text-anchor") == "end")


def caption(drawing):
    root = ElementTree.fromstring(str(drawing))
    return " ".join(t.text for t in root.findall(f"{SVG}text"))


def dashed(drawing):
    """Return how many arrows carry no gradient."""
    root = ElementTree.fromstring(str(drawing))
    return sum(p.get("stroke-dasharray") is not None for p in root.iter(f"{SVG}path"))


@pytest.fixture
def recorded():
    """The tape of loss = (x·y + x)², its tensors by name; backward has run."""
    x, y = leaf(3), leaf(2)
    with record() as tape:
        s = x * y
        loss = (s + x) ** 2
    loss.backward()
    return tape, {"x": x, "y": y, "s": s, "loss": loss}


# What a recording shows


def test_values_and_gradients(recorded):
    tape, names = recorded
    drawing = tape.draw(names)
    assert box(drawing, "x") == ["value 3", "grad 54"]
    assert box(drawing, "y") == ["value 2", "grad 54"]
    assert box(drawing, "s = multiply") == ["value 6", "grad 18"]
    assert box(drawing, "add") == ["value 9", "grad 18"]
    assert box(drawing, "loss = pow(·, 2)") == ["value 81", "grad 1"]
    assert flows(drawing) == ["18", "18", "18", "36", "54"]
    assert len(boxes(drawing)) == 5


def test_steps_of_backward(recorded):
    tape, names = recorded
    steps = tape.steps(names)
    assert len(steps) == 4
    gradients = [[box(d, t)[1:] for t in ("x", "y", "s = multiply", "add")] for d in steps]
    assert gradients == [
        [[], [], [], []],
        [[], [], [], ["grad 18"]],
        [["grad 18 + …"], [], ["grad 18"], ["grad 18"]],
        [["grad 54"], ["grad 54"], ["grad 18"], ["grad 18"]],
    ]
    assert [flows(d) for d in steps[:2]] == [[], ["18"]]
    ground, at_work = svg.LOOKS["op"][0], svg.LOOKS["at work"][0]
    assert [str(d).count(at_work) for d in steps] == [0, 1, 1, 1]
    assert str(steps[0]).count(ground) == 3
    assert "multiply: each input receives g times the other" in caption(steps[3])
    assert str(tape.draw(names, step=2)) == str(steps[2]) == str(draw(tape, names, step=2))


def test_nothing_moves_between_the_steps(recorded):
    tape, names = recorded
    pictures = [re.findall(r"<rect x=\"[^/]*?height=\"[\d.]+\"", str(d)) for d in tape.steps(names)]
    assert all(places == pictures[0] for places in pictures)


def test_before_backward_there_are_values_only():
    x = leaf([1, 2])
    with record() as tape:
        (x * x).sum()
    assert box(tape.draw(), "leaf") == ["float64 (2,)", "value [1, 2]"]
    assert flows(tape.draw()) == []
    with pytest.raises(ValueError, match=r"call backward\(\) first"):
        tape.steps()
    with pytest.raises(ValueError, match=r"call backward\(\) first"):
        tape.draw(step=0)


def test_a_step_that_there_was_not(recorded):
    for step in (-1, 4):
        with pytest.raises(ValueError, match=f"step must be between 0 and 3, got {step}"):
            recorded[0].draw(step=step)
    with pytest.raises(TypeError, match=r"step must be an integer, got 1\.5"):
        recorded[0].draw(step=1.5)


def test_backward_inside_the_recording_adds_nothing():
    x = leaf(3)
    with record() as tape:
        (x * x).backward()
        inside = str(tape.draw())
    assert str(tape.draw()) == inside
    assert len(boxes(tape.draw())) == 2
    assert flows(tape.draw()) == ["3", "3"]
    assert x.grad.item() == 6


def test_derivatives_that_are_recorded_are_drawn():
    x = leaf(3)
    with record() as tape:
        (slope,) = mg.autograd.grad(x**3, x, create_graph=True)
        slope.backward()
    assert box(tape.draw({"x": x}), "x") == ["value 3", "grad 18"]


def scenes():
    """Graphs of every shape: name -> (function of a leaf (4,), titles, arrows without gradient)."""

    def several_outputs(x):
        return mg.cross_entropy(x.reshape((2, 2)), mg.tensor([0, 1]))

    def frozen(x):
        w = leaf([1, 2, 3, 4])
        y = x * w
        w.requires_grad = False
        return (y * w).sum()

    return {
        "a diamond": (lambda x: (x.tanh() * x.exp()).sum(), {"tanh", "exp"}, 0),
        "variadic": (lambda x: mg.concat([x, x, mg.zeros(2, dtype=mg.float64)]).sum(), {"x"}, 1),
        "several outputs": (several_outputs, {"x", "constant"}, None),
        "views": (lambda x: x[1:].reshape((3, 1)).sum(), {"x"}, 0),
        "a mask": (lambda x: mg.where(x > 2, x, 0.0).sum(), {"where(·, ·, 0)", "greater(·, 2)"}, 2),
        "a constant": (
            lambda x: (x * mg.zeros(4)).sum(),
            {"zeros(shape=(4,), dtype=float32)", "astype(dtype=float64)"},
            2,
        ),
        "a frozen leaf": (frozen, {"x", "leaf"}, 1),
        "broadcast": (lambda x: (x + mg.ones((3, 1), dtype=mg.float64)).mean(), {"x", "add"}, 1),
        "detached": (lambda x: (x * x.detach()).sum(), {"x", "constant"}, 1),
        "an empty array": (lambda x: x[:0].sum(), {"x"}, 0),
        "unrecorded": (lambda x: (x + no_grad(x)).sum(), {"x", "exp", "add"}, 2),
    }


def no_grad(x):
    with mg.no_grad():
        return mg.exp(x)


@pytest.mark.parametrize(("f", "titles", "without"), scenes().values(), ids=scenes())
def test_graphs_of_every_shape(f, titles, without):
    x = leaf([1, 2, 3, 4])
    with record() as tape:
        y = f(x)
    before = tape.draw({"x": x})
    assert titles <= {lines[0] for lines in boxes(before)}
    if without is not None:
        assert dashed(before) == without
    assert_apart(before)
    y.backward()
    after = tape.draw({"x": x})
    assert len(boxes(after)) == len(boxes(before))
    for step in tape.steps():
        assert_apart(step)
    assert any(line.startswith("grad") for line in box(after, "x"))


def test_what_flows_adds_up_to_the_gradient():
    x = leaf([0.5, -1])
    with record() as tape:
        y = mg.exp(x) * x + x / 3 - x.sum()
        y.sum().backward()
    scene = tape._scene(None, 100)
    sums = [
        np.sum([edge.flow for _, edge in scene.gains[at, 0]], axis=0)
        for at, box in enumerate(scene.boxes)
        if (at, 0) in scene.gains
    ]
    gradients = [
        box.values[0].gradient for at, box in enumerate(scene.boxes) if (at, 0) in scene.gains
    ]
    assert len(sums) > 6
    for total, gradient in zip(sums, gradients, strict=True):
        np.testing.assert_allclose(total, gradient, rtol=1e-14)


def test_what_came_before_the_recording():
    y = leaf(2) * 3
    with record() as tape:
        (y + 1).backward()
    assert repr(tape) == "<tape: 1 recorded>"
    assert box(tape.draw({"y": y}), "y = multiply (not recorded)") == ["value 6"]


def test_only_used_outputs_are_shown():
    x = leaf([[1, 2], [3, 4]])
    with record() as tape:
        mg.cross_entropy(x, mg.tensor([0, 1]), reduction="none").sum().backward()
    shown = next(b for b in boxes(tape.draw()) if b[0].startswith("softmax_cross_entropy"))
    assert [line.split()[0] for line in shown[1:]] == ["loss", "value", "grad"]


def test_values_are_those_of_their_time():
    w = leaf(1)
    with record() as tape:
        for _ in range(2):
            loss = w * 3
            loss.backward()
            with mg.no_grad():
                w -= w.grad
            w.grad = None
    values = [b[1] for b in boxes(tape.draw({"w": w})) if b[0] == "w"]
    assert values == ["value 1", "value -2"]


def test_drawing_leaves_no_trace(recorded):
    tape, names = recorded
    with mg.profile() as seen:
        gradients = [t.grad.tolist() for t in names.values()]
        str(tape.draw(names))
    assert [t.grad.tolist() for t in names.values()] == gradients
    assert seen.rows  # the ops ran again, under the caller's observer


# What a tensor shows without a recording


def test_a_tensor_on_the_tape():
    x, w = leaf([1, 2]), leaf([3, 4])
    y = (mg.exp(x) * w).sum()
    drawing = draw(y, {"w": w, "loss": y})
    assert box(drawing, "w") == ["float64 (2,)", "value [3, 4]"]
    assert box(drawing, "exp") == ["float64 (2,)", "value [2.718, 7.389]"]
    assert box(drawing, "leaf") == ["float64 (2,)"]
    assert box(drawing, "multiply") == ["(2,)"]  # nobody keeps it
    assert box(draw(y, {"x": x}), "x") == ["float64 (2,)", "value [1, 2]"]
    assert len(boxes(draw([y, x * 2]))) == 6
    assert len(boxes(draw(x))) == 1


def test_gradients_that_were_asked_for():
    x = leaf(2)
    y = x * x
    y.retain_grad()
    (y * 3).backward(retain_graph=True)
    assert box(draw(y), "multiply") == ["value 4", "grad 3"]
    assert box(draw(y), "leaf") == ["value 2", "grad 12"]


def test_a_graph_that_is_freed_below():
    x = leaf(2)
    y = x * x
    (y + 1).backward()
    assert box(draw(y + 2), "multiply (freed by backward)") == ["()"]
    assert box(draw(y + 2, {"y": y}), "y = multiply (freed by backward)") == ["value 4"]


def freed():
    y = leaf(1) * 2
    y.backward()
    return y


ERRORS = {
    "a constant": (lambda: draw(mg.tensor(1.0)), RuntimeError, "no input of the computation"),
    "detached": (lambda: draw((leaf(1) * 2).detach()), RuntimeError, "not on the tape: it was det"),
    "freed": (lambda: draw(freed()), RuntimeError, "'multiply' was freed by backward"),
    "nothing": (lambda: draw([]), TypeError, "expected a Tensor, several, or a Tape"),
    "a number": (lambda: draw([1.0]), TypeError, "expected a Tensor"),
    "one number": (lambda: draw(3), TypeError, "expected a Tensor, several, or a Tape, got 3"),
    "an array": (lambda: draw(np.ones(2)), TypeError, "expected a Tensor"),
    "a step": (lambda: draw(leaf(1), step=1), ValueError, "record"),
    "names": (lambda: draw(leaf(1), {"x": 1}), TypeError, "names must be a dict"),
    "a list of names": (lambda: draw(leaf(1), ["x"]), TypeError, "names must be a dict"),
    "a name that is no string": (
        lambda: draw(x := leaf(1), {3: x}),
        TypeError,
        "names must be a dict from names, strings, to tensors, got {3: tensor(1.",
    ),
    "a limit": (lambda: draw(leaf(1), limit=0), ValueError, "limit must be at least 1, got 0"),
    "half a limit": (
        lambda: draw(leaf(1), limit=1.5),
        TypeError,
        "limit must be an integer, got 1.5",
    ),
    "no limit": (
        lambda: draw(leaf(1), limit=None),
        TypeError,
        "limit must be an integer, got None",
    ),
}


@pytest.mark.parametrize(("call", "error", "says"), ERRORS.values(), ids=ERRORS)
def test_errors(call, error, says):
    with pytest.raises(error, match=re.escape(says)):
        call()


@pytest.mark.parametrize("compute", [lambda: None, lambda: mg.ones(2) * 2], ids=["none", "flat"])
def test_an_empty_recording(compute):
    with record() as tape:
        compute()
    with pytest.raises(RuntimeError, match="nothing to draw"):
        tape.draw()


# Text


def test_text_is_escaped_and_shortened():
    x = leaf(1)
    name = '<b>&"\x00' + "long " * 20
    drawing = draw(x * 2, {name: x})
    title = next(b[0] for b in boxes(drawing) if b[0].startswith("<b>"))
    assert title.startswith('<b>&"\ufffd') and title.endswith("…")
    assert len(title) == svg.LONGEST


VALUES = {
    "a float": (1 / 3, "0.3333"),
    "a small one": (1.5e-12, "1.5e-12"),
    "nan": (np.nan, "nan"),
    "integers": (np.array([1, 1234567]), "[1, 1234567]"),
    "bools": (np.array([True, False]), "[True, False]"),
    "complex": (np.array(1.5 - 2j), "1.5-2j"),
    "a matrix": (np.arange(6.0).reshape(2, 3), "[[0, 1, 2], [3, 4, 5]]"),
    "empty": (np.zeros((0, 3)), "[]"),
    "large": (np.ones(1000, np.float16), "mean 1"),
    "large with inf": (np.array([np.inf] * 9), "mean inf"),
    "large, of bools": (np.array([True, False] * 4), "mean 0.5"),
}


@pytest.mark.parametrize(("value", "text"), VALUES.values(), ids=VALUES)
def test_values_in_brief(value, text):
    assert markup.brief(np.asarray(value)) == text


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_floating_dtype(dtype):
    x = leaf([1, 2], dtype)
    with record() as tape:
        (x * x).sum().backward()
    assert box(tape.draw(), "leaf") == [f"{np.dtype(dtype)} (2,)", "value [1, 2]", "grad [2, 4]"]


def test_values_in_full_are_in_the_tooltip():
    x = leaf(np.arange(8) / 3)
    titles = re.findall("<title>(.*?)</title>", str(draw((x * x).sum())), flags=re.DOTALL)
    assert any("0.33333333" in title and "float64 (8,)" in title for title in titles)


def test_wide_characters_take_two_columns():
    assert [svg.columns(t) for t in ("abc", "σ²", "勾配")] == [3, 2, 4]


def test_rules_in_words_are_of_ops_that_exist():
    assert set(WORDS) <= set(engine.TABLE)


# Layout


def rectangles(drawing):
    pattern = r'<rect x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)" rx="5"'
    return [tuple(map(float, found)) for found in re.findall(pattern, str(drawing))]


def assert_apart(drawing):
    root = ElementTree.fromstring(str(drawing))
    width, height = float(root.get("width")), float(root.get("height"))
    found = rectangles(drawing)
    for x, y, w, h in found:
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
    for (x, y, w, h), (x2, y2, w2, h2) in combinations(found, 2):
        assert x + w < x2 or x2 + w2 < x or y + h < y2 or y2 + h2 < y


def crosses(start, end, rectangle):
    """Whether a piece of an arrow, within its two ends' bounds, passes a rectangle."""
    x, y, w, h = rectangle
    (x1, y1), (x2, y2) = start, end
    low, high = min(y1, y2), max(y1, y2)
    return x1 < x + w - 0.1 and x2 > x + 0.1 and low < y + h and high > y


@pytest.mark.parametrize("seed", range(12))
def test_no_overlap_in_random_graphs(seed):
    random.seed(seed)
    count = random.randint(1, 40)
    sizes = [(random.uniform(40, 200), random.uniform(30, 90)) for _ in range(count)]
    edges = [(random.randrange(t), t) for t in range(1, count) for _ in range(random.randint(0, 3))]
    placed = layout.arrange(sizes, edges, [random.uniform(0, 80) for _ in edges])
    found = [(x, y, w, h) for (x, y), (w, h) in zip(placed.corners, sizes, strict=True)]
    for x, y, w, h in found:
        assert x >= -1e-6 and x + w <= placed.width + 1e-6
        assert y >= -1e-6 and y + h <= placed.height + 1e-6
    for (x, y, w, h), (x2, y2, w2, h2) in combinations(found, 2):
        assert x + w < x2 or x2 + w2 < x or y + h < y2 or y2 + h2 < y
    for (source, target), route in zip(edges, placed.routes, strict=True):
        others = [found[i] for i in range(count) if i not in (source, target)]
        for start, end in pairwise(route):
            assert start[0] <= end[0] + 1e-6
            assert not any(crosses(start, end, other) for other in others)


def test_a_swap_is_untangled():
    sizes = [(50.0, 30.0)] * 4
    placed = layout.arrange(sizes, [(0, 3), (1, 2)], [0.0, 0.0])
    heights = [y for _, y in placed.corners]
    assert (heights[0] < heights[1]) == (heights[3] < heights[2])


# Size


def test_a_long_chain_can_be_drawn():
    x = y = leaf(1.0)
    for _ in range(100_000):
        y = y * 1.0
    drawing = draw(y, limit=50)
    assert len(boxes(drawing)) == 51  # and the box for what is left out
    assert caption(drawing) == "99,951 earlier values are not drawn."
    assert boxes(drawing)[0] == ["…"]
    assert x.grad is None


def test_a_long_recording_can_be_drawn():
    y = leaf(1.0)
    with record() as tape:
        for _ in range(3_000):
            y = y * 1.0
    y.backward()
    assert len(boxes(tape.draw())) == 501
    steps = tape.steps(limit=20)
    assert len(steps) == 21
    assert "step 20 of 20" in caption(steps[-1])


def test_a_recording_makes_no_reference_cycles():
    gc.collect()
    gc.disable()
    try:
        x = leaf([1, 2])
        with record() as tape:
            (x * x).sum().backward()
        str(tape.draw())
        gone = weakref.ref(tape), weakref.ref(x)
        del tape, x
        assert [ref() for ref in gone] == [None, None]
    finally:
        gc.enable()


# What is shown, and where


def test_saving(recorded, tmp_path):
    drawing = recorded[0].draw()
    drawing.save(tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == str(drawing)
    assert drawing._repr_svg_() == str(drawing)
    assert isinstance(drawing, Drawing) and repr(drawing) == "<drawing of 5 boxes>"
    assert drawing._repr_markdown_().startswith(
        "![<drawing of 5 boxes>](data:image/svg+xml;base64,"
    )


def cells(html):
    return re.findall(r"<t[dh]>(.*?)</t[dh]>", html)


def test_a_tensor_in_jupyter(backend):
    html = leaf([[1, 2.5], [3, 4]])._repr_html_()
    assert f"shape (2, 2) · float64 · {backend} · requires_grad" in html
    assert cells(html) == ["", "0", "1", "0", "1", "2.5", "1", "3", "4"]
    assert "result of multiply" in (leaf(1) * 2)._repr_html_()


TENSORS = {
    "0-d": (3.0, ["3"]),
    "bool": ([True, False], ["0", "1", "True", "False"]),
    "complex": ([1 + 2j], ["0", "1+2j"]),
    "integers": ([7], ["0", "7"]),
    "long": (np.arange(1000), [*"01234", "…", *map(str, range(995, 1000))] * 2),
}


@pytest.mark.parametrize(("data", "expected"), TENSORS.values(), ids=TENSORS)
def test_tensors_as_tables(data, expected):
    assert cells(mg.tensor(data)._repr_html_()) == expected


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 3, 4), (50, 50, 2, 1)])
def test_tensors_that_are_no_table(shape):
    assert "<pre>" in mg.zeros(shape)._repr_html_()
    assert f"shape {shape}" in mg.zeros(shape)._repr_html_()


def test_a_large_table_is_elided():
    html = mg.zeros((5000, 5000), dtype=mg.float32)._repr_html_()
    assert len(cells(html)) == 12 * 12 and len(html) < 5000


def test_a_module_in_jupyter():
    model = mg.nn.Sequential(mg.nn.Linear(3, 4), mg.nn.ReLU(), mg.nn.Sequential(mg.nn.Linear(4, 2)))
    html = model._repr_html_()
    assert ElementTree.fromstring(html).tag == "details"
    assert "Sequential() · 26 parameters" in html
    assert "<summary>(2) Sequential() · 10 parameters</summary>" in html
    assert "weight: float32 (4, 3)" in html
    assert "ReLU() · 0 parameters" in html
