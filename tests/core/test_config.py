from __future__ import annotations

import dataclasses
import tomllib

import pytest

from rhonet.core.config import (
    Config,
    DataConfig,
    TrainConfig,
    ViewConfig,
    config_from_dict,
    config_names,
    load_config,
    load_resolved_config,
)
from rhonet.core.errors import ConfigError


@pytest.mark.parametrize("name", config_names())
def test_shipped_configuration_survives_its_run_folder(name, tmp_path):
    config = load_config(name)
    (tmp_path / "config.toml").write_text(config.to_toml())
    assert load_resolved_config(tmp_path / "config.toml") == config


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (
            "density_threshold = 0.01\n",
            r"config\.toml: lacks view\.density_threshold, which this version needs",
        ),
        ('[model]\nname = "msa3dcnn"\nsize = "base"\n', r"config\.toml: lacks model\.name, model\.size, which"),
    ],
)
def test_setting_that_training_did_not_write_down_is_not_guessed(lost, message, tmp_path):
    path, text = tmp_path / "config.toml", Config().to_toml()
    assert lost in text
    path.write_text(text.replace(lost, ""))
    assert load_config(path) == Config()
    with pytest.raises(ConfigError, match=message):
        load_resolved_config(path)


def test_every_default_survives_toml():
    assert config_from_dict(tomllib.loads(Config().to_toml())) == Config()
    assert config_from_dict({}) == Config()


def test_every_setting_survives_toml_where_it_is_not_the_default(tmp_path):
    config = Config(
        data=DataConfig(name="my", folder="/a b/ü", properties=("band_gap",), fractions=(0.5, 0.25, 0.25), cache_mb=0),
        view=ViewConfig(kind="cell", channels=("gradient",), softness=0.0, augment=False, finest=0.3),
        train=TrainConfig(learning_rate=3e-5, precision="mixed_bfloat16", ema=0.0, patience=0, seed=4),
    )
    (tmp_path / "own.toml").write_text(config.to_toml(), encoding="utf-8")
    assert load_config(tmp_path / "own.toml") == config


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.epochs=2", 2),
        ("train.learning_rate=1", 1.0),
        ("train.learning_rate = 2e-4", 2e-4),
        ("view.augment=false", False),
        ("view.kind=cell", "cell"),
        ('view.kind="cell"', "cell"),
        ("data.properties=band_gap,is_metal", ("band_gap", "is_metal")),
        ("data.properties=band_gap", ("band_gap",)),
        ('data.properties=["band_gap"]', ("band_gap",)),
        ("data.properties=[]", ()),
        ("data.fractions=0.5,0.5,0", (0.5, 0.5, 0.0)),
        ("data.folder=/data/my crystals, new", "/data/my crystals, new"),
        ("data.folder=a=b", "a=b"),
    ],
)
def test_setting_from_the_command_line(override, value):
    section, _, key = override.split("=")[0].strip().partition(".")
    assert getattr(getattr(load_config("tiny", [override]), section), key) == value


def test_later_settings_win_and_others_keep_their_values():
    config = load_config("tiny", ["train.epochs=2", "train.epochs=3"])
    assert config.train == dataclasses.replace(load_config("tiny").train, epochs=3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=2", r"unknown setting train\.epoch; did you mean 'epochs'\?"),
        ("train.layers=2", r"unknown setting train\.layers; there are: epochs, batch_size"),
        ("trian.epochs=2", r"unknown section \[trian\]; did you mean 'train'\?"),
        ("train.epochs=2.5", r"train\.epochs must be int, got 2\.5"),
        ("train.epochs=two", r"train\.epochs must be int, got 'two'"),
        ("train.epochs=true", r"train\.epochs must be int, got True"),
        ("train.epochs=0", r"train\.epochs must be at least 1, got 0"),
        ("train.ema=1.0", r"train\.ema must lie in \[0, 1\)"),
        ("train.learning_rate=nan", r"train\.learning_rate must be above 0"),
        ("train.clip_norm=0", r"train\.clip_norm must be above 0"),
        ("train.weight_decay=-1", r"train\.weight_decay must not be negative"),
        ("train.precision=float16", r"train\.precision 'float16' is none of auto, float32"),
        ("train.seed=-1", r"train\.seed must not be negative"),
        ("train.seed=1,2", r"train\.seed must be int, got \[1, 2\]"),
        ("view.channels=density,spin", r"view\.channels: 'spin' is none of density, gradient"),
        ("view.motion=spin", r"view\.motion 'spin' is none of rotations, cubic, shifts"),
        ("view.channels=[]", r"view\.channels is empty"),
        ("view.size=3", r"view\.size must be at least 4"),
        ("data.fractions=0.5,0.6,0.1", r"data\.fractions must be three numbers with sum 1"),
        ("data.fractions=a,b,c", r"data\.fractions must be float, got 'a'"),
        ("data.split_by=colour", r"data\.split_by 'colour' is none of chemical_system"),
        ("data.properties=band_gap,band_gap", r"data\.properties names a property twice"),
        ("data.spacing=0.4", r"view\.finest 0\.25 Å is below data\.spacing 0\.4 Å"),
        ("data.split_by=element data.folds=5", r"data\.split_by element has no folds"),
        ("data.split_by=element train.ensemble=5", r"data\.split_by element has no folds"),
        ("model.size=huge", r"model\.size 'huge' is none of tiny, base, large"),
        ("epochs=2", r"--set 'epochs=2': the form is section\.key=value, e\.g\. train\.epochs=2"),
        ("train.epochs", "the form is section.key=value"),
    ],
)
def test_mistake_is_named_with_its_key(override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config("tiny", override.split(" "))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nepochs = ", "own.toml: not valid TOML"),
        ("[train]\nlayers = 3", r"own.toml: unknown setting train\.layers"),
        ("train = 3", r"own.toml: \[train\] must be a table of settings, got 3"),
    ],
)
def test_mistake_in_a_file_is_named_with_the_file(tmp_path, text, message):
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)
    with pytest.raises(ConfigError):
        load_config(path, ["train.epochs=2"])


def test_missing_configuration_is_answered_with_those_that_ship(tmp_path):
    with pytest.raises(ConfigError, match=r"no configuration 'huge'; shipped: base, large, tiny, or FILE.toml"):
        load_config("huge")
    with pytest.raises(ConfigError, match=r"own.toml: cannot be read: No such file"):
        load_config(tmp_path / "own.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path / "folder.toml")
