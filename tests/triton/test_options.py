"""The options of `python -m rhonet.export` that make a Triton repository."""

import argparse

import pytest

from rhonet.cli import CallError
from rhonet.triton.config import Settings
from rhonet.triton.options import add_triton_options, triton_settings


def settings_of(*options: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_triton_options(parser)
    return triton_settings(parser.parse_args(options))


def test_without_options_settings_are_the_defaults():
    assert settings_of() == settings_of("--triton", "somewhere") == Settings()


def test_options_become_settings():
    options = "--triton r --triton-python --triton-max-batch 8 --triton-max-grid-points 99 --triton-device cpu"
    found = settings_of(*options.split(), "--triton-instances", "2", "--triton-threads", "3")
    assert found == Settings("python", 8, 99, "cpu", 2, 3)


def test_numbers_that_make_no_sense_and_options_without_a_folder_are_refused():
    with pytest.raises(CallError, match=r"--triton-...: max_batch is 0; it must be at least 1"):
        settings_of("--triton", "r", "--triton-max-batch", "0")
    for option in ("--triton-python", "--triton-tensorflow", "--force"):
        with pytest.raises(CallError, match=r"--triton-python, --triton-tensorflow and --force need --triton DIR"):
            settings_of(option)
