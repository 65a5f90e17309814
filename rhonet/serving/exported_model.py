"""The exported model: a SavedModel that maps densities to properties, preprocessing included."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rhonet.core.config import ViewConfig
from rhonet.core.density import ChargeDensity
from rhonet.core.errors import ModelError
from rhonet.core.properties import Property
from rhonet.core.standardize import Standardizer, least_standardized
from rhonet.models.network import Network
from rhonet.serving.answer import Answer, answer_of, inputs_of
from rhonet.serving.model_card import CARD, SAVED_MODEL, read_card
from rhonet.training.inference import standardized_outputs
from rhonet.uncertainty.calibration import Calibration
from rhonet.uncertainty.density_peaks import find_peaks
from rhonet.uncertainty.difficulty import MAX_LOGIT
from rhonet.uncertainty.novelty import distance, novelty
from rhonet.uncertainty.training_peaks import TrainingPeaks
from rhonet.views import render

ENDS = {"lower": -1.0, "upper": 1.0}
NOVELTY = "novelty"

ONE_GRID = (
    tf.TensorSpec((None, None, None), tf.float32, "density"),
    tf.TensorSpec((None, None, None), tf.float32, "magnetization"),
    tf.TensorSpec((3, 3), tf.float32, "lattice"),
)


@dataclass(frozen=True, eq=False)
class ServedMember:
    """One member of the ensemble.

    Attributes:
        network: with trained weights.
        standardizer: of the member's own training split; only the scales may differ between members.
        training_peaks: density peaks of its training crystals; None for a model without novelty.
    """

    network: Network
    standardizer: Standardizer
    training_peaks: TrainingPeaks | None


class DensityModel(tf.Module):
    """Ensemble and preprocessing in one object that TensorFlow can save.

    It has four signatures:

    - `predict_density`: one native grid of any shape -> {property: scalar, or (classes,) probabilities}.
    - `serving_default`: a batch of grids of one shape -> {property: (B,) or (B, classes)}.
    - `views`, the first half: one native grid -> {views: (1, views, n, n, n, channels), lattice_batch: (1, 3, 3),
      novelty: (1,)}.
    - `network`, the second half: views (B, views, n, n, n, channels) and lattice (B, 3, 3) -> {property: (B,) or
      (B, classes)}. A server can compute the views of several requests as one batch.

    Grids are density (..., nx, ny, nz), e/Å³; magnetization of the same shape, µB/Å³, or (..., 0, 0, 0) without spin;
    lattice (..., 3, 3), Å. Predictions are averages over members and fixed views. A calibrated model also gives
    `NAME_lower` and `NAME_upper`, the ends of the prediction interval of each regression property in its unit, and
    `novelty`, which is above 1 for densities unlike the training data.

    Args:
        members: of the ensemble, at least one; all have the same properties.
        view: how the members see a density.
        calibration: for intervals and novelty; None leaves them out.

    Raises:
        ValueError: a network was built for mixed precision.
    """

    def __init__(
        self, members: Sequence[ServedMember], view: ViewConfig, calibration: Calibration | None = None
    ) -> None:
        super().__init__(name="rhonet")
        for layer in (layer for member in members for layer in member.network.standardized.layers):
            if layer.compute_dtype != "float32":
                raise ValueError("build the network under the float32 policy and give it the trained weights")
        self._members, self._view, self._calibration = tuple(members), view, calibration
        self._gives_novelty = calibration is not None and calibration.distance_scale is not None
        self._units = members[0].network.units
        self._scales = [_columns(member.standardizer) for member in members]
        self._least = least_standardized(members[0].standardizer)
        self._half_widths = _half_widths(members[0].standardizer, calibration)
        shapes = self._units.compute_output_shape((None, None), (None, 3, 3))
        names = () if calibration is None else _bounded(members[0].standardizer, calibration)
        scalars = [*(f"{name}_{end}" for name in names for end in ENDS), *([NOVELTY] if self._gives_novelty else [])]
        # A tf.Module cannot save a dictionary that changes after its assignment.
        self._outputs = {name: tf.TensorSpec(shape[1:], tf.float32) for name, shape in shapes.items()} | {
            name: tf.TensorSpec((), tf.float32) for name in scalars
        }
        self._tracked = [variable.value for member in members for variable in member.network.standardized.weights]
        self.views = tf.function(self._show, input_signature=ONE_GRID)
        cubes = (None, view.views, *(view.size,) * 3, len(view.fields))
        self.network = tf.function(
            self._average,
            input_signature=[
                tf.TensorSpec(cubes, tf.float32, "views"),
                tf.TensorSpec((None, 3, 3), tf.float32, "lattice"),
            ],
        )

    @tf.function(input_signature=ONE_GRID)
    def predict_density(self, density: tf.Tensor, magnetization: tf.Tensor, lattice: tf.Tensor) -> dict[str, tf.Tensor]:
        """Outputs for one native grid.

        Args:
            density: (nx, ny, nz), e/Å³.
            magnetization: (nx, ny, nz), µB/Å³, or (0, 0, 0) without spin.
            lattice: (3, 3), Å.
        """
        shown = self.views(density, magnetization, lattice)
        outputs = self.network(shown["views"], shown["lattice_batch"])
        if self._gives_novelty:
            outputs[NOVELTY] = shown[NOVELTY]
        return {name: value[0] for name, value in outputs.items()}

    @tf.function(input_signature=[tf.TensorSpec((None, *spec.shape), spec.dtype, spec.name) for spec in ONE_GRID])
    def predict_batch(self, density: tf.Tensor, magnetization: tf.Tensor, lattice: tf.Tensor) -> dict[str, tf.Tensor]:
        """Outputs for a batch of grids of one shape.

        Args:
            density: (B, nx, ny, nz), e/Å³.
            magnetization: (B, nx, ny, nz), µB/Å³, or (B, 0, 0, 0) without spin.
            lattice: (B, 3, 3), Å.
        """
        # One grid after the other, so that no answer depends on the rest of the batch, not even in its last bit.
        return tf.map_fn(
            lambda item: self.predict_density(*item),
            (density, magnetization, lattice),
            fn_output_signature=self._outputs,
        )

    def _show(self, density: tf.Tensor, magnetization: tf.Tensor, lattice: tf.Tensor) -> dict[str, tf.Tensor]:
        """Inputs of the networks for one density, and its novelty."""
        waves = render.spectrum(density, magnetization, lattice, self._view)
        shown = {"views": render.render_fixed(waves, self._view)[None], "lattice_batch": lattice[None]}
        if not self._gives_novelty:
            return shown
        assert self._calibration is not None
        scale = self._calibration.distance_scale
        assert scale is not None
        peaks = find_peaks(waves)
        distances = [
            distance(member.training_peaks, peaks) for member in self._members if member.training_peaks is not None
        ]
        return {**shown, NOVELTY: novelty(distances, scale)[None]}

    def _average(self, cubes: tf.Tensor, lattice: tf.Tensor) -> dict[str, tf.Tensor]:
        """Outputs averaged over members and views, in physical units, with the ends of intervals."""
        outputs_of_members = [standardized_outputs(member.network, cubes, lattice) for member in self._members]
        # Members are averaged on the learned scale: each standardised it by its own training split.
        (mean, deviation), *_ = self._scales
        learned = [
            columns * member_deviation + member_mean
            for columns, (member_mean, member_deviation) in zip(outputs_of_members, self._scales, strict=True)
        ]
        standardized = (tf.add_n(learned) / len(learned) - mean) / deviation
        outputs = self._units(standardized, lattice)
        if self._calibration is None:
            return outputs
        # Intervals lie around the prediction, which is cut at 0 for a property that cannot be negative.
        predicted = tf.maximum(standardized, self._least)
        half_widths = self._half_widths * self._difficulty(predicted * deviation + mean)
        for end, sign in ENDS.items():
            shifted = self._units(predicted + sign * half_widths, lattice)
            outputs |= {
                f"{name}_{end}": shifted[name] for name in _bounded(self._members[0].standardizer, self._calibration)
            }
        return outputs

    def _difficulty(self, learned: tf.Tensor) -> tf.Tensor:
        """Width of each output column's interval relative to that of the median crystal, (B, Z).

        Args:
            learned: (B, Z) predictions on the learned scale; logits for classes.
        """
        assert self._calibration is not None
        properties = self._members[0].standardizer.properties
        columns = [
            _logits(item, column) if item.is_class else column
            for item, column in zip(
                properties, tf.split(learned, [item.size for item in properties], axis=1), strict=True
            )
        ]
        names = [item.name for item in properties for _ in range(item.size)]
        return self._calibration.difficulty.factors(tf.concat(columns, axis=1), names)


def save_model(model: DensityModel, folder: Path) -> None:
    """Writes the SavedModel with its four signatures to `folder`/saved_model.

    Raises:
        OSError: the SavedModel cannot be written.
    """
    signatures = {
        "serving_default": model.predict_batch,
        "predict_density": model.predict_density,
        "views": model.views,
        "network": model.network,
    }
    try:
        tf.saved_model.save(model, str(folder / SAVED_MODEL), signatures=signatures)
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def _columns(standardizer: Standardizer) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each output column, (Z,) each."""
    sizes = [item.size for item in standardizer.properties]
    means = np.repeat([scale.mean for scale in standardizer.scales], sizes)
    deviations = np.repeat([scale.std for scale in standardizer.scales], sizes)
    return means.astype(np.float32), deviations.astype(np.float32)


def _logits(item: Property, column: tf.Tensor) -> tf.Tensor:
    """Logits (B, Z) of a class property as `rhonet.uncertainty.difficulty.prediction_features` gives them."""
    logits = column if item.kind == "binary" else tf.nn.log_softmax(column)
    return tf.clip_by_value(logits, -MAX_LOGIT, MAX_LOGIT)


def _bounded(standardizer: Standardizer, calibration: Calibration) -> tuple[str, ...]:
    """Names of the properties with an interval: regression properties with enough calibration crystals."""
    return tuple(
        item.name
        for item in standardizer.properties
        if not item.is_class and math.isfinite(calibration.widths[item.name].half_width)
    )


def _half_widths(standardizer: Standardizer, calibration: Calibration | None) -> np.ndarray:
    """Half widths of the median crystal's intervals in standardised units, (Z,); 0 for a column without an interval."""
    if calibration is None:
        return np.zeros(sum(item.size for item in standardizer.properties), np.float32)
    bounded = _bounded(standardizer, calibration)
    widths = [
        [calibration.widths[item.name].half_width / scale.std if item.name in bounded else 0.0] * item.size
        for item, scale in zip(standardizer.properties, standardizer.scales, strict=True)
    ]
    return np.concatenate(widths).astype(np.float32)


def load_signatures(folder: Path, *names: str) -> tuple[Any, list[Any]]:
    """Loads the SavedModel of a model folder.

    Args:
        folder: holds saved_model/.
        names: of the signatures to get.

    Returns:
        The SavedModel and its signatures. The caller must keep the SavedModel as long as it uses a signature:
        signatures do not keep the variables alive.

    Raises:
        ModelError: the SavedModel is missing or damaged, or lacks one of the signatures.
    """
    try:
        module: Any = tf.saved_model.load(str(folder / SAVED_MODEL))
        return module, [module.signatures[name] for name in names]
    except (OSError, KeyError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{folder / SAVED_MODEL}: cannot be loaded: {reason}; export the model again") from error


class Predictor:
    """An exported model that predicts densities one by one; it needs only its folder.

    Args:
        folder: holds saved_model/ and card.toml.

    Raises:
        ModelError: one of them is missing or damaged, or the card names properties that the SavedModel lacks.
    """

    def __init__(self, folder: Path) -> None:
        self._module, (self._predict,) = load_signatures(folder, "predict_density")
        self._properties = read_card(folder).properties
        outputs = self._predict.structured_outputs
        if missing := [item.name for item in self._properties if item.name not in outputs]:
            raise ModelError(
                f"{folder}: {CARD} names {', '.join(missing)}, which {SAVED_MODEL} does not give; export it again"
            )

    def predict(self, density: ChargeDensity) -> Answer:
        """Properties of a density, with intervals and novelty if the model is calibrated."""
        outputs = self._predict(**{name: tf.constant(array) for name, array in inputs_of(density).items()})
        return answer_of({name: value.numpy() for name, value in outputs.items()}, self._properties)
