"""A model that nobody trained, exported."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import tomli_w

from rhonet.core.config import Config, ModelConfig, ViewConfig
from rhonet.core.properties import PROPERTIES, Property
from rhonet.core.standardize import Scale, Standardizer
from rhonet.serving.model_card import CARD_VERSION

# One of each kind, each scale, each dependence on the cell.
ITEMS = (
    PROPERTIES["bulk_modulus"],
    PROPERTIES["band_gap"],
    PROPERTIES["magnetic_moment"],
    PROPERTIES["is_metal"],
    Property("phase", kind="multiclass", classes=3),
)
SCALES = (Scale(4.0, 1.0), Scale(1.0, 1.5), Scale(0.02, 0.01), Scale(0.0, 1.0), Scale(0.0, 1.0))
CONFIG = Config(
    view=ViewConfig(size=8, edge=4.0, views=2),
    model=ModelConfig(size="tiny"),
)


def write_tiny_model(folder: Path) -> None:
    """A model folder with two networks of random weights, and a card that names what they predict."""
    import keras

    from rhonet.models.network import build_network
    from rhonet.serving.exported_model import DensityModel, ServedMember, save_model

    folder.mkdir()
    standardizer = Standardizer(ITEMS, SCALES)
    keras.utils.set_random_seed(0)
    networks = [build_network(CONFIG.view, CONFIG.model, standardizer) for _ in range(2)]
    rng = np.random.default_rng(0)
    for variable in (variable for network in networks for variable in network.standardized.trainable_variables):
        # Without biases, which start at zero, a normalised network does not see how strong its input is.
        variable.assign(variable + rng.normal(0, 0.1, variable.shape))
    save_model(DensityModel([ServedMember(one, standardizer, None) for one in networks], CONFIG.view), folder)
    (folder / "config.toml").write_text(CONFIG.to_toml())
    card = {"card_version": CARD_VERSION, "properties": [dataclasses.asdict(item) for item in ITEMS]}
    (folder / "card.toml").write_text(tomli_w.dumps(card))
