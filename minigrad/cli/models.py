"""The models that `train` knows by name, what can be set of each, and those in checkpoints."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..serialization import load
from ..train import LAST
from .common import Network, reading
from .images import ConvolutionalNetwork, DenseNetwork
from .parsing import Refusal, unknown
from .texts import RecurrentNetwork, TransformerNetwork

MODELS: dict[str, type[Network]] = {
    "mlp": DenseNetwork,
    "cnn": ConvolutionalNetwork,
    "transformer": TransformerNetwork,
    "lstm": RecurrentNetwork,
}

#: The settings that every run has, and what is taken where nothing is said: its bits depend on them
#: and on those of its model.
DEFAULTS: dict[str, Any] = {
    "model": "mlp",
    "optimizer": "adam",
    "lr": None,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "epochs": 30,
    "batch_size": 64,
    "early_stopping": None,
    "backend": None,
    "seed": 0,
}


def defaults_of(model: str) -> dict[str, Any]:
    """Return all settings of a model's runs, as they are where nothing is said."""
    kind = MODELS[model]
    return {**DEFAULTS, "model": model, **kind.source, **kind.shape, **kind.habits}


def option(setting: str) -> str:
    """Return how a setting is spelled on the command line."""
    return f"--{setting.replace('_', '-')}"


def refuse_strangers(model: str, given: Iterable[str]) -> None:
    """Refuse settings that a model does not have, naming the models that do."""
    for name in given:
        if name not in defaults_of(model):
            users = [other for other in MODELS if name in defaults_of(other)]
            raise Refusal(f"{option(name)} is for the model {' or '.join(users)}, not for {model}")


def read_checkpoint(path: str) -> tuple[Path, type[Network], dict[str, Any]]:
    """Return where a checkpoint of `train` is, given its path or its folder's; its kind, itself."""
    file = Path(path) / LAST if Path(path).is_dir() else Path(path)
    try:
        state = load(file)
    except (FileNotFoundError, ValueError) as error:
        raise Refusal(str(error).removeprefix("load: ")) from error
    about = state.get("about") if isinstance(state, dict) else None
    if isinstance(about, dict) and {"settings", "architecture"} <= set(about) and "model" in state:
        with reading(file):
            model = about["settings"].get("model", DEFAULTS["model"])
            if model not in MODELS:
                raise ValueError(unknown("model", model, MODELS))
            kind = MODELS[model]
            about["settings"] = {**defaults_of(model), **about["settings"]}  # of an older version
            if kind.knows <= set(about):
                kind.check(about)
                return file, kind, state
    raise Refusal(f"{file} is no checkpoint of minigrad train")


def saved_network(path: str) -> Network:
    """Return the network in a checkpoint."""
    file, kind, state = read_checkpoint(path)
    with reading(file):
        network = kind(state["about"])
        network.model.load_state_dict(state["model"])
    return network
