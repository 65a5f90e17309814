"""Counts and names as people read them."""

import pytest

from rhonet.core.text import counted, is_printable, printable


def test_counts_have_their_plural():
    assert [counted(1, "atom"), counted(0, "atom"), counted(2, "density", "densities")] == [
        "1 atom",
        "0 atoms",
        "2 densities",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("密度 ü\u00a0Å.cube", "密度 ü\u00a0Å.cube"),
        ("new\nline\t.cube", r"new\nline\t.cube"),
        ("bad\udcff.cube", r"bad\xff.cube"),
        ("\x1b[31m\u2028\x85", r"\x1b[31m\u2028\x85"),
        ("\ud800", r"\ud800"),
    ],
)
def test_names_are_shown_on_one_line_of_utf_8(text, shown):
    assert printable(text) == shown
    assert is_printable(text) == (text == shown)
    shown.encode()
