"""The studies: their questions, and the variants of the configuration that they compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rhonet.core.config import GROUP_KEYS, Config

if TYPE_CHECKING:
    from rhonet.experiments.task_groups import TaskGroups

# Ways to train all properties: each in its own training, groups of similar ones together, or all together.
SINGLE_TASK, GROUPED, ALL = "single-task", "grouped", "all"


@dataclass(frozen=True)
class Variant:
    """One variant of the configuration.

    Attributes:
        name: of the variant, and of its folder.
        changes: settings that it changes, by section.
        baseline: name of a baseline (rhonet.evaluation.baselines.trees) that predicts instead of a network; "" for
            none.
    """

    name: str
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    baseline: str = ""


def view_variants(config: Config) -> tuple[Variant, ...]:
    """The configured representation and changes of it, one at a time: kind, resolution, channels, augmentation."""
    size, edge, scale = config.view.size, config.view.edge, config.view.density_scale
    channels = config.view.channels

    def without(*names: str) -> dict[str, dict[str, Any]]:
        return {"view": {"channels": [name for name in channels if name not in names]}}

    return (
        Variant("as-configured"),
        Variant("cell", {"view": {"kind": "cell"}}),
        Variant("paper", {"view": {"kind": "paper"}}),
        Variant("paper-rho-only", {"view": {"kind": "paper", "channels": ["density", "magnetization"]}}),
        Variant("no-augmentation", {"view": {"augment": False, "views": 1}}),
        Variant("cubic-operations", {"view": {"motion": "cubic"}}),
        Variant("shifts-only", {"view": {"motion": "shifts"}}),
        Variant("one-view", {"view": {"views": 1}}),
        Variant("twice-the-views", {"view": {"views": 2 * config.view.views}}),
        Variant("rho-only", {"view": {"channels": ["density", "magnetization"]}}),
        Variant("no-reduced-derivatives", without("reduced_gradient", "reduced_laplacian")),
        Variant("reduced-derivatives-only", without("gradient", "laplacian")),
        Variant("no-laplacians", without("laplacian", "reduced_laplacian")),
        Variant("no-gradients", without("gradient", "reduced_gradient")),
        Variant("linear-density", {"view": {"density_scale": 100 * scale}}),
        Variant("more-logarithmic-density", {"view": {"density_scale": scale / 10}}),
        Variant("logarithmic-magnetization", {"view": {"magnetization_scale": scale}}),
        Variant("tenth-threshold", {"view": {"density_threshold": config.view.density_threshold / 10}}),
        Variant("five-times-threshold", {"view": {"density_threshold": 5 * config.view.density_threshold}}),
        Variant("no-waves-finer-than-points", {"view": {"finest": max(edge / size, config.view.finest)}}),
        Variant("half-edge", {"view": {"edge": edge / 2}}),
        Variant("three-quarter-edge", {"view": {"edge": edge * 0.75}}),
        Variant("no-blur", {"view": {"blurs": []}}),
        Variant("two-blurs", {"view": {"blurs": [0.35, 0.7]}}),
        Variant("three-blurs", {"view": {"blurs": [0.35, 0.7, 1.4]}}),
        Variant("more-points", {"view": {"size": size * 3 // 2}}),
        Variant("fewer-points", {"view": {"size": size // 2}}),
    )


def task_variants(_: Config, groups: TaskGroups) -> tuple[Variant, ...]:
    """All properties in one training, then each group of similar properties, then each property alone."""
    parts = {_group_variant(group): list(group) for group in groups.shared}
    parts |= {_group_variant((name,)): [name] for name in groups.names}
    return (Variant(ALL), *(Variant(name, {"data": {"properties": part}}) for name, part in parts.items()))


def task_ways(groups: TaskGroups) -> dict[str, tuple[str, ...]]:
    """Names of the task variants that together predict every property once, by the way to train."""
    shared = {name: group for group in groups.shared for name in group}
    grouped = dict.fromkeys(_group_variant(shared.get(name, (name,))) for name in groups.names)
    return {
        SINGLE_TASK: tuple(_group_variant((name,)) for name in groups.names),
        GROUPED: tuple(grouped),
        ALL: (ALL,),
    }


def _group_variant(group: Sequence[str]) -> str:
    """Name of the variant that trains a group of targets, or one target."""
    return f"group-{group[0]}" if len(group) > 1 else f"only-{group[0]}"


def model_variants(config: Config) -> tuple[Variant, ...]:
    """The configured network, other encoders and sizes, and the main settings of the optimisation."""
    return (
        Variant("as-configured"),
        Variant("plain3dcnn", {"model": {"name": "plain3dcnn"}}),
        Variant("values", {"model": {"name": "values"}}),
        Variant("tiny", {"model": {"size": "tiny"}}),
        Variant("twice-the-epochs", {"train": {"epochs": 2 * config.train.epochs}}),
        Variant("weight-decay-0.05", {"train": {"weight_decay": 0.05}}),
        Variant("no-ema", {"train": {"ema": 0.0}}),
        Variant("half-learning-rate", {"train": {"learning_rate": 5e-4}}),
        Variant("double-learning-rate", {"train": {"learning_rate": 2e-3}}),
    )


def one_variant(_: Config) -> tuple[Variant, ...]:
    """The configuration as it is."""
    return (Variant("as-configured"),)


def share_variants(config: Config, shares: Sequence[float] = (0.1, 0.25, 0.5, 1.0)) -> tuple[Variant, ...]:
    """Shares of the training set, with the same number of training steps for each."""
    return tuple(
        Variant(
            f"{share:.0%}",
            {"data": {"train_share": share}, "train": {"views_per_epoch": round(config.train.views_per_epoch / share)}},
        )
        for share in reversed(shares)
    )


def split_variants(_: Config) -> tuple[Variant, ...]:
    """Each way to group records when they are split; without a test split, as no setting is chosen by the result."""
    return tuple(Variant(key, {"data": {"split_by": key, "fractions": [0.8, 0.2, 0.0]}}) for key in GROUP_KEYS)


def baseline_variants(_: Config) -> tuple[Variant, ...]:
    """The network, the plain network, and the baselines without a network."""
    from rhonet.evaluation.baselines.trees import BASELINES  # imports scikit-learn, which would slow down --help

    networks = (Variant("as-configured"), Variant("plain3dcnn", {"model": {"name": "plain3dcnn"}}))
    return (*networks, *(Variant(name, baseline=name) for name in BASELINES))


def leak_variants(_: Config) -> tuple[Variant, ...]:
    """The network, and boosted trees that see only the shape and scale of the density's grid."""
    return (Variant("as-configured"), Variant("grid_gb", baseline="grid_gb"))


@dataclass(frozen=True)
class Study:
    """A question, and how it is answered.

    Attributes:
        question: for --help.
        variants: gives the variants for the configuration and, with `groups_tasks`, the groups of its targets; the
            first variant is the reference of all differences.
        in_folds: whether each seed predicts another fold of the records outside the test split; otherwise each seed
            makes its own split.
        audits_leaks: whether near-duplicates across the configured splits are reported.
        groups_tasks: whether the targets are first grouped by similarity; groups and gains are reported.
        fits_learning_curve: whether the variants form a learning curve, which is extrapolated.
        measures_coverage: whether coverage and log loss of the first variant are reported.
    """

    question: str
    variants: Callable[..., tuple[Variant, ...]]
    in_folds: bool = True
    audits_leaks: bool = False
    groups_tasks: bool = False
    fits_learning_curve: bool = False
    measures_coverage: bool = False


STUDIES = {
    "views": Study("which representation of the density serves best", view_variants),
    "models": Study("which network and optimisation serve best", model_variants),
    "tasks": Study(
        "do more targets in one training make each better: all, groups of alike ones, each alone",
        task_variants,
        groups_tasks=True,
    ),
    "learning-curve": Study("what would more data bring", share_variants, fits_learning_curve=True),
    "baselines": Study("is the network ahead of a plain one and of baselines without a network", baseline_variants),
    "leaks": Study(
        "what of it is trivial: near-duplicates across splits, shape and scale of the grid",
        leak_variants,
        audits_leaks=True,
    ),
    "coverage": Study("do 90 % intervals hold the truth nine times in ten", one_variant, measures_coverage=True),
    "splits": Study("how far do predictions reach beyond the training crystals", split_variants, in_folds=False),
}
