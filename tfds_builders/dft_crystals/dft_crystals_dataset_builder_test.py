"""TFDS' own checks of the builder, on the bundled crystals themselves."""

import pytest
import tensorflow_datasets as tfds

from rhonet.data.folder import read_folder
from tfds_builders.dft_crystals.dft_crystals_dataset_builder import ARCHIVE, Builder


@pytest.mark.slow
class DftCrystalsTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    EXAMPLE_DIR = ARCHIVE
    SPLITS = {"records": len(read_folder(ARCHIVE).samples)}  # noqa: RUF012 (as TFDS reads it)
