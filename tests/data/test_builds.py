"""Building and opening data sets: what is stored, what is refused, and that nothing is overwritten."""

import errno
import hashlib
import json
import logging
import os
import re
import shutil

import numpy as np
import pytest

from rhonet.core.config import DataConfig
from rhonet.core.errors import BuildError, FolderError
from rhonet.data.builds import bundled_folder, open_or_build, stored_properties
from rhonet.data.folder import read_folder
from rhonet.data.records import SPLIT, make_record
from rhonet.formats import read_density
from tests.synthetic import chgcar_text, cube_text, density_of, random_density

TABLE = "id,file,band_gap,is_metal\na,CHGCAR_spin,,0\nb,salt.cube,1.5,0\nc,nameless.cube,0,1\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder with three densities: with spin, without, and without species."""
    folder = tmp_path_factory.mktemp("source") / "salts"
    folder.mkdir()
    (folder / "CHGCAR_spin").write_text(chgcar_text(random_density((20, 24, 30), blocks=2)))
    (folder / "salt.cube").write_text(cube_text(random_density(seed=1)))
    (folder / "nameless.cube").write_text(cube_text(density_of(np.ones((3, 4, 5)), n_electrons=2)))
    (folder / "properties.csv").write_text(TABLE)
    (folder / "dataset.toml").write_text('functional = "PBE"\n')
    return folder


@pytest.fixture(scope="module")
def built(source, tmp_path_factory):
    """Its data directory, built once; tests that change something work on a copy."""
    data_dir = tmp_path_factory.mktemp("built")
    open_or_build(config(source, data_dir))
    return data_dir


def config(folder, data_dir, **settings):
    return DataConfig(folder=str(folder), data_dir=str(data_dir), **settings)


def state(data_dir):
    """Every file with its hash, so that a change of any is seen."""
    files = (path for path in sorted(data_dir.rglob("*")) if path.is_file())
    return {str(path.relative_to(data_dir)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def error_of(data):
    with pytest.raises(BuildError) as caught:
        open_or_build(data)
    return str(caught.value)


def test_records_come_back_as_they_were_made(source, built):
    builder = open_or_build(config(source, built))
    folder = read_folder(source)
    samples = {sample.id: sample for sample in folder.samples}
    assert stored_properties(builder) == folder.properties
    stored = builder.as_dataset(split=SPLIT)  # pyright: ignore[reportCallIssue] (hidden by a decorator of TFDS)
    records = list(stored.as_numpy_iterator())
    assert sorted(record["id"].decode() for record in records) == ["a", "b", "c"]
    for record in records:
        sample = samples[record["id"].decode()]
        made = make_record(read_density(sample.path), sample=sample, properties=folder.properties, spacing=0.25)
        for name in ("formula", *made["groups"]):
            stored, expected = (record["groups"], made["groups"]) if name in made["groups"] else (record, made)
            assert stored[name].decode() == expected[name]
        for name in set(made) - {"id", "formula", "groups"}:
            np.testing.assert_array_equal(record[name], made[name])
            assert np.asarray(record[name]).dtype == np.asarray(made[name]).dtype


def test_card_says_what_was_read(built):
    (card,) = built.rglob("card.toml")
    text = card.read_text()
    for line in ('functional = "PBE"', "rows = 3", "read = 3", "without_species = 1", "with_magnetization = 1"):
        assert line in text.splitlines()
    assert "known = 2\nmin = 0.0\nmedian = 0.75\nmax = 1.5" in text
    assert "known = 3\nclass_0 = 2\nclass_1 = 1" in text


def test_second_call_opens_what_the_first_built(source, built, caplog, capsys):
    before = state(built)
    with caplog.at_level(logging.INFO):
        open_or_build(config(source, built))
    assert state(built) == before
    assert [record.name for record in caplog.records] == ["rhonet.data.builds"]
    assert "3 records" in caplog.text
    assert capsys.readouterr().out == ""


def test_same_content_gives_the_same_bytes(source, built, tmp_path, capsys):
    moved = shutil.copytree(source, tmp_path / "moved")
    header, *rows = TABLE.splitlines()
    (moved / "properties.csv").write_text("\n".join([header, *rows[::-1]]) + "\n")
    open_or_build(config(moved, tmp_path / "data"))
    first, second = (next(root.rglob("*.tfrecord*")).read_bytes() for root in (built, tmp_path / "data"))
    assert first == second
    assert capsys.readouterr().out == ""


def test_fields_are_stored_in_an_order_that_no_process_changes(source, built):
    import tensorflow as tf

    for raw in tf.data.TFRecordDataset([str(next(built.rglob("*.tfrecord*")))]).as_numpy_iterator():
        assert tf.train.Example.FromString(raw).SerializeToString(deterministic=True) == raw


def test_set_built_by_tfds_is_found(source, tmp_path):
    import tensorflow_datasets as tfds

    from tfds_builders.charge_density.charge_density_dataset_builder import Builder

    builder = Builder(data_dir=tmp_path, config="spacing_0.25")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=source))
    before = state(tmp_path)
    assert str(open_or_build(config(source, tmp_path)).data_path) == str(builder.data_path)
    assert state(tmp_path) == before


def test_set_is_opened_by_its_name_where_the_folder_is_gone(built):
    builder = open_or_build(DataConfig(name="salts", data_dir=str(built)))
    assert builder.info.splits[SPLIT].num_examples == 3
    message = error_of(DataConfig(name="sugars", data_dir=str(built)))
    assert "holds no data set sugars_0.25 (found: salts_0.25); give data.folder" in message


def test_newest_version_is_opened_by_its_name(built, tmp_path):
    data_dir = shutil.copytree(built, tmp_path / "data")
    (newest,) = data_dir.glob("charge_density/*/*.0.0")
    for number in ("0.9.0", "0.10.0"):
        old = shutil.copytree(newest, newest.with_name(number))
        metadata = json.loads((old / "metadata.json").read_text())
        (old / "metadata.json").write_text(json.dumps({**metadata, "record_version": "0"}))
    builder = open_or_build(DataConfig(name="salts", data_dir=str(data_dir)))
    assert str(builder.data_path) == str(newest)


def test_set_that_another_process_built_meanwhile_is_opened(source, built, tmp_path, monkeypatch):
    def build_after_another(builder, folder):
        shutil.copytree(built, tmp_path, dirs_exist_ok=True)
        raise OSError("Cannot rename incomplete.ABC123_1.0.0. Destination 1.0.0 already exists.")

    monkeypatch.setattr("rhonet.data.builds._build", build_after_another)
    builder = open_or_build(config(source, tmp_path))
    assert builder.info.splits[SPLIT].num_examples == 3


def change_label(folder, data_dir):
    table = folder / "properties.csv"
    table.write_text(table.read_text().replace("1.5", "1.6"))


def drop_row(folder, data_dir):
    (folder / "properties.csv").write_text(TABLE.rpartition("c,")[0])


def drop_column(folder, data_dir):
    (folder / "dataset.toml").write_text('functional = "PBE"\nbookkeeping = ["is_metal"]\n')


def age_records(folder, data_dir):
    edit_metadata(data_dir, record_version=0)


def edit_metadata(data_dir, **values):
    (path,) = data_dir.glob("*/*/*/metadata.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def coarsen(folder, data_dir):
    edit_metadata(data_dir, spacing=0.5)


def damage(folder, data_dir):
    (path,) = data_dir.glob("*/*/*/metadata.json")
    path.write_text('{"record_version": 1')


def empty(folder, data_dir):
    (path,) = data_dir.glob("*/*/*/metadata.json")
    shutil.rmtree(path.parent)
    path.parent.mkdir()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_label, "another state of .*labels, .*or what rhonet knows of a property have changed"),
        (drop_row, r"another state of .* \(3 rows then, 2 now\); it stays"),
        (drop_column, r"\(properties band_gap, is_metal then, band_gap now\); it stays"),
    ],
)
def test_another_state_of_a_folder_is_built_beside_the_first(source, built, tmp_path, caplog, change, message):
    folder, data_dir = shutil.copytree(source, tmp_path / "salts"), shutil.copytree(built, tmp_path / "data")
    first = open_or_build(config(folder, data_dir))
    before = state(data_dir)
    change(folder, data_dir)
    with caplog.at_level("INFO"):
        second = open_or_build(config(folder, data_dir))
    assert re.search(message, caplog.text)
    assert before.items() <= state(data_dir).items()
    assert first.data_path != second.data_path
    assert open_or_build(config(folder, data_dir)).data_path == second.data_path
    # By its name the last one is opened, by the fingerprint of its source the one that is meant.
    assert open_or_build(DataConfig(name="salts", data_dir=str(data_dir))).data_path == second.data_path
    metadata = first.info.metadata
    assert metadata is not None
    again = open_or_build(config(folder, data_dir), source=metadata["fingerprint"])
    assert again.data_path == first.data_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (age_records, "was built with records of version 0, this rhonet reads 2; build beside"),
        (coarsen, "was built with a storage grid of 0.5 Å, data.spacing is 0.25 Å; build beside"),
        (damage, "metadata.json: cannot be read: .*; delete"),
        (empty, "exists but holds no finished rhonet data set; delete"),
    ],
)
def test_another_data_set_in_the_way_is_explained_and_kept(source, built, tmp_path, change, message):
    folder, data_dir = shutil.copytree(source, tmp_path / "salts"), shutil.copytree(built, tmp_path / "data")
    change(folder, data_dir)
    before = state(data_dir)
    with pytest.raises(BuildError, match=message) as caught:
        open_or_build(config(folder, data_dir))
    assert "\n" not in str(caught.value)
    assert str(data_dir) in str(caught.value)
    assert state(data_dir) == before


def test_other_spacing_is_built_beside(source, built, tmp_path):
    data_dir = shutil.copytree(built, tmp_path / "data")
    before = state(data_dir)
    builder = open_or_build(config(source, data_dir, spacing=0.5))
    metadata = builder.info.metadata
    assert metadata is not None
    assert metadata["spacing"] == 0.5
    assert before.items() <= state(data_dir).items()


@pytest.fixture
def spoilt(source, tmp_path):
    """A folder of four in which one file is cut and one is a potential."""
    folder = shutil.copytree(source, tmp_path / "spoilt")
    text = (folder / "CHGCAR_spin").read_text()
    (folder / "CHGCAR_cut").write_text(text[: len(text) // 3])
    (folder / "LOCPOT").write_text(text)
    (folder / "properties.csv").write_text(TABLE + "d,CHGCAR_cut,1,0\ne,LOCPOT,1,0\n")
    return folder


def test_bad_files_are_skipped_logged_and_counted(spoilt, tmp_path, caplog):
    builder = open_or_build(config(spoilt, tmp_path / "data", max_failures=2))
    metadata = builder.info.metadata
    assert metadata is not None
    assert (metadata["rows"], metadata["read"], builder.info.splits[SPLIT].num_examples) == (5, 3, 3)
    assert [(row["id"], row["file"]) for row in metadata["skipped"]] == [("d", "CHGCAR_cut"), ("e", "LOCPOT")]
    (card,) = (tmp_path / "data").rglob("card.toml")
    assert "skipped = 2" in card.read_text().splitlines()
    for row in metadata["skipped"]:
        assert row["reason"].startswith(row["file"])
        assert row["reason"] in card.read_text()
        assert f"skipped {row['id']}: {row['reason']}" in caplog.text
    assert not list((tmp_path / "data").rglob("skipped"))


def test_set_with_skipped_files_is_not_opened_where_none_may_be_skipped(spoilt, tmp_path):
    open_or_build(config(spoilt, tmp_path / "data", max_failures=2))
    message = error_of(config(spoilt, tmp_path / "data", max_failures=1))
    assert "was built without 2 unreadable files, data.max_failures is 1" in message


@pytest.mark.parametrize("max_failures", [0, 1])
def test_too_many_bad_files_fail_with_all_reasons_and_leave_nothing(spoilt, tmp_path, max_failures):
    message = error_of(config(spoilt, tmp_path / "data", max_failures=max_failures))
    assert f"2 of 5 density files cannot be used, {max_failures} may be skipped" in message
    assert [line.split(":")[0] for line in message.splitlines()[1:]] == ["  d", "  e"]
    assert not list((tmp_path / "data").rglob("*.tfrecord*"))
    assert not list((tmp_path / "data").rglob("incomplete*"))


def test_folder_without_any_density_fails_with_the_reasons(spoilt, tmp_path):
    (spoilt / "properties.csv").write_text("id,file,band_gap\nd,CHGCAR_cut,1\n")
    message = error_of(config(spoilt, tmp_path / "data", max_failures=5))
    assert "none of the density files can be used" in message
    assert "CHGCAR_cut" in message


def test_bad_table_fails_before_anything_is_written(source, tmp_path):
    folder = shutil.copytree(source, tmp_path / "salts")
    (folder / "properties.csv").write_text(TABLE + "a,salt.cube,1,0\n")
    with pytest.raises(FolderError, match="the id 'a'"):
        open_or_build(config(folder, tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_killed_build_is_not_taken_for_a_data_set(source, built, tmp_path, caplog):
    data_dir = shutil.copytree(built, tmp_path / "data")
    (finished,) = data_dir.glob("charge_density/*/*.0.0")
    killed = finished.rename(finished.with_name("incomplete.ABC123_1.0.0"))
    assert str(open_or_build(config(source, data_dir)).data_path) == str(finished)
    assert f"{killed}: left by a build that was interrupted" in caplog.text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_disk_that_cannot_be_written_is_one_clear_line(source, tmp_path, monkeypatch, number):
    from tfds_builders import density_builder

    def fail(self, path, examples):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(density_builder._SortedFieldsWriter, "write", fail)
    message = error_of(config(source, tmp_path / "data"))
    assert f"data: the data set cannot be written: {os.strerror(number)};" in message
    assert "\n" not in message
    assert not list((tmp_path / "data").rglob("*.tfrecord*"))


def test_data_dir_that_is_a_file_is_one_clear_line(source, tmp_path):
    (tmp_path / "data").touch()
    assert "the data set cannot be written: Not a directory" in error_of(config(source, tmp_path / "data"))


def test_bundled_crystals_are_found_and_need_no_folder():
    assert len(read_folder(bundled_folder()).samples) >= 161


@pytest.mark.slow
def test_bundled_crystals_build_whole(tmp_path):
    builder = open_or_build(DataConfig(data_dir=str(tmp_path)))
    assert builder.info.name == "dft_crystals"
    assert builder.info.splits[SPLIT].num_examples == len(read_folder(bundled_folder()).samples)
