"""The download from the Materials Project, tested with a local server."""

import csv
import functools
import json
import math
import os
import signal
import subprocess
import sys

import pytest
from mp_api.client.core.client import BaseRester

from rhonet.data.folder import read_folder
from rhonet.formats import read_density
from tests.conftest import REPOSITORY
from tests.synthetic import random_density
from tests.tools.fake_materials_project import KEY, FakeService, serve
from tools import materials_project_client
from tools.download_materials_project import main
from tools.materials_project_labels import labels_of_cell, read_material

LABELLED = {
    "band_gap": 5.0,
    "efermi": 0.5,
    "is_metal": False,
    "total_magnetization": -1.5,
    "bulk_modulus": {"voigt": 26.0, "reuss": 24.0, "vrh": 25.0},
}


@pytest.fixture
def quick_client(monkeypatch):
    """Build the schema of a document once; mp-api does it for each field anew, which takes a second per call."""
    fields_of = functools.cache(lambda model: list(model.model_json_schema()["properties"]))
    monkeypatch.setattr(BaseRester, "available_fields", property(lambda self: fields_of(self.document_model)))


@pytest.fixture
def service(monkeypatch, quick_client):
    """Three materials with densities, at an address that mp-api and boto3 find in the environment."""
    content = FakeService()
    for number in (1, 2, 3):
        density = random_density((6, 5, 4), seed=number, blocks=2)
        content.add(f"mp-{number}", density, nsites=2, band_gap=float(number))
    content.documents["summary"]["mp-1"] |= LABELLED
    content.documents["thermo"]["mp-1"] = {
        "material_id": "mp-1",
        "uncorrected_energy_per_atom": -3.4,
        "formation_energy_per_atom": -2.1,
    }
    with serve(content):
        monkeypatch.setenv("MP_API_KEY", KEY)
        monkeypatch.setenv("MP_API_ENDPOINT", content.address)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", content.address)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
        monkeypatch.setattr(materials_project_client, "BACKOFF_SECONDS", 0.01)
        monkeypatch.setattr(materials_project_client, "RETRIES", 3)
        yield content


def call(folder, *arguments):
    return main([str(folder), *arguments, "--rate", "1000"])


def table_of(folder):
    with (folder / "properties.csv").open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def test_download_is_a_folder_that_rhonet_reads(service, tmp_path, capsys):
    assert call(tmp_path, "mp-2", "mp-1") == 0
    folder = read_folder(tmp_path)
    assert [sample.id for sample in folder.samples] == ["mp-2", "mp-1"]
    second, first = folder.samples
    assert first.labels == pytest.approx(
        {
            "bulk_modulus": 25.0,
            "volume_per_atom": random_density().volume / 2,
            "mass_density": 2.1,
            "total_energy_per_atom": -3.4,
            "formation_energy_per_atom": -2.1,
            "fermi_energy": 0.5,
            "band_gap": 5.0,
            "magnetic_moment": 1.5,
            "is_metal": 0.0,
        }
    )
    assert second.labels["band_gap"] == 2.0
    assert math.isnan(second.labels["bulk_modulus"])
    assert (first.formula, first.chemical_system) == ("NaCl", "Cl-Na")
    assert first.bookkeeping["settings"] == "PBE"
    assert first.bookkeeping["source"] == "task mp-1001"
    assert folder.version == "2026.10.1"
    assert "PBE+U" in folder.functional
    assert "CC BY 4.0" in folder.source
    for sample in folder.samples:
        assert read_density(sample.path).n_electrons == pytest.approx(8.0)
    assert "2 materials, 0 failed" in capsys.readouterr().out


def test_density_is_kept_as_delivered(service, tmp_path):
    call(tmp_path, "mp-1")
    (sample,) = read_folder(tmp_path).samples
    assert sample.path.read_bytes() == service.objects["chgcars/mp-1001.json.gz"]


def test_density_as_the_materials_project_delivered_it(service, tmp_path, shared_densities):
    delivered = shared_densities / "aryannsaha__electrai/src__electrai__data__MP__chgcars__mp-1790998.json.gz"
    service.objects["chgcars/mp-1001.json.gz"] = delivered.read_bytes()
    service.documents["summary"]["mp-1"] |= {"chemsys": "Be-Mn", "formula_pretty": "MnBe3", "nsites": 4}
    assert call(tmp_path, "mp-1") == 0
    assert table_of(tmp_path)["mp-1"]["n_atoms"] == "4"


def test_manifest_says_where_everything_comes_from(service, tmp_path):
    call(tmp_path, "mp-1", "mp-77")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (made,) = manifest["calls"]
    assert made["query"]["ids"] == ["mp-1", "mp-77"]
    assert made["db_version"] == "2026.10.1"
    assert set(made["versions"]) == {"mp-api", "emmet-core", "pymatgen-core"}
    assert "mp-77" in made["failed"]
    (row,) = manifest["materials"]
    assert (row["id"], row["task_id"], len(row["sha256"])) == ("mp-1", "mp-1001", 64)


def test_key_is_written_nowhere(service, tmp_path, capsys, caplog):
    call(tmp_path, "mp-1")
    printed = "".join(capsys.readouterr()) + caplog.text
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert KEY not in printed
    assert not any(KEY.encode() in content for content in written)


def test_conditions_are_those_of_the_service(service, tmp_path):
    assert call(tmp_path, "--elements", "Na", "--band-gap", "1.5", "2.5") == 0
    assert list(table_of(tmp_path)) == ["mp-2"]


def test_limit_and_pages_keep_the_order(service, tmp_path, monkeypatch):
    monkeypatch.setattr(materials_project_client, "MAX_PAGE", 1)
    assert call(tmp_path, "--elements", "Na", "--limit", "2") == 0
    assert list(table_of(tmp_path)) == ["mp-1", "mp-2"]


def test_second_call_fetches_what_is_missing(service, tmp_path):
    call(tmp_path, "mp-1", "mp-2")
    (tmp_path / table_of(tmp_path)["mp-1"]["file"]).write_bytes(b"cut")
    service.asked.clear()
    assert call(tmp_path, "mp-1", "mp-2", "mp-3") == 0
    assert service.fetched() == ["chgcars/mp-1001.json.gz", "chgcars/mp-1003.json.gz"]
    assert len(read_folder(tmp_path).samples) == 3


@pytest.mark.slow
def test_killed_download_leaves_a_proper_folder_and_goes_on(service, tmp_path):
    service.stall = "chgcars/mp-1002.json.gz"
    script = REPOSITORY / "tools/download_materials_project.py"
    process = subprocess.Popen(
        [sys.executable, script, tmp_path, "mp-1", "mp-2", "mp-3"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert service.stalled.wait(timeout=60)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    service.stall = ""
    assert [sample.id for sample in read_folder(tmp_path).samples] == ["mp-1"]
    assert (tmp_path / ".unfinished").exists()
    service.asked.clear()
    assert call(tmp_path, "mp-1", "mp-2", "mp-3") == 0
    assert service.fetched() == ["chgcars/mp-1002.json.gz", "chgcars/mp-1003.json.gz"]
    assert [sample.id for sample in read_folder(tmp_path).samples] == ["mp-1", "mp-2", "mp-3"]
    assert not (tmp_path / ".unfinished").exists()


@pytest.mark.slow
def test_phonons_tell_dynamical_stability(service, tmp_path):
    grid = [-2.0, -1.0, 0.0, 1.0, 2.0]
    service.add_phonons({"aaaaaaab": (grid, [0.0, 0.0, 0.1, 1.0, 1.0]), "aaaaaaac": (grid, [0.0, 0.5, 0.1, 1.0, 1.0])})
    for name, phonon in (("mp-1", "aaaaaaab"), ("mp-2", "aaaaaaac"), ("mp-3", "aaaaaaad")):
        service.documents["summary"][name]["phonon_IDs"] = {"dfpt": [phonon]}
    # A process of its own: the reader of the table holds Python's lock while it waits for the server, which needs it.
    script = REPOSITORY / "tools/download_materials_project.py"
    environment = {**os.environ, "AWS_ENDPOINT_URL": service.address.rstrip("/"), "AWS_ALLOW_HTTP": "true"}
    done = subprocess.run(
        [sys.executable, script, tmp_path, "mp-1", "mp-2", "mp-3", "--phonons"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    labels = {sample.id: sample.labels["dynamically_stable"] for sample in read_folder(tmp_path).samples}
    assert labels == {"mp-1": 1.0, "mp-2": 0.0, "mp-3": pytest.approx(math.nan, nan_ok=True)}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_service_is_asked_again(service, tmp_path, status):
    service.failures += [(status, {"Retry-After": "0"}), (status, {})]
    assert call(tmp_path, "mp-1") == 0
    assert service.failures == []


def test_service_that_stays_busy_is_named(service, tmp_path, capsys):
    service.failures += [(429, {})] * 20
    assert call(tmp_path, "mp-1") == 2
    assert "asks for fewer requests (status 429); try again later" in capsys.readouterr().err


def test_requests_keep_their_distance(service, monkeypatch):
    slept = []
    monkeypatch.setattr(materials_project_client.time, "sleep", slept.append)
    connection = materials_project_client.Connection(KEY, endpoint=service.address, per_second=2.0)
    connection.search(materials_project_client.Query(ids=("mp-1",)))
    connection.close()
    assert len(slept) == 3
    assert max(slept) == pytest.approx(0.5, abs=0.2)


def test_material_without_density_is_listed_and_the_others_come(service, tmp_path, capsys):
    service.add("mp-4", None)
    service.documents["summary"]["mp-5"] = {**service.documents["summary"]["mp-1"], "material_id": "mp-5"}
    assert call(tmp_path, "mp-4", "mp-5", "mp-6", "mp-1") == 1
    complaints = capsys.readouterr().err
    assert "mp-4: there is no density of its static PBE calculations (mp-1004)" in complaints
    assert "mp-5: has no static PBE or PBE+U calculation" in complaints
    assert "mp-6: is not in the database, or deprecated" in complaints
    assert list(table_of(tmp_path)) == ["mp-1"]


@pytest.mark.parametrize("content", [b"", b"no density", b'{"data": {}}'])
def test_density_that_cannot_be_read_is_not_kept(service, tmp_path, capsys, content):
    service.objects["chgcars/mp-1001.json.gz"] = content
    assert call(tmp_path, "mp-1", "mp-2") == 1
    assert "mp-1: the density of task mp-1001 cannot be read" in capsys.readouterr().err
    assert list(table_of(tmp_path)) == ["mp-2"]
    assert [path.name for path in (tmp_path / "densities").iterdir()] == ["mp-2.json.gz"]


def test_density_of_another_material_is_refused(service, tmp_path, capsys):
    service.documents["summary"]["mp-1"]["chemsys"] = "Mg-O"
    assert call(tmp_path, "mp-1", "mp-2") == 1
    assert "mp-1: the density of task mp-1001 is one of Cl-Na: another material's" in capsys.readouterr().err
    assert list(table_of(tmp_path)) == ["mp-2"]


def test_download_that_breaks_off_is_a_failure_of_that_material_only(service, tmp_path, capsys):
    service.broken = "chgcars/mp-1001.json.gz"
    assert call(tmp_path, "mp-1", "mp-2") == 1
    assert "mp-1: the Materials Project does not give an answer" in capsys.readouterr().err
    assert list(table_of(tmp_path)) == ["mp-2"]
    assert not (tmp_path / ".unfinished").exists()


def test_dry_run_lists_sizes_and_writes_nothing(service, tmp_path, capsys):
    assert call(tmp_path / "new", "mp-1", "mp-2", "--dry-run") == 0
    output = capsys.readouterr().out
    assert "mp-1           NaCl" in output
    assert "2 to fetch" in output
    assert service.fetched() == []
    assert not (tmp_path / "new").exists()


def test_refused_key_is_one_clear_line(service, tmp_path, capsys, monkeypatch):
    wrong = "f" * 32
    monkeypatch.setenv("MP_API_KEY", wrong)
    assert call(tmp_path, "mp-1") == 2
    complaint = capsys.readouterr().err
    assert "refused the key in MP_API_KEY (status 401)" in complaint
    assert "https://next-gen.materialsproject.org/api" in complaint
    assert wrong not in complaint


@pytest.mark.parametrize(("key", "message"), [("", "MP_API_KEY is not set"), ("short", "32 characters")])
def test_key_that_is_none_is_one_clear_line(service, tmp_path, capsys, monkeypatch, key, message):
    monkeypatch.setenv("MP_API_KEY", key)
    assert call(tmp_path, "mp-1") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either ids or conditions"),
        (["mp-1", "--elements", "O"], "give either ids or conditions"),
        (["--elements", "O", "--limit", "0"], "must be above 0"),
    ],
)
def test_call_that_makes_no_sense_is_refused(service, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        call(tmp_path, *arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_text_that_is_no_id_is_refused(service, tmp_path, capsys):
    assert call(tmp_path, "NaCl") == 2
    assert "'NaCl' is no id of the Materials Project" in capsys.readouterr().err


def test_table_of_somebody_else_is_left_alone(service, tmp_path, capsys):
    (tmp_path / "properties.csv").write_text("id,file,band_gap\n")
    assert call(tmp_path, "mp-1") == 2
    assert "something else wrote it" in capsys.readouterr().err
    assert (tmp_path / "properties.csv").read_text() == "id,file,band_gap\n"


def test_service_that_is_away_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.setenv("MP_API_ENDPOINT", "http://127.0.0.1:9/")
    assert call(tmp_path, "mp-1") == 2
    assert "does not give an answer" in capsys.readouterr().err


def test_label_of_another_functional_is_left_out():
    summary = {"nsites": 2, "volume": 40.0, "density": 3.0, "band_gap": 1.0, "efermi": 2.0, "is_metal": False}
    origins = [{"name": "electronic_structure", "task_id": "mp-8"}, {"name": "structure", "task_id": "mp-7"}]
    types = {"mp-7": "GGA+U Structure Optimization", "mp-8": "r2SCAN Static", "mp-9": "GGA+U Static"}
    material = read_material("mp-1", {**summary, "origins": origins}, {}, types)
    assert set(material.labels) == {"volume_per_atom", "mass_density"}
    assert material.flags[0] == "fermi_energy is r2SCAN Static"
    assert [(task.id, task.functional) for task in material.tasks] == [("mp-9", "PBE+U")]


def test_density_behind_the_labels_is_preferred_then_the_newest():
    types = {name: "GGA Static" for name in ("mp-999", "mp-1000", "mp-5")} | {"mp-7": "HSE06 Static"}
    material = read_material("mp-1", {"origins": [{"name": "magnetism", "task_id": "mp-5"}]}, {}, types)
    assert [task.id for task in material.tasks] == ["mp-5", "mp-1000", "mp-999"]


@pytest.mark.parametrize("vrh", [-3.0, 0.0, None])
def test_bulk_modulus_without_logarithm_is_left_out(vrh):
    assert "bulk_modulus" not in read_material("mp-1", {"bulk_modulus": {"vrh": vrh}}, {}, {}).labels


def test_moment_follows_the_cell_and_volume_needs_the_same_relaxation():
    summary = {"nsites": 2, "volume": 40.0, "density": 3.0, "total_magnetization": -4.0}
    material = read_material("mp-1", summary, {}, {})
    doubled = labels_of_cell(material, 4, 80.4)
    assert doubled.labels == {"volume_per_atom": 20.0, "mass_density": 3.0, "magnetic_moment": 8.0}
    other = labels_of_cell(material, 2, 41.6)
    assert other.labels == {"magnetic_moment": 4.0}
    assert other.flags == ("volume of the density's cell differs by +4.0%",)
