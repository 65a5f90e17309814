"""Opens the configured data set for all commands, and builds it first where necessary.

TensorFlow, TFDS and Beam are imported only when a data set is opened or built.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.util
import io
import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhonet.core.config import DEFAULT_SPACING, DataConfig
from rhonet.core.errors import BuildError
from rhonet.core.properties import Property, parse_declaration
from rhonet.data.folder import Folder, read_folder
from rhonet.data.records import RECORD_VERSION, SPLIT

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

log = logging.getLogger(__name__)

BUNDLED = "dft_crystals"
METADATA_NAME = "metadata.json"


def open_or_build(data: DataConfig, *, declared: Sequence[str] = (), source: str = "") -> tfds.core.DatasetBuilder:
    """TFDS builder of the configured data set, ready for `as_dataset(split=SPLIT)`.

    A data set under `data.data_dir` that was built from the same files, labels and settings is opened, whatever the
    name of its configuration (so `tfds build` and our commands share data sets). Otherwise it is built: from the
    bundled crystals, or from `data.folder` as charge_density/<name>_<spacing>. If an older state of the folder has
    that name, a part of the new fingerprint is appended to it. Nothing that exists is overwritten. `info.metadata` is
    described at `tfds_builders.density_builder.DensityBuilder`.

    Args:
        data: which data set, where, and with which spacing.
        declared: properties of the user's own as `name:unit:kind`, besides those of dataset.toml.
        source: fingerprint of the wanted files and labels. A data set built from them is opened even if the folder
            has changed since; "" or an unknown one: what the folder holds now.

    Raises:
        FolderError: the folder's table or settings are wrong.
        BuildError: too many unreadable files, a data set of another state or version in the way, no space,
            no permission.
    """
    builder_name = BUNDLED if data.name == BUNDLED and not data.folder else "charge_density"
    root = Path(data.data_dir) / builder_name
    if source and (built := _find_built(root, source, data)) is not None:
        return _open(built)
    if builder_name != BUNDLED and not data.folder:
        return _open_by_name(data, builder_name)
    folder = read_folder(data.folder or bundled_folder(), declared=tuple(parse_declaration(text) for text in declared))
    fingerprint = folder.fingerprint()
    if (built := _find_built(root, fingerprint, data)) is not None:
        return _open(built)
    with _quiet_tfds():
        module = importlib.import_module(f"tfds_builders.{builder_name}.{builder_name}_dataset_builder")
        builder = module.Builder(data_dir=data.data_dir, config=_config(module.Builder, data, folder, declared))
        target = Path(builder.data_path)
        if target.exists():
            # Another process may have built the same data set meanwhile.
            if (built := _find_built(root, fingerprint, data)) is not None:
                return _open(built)
            if obstacle := _obstacle(target, fingerprint, data):
                raise BuildError(obstacle)
            log.info(
                "%s: %s; it stays, and what the folder holds now is built beside it", target, _changes(target, folder)
            )
            beside = _config(module.Builder, data, folder, declared, state=fingerprint[:8])
            builder = module.Builder(data_dir=data.data_dir, config=beside)
            target = Path(builder.data_path)
            if target.exists():
                raise BuildError(_obstacle(target, fingerprint, data) or f"{target}: is in the way; delete it")
        try:
            _build(builder, folder)
        except OSError as error:
            # Another process may have built the same data set meanwhile, e.g. where many trainings start together. TFDS
            # then cannot rename its folder, and raises an OSError without an error number.
            if (built := _find_built(root, fingerprint, data)) is not None:
                return _open(built)
            raise BuildError(_disk_error(data.data_dir, error)) from error
    return _open(target)


def stored_properties(builder: tfds.core.DatasetBuilder) -> tuple[Property, ...]:
    """Properties of an opened data set, in the order of its label vectors."""
    metadata = builder.info.metadata
    assert metadata is not None
    return tuple(Property(**declaration) for declaration in metadata["properties"])


def bundled_folder() -> Path:
    """Folder of the bundled crystals.

    Raises:
        BuildError: they are not installed.
    """
    spec = importlib.util.find_spec("tfds_builders")
    if spec is None or not spec.submodule_search_locations:
        raise BuildError("the package tfds_builders is not installed; install rhonet again (pip install .)")
    return Path(next(iter(spec.submodule_search_locations))) / BUNDLED / "archive"


def _config(
    builder_class: type[tfds.core.DatasetBuilder],
    data: DataConfig,
    folder: Folder,
    declared: Sequence[str],
    *,
    state: str = "",
) -> str | tfds.core.BuilderConfig:
    """Name of the builder's standard configuration, or a new one named after data set, spacing and state."""
    standard = builder_class.BUILDER_CONFIGS[0]
    if not data.folder and data.spacing == DEFAULT_SPACING and not state:
        return standard.name
    name = f"spacing_{data.spacing:g}"
    if data.folder:
        name = _config_name(folder.name if data.name == BUNDLED else data.name, data.spacing)
    name = f"{name}_{state}" if state else name
    # This is `DensityConfig`, whose module only the builders import.
    config_class: Any = type(standard)
    return config_class(name=name, spacing=data.spacing, max_failures=data.max_failures, declared=tuple(declared))


def _config_name(name: str, spacing: float) -> str:
    return f"{re.sub('[^A-Za-z0-9.-]+', '_', name)}_{spacing:g}"


def _open_by_name(data: DataConfig, builder_name: str) -> tfds.core.DatasetBuilder:
    """Opens a built data set by its name, without comparing it with a source folder."""
    root = Path(data.data_dir) / builder_name
    newest: dict[str, tuple[Path, Mapping[str, Any]]] = {}
    for path, metadata in _built(root):
        newest.setdefault(path.parent.name, (path, metadata))
    name = _config_name(data.name, data.spacing)
    # A folder that changed was built several times, with a part of the fingerprint in the name.
    states = [built for key, built in newest.items() if re.fullmatch(f"{re.escape(name)}(_[0-9a-f]{{8}})?", key)]
    if not states:
        raise BuildError(
            f"{root}: holds no data set {name} (found: {', '.join(newest) or 'none'}); "
            "give data.folder to build it, or another data.name, data.spacing or data.data_dir"
        )
    path, metadata = max(states, key=lambda state: (state[0] / METADATA_NAME).stat().st_mtime_ns)
    if len(states) > 1:
        log.info("%d states of %s are built; the latest build is used", len(states), name)
    if mismatch := _mismatch(metadata, data):
        raise BuildError(f"{path}: {mismatch}; delete that directory and build again, or give another data.data_dir")
    return _open(path)


def _built(root: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Directory and metadata of each finished data set below root/<configuration>/<version>, newest version first."""
    for path in sorted(root.glob("*/*"), key=lambda path: (path.parent.name, _version_of(path.name)), reverse=True):
        if path.name.startswith("incomplete."):
            log.warning("%s: left by a build that was interrupted; delete it if no build is running", path)
        elif (path / METADATA_NAME).is_file():
            try:
                yield path, json.loads((path / METADATA_NAME).read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise BuildError(
                    f"{path / METADATA_NAME}: cannot be read: {error}; delete that directory to build it anew"
                ) from error


def _find_built(root: Path, fingerprint: str, data: DataConfig) -> Path | None:
    """Directory of a finished, usable data set with that fingerprint, None if there is none."""
    for path, metadata in _built(root):
        if metadata.get("fingerprint") == fingerprint and not _mismatch(metadata, data):
            return path
    return None


def _version_of(name: str) -> tuple[int, ...]:
    """Numbers of a version, () for a directory whose name is not a version."""
    parts = name.split(".")
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else ()


def _mismatch(metadata: Mapping[str, Any], data: DataConfig) -> str:
    """Reason why this rhonet cannot use a built data set, "" if it can."""
    if metadata.get("record_version") != RECORD_VERSION:
        return f"was built with records of version {metadata.get('record_version')}, this rhonet reads {RECORD_VERSION}"
    if metadata["spacing"] != data.spacing:
        return f"was built with a storage grid of {metadata['spacing']:g} Å, data.spacing is {data.spacing:g} Å"
    if (skipped := len(metadata["skipped"])) > data.max_failures:
        return f"was built without {skipped} unreadable files, data.max_failures is {data.max_failures}"
    return ""


def _obstacle(target: Path, fingerprint: str, data: DataConfig) -> str:
    """Why nothing can be built beside an existing directory, "" for a finished data set of another folder state."""
    path = target / METADATA_NAME
    if not path.is_file():
        return f"{target}: exists but holds no finished rhonet data set; delete it or give another data.data_dir"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    reason = _mismatch(metadata, data) if metadata.get("fingerprint") == fingerprint else ""
    remedy = "build beside it with --set data.name=NAME, or delete that directory to build it anew"
    return reason and f"{target}: {reason}; {remedy}"


def _changes(target: Path, folder: Folder) -> str:
    """How a built data set of the same name differs from the present folder."""
    metadata = json.loads((target / METADATA_NAME).read_text(encoding="utf-8"))
    reason = f"was built from another folder of that name, or another state of {folder.path}"
    stored = [declaration["name"] for declaration in metadata["properties"]]
    wanted = [declared.name for declared in folder.properties]
    if metadata["rows"] != len(folder.samples):
        return f"{reason} ({metadata['rows']} rows then, {len(folder.samples)} now)"
    if stored != wanted:
        return f"{reason} (properties {', '.join(stored)} then, {', '.join(wanted)} now)"
    return f"{reason} (labels, density files, dataset.toml or what rhonet knows of a property have changed)"


def _open(path: Path) -> tfds.core.DatasetBuilder:
    with _quiet_tfds():
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(path)
    log.info("data set %s: %d records", path, builder.info.splits[SPLIT].num_examples)
    return builder


def _build(builder: tfds.core.DatasetBuilder, folder: Folder) -> None:
    import tensorflow_datasets as tfds

    started = time.monotonic()
    log.info("building %s from %s", builder.data_path, folder.path)
    log.info("labels: %s", ", ".join(f"{name} {count}" for name, count in folder.n_labels.items()))
    if folder.unlabelled:
        log.warning("left out, as they hold no label: %s", ", ".join(folder.unlabelled))
    settings = tfds.download.DownloadConfig(manual_dir=folder.path)
    try:
        builder.download_and_prepare(download_config=settings)
    except OSError:
        raise
    except Exception as error:
        # TensorFlow's writers and Beam's workers report disk errors only in the text of their own exceptions.
        for number in _REMEDIES:
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number)) from error
        raise
    log.info("built %s in %.0f s", builder.data_path, time.monotonic() - started)


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Silences TFDS and Beam inside the block: no progress bars, no log messages, nothing on standard output.

    Our own log has one line per stage, and standard output is for results. Errors are raised as usual.
    """

    def is_ours(record: logging.LogRecord) -> bool:
        return "apache_beam" not in record.pathname

    loggers = [logging.getLogger(name) for name in ("absl", "apache_beam")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(is_ours)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import tensorflow_datasets as tfds

            tfds.disable_progress_bar()
            yield
    finally:
        logging.getLogger().removeFilter(is_ours)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.EROFS: "make it writable",
}


def _disk_error(data_dir: str, error: OSError) -> str:
    remedy = _REMEDIES.get(error.errno or 0, "check that path")
    reason = error.strerror or str(error)
    return f"{data_dir}: the data set cannot be written: {reason}; {remedy}, or give another data.data_dir"
