"""Models on disk: weights as safetensors, and a JSON card beside them that says what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..mesh import MeshError
from ..mesh.files.replacing import replacing


def save_model(
    path: str | Path, model: nn.Module, config: Mapping[str, Any], card: Mapping[str, Any]
) -> Path:
    """Write `PATH.safetensors` and `PATH.json`; old files are replaced whole or not at all.

    Args:
        path: without or with the ending `.safetensors`.
        model: its state is written as float32 or whatever it is.
        config: arguments that build the model again.
        card: what a reader should know: data, seed, command, held-out figures.

    Returns:
        The path of the weights.

    Raises:
        MeshError: the folder cannot be written to.
    """
    weights = Path(path).with_suffix(".safetensors")
    state: dict[str, Tensor] = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    with replacing(weights) as temporary:
        save_file(state, temporary)
        content = {"model": type(model).__name__, "config": dict(config), **card}
        temporary.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n")
    return weights


def read_card(path: str | Path) -> dict[str, Any]:
    """The card of a model.

    Raises:
        MeshError: there is none, or it is not JSON with a config.
    """
    file = Path(path).with_suffix(".json")
    try:
        card = json.loads(file.read_text())
    except OSError as error:
        raise MeshError(f"cannot read the model's card {file}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise MeshError(f"the model's card {file} is not JSON (line {error.lineno})") from error
    if not isinstance(card, dict) or "model" not in card or "config" not in card:
        raise MeshError(f"the card {file} does not say which model it belongs to")
    return card


def read_config(path: str | Path, kind: type[nn.Module]) -> dict[str, Any]:
    """Arguments that build the model of a file again.

    Raises:
        MeshError: there is no card, or it is that of a model of another class.
    """
    card = read_card(path)
    if card["model"] != kind.__name__:
        raise MeshError(f"{path} holds a {card['model']}, not a {kind.__name__}")
    return dict(card["config"])


def load_weights(path: str | Path, model: nn.Module) -> None:
    """Fill a model with the weights in `PATH.safetensors`.

    Raises:
        MeshError: the file is missing, damaged, or of a model of another class or size.
    """
    file = Path(path).with_suffix(".safetensors")
    read_config(file, type(model))  # the class is right
    try:
        state = load_file(file)
    except OSError as error:
        raise MeshError(f"cannot read the weights {file}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise MeshError(f"the weights {file} are damaged: {error}") from error
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise MeshError(f"the weights {file} do not fit the model: {error}") from error
