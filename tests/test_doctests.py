"""The examples in the docstrings of what a user calls first do what they say."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["core.density", "core.regrid", "core.properties", "formats", "formats.writers"])
def test_examples_run(module):
    result = doctest.testmod(importlib.import_module(f"rhonet.{module}"), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0
