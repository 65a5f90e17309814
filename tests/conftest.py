"""Settings that all tests share: quiet TensorFlow, reproducible hypothesis, which tests run in one process."""

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


# What is built once per session is built once in all when the tests that use it run in one process: the first
# fixture of this table that a test asks for names its group.
GROUPS = {
    "killed": "trained",
    "on_one_and_two_devices": "trained",
    "finished": "trained",
    "ensemble": "ensemble",
    "released_onnx": "released",
    "tiny_onnx": "tiny model",
    "differentiable": "tiny model",
    "tiny_model": "tiny model",
    "builder": "crystals",
    "crystals": "crystals",
}


# What takes half a minute and more to make; whoever asks for it is a slow test.
SLOW = {"killed", "on_one_and_two_devices", "ensemble", "released_onnx", "tiny_onnx", "converted"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts tests that share an expensive fixture into one group, and marks those as slow that need a slow thing."""
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        if item.get_closest_marker("server") or asked & SLOW:
            item.add_marker(pytest.mark.slow)
        if group := next((group for fixture, group in GROUPS.items() if fixture in asked), ""):
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Ends a run in which pytest-xdist does not see the groups, as under pytest 9.2: it would take twice as long."""
    if getattr(session.config.option, "loadgroup", False):
        lost = [
            item.nodeid for item in session.items if item.get_closest_marker("xdist_group") and "@" not in item.nodeid
        ]
        if lost:
            raise pytest.UsageError(f"pytest-xdist does not see the group of {lost[0]}; use the versions of locks/")


@pytest.fixture(scope="session")
def shared_densities() -> Path:
    """Folder of density files from many codes, beside the checkout; tests that need it are skipped without it."""
    folder = REPOSITORY.parent / "shared" / "densities"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder
