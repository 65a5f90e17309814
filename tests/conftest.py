"""Settings that all tests share: quiet TensorFlow, plots without a window, reproducible hypothesis."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the environment, so that subprocesses are quiet too
os.environ["MPLBACKEND"] = "Agg"

# Same examples in every run; no deadline, as the first call of a test may import for seconds.
settings.register_profile("rhonet", deadline=None, derandomize=True, database=None)
settings.load_profile("rhonet")

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared_densities() -> Path:
    """Folder of density files from many codes, beside the checkout; tests that need it are skipped without it."""
    folder = REPOSITORY.parent / "shared" / "densities"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder
