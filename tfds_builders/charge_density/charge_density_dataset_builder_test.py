"""TFDS' own checks of the builder, on a small folder made in code: two formats, spin, missing labels."""

import tempfile
from pathlib import Path

import tensorflow_datasets as tfds

from tests.synthetic import chgcar_text, cube_text, random_density, write_archive
from tfds_builders.charge_density.charge_density_dataset_builder import Builder


class ChargeDensityTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"records": 3}  # noqa: RUF012 (as TFDS reads it)

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory()
        cls.EXAMPLE_DIR = cls._folder.name
        folder = Path(cls.EXAMPLE_DIR)
        (folder / "CHGCAR_spin").write_text(chgcar_text(random_density(blocks=2)))
        (folder / "salt.cube").write_text(cube_text(random_density(seed=1)))
        write_archive(folder / "more.h5", {"c": random_density(seed=2, symbols="MgO")})
        (folder / "properties.csv").write_text(
            "id,file,band_gap,is_metal\na,CHGCAR_spin,,0\nb,salt.cube,1.5,0\nc,more.h5,0,1\n"
        )
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls._folder.cleanup()
