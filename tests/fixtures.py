"""Fixtures around the small data set; a test module asks for them by `pytest_plugins = ("tests.fixtures",)`."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rhonet.cli.command import run_command
from rhonet.data.index import Index
from rhonet.serving.export import export_model
from rhonet.serving.model_card import released_model
from rhonet.training.runs import Run
from tests.crystals import Answer, Crystals, FinishedRun, run_code, run_module, train_and_kill, write_crystals
from tests.tiny_model import write_tiny_model

if TYPE_CHECKING:
    from rhonet.attribution.differentiable_model import DifferentiableModel


@pytest.fixture(scope="session")
def crystals(tmp_path_factory: pytest.TempPathFactory) -> Crystals:
    """24 synthetic crystals in a user's folder, built once."""
    from rhonet.data.builds import open_or_build

    root = tmp_path_factory.mktemp("crystals")
    small = Crystals(root / "toy", root / "data")
    write_crystals(small.folder)
    open_or_build(small.config().data)
    return small


@pytest.fixture(scope="session")
def builder(crystals: Crystals) -> Any:
    from rhonet.data.builds import open_or_build

    return open_or_build(crystals.config().data)


@pytest.fixture(scope="session")
def index(crystals: Crystals, builder: Any) -> Index:
    from rhonet.data.builds import stored_properties
    from rhonet.data.index import read_index, select_properties

    data = crystals.config().data
    return read_index(builder, data, select_properties(data, stored_properties(builder)))


@dataclass(frozen=True)
class Killed:
    """A training that was killed with -9 after its first epoch: what it said, what it left, what came of it."""

    run: Run
    log: str
    next_epoch: int
    had_model: bool
    resumed: subprocess.CompletedProcess[str]


def kill_and_resume(arguments: list[str], path: Path) -> Killed:
    from rhonet.training.checkpoint import load_checkpoint

    log, run = train_and_kill([*arguments, "--run-dir", str(path)]), Run(path)
    next_epoch, had_model = load_checkpoint(run.checkpoint, {})["next_epoch"], run.model.exists()
    return Killed(run, log, next_epoch, had_model, run_module("train", "--resume", path))


ONE_AND_TWO_DEVICES = """
import sys
from pathlib import Path
import tensorflow as tf
from rhonet.core.config import load_config
from rhonet.training.devices import prepare_devices
from rhonet.experiments.train_model import open_data
from rhonet.models import network
from rhonet.training.runs import make_run, plan_run
from rhonet.training.experiment import Experiment
from rhonet.training.trainer import Trainer

# What is dropped depends on how a batch is shared, so losses are compared without dropout.
network.DROPOUT = 0.0
config = load_config(sys.argv[1])
two = prepare_devices(config.train)
data = open_data(config)
for strategy in (tf.distribute.MirroredStrategy(["/CPU:0"]), two):
    run = plan_run(Path(sys.argv[1]).parent / str(strategy.num_replicas_in_sync))
    make_run(run, config)
    Trainer(Experiment(run, config, *data, strategy)).fit()
"""


@pytest.fixture(scope="session")
def finished(crystals: Crystals, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """`python -m rhonet.train --data FOLDER` on the small data set, never interrupted."""
    path = tmp_path_factory.mktemp("finished") / "run"
    done = run_module("train", *crystals.arguments(), "--run-dir", path)
    assert done.returncode == 0, done.stderr
    return FinishedRun(Run(path), done.stdout, done.stderr)


@pytest.fixture(scope="session")
def killed(crystals: Crystals, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """The same training, killed after its first epoch and resumed."""
    return kill_and_resume(crystals.arguments(), tmp_path_factory.mktemp("killed") / "run")


@pytest.fixture(scope="session")
def on_one_and_two_devices(crystals: Crystals, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """The same training on one and on two logical devices."""
    path = tmp_path_factory.mktemp("devices")
    two = crystals.config("model.name=plain3dcnn", "train.cpu_devices=2", "data.properties=band_gap,is_metal")
    (path / "config.toml").write_text(two.to_toml())
    done = run_code(ONE_AND_TWO_DEVICES, path / "config.toml")
    assert done.returncode == 0, done.stderr
    return Run(path / "1"), Run(path / "2")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """`python -m rhonet.NAME ARGUMENTS` in this process, which has TensorFlow already."""

    def call(name: str, *arguments: object) -> Answer:
        module = importlib.import_module(f"rhonet.{name}")
        monkeypatch.setattr(sys, "argv", [f"rhonet/{name}.py", *map(str, arguments)])
        root = logging.getLogger()
        handlers = root.handlers
        root.handlers = []
        capsys.readouterr()
        try:
            with pytest.raises(SystemExit) as done:
                run_command(module.main, module.build_parser())
        finally:
            root.handlers = handlers
        said = capsys.readouterr()
        return Answer(int(done.value.code or 0), said.out, said.err)

    return call


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model that nobody trained."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    write_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_onnx(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of its folder with ONNX files, converted once for all tests."""
    return _with_onnx(tiny_model, tmp_path_factory)


@pytest.fixture(scope="session")
def released_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the released model's folder with ONNX files, whose conversion takes a minute."""
    return _with_onnx(released_model(), tmp_path_factory)


def _with_onnx(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / model.name
    export_model(model, folder, onnx=True)
    return folder


@pytest.fixture(scope="session")
def differentiable(tiny_model: Path) -> DifferentiableModel:
    """The same with derivatives, which are traced but once."""
    from rhonet.attribution.differentiable_model import DifferentiableModel

    return DifferentiableModel(tiny_model)
