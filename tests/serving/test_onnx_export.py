"""The ONNX files give the numbers of the SavedModel without TensorFlow, for any grid and batch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from rhonet.core.density import ChargeDensity
from rhonet.core.errors import ModelError
from rhonet.core.standardize import Standardizer
from rhonet.formats import read_density
from rhonet.models.network import build_network
from rhonet.serving.exported_model import DensityModel, ServedMember, save_model
from rhonet.uncertainty.calibration import Calibration, ConformalWidths
from rhonet.uncertainty.difficulty import Difficulty
from rhonet.uncertainty.training_peaks import WIDTHS, TrainingPeaks
from tests.crystals import REPOSITORY, smooth_density
from tests.synthetic import SKEWED
from tests.tiny_model import CONFIG, ITEMS, SCALES

pytest_plugins = ("tests.fixtures",)

onnx = pytest.importorskip("onnx")
onnxruntime: Any = pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")

FILES = ["model.onnx", "network.onnx", "views.onnx"]
# Float32 sums in another order: measured 7e-5 relative to value or widths.
SAME = 1e-4


@dataclasses.dataclass(frozen=True)
class Converted:
    """A model in both forms."""

    folder: Path
    signatures: Any
    sessions: dict[str, Any]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """Two untrained networks with intervals and novelty."""
    from rhonet.serving.onnx_export import write_onnx

    folder = tmp_path_factory.mktemp("converted")
    standardizer, rng = Standardizer(ITEMS, SCALES), np.random.default_rng(0)
    training_peaks = TrainingPeaks(np.eye(len(WIDTHS)), rng.normal(size=(20, len(WIDTHS))))
    members = [
        ServedMember(build_network(CONFIG.view, CONFIG.model, standardizer), standardizer, training_peaks)
        for _ in range(2)
    ]
    for variable in (variable for member in members for variable in member.network.standardized.trainable_variables):
        variable.assign(variable + rng.normal(0, 0.1, variable.shape))
    widths = {item.name: ConformalWidths(n=50, half_width=0.7) for item in ITEMS}
    width = sum(item.size for item in ITEMS)
    terms = {item.name: tuple(rng.normal(0, 0.3, 2 * width + 1).tolist()) for item in ITEMS if not item.is_class}
    difficulty = Difficulty((0.0,) * width, (2.0,) * width, terms)
    save_model(DensityModel(members, CONFIG.view, Calibration(0.9, widths, 2.0, 50, difficulty)), folder)
    write_onnx(folder)
    sessions = {name: onnxruntime.InferenceSession(str(folder / name)) for name in FILES}
    return Converted(folder, tf.saved_model.load(str(folder / "saved_model")).signatures, sessions)


def density_on(shape: tuple[int, int, int], *, skewed: bool, spin: bool, seed: int) -> ChargeDensity:
    density = smooth_density(seed, shape, spin=spin)
    return dataclasses.replace(density, lattice=SKEWED * 1.1) if skewed else density


def inputs_of(densities: list[ChargeDensity]) -> dict[str, np.ndarray]:
    fields = [density.collinear_magnetization() for density in densities]
    return {
        "density": np.stack([density.values for density in densities]).astype(np.float32),
        "magnetization": np.stack([np.zeros((0, 0, 0)) if field is None else field for field in fields]).astype(
            np.float32
        ),
        "lattice": np.stack([density.lattice for density in densities]).astype(np.float32),
    }


def run(session: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs), strict=True))


def ask(signature: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    outputs = signature(**{name: tf.constant(array) for name, array in inputs.items()})
    return {name: value.numpy() for name, value in outputs.items()}


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(actual) == set(expected)
    for name, values in expected.items():
        # The tolerance near zero follows the typical size of the property, which the upper end of its interval gives.
        bound = expected.get(f"{name.removesuffix('_lower').removesuffix('_upper')}_upper", values)
        np.testing.assert_allclose(actual[name], values, rtol=SAME, atol=SAME * np.abs(bound).max(), err_msg=name)


@pytest.mark.parametrize("spin", [False, True])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("shape", "skewed"), [((12, 12, 12), False), ((16, 20, 15), False), ((9, 14, 11), True)])
def test_model_gives_what_the_saved_model_gives(converted, shape, skewed, count, spin):
    densities = [density_on(shape, skewed=skewed, spin=spin, seed=seed) for seed in range(count)]
    inputs = inputs_of(densities)
    expected = ask(converted.signatures["serving_default"], inputs)
    assert {"novelty", "bulk_modulus_lower", "phase"} < set(expected)
    assert_same(run(converted.sessions["model.onnx"], inputs), expected)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 30), (3, 40, 2)])
def test_thin_grids_are_no_exception(converted, shape):
    density = ChargeDensity(np.random.default_rng(0).random(shape), SKEWED)
    inputs = inputs_of([density])
    expected = ask(converted.signatures["serving_default"], inputs)
    assert_same(run(converted.sessions["model.onnx"], inputs), expected)


@pytest.mark.parametrize("spin", [False, True])
def test_halves_of_several_requests_make_the_whole(converted, spin):
    densities = [density_on((12 + seed, 10, 15), skewed=False, spin=spin, seed=seed) for seed in range(3)]
    singles = [{name: array[0] for name, array in inputs_of([density]).items()} for density in densities]
    seen = [run(converted.sessions["views.onnx"], single) for single in singles]
    size, channels = CONFIG.view.size, len(CONFIG.view.fields)
    assert seen[0]["views"].shape == (1, CONFIG.view.views, size, size, size, channels)
    together = {"views": "views", "lattice": "lattice_batch"}
    batch = {name: np.concatenate([half[source] for half in seen]) for name, source in together.items()}
    actual = run(converted.sessions["network.onnx"], batch)
    actual["novelty"] = np.concatenate([half["novelty"] for half in seen])
    expected = [ask(converted.signatures["predict_density"], single) for single in singles]
    assert_same(actual, {name: np.stack([outputs[name] for outputs in expected]) for name in expected[0]})


def test_files_say_what_they_take_and_give(converted):
    inputs = {
        name: {value.name: value.shape for value in session.get_inputs()}
        for name, session in converted.sessions.items()
    }
    size, channels = CONFIG.view.size, len(CONFIG.view.fields)
    cubes = [CONFIG.view.views, size, size, size, channels]
    grid, spin = ["nx", "ny", "nz"], ["mx", "my", "mz"]
    assert inputs == {
        "model.onnx": {
            "density": ["batch", *grid],
            "magnetization": ["batch", *spin],
            "lattice": ["batch", 3, 3],
        },
        "views.onnx": {"density": grid, "magnetization": spin, "lattice": [3, 3]},
        "network.onnx": {"views": ["batch", *cubes], "lattice": ["batch", 3, 3]},
    }
    outputs = {value.name: value.shape for value in converted.sessions["model.onnx"].get_outputs()}
    assert outputs["band_gap_lower"] == outputs["novelty"] == ["batch"]
    assert outputs["phase"] == ["batch", 3]
    views = {value.name: value.shape for value in converted.sessions["views.onnx"].get_outputs()}
    assert views == {"views": [1, *cubes], "lattice_batch": [1, 3, 3], "novelty": [1]}
    assert all(value.type == "tensor(float)" for one in converted.sessions.values() for value in one.get_inputs())


def test_model_folder_gets_onnx_files_in_a_copy(tiny_model, command, tmp_path, monkeypatch):
    def convert(folder: Path) -> None:
        assert (folder / "saved_model").is_dir()
        for name in FILES:
            (folder / name).touch()

    monkeypatch.setattr("rhonet.serving.onnx_export.write_onnx", convert)
    answer = command("export", tiny_model, "--to", tmp_path / "copy", "--onnx")
    assert (answer.code, answer.stdout) == (0, f"{tmp_path}/copy\n")
    names = sorted(path.name for path in (tmp_path / "copy").iterdir())
    assert names == sorted(["card.toml", "config.toml", "saved_model", *FILES])
    assert not [path for path in tiny_model.iterdir() if path.suffix == ".onnx"]


@pytest.mark.slow
def test_model_without_calibration_gives_neither_intervals_nor_novelty(tiny_onnx):
    session = onnxruntime.InferenceSession(str(tiny_onnx / "model.onnx"))
    assert [output.name for output in session.get_outputs()] == sorted(item.name for item in ITEMS)


def test_model_without_the_halves_is_refused(tmp_path):
    from rhonet.serving.onnx_export import write_onnx

    tf.saved_model.save(tf.Module(), str(tmp_path / "saved_model"))
    with pytest.raises(ModelError, match=r"cannot be loaded: 'views'; export the model again"):
        write_onnx(tmp_path)


def test_what_onnx_does_not_know_is_named(tmp_path):
    from rhonet.serving.onnx_export import write_onnx

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, "density")])
    def strange(density: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"views": tf.math.lgamma(density)}

    module = tf.Module()
    tf.saved_model.save(module, str(tmp_path / "saved_model"), signatures={"views": strange, "network": strange})
    with pytest.raises(ModelError, match=r"no counterpart in ONNX: .*Lgamma"):
        write_onnx(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["saved_model"]


@pytest.mark.slow
def test_released_model_in_onnx_answers_alike(released_onnx):
    archive = REPOSITORY / "tfds_builders/dft_crystals/archive/densities-000.h5"
    predict = tf.saved_model.load(str(released_onnx / "saved_model")).signatures["predict_density"]
    session = onnxruntime.InferenceSession(str(released_onnx / "model.onnx"))
    actual, expected = [], []
    for name in ("rocksalt_Be_Se", "rocksalt_Co_S"):
        batch = inputs_of([read_density(f"{archive}::{name}")])
        actual.append({key: value[0] for key, value in run(session, batch).items()})
        expected.append(ask(predict, {key: array[0] for key, array in batch.items()}))
    stacked = [{key: np.stack([one[key] for one in outputs]) for key in outputs[0]} for outputs in (actual, expected)]
    assert_same(*stacked)
