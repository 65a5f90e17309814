"""The networks of a run: one network, or the members of an ensemble, each with its own run folder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rhonet.core.config import Config
from rhonet.training.runs import Run

if TYPE_CHECKING:
    from rhonet.models.network import Network


FOLDER = "members"


@dataclass(frozen=True)
class Member:
    """One network of a run.

    Attributes:
        run: folder in which it is trained.
        config: its resolved configuration.
    """

    run: Run
    config: Config


def members_of(run: Run, config: Config) -> tuple[Member, ...]:
    """The run itself, or the members of its ensemble in RUN/members/0, 1, ...

    The records outside the test split are divided into M folds. Member k of M validates on fold k and trains on the
    other folds, with its own seed. So each of these records is left out by exactly one member.
    """
    count = config.train.ensemble
    if count == 1:
        return (Member(run, config),)
    return tuple(
        Member(
            Run(run.path / FOLDER / str(number)),
            dataclasses.replace(
                config,
                data=dataclasses.replace(config.data, folds=count, fold=number),
                train=dataclasses.replace(config.train, ensemble=1, seed=config.train.seed + number),
            ),
        )
        for number in range(count)
    )


def network_of_run(run: Run) -> Network:
    """Network in float32 with the final weights of the run's checkpoint.

    Raises:
        RunError: the run has no checkpoint yet.
    """
    import keras

    from rhonet.core.standardize import Standardizer
    from rhonet.models.network import build_network
    from rhonet.training.checkpoint import load_checkpoint

    config = run.config()
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        network = build_network(config.view, config.model, Standardizer.from_dict(run.record()["standardizer"]))
    finally:
        keras.mixed_precision.set_global_policy(policy)
    load_checkpoint(run.checkpoint, {"kept": network.standardized.variables})
    return network
