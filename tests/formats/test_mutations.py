"""Damaged files, many at random: each gives the right density or a FormatError, never a wrong one or a crash."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhonet.core.density import ChargeDensity
from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from tests.synthetic import castep_text, chgcar_json, chgcar_text, cube_text, random_density, xsf_text


@dataclass(frozen=True)
class Whole:
    """An undamaged file.

    Attributes:
        text: its content.
        density: the density in it.
        data_line: line where its numbers start, from 0.
        entry: which field to read.
    """

    text: str
    density: ChargeDensity
    data_line: int
    entry: str | None = None


SPIN = random_density((3, 4, 5), blocks=2)
PLAIN = random_density((4, 3, 5))
JSON = json.dumps(chgcar_json(PLAIN), indent=1)
FILES = {
    "chgcar with spin": Whole(chgcar_text(SPIN, augmentation=True), SPIN, 12),
    "chg": Whole(chgcar_text(PLAIN), PLAIN, 12),
    "cube": Whole(cube_text(PLAIN, origin=(1, 2, 3)), PLAIN, 8),
    "cube of two fields": Whole(cube_text(PLAIN, other_fields=[PLAIN.values**2]), PLAIN, 8, entry="1"),
    "json": Whole(JSON, PLAIN, JSON.splitlines().index('   "data": [') + 1),
    "castep": Whole(castep_text(PLAIN), PLAIN, 12),
    "xsf": Whole(xsf_text(PLAIN), PLAIN, 18),
}
NO_NUMBERS = ["***", "nan", "-inf", "1e999", "x", "0x1", "1_0", "1.0.0", "1.0-2.0", "--1", "1e", "9" * 400]
SCRAPS = [b"*", b"-", b".", b"E", b"nan", b"\n", b" ", b"\x00", b"\xff", b"1e9999", b"9" * 400, b"augmentation", b"\r"]

any_file = pytest.mark.parametrize("whole", FILES.values(), ids=FILES.keys())
place = st.floats(0, 1, exclude_max=True)


def read(content: bytes, whole: Whole) -> ChargeDensity | None:
    """Density that the bytes give, or None where they are refused with a proper message."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rho"
        path.write_bytes(content)
        try:
            return read_density(path, entry=whole.entry)
        except FormatError as error:
            message = str(error)
    assert message.startswith(str(path))
    assert len(message) < 500
    return None


def assert_right_or_refused(content: bytes, whole: Whole) -> None:
    density = read(content, whole)
    if density is not None:
        np.testing.assert_allclose(density.values, whole.density.values, rtol=1e-9)
        np.testing.assert_allclose(density.lattice, whole.density.lattice, atol=1e-9)


@any_file
def test_whole_file_is_read(whole):
    assert read(whole.text.encode(), whole) is not None


@any_file
@settings(max_examples=100)
@given(at=place)
def test_truncated_file(whole, at):
    content = whole.text.encode()
    assert_right_or_refused(content[: int(at * len(content))], whole)


@pytest.mark.slow
@any_file
@settings(max_examples=60)
@given(at=place, copies=st.sampled_from([0, 2]))
def test_line_lost_or_doubled(whole, at, copies):
    lines = whole.text.splitlines(keepends=True)
    line = int(at * len(lines))
    lines[line] *= copies
    assert_right_or_refused("".join(lines).encode(), whole)


@pytest.mark.slow
@any_file
@settings(max_examples=60)
@given(at=place, field=st.integers(0, 4), scrap=st.sampled_from(["", "1.0 1.0", *NO_NUMBERS]))
def test_number_lost_doubled_or_overwritten(whole, at, field, scrap):
    lines = whole.text.splitlines()
    line = whole.data_line + int(at * (len(lines) - whole.data_line))
    fields = lines[line].split()
    fields[field % len(fields)] = scrap
    lines[line] = " ".join(fields)
    assert_right_or_refused(("\n".join(lines) + "\n").encode(), whole)


@pytest.mark.slow
@any_file
@settings(max_examples=100)
@given(at=place, scrap=st.sampled_from(SCRAPS), replace=st.booleans())
def test_scraps_never_crash_the_reader(whole, at, scrap, replace):
    content = whole.text.encode()
    start = int(at * len(content))
    density = read(content[:start] + scrap + content[start + replace * len(scrap) :], whole)
    assert density is None or np.isfinite(density.values).all()


@settings(max_examples=100)
@given(content=st.binary(max_size=300))
def test_random_bytes_are_refused(content):
    assert read(content, FILES["chg"]) is None


@settings(max_examples=100)
@given(
    lines=st.lists(
        st.sampled_from(["1.0", "1 2 3", "2 0.0 0.0 0.0", "Na", "1 1", "Direct", "", "0.5 0.5 0.5"]), max_size=14
    )
)
def test_shuffled_headers_never_crash_the_reader(lines):
    read("\n".join(lines).encode(), FILES["chg"])
