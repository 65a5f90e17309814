"""TFDS builder for a user's folder of density files."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from rhonet.data.records import RECORD_VERSION
from tfds_builders.density_builder import DensityBuilder


class Builder(DensityBuilder):
    """Densities and labels of the folder given as `manual_dir`."""

    VERSION = tfds.core.Version(f"{RECORD_VERSION}.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        f"{RECORD_VERSION}.0.0": f"Records of version {RECORD_VERSION} (rhonet.data.records)."
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Pass as manual_dir a folder with density files (CHGCAR, cube, ...), properties.csv with the columns "
        "id,file,<property>... and, optionally, dataset.toml."
    )

    def _source(self, dl_manager: tfds.download.DownloadManager) -> Path:
        return Path(dl_manager.manual_dir)
