"""ABINIT's output is read with the right units, signs and order; truncated files are refused."""

import h5py
import numpy as np
import pytest

from tests.dft.fake_abinit import write_density_file
from tools.dft.abinit_output import count_cycles, failure_reason, read_density, read_point
from tools.dft.errors import CalculationFailed
from tools.dft.units import BOHR, EV_PER_CUBIC_ANGSTROM, HARTREE

SHAPE = (2, 3, 4)


def write_results(path, **changes):
    values = {
        "etotal": -2.0,
        "e_entropy": -0.01,
        "fermie": 0.25,
        "nelect": 8.0,
        "eigenvalues": np.zeros((2, 1, 3)),
        "occupations": np.array([[[1.0, 1.0, 1.0]], [[1.0, 0.0, 0.0]]]),
        "kpoint_weights": np.ones(1),
        "reduced_coordinates_of_kpoints": np.zeros((1, 3)),
        "primitive_vectors": np.eye(3) * 10,
        "cartesian_stress_tensor": np.array([1e-4, 2e-4, 3e-4, 9.0, 9.0, 9.0]),
    } | changes
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            if value is not None:
                file[name] = value
    return path


def test_results_come_in_ev_angstrom_and_gpa(tmp_path):
    point = read_point(write_results(tmp_path / "GSR.nc"))
    # e_entropy is -TS: half of it is taken back, towards no smearing.
    assert point.energy == pytest.approx((-2.0 + 0.005) * HARTREE)
    assert point.fermi_energy == pytest.approx(0.25 * HARTREE)
    assert point.volume == pytest.approx((10 * BOHR) ** 3)
    # Tensile stress is positive in ABINIT: the crystal wants to shrink, its pressure is negative.
    assert point.pressure == pytest.approx(-2e-4 * HARTREE / BOHR**3 * EV_PER_CUBIC_ANGSTROM)
    assert point.moment == pytest.approx(2.0)
    assert point.n_electrons == 8.0


def test_without_spin_there_is_no_moment(tmp_path):
    path = write_results(tmp_path / "GSR.nc", occupations=np.full((1, 1, 3), 2.0), eigenvalues=np.zeros((1, 1, 3)))
    assert read_point(path).moment == 0


def test_damaged_results_are_refused(tmp_path):
    with pytest.raises(CalculationFailed, match=r"GSR\.nc: damaged"):
        read_point(write_results(tmp_path / "GSR.nc", etotal=None))
    (tmp_path / "cut.nc").write_bytes((tmp_path / "GSR.nc").read_bytes()[:500])
    with pytest.raises(CalculationFailed, match=r"cut\.nc: damaged"):
        read_point(tmp_path / "cut.nc")


def test_density_is_in_fortran_order_and_per_cubic_angstrom(tmp_path):
    values = np.arange(24.0).reshape(SHAPE)
    write_density_file(tmp_path / "DEN", [values.ravel(order="F")])
    density, magnetization = read_density(tmp_path / "DEN", SHAPE, n_spins=1)
    np.testing.assert_allclose(density * BOHR**3, values)
    assert magnetization is None


def test_magnetization_is_up_minus_down(tmp_path):
    rng = np.random.default_rng(0)
    up, down = rng.random(SHAPE), rng.random(SHAPE)
    write_density_file(tmp_path / "DEN", [(up + down).ravel(order="F"), up.ravel(order="F")])
    density, magnetization = read_density(tmp_path / "DEN", SHAPE, n_spins=2)
    assert magnetization is not None
    np.testing.assert_allclose(density * BOHR**3, up + down)
    np.testing.assert_allclose(magnetization * BOHR**3, up - down)


@pytest.mark.parametrize("kept", [0, 3, 100])
def test_truncated_density_is_refused(tmp_path, kept):
    write_density_file(tmp_path / "DEN", [np.ones(24)])
    content = (tmp_path / "DEN").read_bytes()
    (tmp_path / "DEN").write_bytes(content[:kept])
    with pytest.raises(CalculationFailed, match="truncated"):
        read_density(tmp_path / "DEN", SHAPE, n_spins=1)


def test_density_of_another_grid_is_refused(tmp_path):
    write_density_file(tmp_path / "DEN", [np.ones(24)])
    with pytest.raises(CalculationFailed, match="truncated"):
        read_density(tmp_path / "DEN", (2, 3, 5), n_spins=1)


def test_reason_of_a_failure_is_the_programs_own():
    log = "lots\n--- !ERROR\nsrc_file: m.F90\nmessage: |\n    cannot find\n    the file\n...\n leave_new"
    assert failure_reason(log) == "cannot find the file"
    assert failure_reason("killed by\nsomeone") == "killed by someone"
    assert failure_reason("") == "it wrote no log"


def test_cycles_are_counted():
    assert count_cycles(" At SCF step   12, etot\n x\n At SCF step    7, etot\n") == [12, 7]
