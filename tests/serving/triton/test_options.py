"""The options of `python -m rhonet.export` that make a Triton repository."""

import argparse
from pathlib import Path

import pytest

from rhonet import export
from rhonet.core.errors import CallError
from rhonet.export import add_triton_options, triton_settings
from rhonet.serving.triton.config import TritonSettings
from tests.serving.triton.handmade import write_model_folder, write_onnx

pytest_plugins = ("tests.fixtures",)


def settings_of(*options: str) -> TritonSettings:
    parser = argparse.ArgumentParser()
    add_triton_options(parser)
    return triton_settings(parser.parse_args(options))


def test_without_options_settings_are_the_defaults():
    assert settings_of() == settings_of("--triton", "somewhere") == TritonSettings()


def test_options_become_settings():
    options = "--triton r --triton-python --triton-max-batch 8 --triton-max-grid-points 99 --triton-device cpu"
    settings = settings_of(*options.split(), "--triton-instances", "2", "--triton-threads", "3")
    assert settings == TritonSettings("python", 8, 99, "cpu", 2, 3)


def test_numbers_that_make_no_sense_and_options_without_a_folder_are_refused():
    with pytest.raises(CallError, match=r"--triton-...: max_batch is 0; it must be at least 1"):
        settings_of("--triton", "r", "--triton-max-batch", "0")
    for option in ("--triton-python", "--triton-tensorflow", "--force", "--triton-max-batch=8"):
        with pytest.raises(CallError, match=r"--force and all options that begin with --triton- need --triton DIR"):
            settings_of(option)


def test_model_folder_goes_into_a_repository_as_it_is(command, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "start_tensorflow", lambda: pytest.fail("TensorFlow was started"))
    write_onnx(tmp_path / "model")
    write_model_folder(tmp_path / "card")
    (tmp_path / "card" / "card.toml").rename(tmp_path / "model" / "card.toml")
    repository = tmp_path / "repository"
    for version in ("1", "2"):
        answer = command("export", tmp_path / "model", "--triton", repository, "--triton-python")
        assert (answer.code, answer.stdout) == (0, f"{repository}\n"), answer.stderr
        assert (repository / "rhonet_density" / version).is_dir()
        assert f"repository: version {version}, for the python backend" in answer.stderr


def test_repository_of_others_is_refused_before_anything_is_converted(command, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "start_tensorflow", lambda: pytest.fail("TensorFlow was started"))
    write_model_folder(tmp_path / "model")
    (tmp_path / "repository" / "rhonet").mkdir(parents=True)
    for to in ([], ["--to", tmp_path / "copy"]):
        answer = command("export", tmp_path / "model", *to, "--triton", tmp_path / "repository")
        assert answer.says(2, f"{tmp_path}/repository/rhonet: exists and has no config.pbtxt")
    assert not (tmp_path / "copy").exists()


def test_exported_model_is_not_exported_again_for_nothing(command, tmp_path):
    write_model_folder(tmp_path / "model")
    answer = command("export", tmp_path / "model", "--to", tmp_path / "copy")
    assert answer.says(2, f"{tmp_path}/model: is exported already; --onnx or --triton DIR makes more of it")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("options", [[], ["--onnx"], ["--onnx", "--triton", "r"]])
def test_new_model_folder_must_be_named(command, tmp_path, options):
    write_model_folder(tmp_path / "model")
    assert command("export", tmp_path / "model", *options).says(2, "--to DIR is missing: the model folder to write")
    assert not Path("r").exists()


def test_folder_that_is_neither_run_nor_model_is_told_first(command, tmp_path):
    answer = command("export", tmp_path / "nothing", "--triton", tmp_path / "r")
    assert answer.says(2, f"{tmp_path}/nothing: not a run folder (no config.toml)")
