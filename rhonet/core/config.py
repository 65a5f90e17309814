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

    name: "dft_crystals" (bundled) or, with `folder`, the name of the built data set.
    folder: a user's folder of density files with properties.csv; empty for the bundled set.
    data_dir: where TFDS keeps built data sets.
    properties: what to predict, one head each; empty = every column that the table has.
    spacing: storage grid spacing, Å, at most.
    max_failures: how many bad files a build may skip.
    split_by: what is held out together: chemical_system, formula, prototype, element or id (rhonet.data.splits).
    split_seed: another one gives another split.
    fractions: of the groups for train, validation, test.
    folds: 0, or how many parts the records outside the test split are cut into, by the same groups; part `fold` then
        validates, whatever `fractions` says, and the others train.
    fold: which part validates, 0 ... folds-1.
    train_share: share of the training groups that is used, for learning curves.
    cache_mb: training views (or else their spectra) are kept in memory when they fit in this many MB; so are the
        validation views.
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


VIEW_KINDS = ("cartesian", "cell", "paper")
CHANNELS = ("density", "gradient", "laplacian", "reduced_gradient", "reduced_laplacian", "magnetization")
MOTIONS = ("rotations", "cubic", "shifts")


@dataclass(frozen=True)
class ViewConfig:
    """How a density becomes the network's cube (rhonet.views.render).

    kind: "cartesian" (cube of fixed edge, any rotation and origin), "cell" (fractional grid, periodic, with
        lattice features) or "paper" (fractional grid without lattice: our reading of arXiv:2510.13207).
    size: grid points along each edge of the cube.
    edge: edge of the cartesian cube, Å.
    channels: fields shown to the network, functions of the density alone.
    blurs: widths of Gaussians, Å; all channels but the magnetization are shown again of the density blurred by each.
    density_scale: ρ0 of the asinh(ρ/ρ0) scaling, e/Å³: linear below, logarithmic above.
    magnetization_scale: the same for the magnetization, µB/Å³.
    density_threshold: where ρ is below it, reduced derivatives are taken as if it were this, e/Å³: in vacuum they
        would grow without bound and magnify rounding.
    finest: no view sees plane waves as short as twice this, Å: what finer grids hold beyond it never counts, so
        stored and native grids look the same. At least data.spacing.
    softness: width of the Gaussian low-pass filter in units of `finest` (cartesian) or of the view's grid
        spacing (cell, paper); 0 is a sharp cut.
    augment: random views in training, as different as `motion` says; otherwise one fixed view of each crystal.
    motion: how views of a crystal differ beside their origin, if cartesian: "rotations" (any, with reflections),
        "cubic" (the 48 symmetries of the cube) or "shifts" (axes stay x, y, z). Others are only shifted.
    views: how many fixed views a prediction is averaged over.
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

    name: "msa3dcnn", or to compare it with "plain3dcnn" (convolutions in a row) and "values" (no convolution).
    size: "tiny" (to try things out), "base", or "large" (for thousands of crystals on a GPU; no study here used it).
    """

    name: str = "msa3dcnn"
    size: str = "base"

    def __post_init__(self) -> None:
        _require(self.name in MODELS, f"model.name {self.name!r} is none of {', '.join(MODELS)}")
        _require(self.size in SIZES, f"model.size {self.size!r} is none of {', '.join(SIZES)}")


MODELS = ("msa3dcnn", "plain3dcnn", "values")
SIZES = ("tiny", "base", "large")


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation.

    epochs: each shows every training crystal in `views_per_epoch` random views.
    batch_size: crystals per step, over all devices.
    views_per_epoch: how often each crystal is shown in an epoch.
    different_views: of each crystal, rendered once and kept where they fit in `data.cache_mb`; they come again after
        that many. 0 renders a new one every time.
    patience: epochs without a lower validation loss before training stops; the weights at its lowest count then. With
        0 all epochs run, the last weights count, and the validation split chooses nothing.
    learning_rate: peak of AdamW, then cosine decay to 1 % of it.
    weight_decay: of AdamW.
    warmup: share of all steps until the peak.
    ema: decay of the weights' moving average, which is validated and exported; 0 switches it off.
    clip_norm: largest norm of a gradient.
    precision: "auto" (mixed_bfloat16 on GPUs, float32 on CPUs) or a Keras policy name.
    ensemble: networks whose predictions are averaged. With more than one, network k leaves out fold k of the records
        outside the test split, which its validation and the error bars rest on.
    cpu_devices: logical CPU devices to mirror over where there is no GPU (to try distribution out).
    seed: of first weights, order and views; an ensemble's networks take this and the next ones.
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


PRECISIONS = ("auto", "float32", "mixed_bfloat16")


@dataclass(frozen=True)
class Config:
    """One experiment.

    Raises:
        ConfigError: settings that do not go together.
    """

    data: DataConfig = field(default_factory=DataConfig)
    view: ViewConfig = field(default_factory=ViewConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        _require(
            self.view.finest >= self.data.spacing,
            f"view.finest {self.view.finest} Å is below data.spacing {self.data.spacing} Å, and records hold no such "
            "waves; raise the one or lower the other",
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
        """The same with another folder of densities; unchanged for None.

        Args:
            keep_name: else the built data set is named after the folder.
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
        section, key, value = parse_override(override)
        if not isinstance(tree.setdefault(section, {}), dict):
            raise ConfigError(f"{path}: [{section}] must be a table of settings, got {tree[section]!r}")
        tree[section][key] = value
    try:
        return config_from_dict(tree)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}" if not overrides else f"{path} with --set: {error}") from error


def load_resolved_config(path: Path) -> Config:
    """Configuration that something was trained with, from its config.toml, which names every setting.

    Raises:
        ConfigError: as `load_config`, or a setting is not named: its default today need not be what it was then.
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
            f"{path}: lacks {', '.join(lacking)}, which this version needs; train anew, or add what it was "
            "trained with, if you know that"
        )
    return config


def config_from_dict(tree: Mapping[str, typing.Any]) -> Config:
    """Configuration from nested plain values; what is not named keeps its default.

    Raises:
        ConfigError: an unknown section or key, or a value of the wrong type or range.
    """
    return Config(**{section: section_from_dict(section, values) for section, values in tree.items()})


def section_from_dict(section: str, values: typing.Any) -> typing.Any:
    """One section of a configuration, e.g. "view" as `ViewConfig`; raises as `config_from_dict`."""
    section_type = _SECTIONS.get(section)
    if section_type is None:
        raise ConfigError(f"unknown section [{section}]{nearest(section, _SECTIONS)}")
    if not isinstance(values, Mapping):
        raise ConfigError(f"[{section}] must be a table of settings, got {values!r}")
    hints = typing.get_type_hints(section_type)
    for key in values:
        if key not in hints:
            raise ConfigError(f"unknown setting {section}.{key}{nearest(key, hints)}")
    return section_type(**{key: cast(f"{section}.{key}", hints[key], value) for key, value in values.items()})


_SECTIONS: dict[str, type] = {"data": DataConfig, "view": ViewConfig, "model": ModelConfig, "train": TrainConfig}


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


GROUP_KEYS = ("chemical_system", "formula", "prototype", "element", "id")


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant, else all of them, as the end of a message."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}"


def parse_override(override: str) -> tuple[str, str, typing.Any]:
    """Section, key and value of `section.key=value`.

    Raises:
        ConfigError: it has another form.
    """
    target, equals, raw = override.partition("=")
    section, dot, key = target.strip().partition(".")
    if not equals or not dot or not section or not key:
        raise ConfigError(f"--set {override!r}: the form is section.key=value, e.g. train.epochs=2")
    # As TOML, as a TOML list without its brackets, or as text that nobody wants to quote in a shell.
    for text in (raw, f"[{raw}]") if "," in raw else (raw,):
        try:
            return section, key, tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            continue
    return section, key, raw.strip()


def cast(name: str, hint: typing.Any, value: typing.Any) -> typing.Any:
    """Value as the annotated type; int for float is fine, nothing else is converted.

    Raises:
        ConfigError: it is of another type; `name` is what the setting is called.
    """
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if typing.get_origin(hint) is tuple:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{name} must be a list, got {value!r}")
        element = typing.get_args(hint)[0]
        return tuple(cast(name, element, item) for item in value)
    expected = hint if isinstance(hint, (type, types.UnionType)) else type(value)
    if not isinstance(value, expected) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{name} must be {getattr(hint, '__name__', hint)}, got {value!r}")
    return value
