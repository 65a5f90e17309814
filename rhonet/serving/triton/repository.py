"""Triton model repository: each export becomes a new version, assembled aside and then moved into place."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import time
from pathlib import Path

import numpy as np

from rhonet.core.errors import ModelError
from rhonet.core.files import explain_disk, write_text
from rhonet.serving.model_card import CARD, NETWORK, SAVED_MODEL, VIEWS, read_card
from rhonet.serving.triton.config import (
    CONFIG,
    DENSITY_MODEL,
    FINGERPRINT,
    LATTICE_FILE,
    NETWORK_MODEL,
    TENSORFLOW_MODEL,
    VIEWS_MODEL,
    WARMUP_EDGE,
    TritonSettings,
    config_text,
    is_ours,
    model_configs,
    read_config,
)
from rhonet.serving.triton.tensors import read_graphs

BACKEND = Path(__file__).with_name("backend.py")
_LEFTOVER_AFTER_SECONDS = 86400.0


def write_repository(
    onnx_folder: Path,
    model_folder: Path,
    destination: Path,
    *,
    settings: TritonSettings | None = None,
    tensorflow: bool = False,
    force: bool = False,
) -> int:
    """Writes the models rhonet, rhonet_views and rhonet_density into a Triton repository; returns their version.

    If the models exist, the export becomes a new version beside the existing ones, and Triton serves the new one. Each
    version keeps its config.pbtxt and card.toml, so that users can go back. Other models of the repository stay
    unchanged.

    Args:
        onnx_folder: holds views.onnx and network.onnx.
        model_folder: holds card.toml and, for `tensorflow`, saved_model/.
        destination: repository; made if it is missing.
        settings: how Triton serves the models; by default `TritonSettings()`.
        tensorflow: adds rhonet_tensorflow, for servers up to 25.02.
        force: replaces models of these names with all their versions, whoever wrote them.

    Raises:
        DiskError: a file cannot be written.
        ModelError: an input is missing or inconsistent, or a model of that name was not written by rhonet.export.
    """
    settings = settings or TritonSettings()
    card = read_card(model_folder)
    graphs = read_graphs(onnx_folder)
    configs = model_configs(graphs, card, settings, fingerprint=model_fingerprint(model_folder), tensorflow=tensorflow)
    saved_model = model_folder / SAVED_MODEL
    if tensorflow and not saved_model.is_dir():
        raise ModelError(
            f"{model_folder}: has no saved_model/, which {TENSORFLOW_MODEL} serves; export the model again"
        )
    check_destination(destination, tensorflow=tensorflow, force=force)
    destination = destination.resolve()  # "." has no name to which ".partial" could be appended
    version = 1 if force else 1 + max((_newest(destination / name) for name in configs), default=0)
    weights = {NETWORK_MODEL: graphs.network.path, VIEWS_MODEL: graphs.views.path}
    partial = _scratch_folder(destination)
    _remove_leftovers(partial)
    try:
        with explain_disk(destination, "free some space or give another folder"):
            for name, config in configs.items():
                folder = partial / name / str(version)
                folder.mkdir(parents=True)
                if name in weights:
                    _write_computing(folder, weights[name], settings)
                elif name == TENSORFLOW_MODEL:
                    shutil.copytree(saved_model, folder / "model.savedmodel")
                for place in (folder, folder.parent):
                    write_text(place / CONFIG, config_text(config))
                    shutil.copy(model_folder / CARD, place / CARD)
            destination.mkdir(parents=True, exist_ok=True)
            for name in configs:
                _put(partial / name, destination / name, str(version), force=force)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return version


def _scratch_folder(destination: Path) -> Path:
    """Folder in which the models are assembled.

    It lies beside the repository, or inside it if the parent folder is on another file system or not writable.
    """
    name = f"{destination.name}.{os.getpid()}.partial"
    parent = destination.parent
    beside = not destination.is_dir() or (
        os.access(parent, os.W_OK) and parent.stat().st_dev == destination.stat().st_dev
    )
    return destination.with_name(name) if beside else destination / f".{name}"


def _remove_leftovers(partial: Path) -> None:
    """Removes this scratch folder, and those of exports that were killed a day ago or earlier, on any machine."""
    shutil.rmtree(partial, ignore_errors=True)
    name, _, _ = partial.name.rsplit(".", 2)
    for folder in partial.parent.glob(f"{glob.escape(name)}.*.partial"):
        process = folder.name.rsplit(".", 2)[1]
        is_old = time.time() - folder.stat().st_mtime > _LEFTOVER_AFTER_SECONDS
        if process.isdecimal() and is_old and not _is_alive(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process of another user
        return True
    return True


def check_destination(destination: Path, *, tensorflow: bool, force: bool) -> None:
    """Checks that `write_repository` may write; call it before a long training or conversion.

    Args:
        destination: repository.
        tensorflow: rhonet_tensorflow is written, too.
        force: existing models are replaced, so nothing is checked.

    Raises:
        ModelError: a model of one of these names was not written by rhonet.export.
    """
    if not force:
        for name in (NETWORK_MODEL, VIEWS_MODEL, DENSITY_MODEL, *([TENSORFLOW_MODEL] if tensorflow else [])):
            _check_ours(destination / name)


def model_fingerprint(folder: Path) -> str:
    """Hash of the files of a model folder that decide what is served: card, SavedModel and ONNX files."""
    computing = [path for path in (folder / SAVED_MODEL).rglob("*") if path.is_file()]
    others = [path for path in (folder / name for name in (CARD, VIEWS, NETWORK)) if path.is_file()]
    digest = hashlib.sha256()
    for path in sorted([*computing, *others]):
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def is_current(repository: Path, folder: Path, backend: str) -> bool:
    """Does a repository serve the present model of a folder, with that backend?

    Args:
        repository: Triton model repository, which may not exist.
        folder: model folder.
        backend: "onnxruntime" or "python".
    """
    # The density model is written last: an unfinished repository lacks it, or has an older one.
    configs = [repository / name / CONFIG for name in (NETWORK_MODEL, DENSITY_MODEL)]
    if not all(config.is_file() for config in configs):
        return False
    network, density = map(read_config, configs)
    fingerprint = model_fingerprint(folder)
    same = all(config.parameters[FINGERPRINT].string_value == fingerprint for config in (network, density))
    return same and network.backend == backend and (backend != "python" or has_todays_backend(repository))


def has_todays_backend(repository: Path) -> bool:
    """Whether the newest versions in a repository hold the current model file for the Python backend."""
    for name in (NETWORK_MODEL, VIEWS_MODEL):
        file = repository / name / str(_newest(repository / name)) / "model.py"
        if not file.is_file() or file.read_bytes() != BACKEND.read_bytes():
            return False
    return True


def _write_computing(folder: Path, weights: Path, settings: TritonSettings) -> None:
    """Writes the files of one version of a model that runs an ONNX file, and the lattice for the warm-up."""
    shutil.copy(weights, folder / "model.onnx")
    if settings.backend == "python":
        shutil.copy(BACKEND, folder / "model.py")
    warmup = folder.parent / "warmup"
    warmup.mkdir()
    (warmup / LATTICE_FILE).write_bytes(np.diag([WARMUP_EDGE] * 3).astype("<f4").tobytes())


def _check_ours(folder: Path) -> None:
    """Raises ModelError if a folder holds something that rhonet.export did not write."""
    if not folder.exists():
        return
    remedy = "give another folder, or --force to replace it"
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{folder}: exists and has no {CONFIG}; {remedy}")
    if not is_ours(read_config(folder / CONFIG)):
        raise ModelError(f"{folder / CONFIG}: was not written by python -m rhonet.export; {remedy}")


def _newest(folder: Path) -> int:
    """Highest version in the folder of a model; 0 if there is none."""
    numbers = [int(path.name) for path in folder.glob("*") if path.is_dir() and path.name.isdecimal()]
    return max(numbers, default=0)


def _put(source: Path, target: Path, version: str, *, force: bool) -> None:
    """Moves a model, or its new version, to its place; a running server sees either the old or the new version."""
    if force:
        shutil.rmtree(target, ignore_errors=True)
    if not target.exists():
        os.replace(source, target)
        return
    if (source / "warmup").is_dir():
        shutil.copytree(source / "warmup", target / "warmup", dirs_exist_ok=True)
    os.replace(source / version, target / version)
    for name in (CARD, CONFIG):
        os.replace(source / name, target / name)
