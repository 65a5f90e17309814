"""The command: crystals that it lists, computes, skips and refuses, and the files that it leaves."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from gzip import compress

import pytest

from rhonet.data.folder import read_folder
from tests.conftest import REPOSITORY
from tests.dft.runners import FakeRunner, fake_program
from tools import generate_dft
from tools.dft.abinit_input import paw_path
from tools.dft.elements import ELEMENTS
from tools.dft.errors import CalculationFailed, GenerateError
from tools.dft.paw_sets import check_paw_sets, unpack_paw_sets, with_abinit_grid
from tools.dft.store import Store

SCRIPT = REPOSITORY / "tools" / "generate_dft.py"
GRID = 'eq="r=a*i/(1-b*i)" a="0.4" b="0.004" n="250" istart="0"'


def paw_text(symbol):
    """The head of a PAW data set as gpaw-data has it."""
    known = ELEMENTS[symbol]
    return (
        f'<atom symbol="{symbol}" Z="{known.number}" core="0" valence="{known.valence_electrons:g}"/>\n'
        f'<state n="1" l="0" rc=" {known.sphere_radius:g}" e="0"/>\n<radial_grid {GRID}/>\n'
    )


@pytest.fixture
def paw(tmp_path):
    folder = tmp_path / "paw"
    folder.mkdir()
    for symbol in ELEMENTS:
        paw_path(folder, symbol).write_text(paw_text(symbol))
    return folder


@pytest.fixture
def call(tmp_path, paw, monkeypatch, capsys):
    """Runs the command with the fake ABINIT; returns exit code, output and errors."""

    def run(*arguments, before=lambda folder: None):
        monkeypatch.setattr(generate_dft, "find_abinit", lambda options: FakeRunner(before))
        code = generate_dft.main([str(tmp_path / "out"), "--paw", str(paw), *map(str, arguments)])
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


def names_in(plan):
    return [line.split()[0] for line in plan.splitlines()[1:-1]]


def test_help_imports_no_tensorflow_and_gives_an_example():
    code = "import sys; sys.modules['tensorflow'] = None; sys.argv = ['x', '--help']; import runpy; "
    code += f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert "python tools/generate_dft.py OUT --dry-run --limit 20" in done.stdout


def test_dry_run_lists_crystals_with_their_cost_and_computes_nothing(call, tmp_path):
    code, out, _ = call("--dry-run", "--limit", 5, "--workers", 2)
    assert code == 0
    assert len(names_in(out)) == 5
    assert re.search(r"5 crystals, about \d+\.\d core hours, \d+\.\d hours with 2 of --workers", out)
    assert not (tmp_path / "out").exists()


def test_dry_run_leaves_held_out_systems_out_unless_asked(call):
    _, some, _ = call("--dry-run", "--elements", "N,Zr,Ti")
    _, more, _ = call("--dry-run", "--elements", "N,Zr,Ti", "--with-held-out")
    assert "hcp_Zr" not in names_in(some)
    assert "hcp_Zr" in names_in(more)
    assert set(names_in(some)) < set(names_in(more))
    assert all(set(name.split("_")[1:]) <= {"N", "Zr", "Ti"} for name in names_in(more))


def test_crystals_are_computed_skipped_and_readable(call, tmp_path):
    code, out, _ = call("--crystals", "bcc_Na,zincblende_Be_Se")
    assert (code, out) == (0, f"2 crystals in {tmp_path / 'out'}; in this call 0 of 2 failed\n")
    assert [sample.id for sample in read_folder(tmp_path / "out").samples] == ["bcc_Na", "zincblende_Be_Se"]
    assert list((tmp_path / "out" / "scratch").iterdir()) == []

    def refuse(folder):
        raise AssertionError(f"computed again: {folder}")

    assert call("--crystals", "bcc_Na,zincblende_Be_Se", before=refuse)[0] == 0


def test_failed_crystals_are_noted_skipped_and_retried_on_request(call, tmp_path):
    def fail(folder):
        if "bcc_Na" in str(folder):
            raise CalculationFailed("the computer is tired")

    names = ("--crystals", "bcc_Na,zincblende_Be_Se")
    code, out, _ = call(*names, before=fail)
    assert code == 1
    assert "1 of 2 failed" in out
    assert "the computer is tired" in (tmp_path / "out" / "failed" / "bcc_Na.json").read_text()
    code, out, _ = call(*names)
    assert "0 of 0 failed" in out
    code, out, _ = call(*names, "--retry-failed")
    assert (code, "2 crystals" in out) == (0, True)
    assert not (tmp_path / "out" / "failed" / "bcc_Na.json").exists()


def test_workers_compute_side_by_side(call):
    # Each crystal's first run waits for the other's: one after the other they would wait in vain.
    meeting = threading.Barrier(2, timeout=30)

    def meet(folder):
        if folder.name == "search0" and not (folder.parent / "met").exists():
            (folder.parent / "met").touch()
            meeting.wait()

    assert call("--crystals", "bcc_Na,bcc_K", "--workers", 2, before=meet)[0] == 0


def test_own_references_are_computed_first(call, tmp_path):
    order = []

    def note(folder):
        if folder.parent.name not in order:
            order.append(folder.parent.name)

    assert call("--crystals", "CsCl_Na_K", "--own-references", before=note)[0] == 0
    assert order == ["reference_Na", "reference_K", "CsCl_Na_K"]
    (sample,) = read_folder(tmp_path / "out").samples
    # Every atom of the fake ABINIT's solid has the same energy, whatever it is next to.
    assert sample.labels["formation_energy_per_atom"] == pytest.approx(0.0, abs=1e-5)


def test_interrupted_crystal_begins_anew_and_finished_ones_stay(call, tmp_path):
    def interrupt(folder):
        if "bcc_K" in str(folder) and folder.name == "volumes":
            raise KeyboardInterrupt

    code, _, err = call("--crystals", "bcc_Na,bcc_K", before=interrupt)
    assert code == 130
    assert "finished crystals are kept" in err
    assert Store(tmp_path / "out", {}).crystals.keys() == {"bcc_Na"}
    code, out, _ = call("--crystals", "bcc_Na,bcc_K")
    assert (code, "0 of 1 failed" in out) == (0, True)


def test_killed_command_leaves_no_calculation_and_goes_on(call, tmp_path, paw):
    hang = tmp_path / "hang"
    (tmp_path / "abinit").write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec echo 9.6.2\n'
        f"echo $$ > {hang}.part; mv {hang}.part {hang}; exec sleep 60\n"
    )
    (tmp_path / "abinit").chmod(0o755)
    arguments = [sys.executable, str(SCRIPT), str(tmp_path / "out"), "--paw", str(paw), "--crystals", "bcc_Na"]
    with subprocess.Popen([*arguments, "--abinit", str(tmp_path / "abinit")], stderr=subprocess.PIPE) as process:
        while not hang.exists() and process.poll() is None:
            time.sleep(0.05)
        process.terminate()
        assert process.wait(30) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(hang.read_text()), signal.SIGCONT)
    code, out, _ = call("--crystals", "bcc_Na")
    assert (code, out[:10]) == (0, "1 crystals")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--crystals", "rocksalt_Na"), "names 1 elements"),
        (("--crystals", "hcp_Zr"), "the chemical system Zr is held out for blind tests"),
        (("--elements", "Xx"), "no data for the element 'Xx'"),
    ],
)
def test_calls_that_make_no_sense_are_refused_in_a_line(call, arguments, message):
    code, _, err = call(*arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_missing_program_and_data_sets_are_named_with_their_remedy(tmp_path, paw, capsys):
    arguments = [str(tmp_path / "out"), "--crystals", "bcc_Na", "--abinit", "no-such-abinit"]
    assert generate_dft.main(arguments) == 2
    assert "--set-up gets it" in capsys.readouterr().err
    assert generate_dft.main([*arguments, "--paw", str(paw)]) == 2
    assert "apt-get install abinit" in capsys.readouterr().err


def test_set_up_says_what_is_there(tmp_path, paw, capsys):
    program = str(fake_program(tmp_path / "abinit"))
    assert generate_dft.main([str(tmp_path / "out"), "--paw", str(paw), "--set-up", "--abinit", program]) == 0
    out = capsys.readouterr().out
    assert f"PAW data sets of {len(ELEMENTS)} elements" in out
    assert "ABINIT 9.6.2" in out


def test_paw_sets_are_unpacked_with_a_grid_that_abinit_knows(tmp_path):
    wheel = tmp_path / "gpaw_data.whl"
    with zipfile.ZipFile(wheel, "w") as package:
        for symbol, known in ELEMENTS.items():
            package.writestr(f"gpaw_data/{known.paw_set}.PBE.gz", compress(paw_text(symbol).encode()))
        package.writestr("gpaw_data/H.LDA.gz", b"")
    assert unpack_paw_sets(wheel, tmp_path / "paw") == len(ELEMENTS)
    check_paw_sets(tmp_path / "paw", ELEMENTS)
    assert 'eq="r=a*i/(n-i)" a="100" n="250" istart="0"' in paw_path(tmp_path / "paw", "Mn").read_text()


def test_rewritten_grid_is_the_same_grid():
    a, b = 0.4, 0.004
    grid = re.search(r'a="([^"]+)" n="(\d+)"', with_abinit_grid(paw_text("Na"), "Na"))
    assert grid
    for i in (0, 1, 100, 249):
        assert float(grid[1]) * i / (int(grid[2]) - i) == pytest.approx(a * i / (1 - b * i))


def test_grid_without_a_whole_number_is_refused():
    with pytest.raises(GenerateError, match="Na: the radial grid has 1/b = 300"):
        with_abinit_grid(paw_text("Na").replace('b="0.004"', 'b="0.00333"'), "Na")


def test_other_data_sets_are_refused(paw):
    path = paw_path(paw, "Mn")
    path.write_text(paw_text("Mn").replace('valence="7"', 'valence="15"'))
    with pytest.raises(GenerateError, match=r"Mn\.7\.PBE\.xml: not the set of gpaw-data==1\.2\.1 \(7 valence"):
        check_paw_sets(paw, ["Na", "Mn"])
    path.unlink()
    with pytest.raises(GenerateError, match="no such PAW data set"):
        check_paw_sets(paw, ["Mn"])
