"""What is installed: declared packages, pins that satisfy them, and a wheel that holds everything a user needs."""

import ast
import importlib.metadata
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parent.parent
SETUP = runpy.run_path(str(REPOSITORY / "setup.py"))
DEVICES = ("cpu", "gpu")
# Extras that `make` does not install, so nothing is locked for them: they need a compiler, or one person.
NOT_LOCKED = ("gpaw", "fuzz")


def lock_text(device: str) -> str:
    return (REPOSITORY / "locks" / f"{device}.txt").read_text(encoding="utf-8")


def pins(device: str) -> Iterator[Requirement]:
    for line in lock_text(device).splitlines():
        if line and line[0] not in " #":
            yield Requirement(line.removesuffix("\\").strip())


def wanted(device: str) -> list[Requirement]:
    """What setup.py asks for on a machine of that kind, every extra but the other device's included."""
    extras = [extra for extra in SETUP["EXTRAS"] if extra == device or extra not in (*DEVICES, *NOT_LOCKED)]
    return [
        Requirement(line) for line in SETUP["REQUIRES"] + [line for name in extras for line in SETUP["EXTRAS"][name]]
    ]


def imported(folder: str) -> set[str]:
    """Names of the top-level packages that the modules of a folder import, wherever in the module."""
    names = set()
    for path in (REPOSITORY / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names.add(node.module.partition(".")[0])
    # Triton gives this module to the models of its Python backend.
    return names - {folder, "triton_python_backend_utils", *sys.stdlib_module_names}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("rhonet", ["cpu", "gpaw", "export"]),
        ("tfds_builders", ["cpu", "test"]),
        ("tests", ["cpu", "test", "mp", "export"]),
        ("tools", ["cpu", "bench", "export", "mp", "fuzz"]),
    ],
)
def test_every_import_is_declared(folder, extras):
    lines = [*SETUP["REQUIRES"], *(line for extra in extras for line in SETUP["EXTRAS"][extra])]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    providers = importlib.metadata.packages_distributions()
    for name in imported(folder) - set(SETUP["FOLDERS"]) - {"tests", "tools"}:
        found = {canonicalize_name(provider) for provider in providers.get(name, [name])}
        assert found & declared, f"{folder} imports {name}; name its package in setup.py"


@pytest.mark.parametrize("device", DEVICES)
def test_lock_satisfies_setup(device):
    locked = {canonicalize_name(pin.name): pin for pin in pins(device)}
    for requirement in wanted(device):
        pin = locked.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} is not in locks/{device}.txt; run: make lock"
        (version,) = (specifier.version for specifier in pin.specifier)
        assert requirement.specifier.contains(version), f"{pin} is outside {requirement}; run: make lock"


@pytest.mark.parametrize("device", DEVICES)
def test_lock_pins_each_package_once_with_hashes(device):
    entries = re.split(r"^(?=\w)", lock_text(device), flags=re.MULTILINE)[1:]
    names = [canonicalize_name(pin.name) for pin in pins(device)]
    assert len(names) == len(set(names)) == len(entries)
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("device", DEVICES)
def test_lock_names_no_address(device):
    assert not re.search(r"://|--(extra-)?index-url|--find-links", lock_text(device))


def test_devices_differ_in_tensorflow_only():
    cpu, gpu = ({pin.name: str(pin.specifier) for pin in pins(device)} for device in DEVICES)
    assert cpu.pop("tensorflow-cpu") == gpu.pop("tensorflow")
    assert cpu == {name: version for name, version in gpu.items() if not name.startswith("nvidia-")}


def test_metadata_agree():
    citation = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {SETUP['version']()}\n" in citation
    assert f"## {SETUP['version']()}" in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "arXiv:2510.13207" in citation


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """An unpacked wheel, built from a copy so that the checkout stays as it is."""
    source, wheels, site = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "site"))
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    for name in SETUP["FOLDERS"]:
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels]
    subprocess.run([*pip, source], check=True)
    (wheel,) = wheels.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


@pytest.mark.slow
def test_wheel_holds_data_beside_code(installed):
    def data_files(root: Path) -> set[str]:
        kept = (path for path in root.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"})
        return {str(path.relative_to(root)) for path in kept}

    for folder in SETUP["FOLDERS"]:
        assert data_files(REPOSITORY / folder) - data_files(installed / folder) == set()


def test_wheel_works_away_from_the_checkout(installed, tmp_path):
    code = "import rhonet.core.config as c, tomllib; print(c.__file__); print(c.load_config('base').to_toml())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(installed)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    place, _, settings = done.stdout.partition("\n")
    assert Path(place).is_relative_to(installed)
    assert "train" in tomllib.loads(settings)
