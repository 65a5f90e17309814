"""The whole network: encoder, shared trunk, one head per property, physical units."""

from __future__ import annotations

import dataclasses

import keras
from keras import layers

from rhonet.core.config import ModelConfig, ViewConfig
from rhonet.core.errors import ConfigError
from rhonet.core.standardize import Standardizer
from rhonet.models import msa3dcnn, plain3dcnn, value_distribution
from rhonet.models.layers import LatticeFeatures, PhysicalUnits
from rhonet.models.sizes import DROPOUT, NETWORK_SIZES

ENCODERS = {"msa3dcnn": msa3dcnn, "plain3dcnn": plain3dcnn, "values": value_distribution}


@dataclasses.dataclass(frozen=True)
class Network:
    """One network in the forms that are needed.

    standardized: {"cube": (B, n, n, n, channels), "lattice": (B, 3, 3) Å} -> (B, Z); trained, and averaged
        over views.
    physical: the same inputs -> {property: value in its unit or probability}; shares all weights.
    units: the last step alone, (B, Z) and (B, 3, 3) -> {property: ...}.
    """

    standardized: keras.Model
    physical: keras.Model
    units: PhysicalUnits


def build_network(view: ViewConfig, model: ModelConfig, standardizer: Standardizer) -> Network:
    """Fresh network for a view; its weights follow `keras.utils.set_random_seed`.

    Everything that a prediction needs beyond the weights (scales, transforms, units) is part of the graph.

    Raises:
        ConfigError: the encoder cannot halve the view's grid as often as it must.
    """
    encoder = ENCODERS[model.name]
    cube = keras.Input((view.size,) * 3 + (len(view.fields),), name="cube")
    lattice = keras.Input((3, 3), name="lattice")
    try:
        x = encoder.encode(cube, model.size, periodic=view.kind != "cartesian")
    except ValueError as error:
        raise ConfigError(
            f"view.size {view.size} does not suit {model.name} {model.size}: {error}; take a multiple of 8"
        ) from error
    if view.kind == "cell":
        x = layers.Concatenate()([x, LatticeFeatures()(lattice)])
    width = NETWORK_SIZES[model.size].trunk
    trunk = layers.Dense(width, activation="gelu", name="trunk")(x)
    trunk = layers.Dropout(DROPOUT)(trunk)
    heads = []
    for item in standardizer.properties:
        hidden = layers.Dense(width // 2, activation="gelu", name=f"{item.name}_hidden")(trunk)
        heads.append(layers.Dense(item.size, dtype="float32", name=f"{item.name}_standardized")(hidden))
    output = layers.Concatenate(dtype="float32", name="standardized")(heads) if len(heads) > 1 else heads[0]
    inputs = {"cube": cube, "lattice": lattice}
    units = PhysicalUnits(standardizer.to_dict(), name="physical_units")
    return Network(
        standardized=keras.Model(inputs, output, name=model.name),
        physical=keras.Model(inputs, units(output, lattice), name=f"{model.name}_physical"),
        units=units,
    )
