"""The exported model gives the same numbers as training, evaluation and prediction, wherever it is loaded."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from rhonet.core.config import ModelConfig, ViewConfig
from rhonet.core.density import ChargeDensity
from rhonet.core.errors import ModelError
from rhonet.core.predictions import Predictions
from rhonet.core.properties import PROPERTIES, Property
from rhonet.core.standardize import Scale, Standardizer
from rhonet.data.index import as_records
from rhonet.data.records import decode_record
from rhonet.experiments.evaluate_model import predict_records
from rhonet.formats import read_density
from rhonet.models.network import build_network
from rhonet.serving.export import model_of_run
from rhonet.serving.exported_model import DensityModel, Predictor, ServedMember, save_model
from rhonet.training.ensemble import network_of_run
from rhonet.training.inference import average_views, to_predictions
from rhonet.uncertainty.calibration import Calibration, ConformalWidths
from rhonet.uncertainty.difficulty import Difficulty, prediction_features
from rhonet.views.pipeline import fixed_views
from tests.crystals import run_code, smooth_density
from tests.synthetic import chgcar_text, cube_text

pytest_plugins = ("tests.fixtures",)

# Float32 sums in another order, other batches, another process: measured 2e-5 relative, and 8e-7 without reduced
# derivatives. These divide by powers of ρ, which enlarges rounding errors where ρ is small.
SAME = 5e-5
# Stored against native grid: float16 keeps 11 bits; measured 6e-4 relative.
STORED = 2e-3


@pytest.fixture(scope="module")
def predictor(finished) -> Predictor:
    return Predictor(finished.run.model)


def inputs_of(density: ChargeDensity) -> dict[str, tf.Tensor]:
    spin = density.magnetization
    return {
        "density": tf.constant(density.values, tf.float32),
        "magnetization": tf.constant(np.zeros((0, 0, 0)) if spin is None else spin, tf.float32),
        "lattice": tf.constant(density.lattice, tf.float32),
    }


def batch_of(densities: list[ChargeDensity]) -> dict[str, tf.Tensor]:
    single = [inputs_of(density) for density in densities]
    return {name: tf.stack([item[name] for item in single]) for name in single[0]}


def assert_close(actual: np.ndarray, expected: np.ndarray, share: float, name: str) -> None:
    """Differences are a small share of the value or, as some moments are close to 0, of the standard deviation."""
    np.testing.assert_allclose(actual, expected, rtol=share, atol=share * float(np.std(expected)), err_msg=name)


def test_training_evaluation_and_served_model_agree_on_stored_records(builder, index, finished, predictor):
    config, rows = finished.run.config(), np.arange(len(index.ids))
    network = network_of_run(finished.run)
    views = fixed_views(builder, rows, config.view, batch_size=5)
    trained = to_predictions(network, average_views(network, views, rows), index, rows)
    served = predict_records(predictor, builder, index, rows)
    assert served.ids == trained.ids
    for name, values in trained.values.items():
        assert_close(served.values[name], values, SAME, name)
        np.testing.assert_array_equal(served.labels[name], trained.labels[name])


def test_stored_grid_and_native_grid_agree(builder, crystals, finished, predictor):
    from rhonet.data.folder import read_folder

    paths = {sample.id: sample.path for sample in read_folder(crystals.folder).samples}
    record: Any
    stored, native = [], []
    for record in as_records(builder).as_numpy_iterator():
        stored.append(predictor.predict(decode_record(record)).values)
        native.append(predictor.predict(read_density(paths[record["id"].decode()])).values)
    for name in native[0]:
        first, second = (np.stack([values[name] for values in densities]) for densities in (stored, native))
        assert_close(first, second, STORED, name)


LOAD_PLAINLY = """
import json, sys
import numpy as np
import tensorflow as tf

class Fence:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "rhonet":
            raise ImportError(name)

sys.meta_path.insert(0, Fence())
model = tf.saved_model.load(sys.argv[1])
outputs = []
for path in sys.argv[2:]:
    inputs = {name: tf.constant(array, tf.float32) for name, array in np.load(path).items()}
    single = model.signatures["predict_density"](**inputs)
    batch = model.signatures["serving_default"](**{name: array[None] for name, array in inputs.items()})
    outputs.append([{name: value.numpy().tolist() for name, value in half.items()} for half in (single, batch)])
assert not any(name.partition(".")[0] == "rhonet" for name in sys.modules)
print(json.dumps(outputs))
"""


@pytest.mark.slow
def test_saved_model_needs_no_rhonet(finished, command, tmp_path):
    densities = {
        "one.cube": smooth_density(50, (10, 12, 15)),
        "CHGCAR_two": smooth_density(51, (21, 16, 18), spin=True),
        "three.cube": smooth_density(52, (32, 27, 25)),
    }
    arrays = []
    for name, density in densities.items():
        text = chgcar_text(density) if name.startswith("CHGCAR") else cube_text(density)
        (tmp_path / name).write_text(text)
        arrays.append(tmp_path / f"{name}.npz")
        read = inputs_of(read_density(tmp_path / name))
        np.savez(arrays[-1], **{key: np.asarray(value) for key, value in read.items()}, allow_pickle=False)
    done = run_code(LOAD_PLAINLY, finished.run.model / "saved_model", *arrays)
    assert done.returncode == 0, done.stderr
    files = [tmp_path / name for name in densities]
    answer = command("predict", *files, "--model", finished.run.model, "--format", "json")
    assert answer.code == 0, answer.stderr
    predicted = [file["properties"] for file in json.loads(answer.stdout)["files"]]
    for expected, (single, batch) in zip(predicted, json.loads(done.stdout), strict=True):
        assert set(single) == set(batch) == set(expected)  # too few calibration crystals for a novelty
        for name, value in expected.items():
            np.testing.assert_allclose(single[name], value, rtol=SAME, atol=1e-6, err_msg=name)
            np.testing.assert_allclose(batch[name][0], value, rtol=SAME, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("spin", [False, True])
def test_answer_does_not_depend_on_what_else_is_in_the_batch(finished, spin):
    model = tf.saved_model.load(str(finished.run.model / "saved_model"))
    serve, single = (model.signatures[name] for name in ("serving_default", "predict_density"))
    densities = [smooth_density(seed, (12, 10, 15), spin=spin) for seed in range(3)]
    together = serve(**batch_of(densities))
    alone = serve(**batch_of(densities[1:2]))
    backwards = serve(**batch_of(densities[::-1]))
    one = single(**inputs_of(densities[1]))
    for name, values in together.items():
        np.testing.assert_array_equal(values[1], alone[name][0])
        np.testing.assert_array_equal(values.numpy()[::-1], backwards[name])
        np.testing.assert_array_equal(values[1], one[name])
    assert together["phase"].shape == (3, 3)
    assert together["is_metal"].shape == (3,)


def test_up_and_down_are_a_convention_for_the_served_model(predictor):
    density = smooth_density(3, spin=True)
    assert density.magnetization is not None
    flipped = dataclasses.replace(density, magnetization=-density.magnetization)
    for name, value in predictor.predict(density).values.items():
        np.testing.assert_array_equal(predictor.predict(flipped).values[name], value)


def test_signatures_say_what_they_take(finished):
    model = tf.saved_model.load(str(finished.run.model / "saved_model"))
    shapes = {
        name: {key: spec.shape.as_list() for key, spec in signature.structured_input_signature[1].items()}
        for name, signature in model.signatures.items()
    }
    grid = [None, None, None]
    view = finished.run.config().view
    cubes = [None, view.views, *[view.size] * 3, len(view.fields)]
    assert shapes == {
        "predict_density": {"density": grid, "magnetization": grid, "lattice": [3, 3]},
        "serving_default": {"density": [None, *grid], "magnetization": [None, *grid], "lattice": [None, 3, 3]},
        "views": {"density": grid, "magnetization": grid, "lattice": [3, 3]},
        "network": {"views": cubes, "lattice": [None, 3, 3]},
    }


def test_mixed_precision_is_trained_but_not_exported(finished, tmp_path):
    run = finished.run
    config = run.config()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        scales = network_of_run(run).units.standardizer
        network = build_network(config.view, config.model, scales)
        assert network.standardized.layers[3].compute_dtype == "bfloat16"
        # The network of a run is built in float32, whatever the policy of the training.
        save_model(model_of_run(run), tmp_path / "float32")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    with pytest.raises(ValueError, match="build the network under the float32 policy"):
        DensityModel([ServedMember(network, scales, None)], config.view)


def test_folder_without_a_model_is_one_clear_line(tmp_path):
    with pytest.raises(
        ModelError, match=r"saved_model: cannot be loaded: SavedModel file does not exist.*; export the"
    ):
        Predictor(tmp_path)
    module = tf.Module()
    tf.saved_model.save(module, str(tmp_path / "saved_model"))
    with pytest.raises(ModelError, match="saved_model: cannot be loaded: 'predict_density'; export the model again"):
        Predictor(tmp_path)


def test_card_of_another_model_is_one_clear_line(tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    card = tmp_path / "model" / "card.toml"
    card.write_text(card.read_text(encoding="utf-8").replace('"band_gap"', '"hardness"'), encoding="utf-8")
    with pytest.raises(ModelError, match=r"model: card.toml names hardness, which saved_model does not give"):
        Predictor(tmp_path / "model")


def test_model_that_cannot_be_written_leaves_nothing(finished, command, monkeypatch, tmp_path):
    def fill(module: Any, folder: str, **_: Any) -> None:
        Path(folder).mkdir()
        raise tf.errors.ResourceExhaustedError(None, None, "variables; No space left on device")

    monkeypatch.setattr("rhonet.serving.exported_model.tf.saved_model", SimpleNamespace(save=fill))
    answer = command("export", finished.run.path, "--to", tmp_path / "new" / "model")
    assert answer.says(2, "model: cannot be written: variables; No space left on device; free some space or give")
    assert list((tmp_path / "new").iterdir()) == []


def test_export_overwrites_nothing_and_needs_a_checkpoint(finished, command, tmp_path):
    answer = command("export", finished.run.path, "--to", finished.run.model)
    assert answer.says(2, "model: exists already; delete it or give another folder")
    answer = command("export", tmp_path, "--to", tmp_path / "model")
    assert answer.says(2, "not a run folder (no config.toml)")
    begun = tmp_path / "begun"
    begun.mkdir()
    for file in (finished.run.config_file, finished.run.record_file):
        (begun / file.name).write_bytes(file.read_bytes())
    answer = command("export", begun, "--to", tmp_path / "model")
    assert answer.says(2, "no checkpoint; the run stopped before its first epoch ended")
    assert not (tmp_path / "model").exists()


def test_exported_run_predicts_like_the_model_of_the_training(finished, command, predictor, tmp_path):
    answer = command("export", finished.run.path, "--to", tmp_path / "new" / "model")
    assert (answer.code, answer.stdout) == (0, f"{tmp_path}/new/model\n")
    assert sorted(path.name for path in (tmp_path / "new" / "model").iterdir()) == [
        "card.toml",
        "config.toml",
        "records.csv",
        "saved_model",
    ]
    density = smooth_density(60)
    exported, before = Predictor(tmp_path / "new" / "model").predict(density), predictor.predict(density)
    assert (exported.lower, exported.upper, exported.novelty) == (before.lower, before.upper, before.novelty)
    for name, value in before.values.items():
        np.testing.assert_array_equal(exported.values[name], value)


def test_answers_and_intervals_stop_at_zero_where_nothing_is_below():
    items = (PROPERTIES["band_gap"], PROPERTIES["magnetic_moment"], PROPERTIES["fermi_energy"])
    standardizer = Standardizer(items, (Scale(1.0, 2.0), Scale(0.01, 0.02), Scale(1.0, 2.0)))
    view = ViewConfig(size=8, edge=4.0, views=2)
    network = build_network(view, ModelConfig(size="tiny"), standardizer)
    for item in items:  # far below 0
        network.standardized.get_layer(f"{item.name}_standardized").bias.assign([-50.0])
    widths = {item.name: ConformalWidths(20, width) for item, width in zip(items, (0.7, 0.003, 0.7), strict=True)}
    calibration = Calibration(0.9, widths, None, 20)
    model = DensityModel([ServedMember(network, standardizer, None)], view, calibration)
    density = smooth_density(80, spin=True)
    answer = {name: float(value) for name, value in model.predict_density(**inputs_of(density)).items()}
    assert answer["fermi_energy"] < -50
    assert answer["fermi_energy_upper"] == pytest.approx(answer["fermi_energy"] + 0.7, rel=1e-4)
    for name, width in (("band_gap", 0.7), ("magnetic_moment", 0.003 * density.volume)):
        assert (answer[name], answer[f"{name}_lower"]) == (0, 0)
        assert answer[f"{name}_upper"] == pytest.approx(width, rel=1e-4)


def test_served_intervals_are_as_wide_as_the_crystal_is_hard():
    """The exported model computes the difficulty from its tensors as calibration does from predictions."""
    phase = Property("phase", kind="multiclass", classes=3)
    items = (*(PROPERTIES[name] for name in ("bulk_modulus", "magnetic_moment", "fermi_energy", "is_metal")), phase)
    scales = (Scale(4.0, 1.0), Scale(0.0, 0.1), Scale(1.0, 2.0), Scale(0.0, 0.5), Scale(0.0, 0.8))
    standardizer, rng = Standardizer(items, scales), np.random.default_rng(0)
    width = sum(item.size for item in items)
    terms = {item.name: tuple(rng.normal(0, 0.4, 2 * width + 1).tolist()) for item in items[1:3]}
    difficulty = Difficulty(tuple(rng.normal(size=width)), tuple(rng.uniform(0.5, 1.5, width)), terms)
    view = ViewConfig(size=8, edge=4.0, views=2)
    network = build_network(view, ModelConfig(size="tiny"), standardizer)
    for variable in network.standardized.trainable_variables:
        variable.assign(variable + rng.normal(0, 0.1, variable.shape))
    widths = {item.name: ConformalWidths(20, 0.7) for item in items}
    calibration = Calibration(0.9, widths, None, 20, difficulty)
    model = DensityModel([ServedMember(network, standardizer, None)], view, calibration)
    seen = set()
    for seed in range(4):
        density = smooth_density(seed, spin=True)
        outputs = {name: value.numpy() for name, value in model.predict_density(**inputs_of(density)).items()}
        values = {item.name: np.asarray(outputs[item.name], np.float64)[None] for item in items}
        predictions = Predictions(items, ("a",), {item.name: np.array([np.nan]) for item in items}, values)
        volume = np.array([density.volume])
        factors = difficulty.factors(prediction_features(predictions, volume), [item.name for item in items])[0]
        assert factors[0] == 1
        assert outputs["bulk_modulus_upper"] / outputs["bulk_modulus"] == pytest.approx(np.exp(0.7), rel=1e-3)
        for item, factor in zip(items[1:3], factors[1:3], strict=True):
            size = 1.0 if item.intensive else density.volume
            half_width = float(outputs[f"{item.name}_upper"] - outputs[item.name]) / size
            assert half_width == pytest.approx(0.7 * factor, rel=1e-3)
            seen.add(round(half_width, 3))
    assert len(seen) > 4
