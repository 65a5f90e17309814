"""The options on reading files are the same in every command that takes files."""

import argparse

import pytest

from rhonet import inspect, predict
from rhonet.cli.inputs import add_file_arguments, reader_for, report_failures
from rhonet.core.density import ChargeDensity
from rhonet.core.errors import FormatError
from rhonet.formats import FORMATS
from tests.synthetic import atoms_of, chgcar_text, cube_text, random_density

DENSITY = random_density()


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    add_file_arguments(parser)
    return parser.parse_args(list(map(str, arguments)))


@pytest.mark.parametrize("module", [inspect, predict])
def test_commands_share_the_options(module):
    options = module.build_parser().parse_args(["a", "b", "--structure", "x.cif", "--input-format", "cube"])
    assert (options.files, str(options.structure), options.input_format) == (["a", "b"], "x.cif", "cube")
    assert all(row.name in module.build_parser().format_help() for row in FORMATS)


def test_reader_gives_the_density_or_the_reason(tmp_path):
    (tmp_path / "rho.cube").write_text(cube_text(DENSITY))
    reader = reader_for(parsed("x"))
    assert isinstance(reader.read(str(tmp_path / "rho.cube")), ChargeDensity)
    assert reader.read(str(tmp_path / "none")) == f"{tmp_path / 'none'}: cannot be read: No such file or directory"


def test_file_that_fills_the_memory_fails_alone(monkeypatch):
    def read_density(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr("rhonet.cli.inputs.read_density", read_density)
    assert reader_for(parsed("x")).read("x") == "x: its grid does not fit into memory"


def test_structure_is_read_once_and_must_be_one(tmp_path):
    lines = chgcar_text(DENSITY).splitlines(keepends=True)
    (tmp_path / "CHGCAR").write_text("".join(lines[:5] + lines[6:]))
    atoms_of(DENSITY).write(tmp_path / "NaCl.extxyz")
    reader = reader_for(parsed("x", "--structure", tmp_path / "NaCl.extxyz"))
    (tmp_path / "NaCl.extxyz").unlink()
    density = reader.read(str(tmp_path / "CHGCAR"))
    assert isinstance(density, ChargeDensity)
    assert str(atoms_of(density).symbols) == "NaCl"
    with pytest.raises(FormatError, match="gives no structure"):
        reader_for(parsed("x", "--structure", tmp_path / "NaCl.extxyz"))


def test_failures_are_listed_and_counted(caplog):
    with caplog.at_level("WARNING"):
        assert report_failures(["a: bad", "b: worse"], n_files=5) == 1
    assert caplog.messages == ["error: a: bad", "error: b: worse", "2 of 5 files failed"]
    caplog.clear()
    assert report_failures([], n_files=5) == 0
    assert caplog.messages == []
