"""What must import without TensorFlow, and how long a module may grow."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent

BELOW_THE_TENSORFLOW_LINE = {
    "rhonet.attribution.differentiable_model",
    "rhonet.evaluation.baselines.autoencoder",
    "rhonet.views.channels",
    "rhonet.training.checkpoint",
    "rhonet.training.devices",
    "rhonet.experiments.evaluate_model",
    "rhonet.experiments.experiment",
    "rhonet.attribution.grad_cam",
    "rhonet.training.inference",
    "rhonet.experiments.calibrate",
    "rhonet.models",
    "rhonet.training.observers",
    "rhonet.serving.onnx_export",
    "rhonet.views.pipeline",
    "rhonet.views.plane_waves",
    "rhonet.serving.exported_model",
    "rhonet.uncertainty.density_peaks",
    "rhonet.training.trainer",
    "rhonet.uncertainty.novelty",
    "rhonet.views.render",
}
COMMANDS = ["train", "evaluate", "predict", "export", "explain", "inspect", "prepare", "serve", "study"]
# Each takes from half a second to seconds to import; --help and a mistyped option must answer within one.
HEAVY = [
    "tensorflow",
    "keras",
    "tensorflow_datasets",
    "apache_beam",
    "pymatgen",
    "sklearn",
    "matplotlib",
    "onnxruntime",
]
MAX_LINES = 400


def is_below(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in BELOW_THE_TENSORFLOW_LINE)


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = sorted(module_name(path) for path in (REPOSITORY / "rhonet").rglob("*.py"))
# Runs inside a Triton server, which gives it a module of its own.
IN_TRITON = "rhonet.serving.triton.backend"
ABOVE = [module for module in MODULES if not is_below(module) and module != IN_TRITON]
SOURCES = sorted(
    path for folder in ("rhonet", "tfds_builders", "tools") for path in (REPOSITORY / folder).rglob("*.py")
)


def run_without(blocked: list[str], code: str) -> subprocess.CompletedProcess[str]:
    """Result of code in a new interpreter in which the blocked packages raise ImportError."""
    block = f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
    return subprocess.run([sys.executable, "-c", block + code], capture_output=True, text=True, cwd=REPOSITORY)


def run_command(name: str, option: str) -> subprocess.CompletedProcess[str]:
    """Result of `python -m rhonet.NAME OPTION` where nothing heavy can be imported."""
    code = f"import runpy; sys.argv[1:] = [{option!r}]; runpy.run_module('rhonet.{name}', run_name='__main__')"
    return run_without(HEAVY, code)


@functools.cache
def failed_imports() -> dict[str, str]:
    """Error per module above the line that does not import without TensorFlow; one interpreter for all."""
    code = f"""
import importlib, json
failed = {{}}
for module in {ABOVE!r}:
    try:
        importlib.import_module(module)
    except Exception as error:
        failed[module] = repr(error)
print(json.dumps(failed))
"""
    done = run_without(["tensorflow", "keras"], code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("module", ABOVE)
def test_module_above_the_line_imports_without_tensorflow(module):
    assert module not in failed_imports(), failed_imports()[module]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_imports_nothing_heavy(name):
    done = run_command(name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:")


@pytest.mark.parametrize("name", COMMANDS)
def test_bad_option_is_refused_before_anything_heavy(name):
    done = run_command(name, "--no-such-option")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


def test_modules_named_below_the_line_exist():
    assert {name for name in BELOW_THE_TENSORFLOW_LINE if name not in MODULES} == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_module_has_one_job(path):
    assert path.stem not in {"utils", "util", "helpers", "misc", "common"}
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
