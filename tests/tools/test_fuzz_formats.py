"""Seeds of the fuzzer, and the errors that it must notice."""

from __future__ import annotations

import pytest

from rhonet.formats import FORMATS, read_density
from tests.whole_files import whole_files
from tools.fuzz_formats import MAX_INPUT_BYTES, NAMES, read_input

# Written by its own code alone (gpaw), or a Fortran record file whose synthetic twin lies with its tests.
NOT_WRITTEN_HERE = {"gpaw", "siesta_rho"}


def test_seeds_are_whole_small_files_of_every_format(tmp_path):
    formats = set()
    for name, content in whole_files().items():
        (tmp_path / name).write_bytes(content)
        if name == "vaspout.h5":  # without a density, as VASP writes it by default
            continue
        formats.add(read_density(tmp_path / name, entry="1" if name == "fields.cube" else None).format)
        assert len(content) < MAX_INPUT_BYTES, name
    assert formats == {row.name for row in FORMATS} - NOT_WRITTEN_HERE


def test_reader_that_crashes_or_forgets_the_file_is_a_finding(tmp_path, monkeypatch):
    content = whole_files()["CHGCAR"] + bytes([NAMES.index("CHGCAR")])
    read_input(content, tmp_path)
    read_input(content[:100], tmp_path)
    read_input(b"", tmp_path)

    def forget(*_: object) -> None:
        from rhonet.core.errors import FormatError

        raise FormatError("something is wrong")

    monkeypatch.setattr("rhonet.formats.read_density", forget)
    with pytest.raises(AssertionError, match="no proper message"):
        read_input(content, tmp_path)

    def crash(*_: object) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr("rhonet.formats.read_density", crash)
    with pytest.raises(IndexError):
        read_input(content, tmp_path)
    assert not list(tmp_path.iterdir())
