"""minigrad evaluate | predict | generate: what a saved network can do."""

import argparse
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backends
from ..data import read_image
from ..nn import CrossEntropyLoss
from ..ops.activations import softmax
from ..train import Trainer
from .common import PARTS, add_backend_option, backend_named, percent
from .images import ImageNetwork, add_source_options
from .models import refuse_strangers, saved_network
from .parsing import Refusal, complain, location, number, one_of, reason, whole
from .texts import TEMPERATURE, TextNetwork, add_text_option

#: Settings that say which data are meant.
SOURCES = ("dataset", "data_dir", "text")


def add_commands(commands: Any) -> None:
    """Add `evaluate`, `predict` and `generate`."""
    evaluate = commands.add_parser(
        "evaluate",
        help="measure a saved network",
        description="Measure the loss and the accuracy of a network that minigrad train saved.",
        epilog="example:\n  minigrad evaluate runs/digits/best.safetensors",
    )
    _add_checkpoint(evaluate.add_argument)
    add_source_options(evaluate.add_argument, "what it was trained on")
    add_text_option(evaluate.add_argument, "what it was trained on")
    add_backend_option(evaluate.add_argument)
    evaluate.add_argument(
        "--part",
        type=one_of("part", PARTS),
        default="test",
        metavar="NAME",
        help="train, validation or test (default: %(default)s)",
    )
    evaluate.set_defaults(run=_evaluate)
    predict = commands.add_parser(
        "predict",
        help="say what a saved network sees in images",
        description="Say what a network that minigrad train saved sees in images, and how sure it "
        "is. Images are made gray and scaled to the size it has learned; it has learned light on "
        "dark, so one with a light border is inverted.",
        epilog="example:\n  minigrad predict runs/digits/best.safetensors seven.png",
    )
    _add_checkpoint(predict.add_argument)
    predict.add_argument(
        "images",
        type=location,
        metavar="IMAGE",
        nargs="+",
        help="PNG or any image file, or .npy (rows, columns) in [0, 1] or uint8",
    )
    add_backend_option(predict.add_argument)
    predict.set_defaults(run=_predict)
    generate = commands.add_parser(
        "generate",
        help="let a saved model of texts write",
        description="Let a transformer or lstm that minigrad train saved go on with a text.",
        epilog='example:\n  minigrad generate runs/first/best.safetensors --prompt "ROMEO:"',
    )
    _add_checkpoint(generate.add_argument)
    generate.add_argument(
        "--prompt",
        type=_prompt,
        metavar="TEXT",
        help="what it goes on from (default: the beginning of a line, or where there are none "
        "the first character of the alphabet)",
    )
    generate.add_argument(
        "--length",
        type=whole(1),
        default=500,
        metavar="N",
        help="characters to add (default: %(default)s)",
    )
    generate.add_argument(
        "--temperature",
        type=number(0),
        default=TEMPERATURE,
        metavar="T",
        help="0 for the likeliest character each time, 1 for each as often as it is likely, above "
        "for odd ones (default: %(default)s)",
    )
    generate.add_argument(
        "--seed",
        type=whole(0, 2**63 - 1),
        metavar="N",
        help="the same seed gives the same text (default: another one each time)",
    )
    add_backend_option(generate.add_argument)
    generate.set_defaults(run=_generate)


def _add_checkpoint(add: Callable[..., Any]) -> None:
    about = "a file of a run, or its folder"
    add("checkpoint", type=location, metavar="CHECKPOINT", help=about)


def _prompt(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError(
            "expected at least one character; leave --prompt out to begin a line"
        )
    return text


def _evaluate(args: argparse.Namespace) -> None:
    with backends.use_backend(backend_named(args.backend)), np.errstate(all="ignore"):
        network = saved_network(args.checkpoint)
        settings = network.about["settings"]
        given = {name: vars(args)[name] for name in SOURCES if vars(args)[name] is not None}
        refuse_strangers(settings["model"], given)
        if "dataset" in given:  # the folder was that of another one
            given.setdefault("data_dir", None)
        settings = {**settings, **given}
        part = dict(zip(PARTS, network.read(settings), strict=True))[args.part]
        trainer = Trainer(network.model, CrossEntropyLoss(), metrics="accuracy")
        result = trainer.evaluate(network.pairs(part))
        print(
            f"data: {network.name_data(settings)}, {network.count(part):,} {args.part} "
            f"{network.unit}"
        )
        print(f"{args.part} loss: {result['loss']:.4f}")
        print(f"{args.part} accuracy: {percent(result['accuracy'])}")


def _predict(args: argparse.Namespace) -> None:
    with backends.use_backend(backend_named(args.backend)), np.errstate(all="ignore"):
        network = saved_network(args.checkpoint)
        if not isinstance(network, ImageNetwork):
            raise Refusal(
                f"{args.checkpoint} is a model of texts; it writes by minigrad generate, and "
                "minigrad predict is for images"
            )
        names, images, refused = _images(args.images, tuple(network.about["image"]))
        if images:
            outputs = Trainer(network.model).predict(network.inputs(np.stack(images)))
            shares = softmax(outputs.astype(np.float64), axis=1).numpy()
            for name, row in zip(names, shares, strict=True):
                print(f"{name}: {_verdict(network.about['classes'], row)}")
    for line in refused[:-1]:
        complain(f"error: {line}")
    if refused:
        raise Refusal(refused[-1])


def _generate(args: argparse.Namespace) -> None:
    with backends.use_backend(backend_named(args.backend)), np.errstate(all="ignore"):
        network = saved_network(args.checkpoint)
        if not isinstance(network, TextNetwork):
            raise Refusal(
                f"{args.checkpoint} is a model of images; it sorts them by minigrad predict, and "
                "minigrad generate is for texts"
            )
        print(network.write(args.length, args.temperature, args.seed, args.prompt))


def _images(
    paths: list[str], size: tuple[int, int]
) -> tuple[list[str], list[np.ndarray[Any, Any]], list[str]]:
    """Return the names and contents of the images, and what is wrong with the others."""
    names, images, refused = [], [], []
    for path in paths:
        try:
            with warnings.catch_warnings(action="ignore"):  # Pillow's, of odd metadata
                images.append(_light_on_dark(read_image(path, size)))
            names.append(path)
        except (OSError, ValueError, MemoryError) as error:
            refused.append(reason(error))
    return names, images, refused


def _verdict(classes: Sequence[str], shares: np.ndarray[Any, Any]) -> str:
    first, *rest = (f"{classes[i]} ({percent(shares[i])})" for i in np.argsort(-shares)[:2])
    return ", or ".join([first, *rest])


def _light_on_dark(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return 1 - image if np.median(border) > 0.5 else image
