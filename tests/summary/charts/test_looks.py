"""Colours on dark paper can be told from it, and whoever names no colour gets one."""

from __future__ import annotations

import pytest

from circuitwatch import catalogue
from circuitwatch.summary.charts.looks import (
    DARK,
    LEAST_CONTRAST,
    MOST_ENTRIES,
    PALETTE,
    Key,
    colour_of,
    contrast,
    on_dark,
    thinned,
)
from circuitwatch.summary.panels import model_colours

EVERY = [
    *PALETTE,
    *("#000000", "#222222", "#777777", "#ffffff", "#123456"),
    *model_colours([f"m{k}" for k in range(8)]).values(),
    *[colour_of(role.colour) for role in catalogue.roles().values()],
    *[colour_of(one.colour) for one in catalogue.quantities().values() if one.colour],
]


@pytest.mark.parametrize("colour", sorted(set(EVERY)))
def test_every_colour_can_be_seen_on_dark_paper(colour: str) -> None:
    assert contrast(on_dark(colour), DARK) >= LEAST_CONTRAST


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the known near miss
    assert contrast("#ffffff", "#777777") == contrast("#777777", "#ffffff")


def test_what_is_black_on_white_is_light_on_black() -> None:
    assert on_dark("#222222") == "#dddddd" and on_dark("#56b4e9") == "#56b4e9"


def test_names_of_colours_and_none() -> None:
    assert colour_of("red") == "#ff0000" and colour_of("#0072B2") == "#0072b2"
    assert colour_of("", 1) == PALETTE[1] and colour_of("no colour", 8) == PALETTE[2]


def test_a_legend_of_many_models_names_some_evenly() -> None:
    keys = [Key(f"m{k}", "#000000") for k in range(100)]
    shown = thinned(keys)
    assert len(shown) == MOST_ENTRIES and shown[0] == keys[0] and shown[-1] == keys[-1]
    assert thinned(keys[:5]) == keys[:5]
