from __future__ import annotations

import logging

import numpy as np

from rhonet.evaluation.baselines.on_records import predict_baselines
from rhonet.evaluation.baselines.trees import (
    AUTOENCODER_GB,
    COMPOSITION_RF,
    DUMMY,
    GRID_GB,
    HISTOGRAM_GB,
    N_DENSITY_FEATURES,
)

pytest_plugins = ("tests.fixtures",)


def test_baselines_predict_the_split_in_the_order_of_their_names(builder, index, crystals):
    names = (HISTOGRAM_GB, DUMMY, GRID_GB, COMPOSITION_RF)
    by_name = predict_baselines(builder, index, data=crystals.config().data, split="test", names=names)
    assert tuple(by_name) == names
    for predictions in by_name.values():
        assert predictions.ids == tuple(index.ids[index.rows("test")])
        assert predictions.properties == index.properties
        np.testing.assert_array_equal(predictions.labels["band_gap"], index.labels[index.rows("test"), 0])
    gaps = [predictions.values["band_gap"].tolist() for predictions in by_name.values()]
    assert all(gaps[i] != gaps[j] for i in range(len(gaps)) for j in range(i))


def test_each_record_keeps_its_own_latent_vector(builder, index, crystals, monkeypatch):
    seen = {}

    def latent_vectors(builder, index, rows, *, data, seed):
        return rows[:, None].astype(float)

    def fit_predict_baselines(properties, train, *, test, seed):
        seen.update(train=train, test=test)
        return {AUTOENCODER_GB: "predictions"}

    monkeypatch.setattr("rhonet.evaluation.baselines.autoencoder.latent_vectors", latent_vectors)
    monkeypatch.setattr("rhonet.evaluation.baselines.on_records.fit_predict_baselines", fit_predict_baselines)
    data = crystals.config().data
    by_name = predict_baselines(builder, index, data=data, split="validation", names=(AUTOENCODER_GB,))
    assert by_name == {AUTOENCODER_GB: "predictions"}
    for samples, split in ((seen["train"], "train"), (seen["test"], "validation")):
        assert samples.features[AUTOENCODER_GB][:, 0].tolist() == index.rows(split).tolist()
        assert samples.ids == tuple(index.ids[index.rows(split)])


def test_records_without_species_cause_a_warning_and_get_the_dummys_prediction(
    builder, index, crystals, monkeypatch, caplog
):
    monkeypatch.setattr(
        "rhonet.evaluation.baselines.on_records.composition_features", lambda formula: np.full(3, np.nan)
    )
    data = crystals.config().data
    with caplog.at_level(logging.WARNING):
        by_name = predict_baselines(builder, index, data=data, split="test", names=(DUMMY, COMPOSITION_RF))
    count = len(index.rows("train")) + len(index.rows("test"))
    assert f"{count} densities name no elements: composition_rf does not learn from them and predicts" in caplog.text
    for item in index.properties:
        np.testing.assert_array_equal(by_name[COMPOSITION_RF].values[item.name], by_name[DUMMY].values[item.name])


def test_the_histogram_is_that_of_the_stored_density(builder, index, crystals, monkeypatch):
    seen = []

    def density_features(values, magnetization):
        seen.append((values.shape, magnetization is not None))
        return np.arange(float(N_DENSITY_FEATURES)) + len(seen)

    monkeypatch.setattr("rhonet.evaluation.baselines.on_records.density_features", density_features)
    predict_baselines(builder, index, data=crystals.config().data, split="test", names=(HISTOGRAM_GB,))
    assert len(seen) == len(index.rows("train")) + len(index.rows("test"))
    assert {spin for _, spin in seen} == {True, False}
