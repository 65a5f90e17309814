"""TFDS builder for the bundled DFT crystals, through the code path of any folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

import tensorflow_datasets as tfds

from rhonet.data.folder import SETTINGS_NAME
from tfds_builders.density_builder import DensityBuilder

ARCHIVE = Path(__file__).parent / "archive"


class Builder(DensityBuilder):
    """PBE densities and properties of small crystals; they come with the package, nothing is downloaded."""

    VERSION = tfds.core.Version(tomllib.loads((ARCHIVE / SETTINGS_NAME).read_text(encoding="utf-8"))["version"])

    def _source(self, dl_manager: tfds.download.DownloadManager) -> Path:
        return ARCHIVE
