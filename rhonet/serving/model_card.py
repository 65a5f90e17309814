"""The card of an exported model: what it predicts, from which data, how well, and where its limits are."""

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

# What lies in a model folder; of the ONNX files `MODEL` is the whole, for batches of grids, and the others its halves:
# one density's views, and the networks on the views of many.
CARD, SAVED_MODEL = "card.toml", "saved_model"
MODEL, VIEWS, NETWORK = "model.onnx", "views.onnx", "network.onnx"
CARD_VERSION = 1


@dataclass(frozen=True)
class Card:
    """What `card.toml` says, as far as commands need it.

    properties: outputs of the model, in order.
    content: the whole card.
    """

    properties: tuple[Property, ...]
    content: dict[str, Any]

    @property
    def view(self) -> ViewConfig | None:
        """How the model sees a density; None where the rhonet that exported it did not say, or has other settings."""
        stored = self.content.get("view", {})
        if {field.name for field in dataclasses.fields(ViewConfig)} != set(stored):
            return None
        try:
            return section_from_dict("view", stored)
        except ConfigError:  # a kind or channel that came later
            return None

    @property
    def calibration(self) -> Calibration | None:
        """What its intervals and novelty rest on; None for a model without them."""
        stored = self.content.get("calibration")
        return None if stored is None else Calibration.from_dict(stored)

    @property
    def test_errors(self) -> dict[str, float]:
        """Mean absolute error per regression property on the test split, in its unit; {} before evaluation."""
        scores = self.content.get("metrics", {}).get("model", {}).get("regression", {})
        return {name: score["mae"]["value"] for name, score in scores.items() if "value" in score.get("mae", {})}


def read_card(folder: Path) -> Card:
    """Card of a model folder.

    Raises:
        ModelError: no model folder, or a card of another version.
    """
    path = folder / CARD
    if not path.is_file():
        raise ModelError(f"{folder}: not a model folder (no {CARD}); models are made by python -m rhonet.export")
    return parse_card(str(path), lambda: tomllib.loads(path.read_text(encoding="utf-8")))


def parse_card(place: str, read: Callable[[], dict[str, Any]]) -> Card:
    """Card from its content.

    Args:
        place: where it comes from, for messages.
        read: gives the content.

    Raises:
        ModelError: the content cannot be read, is no card, or one of another version.
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
    """Writes card.toml from the run's record, and from its test metrics once there are any."""
    record = run.record()
    content: dict[str, Any] = {
        "card_version": CARD_VERSION,
        "model": {
            "input": "electron density (e/Å³) on a periodic grid, magnetization (µB/Å³) if any, lattice (Å)",
            "trained": record["started"],
            "commit": record["commit"],
            "resumed_at_commits": [one["commit"] for one in record.get("resumed", [])] or None,
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
        # What makes crystals hard is inside the SavedModel, and nothing to read.
        content["calibration"] = dataclasses.replace(calibration, difficulty=Difficulty()).to_dict()
    if run.metrics_file.exists():
        content["metrics"] = json.loads(run.metrics_file.read_text(encoding="utf-8"))
    write_text(folder / CARD, tomli_w.dumps(_without_none(content)))


def _without_none(value: Any) -> Any:
    """The same nested value without entries that are None, which TOML cannot say."""
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
    """Folder of the model in a run or model folder, or of the released one.

    Raises:
        ModelError: the released one is not installed.
    """
    folder = path or released_model()
    return folder / "model" if (folder / "model").is_dir() else folder


def released_model() -> Path:
    """Model that comes with rhonet.

    Raises:
        ModelError: it is not installed.
    """
    folder = Path(__file__).parents[2] / "saved_models" / RELEASED
    if not folder.is_dir():
        raise ModelError(f"{folder}: the released model is not there; give one with --model DIR")
    return folder
