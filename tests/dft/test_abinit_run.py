"""Running ABINIT: its output is read, and it is killed at the time limit."""

import os
import threading
import time

import pytest

from tests.dft.runners import fake_program, script
from tools.dft.abinit_input import Task
from tools.dft.abinit_run import Abinit
from tools.dft.errors import CalculationFailed, GenerateError, Interrupted, NotConverged, OutOfTime
from tools.dft.kmesh import GAMMA
from tools.dft.prototypes import PROTOTYPES


@pytest.fixture
def task():
    return Task(PROTOTYPES["bcc"].build(["Na"], 4.2), (1.0, 1.1), GAMMA, 16.0, keep_density=True)


def alive(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    # A killed grandchild stays a zombie until someone reaps it.
    with open(f"/proc/{process_id}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def ends(process_id, within=5.0):
    deadline = time.monotonic() + within
    while alive(process_id) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(process_id)


# Starts a child of its own, tells its number, and waits.
HANGING = "sleep 60 &\necho $! > child.part; mv child.part child\nwait"


def test_answer_is_read(task, tmp_path):
    abinit = Abinit(str(fake_program(tmp_path / "abinit")), tmp_path)
    assert abinit.version() == "9.6.2"
    done = abinit(task, tmp_path / "run", seconds=60)
    assert [point.volume for point in done.points] == pytest.approx([4.2**3 / 2, 1.1 * 4.2**3 / 2], rel=1e-6)
    assert done.cycles == (7, 7)
    assert done.density_file.exists()
    assert done.seconds > 0


def test_folder_is_emptied_first(task, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "ro_DS1_GSR.nc").write_text("old")
    with pytest.raises(CalculationFailed, match="wrote no log"):
        Abinit(str(script(tmp_path / "abinit", "exit 1")), tmp_path)(task, tmp_path / "run", seconds=60)


def test_time_limit_kills_the_program_and_its_children(task, tmp_path):
    abinit = Abinit(str(script(tmp_path / "abinit", HANGING)), tmp_path)
    with pytest.raises(OutOfTime, match="killed after 1 s"):
        abinit(task, tmp_path / "run", seconds=1.0)
    assert ends(int((tmp_path / "run" / "child").read_text()))


def test_stop_kills_what_runs_and_lets_nothing_begin(task, tmp_path):
    abinit = Abinit(str(script(tmp_path / "abinit", HANGING)), tmp_path)
    child = tmp_path / "run" / "child"

    def stop_once_started():
        while not child.exists():
            time.sleep(0.02)
        abinit.stop()

    stopper = threading.Thread(target=stop_once_started)
    stopper.start()
    with pytest.raises(Interrupted):
        abinit(task, tmp_path / "run", seconds=60)
    stopper.join()
    assert ends(int(child.read_text()))
    with pytest.raises(Interrupted):
        abinit(task, tmp_path / "run", seconds=60)


def test_reason_of_the_program_is_passed_on(task, tmp_path):
    text = r"printf -- '--- !ERROR\nmessage: |\n  no such pseudo\n...\n'; exit 14"
    with pytest.raises(CalculationFailed, match="abinit: no such pseudo"):
        Abinit(str(script(tmp_path / "abinit", text)), tmp_path)(task, tmp_path / "run", seconds=60)


def test_cycle_that_did_not_converge_is_told_apart(task, tmp_path):
    program = fake_program(tmp_path / "fake")
    shortened = script(tmp_path / "abinit", f'{program} "$@"; echo " At SCF step    9" > r.log')
    with pytest.raises(NotConverged, match="1 of 2 volumes"):
        Abinit(str(shortened), tmp_path)(task, tmp_path / "run", seconds=60)


def test_missing_program_is_named_with_its_remedy(tmp_path):
    with pytest.raises(GenerateError, match=r"no program 'abinit-9'; install it .*apt-get install abinit"):
        Abinit("abinit-9", tmp_path)


def test_program_that_does_not_start_is_named(tmp_path):
    with pytest.raises(GenerateError, match="--version ended with code 127"):
        Abinit(str(script(tmp_path / "abinit", "exit 127")), tmp_path).version()
