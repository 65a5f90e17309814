"""The model card: what an exported model predicts, its training data, its test errors and its limits."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from rhonet.core.config import ViewConfig, section_from_dict
from rhonet.core.errors import ConfigError, ModelError
from rhonet.core.files import write_text
from rhonet.core.properties import Property
from rhonet.core.provenance import package_versions
from rhonet.data.builds import BUNDLED
from rhonet.training.runs import Run
from rhonet.uncertainty.calibration import Calibration
from rhonet.uncertainty.difficulty import Difficulty

# Names in a model folder. Of the ONNX files, `MODEL` is the whole model for a batch of grids; the other two are its
# halves: `VIEWS` renders the views of one density, `NETWORK` computes the networks on a batch of views.
CARD, SAVED_MODEL = "card.toml", "saved_model"
MODEL, VIEWS, NETWORK = "model.onnx", "views.onnx", "network.onnx"
CARD_VERSION = 1


@dataclass(frozen=True)
class Card:
    """Content of card.toml.

    Attributes:
        properties: that the model predicts, in the order of its outputs.
        content: the whole card as nested dictionaries.
    """

    properties: tuple[Property, ...]
    content: dict[str, Any]

    @property
    def view(self) -> ViewConfig | None:
        """How the model sees a density.

        None if this version of rhonet does not know the settings: a server may run a model that another version
        exported.
        """
        stored = self.content.get("view", {})
        if {field.name for field in dataclasses.fields(ViewConfig)} != set(stored):
            return None
        try:
            return section_from_dict("view", stored)
        except ConfigError:  # a kind of view or a channel that only the other version knows
            return None

    @property
    def calibration(self) -> Calibration | None:
        """Calibration of intervals and novelty; None for a model without them."""
        stored = self.content.get("calibration")
        return None if stored is None else Calibration.from_dict(stored)

    @property
    def test_errors(self) -> dict[str, float]:
        """Mean absolute error on the test split by regression property, in its unit; {} before the evaluation."""
        scores = self.content.get("metrics", {}).get("model", {}).get("regression", {})
        return {name: score["mae"]["value"] for name, score in scores.items() if "value" in score.get("mae", {})}


def read_card(folder: Path) -> Card:
    """Card of a model folder.

    Raises:
        ModelError: the folder has no card, or the card is damaged or has another version.
    """
    path = folder / CARD
    if not path.is_file():
        raise ModelError(f"{folder}: not a model folder (no {CARD}); models are made by python -m rhonet.export")
    return parse_card(str(path), lambda: tomllib.loads(path.read_text(encoding="utf-8")))


def parse_card(place: str, read: Callable[[], dict[str, Any]]) -> Card:
    """Card from its content.

    Args:
        place: where the card comes from, for messages.
        read: returns the content.

    Raises:
        ModelError: the content cannot be read, is not a card, or has another version.
    """
    try:
        content = read()
        version = content["card_version"]
        if version == CARD_VERSION:
            return Card(tuple(Property(**item) for item in content["properties"]), content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{place}: cannot be read as a model card: {error}; export the model again") from error
    raise ModelError(
        f"{place}: card of version {version}, this rhonet reads {CARD_VERSION}; export the model again, or use the "
        "rhonet that it was made with"
    )


def write_card(run: Run, folder: Path) -> None:
    """Writes card.toml from the record of a run and, if they exist, its test metrics.

    Raises:
        OSError: the card cannot be written.
    """
    record = run.record()
    content: dict[str, Any] = {
        "card_version": CARD_VERSION,
        "model": {
            "input": "electron density (e/Å³) on a periodic grid, magnetization (µB/Å³) if any, lattice (Å)",
            "trained": record["started"],
            "commit": record["commit"],
            "resumed_at_commits": [resumption["commit"] for resumption in record.get("resumed", [])] or None,
            "rhonet": record["rhonet"],
            "command": record["command"],
            "versions": record["versions"],
            "exported_with": package_versions(),
        },
        "data": record["data"],
        "view": run.config().to_dict()["view"],
        "limits": {"text": LIMITS + (OF_BUNDLED if record["data"]["name"].startswith(f"{BUNDLED}/") else "")},
        "properties": record["standardizer"]["properties"],
    }
    calibration = run.calibration()
    if calibration is not None:
        # The difficulty is computed inside the SavedModel; its coefficients mean nothing to a reader of the card.
        content["calibration"] = dataclasses.replace(calibration, difficulty=Difficulty()).to_dict()
    if run.metrics_file.exists():
        content["metrics"] = json.loads(run.metrics_file.read_text(encoding="utf-8"))
    write_text(folder / CARD, tomli_w.dumps(_without_none(content)))


def _without_none(value: Any) -> Any:
    """The same nested value without entries that are None: TOML has no null."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


LIMITS = (
    "Trained on densities of one code and one kind of pseudopotential: a density with other cores (another "
    "valence, all-electron) is a different input, and total energies, Fermi energies and formation energies "
    "refer to the training data's references. Intervals hold for crystals like those trained on, on average over all "
    "of them; a novelty above 1 says that a density is not like them, one below 1 proves nothing about another code."
)
OF_BUNDLED = " Hypothetical small prototype cells dominate the bundled set."
RELEASED = "base"


def model_folder(path: Path | None) -> Path:
    """Model folder of a run, or the given model folder itself.

    Args:
        path: run or model folder; None stands for the released model.

    Raises:
        ModelError: the released model is not installed.
    """
    folder = path or released_model()
    return folder / "model" if (folder / "model").is_dir() else folder


def released_model() -> Path:
    """Folder of the model that comes with rhonet.

    Raises:
        ModelError: the model is not installed.
    """
    folder = Path(__file__).parents[2] / "saved_models" / RELEASED
    if not folder.is_dir():
        raise ModelError(f"{folder}: the released model is not there; give one with --model DIR")
    return folder
