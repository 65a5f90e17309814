"""Every setting of an experiment, with its default: frozen dataclasses, read from and written to TOML."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w

from rhonet.core.errors import ConfigError

CONFIGS_DIR = Path(__file__).parent.parent / "configs"
DEFAULT_CONFIG = "base"
DEFAULT_SPACING = 0.25

# What the settings that name something accept.
GROUP_KEYS = ("chemical_system", "formula", "prototype", "element", "id")
VIEW_KINDS = ("cartesian", "cell", "paper")
CHANNELS = ("density", "gradient", "laplacian", "reduced_gradient", "reduced_laplacian", "magnetization")
MOTIONS = ("rotations", "cubic", "shifts")
MODELS = ("msa3dcnn", "plain3dcnn", "values")
SIZES = ("tiny", "base", "large")
PRECISIONS = ("auto", "float32", "mixed_bfloat16")

DEFAULT_PROPERTIES = (
    "bulk_modulus",
    "volume_per_atom",
    "mass_density",
    "total_energy_per_atom",
    "formation_energy_per_atom",
    "fermi_energy",
    "band_gap",
    "band_width",
    "magnetic_moment",
    "is_metal",
)


@dataclass(frozen=True)
class DataConfig:
    """Where the records come from and how they are split.

    Attributes:
        name: "dft_crystals" (bundled) or, with `folder`, the name of the built data set.
        folder: the user's folder of density files with properties.csv; empty for the bundled set.
        data_dir: where TFDS keeps built data sets.
        properties: what to predict, one head each; empty: every column of the table.
        spacing: largest spacing of the storage grid, Å.
        max_failures: number of unreadable files that a build may skip.
        split_by: what is held out together: chemical_system, formula, prototype, element or id (rhonet.data.splits).
        split_seed: seed of the split; another seed gives another split.
        fractions: shares of the groups for train, validation and test.
        folds: number of folds for cross-validation, or 0 for none. The records outside the test split are divided
            into this many folds, by the same groups; fold `fold` validates and the others train, whatever `fractions`
            says.
        fold: which fold validates, 0 ... folds-1.
        train_share: share of the training groups that is used, for learning curves.
        cache_mb: memory limit in MB for the training views (or, if these do not fit, for their plane waves), and
            again for the validation views. What does not fit is computed anew in every epoch.
    """

    name: str = "dft_crystals"
    folder: str = ""
    data_dir: str = "data"
    properties: tuple[str, ...] = DEFAULT_PROPERTIES
    spacing: float = DEFAULT_SPACING
    max_failures: int = 0
    split_by: str = "chemical_system"
    split_seed: int = 0
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    folds: int = 0
    fold: int = 0
    train_share: float = 1.0
    cache_mb: int = 4000

    def __post_init__(self) -> None:
        _require(self.split_by in GROUP_KEYS, f"data.split_by {self.split_by!r} is none of {', '.join(GROUP_KEYS)}")
        _require(0 < self.train_share <= 1, f"data.train_share must lie in (0, 1], got {self.train_share}")
        _require(self.folds == 0 or self.folds > 1, f"data.folds must be 0 or at least 2, got {self.folds}")
        _require(0 <= self.fold < max(self.folds, 1), f"data.fold must lie below data.folds, got {self.fold}")
        _require(self.spacing > 0, f"data.spacing must be above 0 Å, got {self.spacing}")
        _require(len(set(self.properties)) == len(self.properties), "data.properties names a property twice")
        _require(
            len(self.fractions) == 3 and min(self.fractions) >= 0 and abs(sum(self.fractions) - 1) < 1e-9,
            f"data.fractions must be three numbers with sum 1, got {self.fractions}",
        )


@dataclass(frozen=True)
class ViewConfig:
    """How a density becomes the network's input cube (rhonet.views.render).

    Attributes:
        kind: "cartesian" (cube of fixed edge, any rotation and origin), "cell" (fractional grid, periodic, with
            lattice features) or "paper" (fractional grid without lattice: our reading of arXiv:2510.13207).
        size: grid points along each edge of the cube.
        edge: edge of the cartesian cube, Å.
        channels: fields shown to the network, functions of the density alone.
        blurs: widths of Gaussians, Å; for each, the channels other than the magnetization are added once more,
            computed from the density blurred by it.
        density_scale: ρ0 of the asinh(ρ/ρ0) scaling, e/Å³: linear below, logarithmic above.
        magnetization_scale: the same for the magnetization, µB/Å³.
        density_threshold: lower bound of ρ in the reduced derivatives, e/Å³: without it they grow without bound in
            vacuum and magnify rounding.
        softness: width of the Gaussian low-pass filter in units of `finest` (cartesian) or of the view's grid
            spacing (cell, paper); 0 is a sharp cut.
        finest: shortest half wavelength that a view contains, Å. Shorter waves of finer grids are left out, so that
            stored and native grids look the same. At least data.spacing.
        augment: train on random views, which vary as `motion` says; otherwise on one fixed view of each crystal.
        motion: how random views of kind "cartesian" vary besides their origin: "rotations" (any, with reflections),
            "cubic" (the 48 symmetries of the cube) or "shifts" (axes stay x, y, z). Views of the other kinds are only
            shifted.
        views: number of fixed views that a prediction is averaged over.
    """

    kind: str = "cartesian"
    size: int = 16
    edge: float = 8.0
    channels: tuple[str, ...] = CHANNELS
    blurs: tuple[float, ...] = (0.35,)
    density_scale: float = 0.1
    magnetization_scale: float = 10.0
    density_threshold: float = 0.01
    softness: float = 0.5
    finest: float = DEFAULT_SPACING
    augment: bool = True
    motion: str = "rotations"
    views: int = 4

    def __post_init__(self) -> None:
        _require(self.kind in VIEW_KINDS, f"view.kind {self.kind!r} is none of {', '.join(VIEW_KINDS)}")
        _require(self.size >= 4, f"view.size must be at least 4, got {self.size}")
        _require(self.edge > 0, f"view.edge must be above 0 Å, got {self.edge}")
        _require(self.density_scale > 0, f"view.density_scale must be above 0, got {self.density_scale}")
        _require(
            self.magnetization_scale > 0, f"view.magnetization_scale must be above 0, got {self.magnetization_scale}"
        )
        _require(self.density_threshold > 0, f"view.density_threshold must be above 0, got {self.density_threshold}")
        _require(self.softness >= 0, f"view.softness must not be negative, got {self.softness}")
        _require(self.finest > 0, f"view.finest must be above 0 Å, got {self.finest}")
        _require(self.motion in MOTIONS, f"view.motion {self.motion!r} is none of {', '.join(MOTIONS)}")
        _require(self.views >= 1, f"view.views must be at least 1, got {self.views}")
        _require(len(self.channels) > 0, "view.channels is empty")
        _require(all(blur > 0 for blur in self.blurs), f"view.blurs must be above 0 Å, got {list(self.blurs)}")
        for channel in self.channels:
            _require(channel in CHANNELS, f"view.channels: {channel!r} is none of {', '.join(CHANNELS)}")

    @property
    def fields(self) -> tuple[tuple[str, float], ...]:
        """The cube's channels in order: names, each with the width in Å by which the density is blurred, 0 for none."""
        blurred = [name for name in self.channels if name != "magnetization"]
        return (*((name, 0.0) for name in self.channels), *((name, blur) for blur in self.blurs for name in blurred))

    @property
    def spacing(self) -> float:
        """Grid spacing of the cartesian cube, Å."""
        return self.edge / self.size


@dataclass(frozen=True)
class ModelConfig:
    """Architecture and size of the network (rhonet.models).

    Attributes:
        name: "msa3dcnn", or for comparison "plain3dcnn" (a plain stack of convolutions) or "values" (no convolution).
        size: "tiny" (to try things out), "base", or "large" (for thousands of crystals on a GPU; no study here used
            it).
    """

    name: str = "msa3dcnn"
    size: str = "base"

    def __post_init__(self) -> None:
        _require(self.name in MODELS, f"model.name {self.name!r} is none of {', '.join(MODELS)}")
        _require(self.size in SIZES, f"model.size {self.size!r} is none of {', '.join(SIZES)}")


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation.

    Attributes:
        epochs: number of epochs; each shows every training crystal in `views_per_epoch` random views.
        batch_size: crystals per step, over all devices.
        views_per_epoch: how often each crystal is shown in an epoch.
        different_views: number of views of each crystal that are rendered once, kept where they fit in
            `data.cache_mb`, and shown again in turn. 0 renders a new view every time.
        learning_rate: peak of AdamW's learning rate; cosine decay to 1 % of it follows.
        weight_decay: weight decay of AdamW.
        warmup: share of all steps in which the learning rate rises to its peak.
        ema: decay of the weights' exponential moving average, which is validated and exported; 0 switches it off.
        clip_norm: largest norm of a gradient.
        patience: early stopping after this many epochs without improvement of the validation loss; restores the best
            weights. 0 switches it off: all epochs run, the last weights are exported, and the validation split
            chooses nothing.
        precision: "auto" (mixed_bfloat16 on GPUs, float32 on CPUs) or a Keras policy name.
        ensemble: number of networks whose predictions are averaged. With more than one, network k leaves out fold k of
            the records outside the test split; its validation and the error bars use that fold.
        cpu_devices: number of logical CPU devices to mirror over where there is no GPU (to try distribution out).
        seed: seed of the initial weights, the order of the records and the views; the networks of an ensemble take
            this seed and the following ones.
        image_every: epochs between parity images in TensorBoard.
    """

    epochs: int = 8
    batch_size: int = 16
    views_per_epoch: int = 8
    different_views: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.5
    warmup: float = 0.05
    ema: float = 0.99
    clip_norm: float = 1.0
    patience: int = 0
    precision: str = "auto"
    ensemble: int = 1
    cpu_devices: int = 1
    seed: int = 0
    image_every: int = 3

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "views_per_epoch", "image_every", "cpu_devices", "ensemble"):
            _require(getattr(self, name) >= 1, f"train.{name} must be at least 1, got {getattr(self, name)}")
        _require(self.learning_rate > 0, f"train.learning_rate must be above 0, got {self.learning_rate}")
        _require(self.different_views >= 0, f"train.different_views must not be negative, got {self.different_views}")
        _require(self.weight_decay >= 0, f"train.weight_decay must not be negative, got {self.weight_decay}")
        _require(self.clip_norm > 0, f"train.clip_norm must be above 0, got {self.clip_norm}")
        _require(0 <= self.ema < 1, f"train.ema must lie in [0, 1), got {self.ema}")
        _require(0 <= self.warmup < 1, f"train.warmup must lie in [0, 1), got {self.warmup}")
        _require(self.seed >= 0, f"train.seed must not be negative, got {self.seed}")
        _require(self.patience >= 0, f"train.patience must not be negative, got {self.patience}")
        _require(self.precision in PRECISIONS, f"train.precision {self.precision!r} is none of {', '.join(PRECISIONS)}")


@dataclass(frozen=True)
class Config:
    """All settings of one experiment.

    Attributes:
        data: where the records come from and how they are split.
        view: how a density becomes the network's input.
        model: architecture and size of the network.
        train: optimisation.

    Raises:
        ConfigError: settings that contradict each other.
    """

    data: DataConfig = field(default_factory=DataConfig)
    view: ViewConfig = field(default_factory=ViewConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        _require(
            self.view.finest >= self.data.spacing,
            f"view.finest {self.view.finest} Å is below data.spacing {self.data.spacing} Å, but records hold no "
            "waves that short; raise view.finest or lower data.spacing",
        )
        _require(
            self.train.ensemble == 1 or not self.data.folds,
            f"an ensemble of {self.train.ensemble} makes its own folds; leave data.folds at 0 or train.ensemble at 1",
        )
        _require(
            self.data.split_by != "element" or (self.train.ensemble == 1 and not self.data.folds),
            "data.split_by element has no folds: a crystal holds several elements and would belong to several; leave "
            "train.ensemble at 1 and data.folds at 0, or split by something else",
        )

    def with_folder(self, folder: Path | None, *, keep_name: bool = True) -> Config:
        """The configuration with another folder of densities; unchanged for None.

        Args:
            folder: the user's folder.
            keep_name: keeps `data.name`; otherwise the built data set is named after the folder.
        """
        if folder is None:
            return self
        name = self.data.name if keep_name else DataConfig().name
        return dataclasses.replace(self, data=dataclasses.replace(self.data, folder=str(folder.resolve()), name=name))

    def to_dict(self) -> dict[str, dict[str, typing.Any]]:
        """Plain nested dict (tuples as lists), ready for TOML or JSON."""
        return {
            section: {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
            for section, values in dataclasses.asdict(self).items()
        }

    def to_toml(self) -> str:
        """The resolved configuration as TOML text; `load_resolved_config` reads it back unchanged."""
        return tomli_w.dumps(self.to_dict())


_SECTIONS: dict[str, type] = {"data": DataConfig, "view": ViewConfig, "model": ModelConfig, "train": TrainConfig}


def config_names() -> list[str]:
    """Names of the configurations that ship with rhonet."""
    return sorted(path.stem for path in CONFIGS_DIR.glob("*.toml"))


def load_config(name_or_file: str | Path = DEFAULT_CONFIG, overrides: Iterable[str] = ()) -> Config:
    """Configuration from a shipped name or a TOML file, with `section.key=value` overrides on top.

    Raises:
        ConfigError: no such file, not TOML, an unknown key, or a value of the wrong type or range.
    """
    path = Path(name_or_file)
    if path.suffix != ".toml":
        path = CONFIGS_DIR / f"{name_or_file}.toml"
        if not path.exists():
            raise ConfigError(
                f"no configuration {str(name_or_file)!r}; shipped: {', '.join(config_names())}, or FILE.toml"
            )
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    for override in overrides:
        section, key, value = _parse_override(override)
        if not isinstance(tree.setdefault(section, {}), dict):
            raise ConfigError(f"{path}: [{section}] must be a table of settings, got {tree[section]!r}")
        tree[section][key] = value
    try:
        return config_from_dict(tree)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}" if not overrides else f"{path} with --set: {error}") from error


def load_resolved_config(path: Path) -> Config:
    """Configuration of a trained model or run, from its config.toml, which names every setting.

    Raises:
        ConfigError: as `load_config`, or a setting is missing: its default may have changed since the training.
    """
    config = load_config(path)
    named = tomllib.loads(path.read_text(encoding="utf-8"))
    lacking = [
        f"{section}.{key}"
        for section, keys in config.to_dict().items()
        for key in keys
        if key not in named.get(section, {})
    ]
    if lacking:
        raise ConfigError(
            f"{path}: lacks {', '.join(lacking)}, which this version needs; train anew, or add the value that "
            "was used in training, if you know it"
        )
    return config


def config_from_dict(tree: Mapping[str, typing.Any]) -> Config:
    """Configuration from nested plain values; a setting that is not named keeps its default.

    Raises:
        ConfigError: an unknown section or key, or a value of the wrong type or range.
    """
    return Config(**{section: section_from_dict(section, values) for section, values in tree.items()})


def section_from_dict(section: str, values: typing.Any) -> typing.Any:
    """One section of a configuration, e.g. "view" as `ViewConfig`.

    Raises:
        ConfigError: as `config_from_dict`.
    """
    section_type = _SECTIONS.get(section)
    if section_type is None:
        raise ConfigError(f"unknown section [{section}]{_nearest(section, _SECTIONS)}")
    if not isinstance(values, Mapping):
        raise ConfigError(f"[{section}] must be a table of settings, got {values!r}")
    hints = typing.get_type_hints(section_type)
    for key in values:
        if key not in hints:
            raise ConfigError(f"unknown setting {section}.{key}{_nearest(key, hints)}")
    return section_type(**{key: _checked(f"{section}.{key}", hints[key], value) for key, value in values.items()})


def _parse_override(override: str) -> tuple[str, str, typing.Any]:
    """Section, key and value of `section.key=value`.

    Raises:
        ConfigError: the text does not have this form.
    """
    target, equals, raw = override.partition("=")
    section, dot, key = target.strip().partition(".")
    if not equals or not dot or not section or not key:
        raise ConfigError(f"--set {override!r}: the form is section.key=value, e.g. train.epochs=2")
    # Accepts TOML, a TOML list without its brackets, and text without quotes, which are a nuisance in a shell.
    for text in (raw, f"[{raw}]") if "," in raw else (raw,):
        try:
            return section, key, tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            continue
    return section, key, raw.strip()


def _checked(name: str, hint: typing.Any, value: typing.Any) -> typing.Any:
    """Value in the annotated type; an int becomes a float, text with commas a tuple, nothing else is converted.

    Args:
        name: of the setting, for messages.
        hint: annotated type.
        value: as TOML gives it.

    Raises:
        ConfigError: it has another type.
    """
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if typing.get_origin(hint) is tuple:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{name} must be a list, got {value!r}")
        element = typing.get_args(hint)[0]
        return tuple(_checked(name, element, item) for item in value)
    expected = hint if isinstance(hint, (type, types.UnionType)) else type(value)
    if not isinstance(value, expected) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{name} must be {getattr(hint, '__name__', hint)}, got {value!r}")
    return value


def _nearest(name: str, known: Iterable[str]) -> str:
    """End of an error message: the known name that is closest, or all known names if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)
