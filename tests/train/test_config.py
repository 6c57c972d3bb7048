"""Configuration files: what is in them, and what is refused."""

from __future__ import annotations

import pytest

from apsam_train.config import TrainConfig, parse_config, read_config
from apsam_train.errors import ConfigError


def test_the_paper_recipe_is_the_default() -> None:
    assert read_config("paper") == TrainConfig()
    paper = TrainConfig()
    assert (paper.preset, paper.learning_rate, paper.warmup_steps) == ("vit_l", 1e-5, 100)
    assert (paper.batch_size, paper.epochs, paper.schedule) == (16, 12, "constant")
    assert paper.apg.scale_range == (0.9, 1.1)


@pytest.mark.parametrize("name", ["tiny", "demo"])
def test_the_small_configs_train_everything(name: str) -> None:
    config = read_config(name)
    assert (config.preset, config.trainable) == (name, "all")


def test_tables_fill_the_nested_records() -> None:
    config = parse_config("[loss]\nfocal = 3\n[apg]\nscale_range = [1.0, 1.0]", source="x.toml")
    assert config.loss.focal == 3.0
    assert config.apg.scale_range == (1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate = 1e-3", "x.toml has no field 'lerning_rate'; known: .*learning_rate"),
        ("epochs = 'three'", "epochs = 'three' must be int"),
        ("batch_size = 0", "batch_size = 0 must be positive"),
        ("schedule = 'step'", "schedule = 'step' must be one of constant, cosine, trapezoid"),
        ("epochs = = 3", "x.toml is not TOML"),
        ("[apg]\ncore = -1.0", r"x.toml \[apg\]: core = -1.0 must not be negative"),
        ("sides = [128, 100]", r"sides = \[128, 100\] must be multiples of 16"),
        ("box_share = 1.5", "box_share = 1.5 must lie in 0 to 1"),
        ("trainable = 'category'", "trainable = 'category' needs category_weight > 0"),
        ("precision = 'int8'", "precision = 'int8' must be one of auto, fp32, bf16, fp16"),
        ("[loss]\nfokal = 1.0", r"x.toml \[loss\] has no field 'fokal'"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(text, source="x.toml")


def test_an_unknown_name_lists_the_known_configs() -> None:
    with pytest.raises(
        ConfigError, match="config 'huge' is unknown; choose one of demo, paper, tiny"
    ):
        read_config("huge")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read"):
        read_config("nowhere.toml")


def test_single_values_can_be_changed_in_tomls_notation() -> None:
    changes = ["seed=3", "loss.focal=2", 'preset="vit_b"', "apg.scale_range=[1.0, 1.0]"]
    config = read_config("paper", changes)
    assert (config.seed, config.loss.focal, config.preset) == (3, 2.0, "vit_b")
    assert config.apg.scale_range == (1.0, 1.0)
    assert config.loss.dice == TrainConfig().loss.dice
    with pytest.raises(ConfigError, match=r"--set preset=vit_b is not TOML .*text in quotes"):
        read_config("paper", ["preset=vit_b"])
