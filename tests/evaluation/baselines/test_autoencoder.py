from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest

from rhonet.evaluation.baselines import autoencoder
from rhonet.evaluation.baselines.autoencoder import LATENT, SIZE, build_autoencoder, latent_vectors

pytest_plugins = ("tests.fixtures",)


def test_cube_comes_back_in_its_shape_and_scale():
    encoder, autoencoder_model = build_autoencoder(2.0, 0.0)
    cubes = np.full((3, SIZE, SIZE, SIZE, 1), 2.0, np.float32)
    assert encoder(cubes).shape == (3, LATENT)
    rebuilt = np.asarray(autoencoder_model(cubes))
    assert rebuilt.shape == cubes.shape
    # The mean comes in as zero and, as biases start at zero, leaves as the mean.
    np.testing.assert_allclose(rebuilt, 2.0, rtol=1e-6)


def test_patches_are_put_back_where_they_were_cut_out():
    _, autoencoder_model = build_autoencoder(0.0, 1.0)
    *_, convolution, _, _, _, _ = autoencoder_model.layers
    kernel, bias = convolution.get_weights()
    convolution.set_weights([0 * kernel, np.arange(8, dtype=np.float32)])
    rebuilt = np.asarray(autoencoder_model(np.zeros((1, SIZE, SIZE, SIZE, 1), np.float32)))[0, ..., 0]
    expected = np.arange(8).reshape(2, 2, 2)
    np.testing.assert_array_equal(rebuilt, np.tile(expected, (SIZE // 2,) * 3))
    assert bias.shape == (8,)


@pytest.mark.slow
def test_latent_vectors_are_reproducible_and_independent_of_labels_and_test_crystals(
    builder, index, crystals, monkeypatch, caplog
):
    seen, cubes = [], autoencoder._cubes

    def watched(builder, rows, view):
        seen.append(rows)
        return cubes(builder, rows, view)

    monkeypatch.setattr(autoencoder, "_cubes", watched)
    data, rows = crystals.config().data, np.arange(len(index.ids))
    with caplog.at_level(logging.INFO, "rhonet.evaluation.baselines.autoencoder"):
        first = latent_vectors(builder, index, rows, data=data, steps=8)
    assert first.shape == (len(rows), 2 * LATENT)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(seen[0], index.rows("train"))
    assert int(caplog.messages[-1].split("explains ")[1].split(" %")[0]) > 0
    unlabelled = dataclasses.replace(index, labels=np.full_like(index.labels, np.nan))
    np.testing.assert_array_equal(latent_vectors(builder, unlabelled, rows, data=data, steps=8), first)
