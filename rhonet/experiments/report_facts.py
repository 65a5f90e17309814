"""What a report says about the model, the data and the evaluation itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rhonet import __version__
from rhonet.serving.model_card import Card
from rhonet.training.ensemble import members_of
from rhonet.training.runs import Run, command_line, git_commit


def describe_evaluation(folder: Path, card: Card, *, data_name: str, fingerprint: str) -> dict[str, str]:
    """Where the model comes from, what it was scored on, when and how, by name; "" where it is not known.

    Args:
        folder: of the model.
        data_name, fingerprint: of the data set that is scored.
    """
    model, data = card.content["model"], card.content["data"]
    about = data.get("about", {})
    theory = (about.get(name, "") for name in ("functional", "code", "density"))
    trained_on = f"{data['name']}, fingerprint {data['fingerprint']}"
    scored = f"{data_name}, fingerprint {fingerprint}"
    return {
        "Model": str(folder),
        "Trained": _readable(datetime.fromisoformat(model["trained"])),
        "Trained by": model["command"],
        "Trained with": _version(model["rhonet"], model["commit"]),
        "Trained on": "" if scored == trained_on else trained_on,
        "Data": scored,
        "Training data": ", ".join(fact for fact in theory if fact),
        "Evaluated": _readable(datetime.now(UTC)),
        "Evaluated by": command_line(),
        "Evaluated with": _version(__version__, git_commit()),
    }


def histories_of(run: Run) -> list[list[dict[str, Any]]]:
    """Epochs of each network of a run that has begun to train.

    Raises:
        RunError: a file is damaged.
    """
    return [epochs for member in members_of(run, run.config()) if (epochs := member.run.history())]


def _readable(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _version(version: str, commit: str) -> str:
    return f"rhonet {version}, commit {commit}" if commit else f"rhonet {version}"
