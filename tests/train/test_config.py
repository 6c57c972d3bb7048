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


def test_the_tiny_config_trains_everything() -> None:
    tiny = read_config("tiny")
    assert (tiny.preset, tiny.trainable) == ("tiny", "all")


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
        ("schedule = 'step'", "schedule = 'step' must be one of constant, cosine"),
        ("epochs = = 3", "x.toml is not TOML"),
        ("[loss]\nfokal = 1.0", r"x.toml \[loss\] has no field 'fokal'"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(text, source="x.toml")


def test_an_unknown_name_lists_the_known_configs() -> None:
    with pytest.raises(ConfigError, match="config 'huge' is unknown; choose one of paper, tiny"):
        read_config("huge")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read"):
        read_config("nowhere.toml")
