"""The layout of the package: which wing may import which, and what must import without TensorFlow."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent

# From the bottom up, in the order of a density's trip: a wing imports only wings that stand before it.
WINGS = (
    "core",
    "formats",
    "data",
    "models",
    "views",
    "uncertainty",
    "evaluation",
    "reports",
    "training",
    "serving",
    "attribution",
    "experiments",
    "cli",
)
COMMANDS = ("train", "evaluate", "predict", "inspect", "prepare", "export", "serve", "explain", "study")
# More than the order says.
ONLY = {"models": {"core"}, "core": set()}
# Runs inside a Triton server, which gives it a module of its own.
IN_TRITON = "rhonet.serving.triton.backend"
BELOW_THE_TENSORFLOW_LINE = {
    "rhonet.attribution.differentiable_model",
    "rhonet.evaluation.baselines.autoencoder",
    "rhonet.experiments.calibrate",
    "rhonet.experiments.evaluate_model",
    "rhonet.experiments.train_model",
    "rhonet.models",
    "rhonet.serving.exported_model",
    "rhonet.serving.onnx_export",
    "rhonet.training.checkpoint",
    "rhonet.training.devices",
    "rhonet.training.experiment",
    "rhonet.training.inference",
    "rhonet.training.observers",
    "rhonet.training.trainer",
    "rhonet.uncertainty.density_peaks",
    "rhonet.uncertainty.novelty",
    "rhonet.views",
}
# Each takes from half a second to seconds to import; --help and a mistyped option must answer within one.
HEAVY = (
    "tensorflow",
    "keras",
    "tensorflow_datasets",
    "apache_beam",
    "pymatgen",
    "sklearn",
    "matplotlib",
    "onnxruntime",
)


def sources(root: Path) -> dict[str, Path]:
    """Every module of the package below `root`, by its name."""
    names = {}
    for path in sorted((root / "rhonet").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports_of(path: Path, known: dict[str, Path]) -> set[tuple[str, int]]:
    """Modules of ours that a file imports, anywhere in it, with the line."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {(alias.name, node.lineno) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                found.add((module if module in known else node.module, node.lineno))
    return {
        (module, line) for module, line in found if module.partition(".")[0] in {"rhonet", "tfds_builders", "tools"}
    }


def wing_of(module: str) -> str:
    """The wing, or the command, that a module of the package belongs to; "" for the package itself."""
    return f"{module}.".split(".")[1]


def offences(root: Path) -> list[str]:
    """Imports that break the rule of the layout, one sentence each."""
    known = sources(root)
    wrong = []
    for module, path in known.items():
        wing = wing_of(module)
        for imported, line in sorted(imports_of(path, known)):
            target, place = wing_of(imported), f"{path.relative_to(root)}:{line}"
            if imported == "rhonet":
                continue
            if not imported.startswith("rhonet."):
                wrong.append(f"{place}: imports {imported}, which is no part of the package")
            elif target not in WINGS:
                wrong.append(f"{place}: imports {imported}, a command, which nobody imports")
            elif wing in ONLY and target not in {wing, *ONLY[wing]}:
                wrong.append(f"{place}: {wing} imports {imported}; it may import only {ONLY[wing] or 'itself'}")
            elif wing in WINGS and WINGS.index(target) > WINGS.index(wing):
                wrong.append(f"{place}: {wing} imports {imported}, which stands above it")
    return wrong + circles(known)


def circles(known: dict[str, Path]) -> list[str]:
    """Modules that import each other, by way of whatever others."""
    edges = {name: {module for module, _ in imports_of(path, known)} & set(known) for name, path in known.items()}
    reached = {name: set(targets) for name, targets in edges.items()}
    for middle in known:
        for targets in reached.values():
            if middle in targets:
                targets |= reached[middle]
    return [f"{name} imports itself by way of others" for name, targets in reached.items() if name in targets]


def run_without(blocked: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    """Result of code in a new interpreter in which the blocked packages raise ImportError."""
    block = f"import sys; sys.modules.update(dict.fromkeys({list(blocked)!r}))\n"
    return subprocess.run([sys.executable, "-c", block + code], capture_output=True, text=True, cwd=REPOSITORY)


def test_a_wing_imports_only_wings_below_it():
    assert offences(REPOSITORY) == []


def test_every_folder_is_a_wing_and_every_module_beside_them_a_command():
    package = REPOSITORY / "rhonet"
    folders = {path.name for path in package.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert folders == set(WINGS)
    assert {path.stem for path in package.glob("*.py")} == {"__init__", *COMMANDS}
    assert not {path.stem for path in package.rglob("*.py")} & {"utils", "util", "helpers", "misc", "common"}


@pytest.mark.parametrize(
    ("wing", "line", "found"),
    [
        ("core", "from rhonet.data.folder import read_folder", "core imports rhonet.data.folder; it may import only"),
        ("models", "import rhonet.views.render", "models imports rhonet.views.render; it may import only"),
        (
            "data",
            "def f():\n    from rhonet.views import render",
            "data imports rhonet.views.render, which stands above",
        ),
        ("training", "from rhonet import predict", "imports rhonet.predict, a command"),
        ("data", "from tfds_builders.card import Skipped", "imports tfds_builders.card, which is no part"),
    ],
)
def test_the_rule_notices(wing, line, found, tmp_path):
    for name, module in (("data", "folder"), ("views", "render")):
        (tmp_path / "rhonet" / name).mkdir(parents=True)
        (tmp_path / "rhonet" / name / f"{module}.py").touch()
    (tmp_path / "rhonet" / "predict.py").touch()
    (tmp_path / "rhonet" / wing).mkdir(exist_ok=True)
    (tmp_path / "rhonet" / wing / "new.py").write_text(line)
    (offence,) = offences(tmp_path)
    assert found in offence


def test_the_rule_notices_a_circle(tmp_path):
    (tmp_path / "rhonet" / "data").mkdir(parents=True)
    for name, other in (("one", "two"), ("two", "one")):
        (tmp_path / "rhonet" / "data" / f"{name}.py").write_text(f"import rhonet.data.{other}")
    assert len(offences(tmp_path)) == 2


def test_modules_above_the_tensorflow_line_import_without_it():
    modules = set(sources(REPOSITORY))
    below = {name for name in modules for top in BELOW_THE_TENSORFLOW_LINE if f"{name}.".startswith(f"{top}.")}
    assert modules >= BELOW_THE_TENSORFLOW_LINE
    code = f"""
import importlib, json
failed = {{}}
for module in {sorted(modules - below - {IN_TRITON})!r}:
    try:
        importlib.import_module(module)
    except Exception as error:
        failed[module] = repr(error)
print(json.dumps(failed))
"""
    done = run_without(("tensorflow", "keras"), code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {}


def test_help_and_bad_options_answer_before_anything_heavy_is_imported():
    code = f"""
import contextlib, importlib, io, json, sys
answers = {{}}
for name in {list(COMMANDS)!r}:
    for option in ("--help", "--no-such-option"):
        said, complaint = io.StringIO(), io.StringIO()
        sys.argv[1:] = [option]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaint):
            try:
                command = importlib.import_module("rhonet." + name)
                from rhonet.cli.command import run_command
                run_command(command.main, command.build_parser())
            except SystemExit as end:
                answers[name + option] = [end.code, said.getvalue()[:6], "Traceback" in complaint.getvalue()]
print(json.dumps(answers))
"""
    done = run_without(HEAVY, code)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    for name in COMMANDS:
        assert answers[f"{name}--help"] == [0, "usage:", False]
        assert answers[f"{name}--no-such-option"] == [2, "", False]
