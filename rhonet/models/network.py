"""The whole network: an encoder, a shared trunk, one head per property, and the step to physical units."""

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
    """One network as Keras models for training and for prediction, which share all weights.

    Attributes:
        standardized: model from {"cube": (B, n, n, n, channels), "lattice": (B, 3, 3) Å} to standardised outputs
            (B, Z). It is the model that is trained, and its outputs are averaged over views.
        physical: model from the same inputs to {property: values in its unit, or probabilities}.
        units: the last step of `physical` alone, from outputs (B, Z) and lattices (B, 3, 3) Å.
    """

    standardized: keras.Model
    physical: keras.Model
    units: PhysicalUnits


def build_network(view: ViewConfig, model: ModelConfig, standardizer: Standardizer) -> Network:
    """Untrained network for a view; `keras.utils.set_random_seed` determines its weights.

    The graph contains everything that a prediction needs: weights, scales, transforms and units.

    Args:
        view: size and channels of the cube, and its kind: whether it is periodic and whether the lattice is an input.
        model: name and size of the encoder.
        standardizer: the properties and the scales that they are learned on.

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
