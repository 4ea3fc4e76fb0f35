"""The configuration: every option is explained, defaults pass their own checks, and the YAML groups
say only what differs from them.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import yaml

from circuitwatch.cli.choices import conf_dir
from circuitwatch.config import OVERRIDES, Config, ModelConfig, TaskConfig
from circuitwatch.options import check_options, options_of, value_of

CONFIG = Config(model=ModelConfig(name="m"), task=TaskConfig(name="t"))
OPTIONS = dict(options_of(Config))


def leaves(part: Any, prefix: str = "") -> list[str]:
    """Keys of a configuration's values, whatever is known of them."""
    keys = []
    for one in fields(part):
        value = getattr(part, one.name)
        name = f"{prefix}{one.name}"
        keys += leaves(value, f"{name}.") if is_dataclass(value) else [name]
    return keys


def test_every_option_is_explained() -> None:
    keys = leaves(CONFIG)
    assert len(keys) > 40 and set(keys) == set(OPTIONS)
    assert all(spec.help and not spec.help.endswith(".") for spec in OPTIONS.values())


def test_the_defaults_pass() -> None:
    check_options(CONFIG)


def test_what_people_write_for_names_that_no_field_can_have() -> None:
    assert OVERRIDES == {"schedule.from": "schedule.start", "schedule.to": "schedule.stop"}


def values(part: Any, prefix: str) -> dict[str, Any]:
    """Key → value of what a YAML file sets."""
    found = {}
    for name, value in (part or {}).items():
        if name in ("defaults", "hydra"):
            continue
        key = f"{prefix}{name}"
        found |= values(value, f"{key}.") if isinstance(value, dict) else {key: value}
    return found


PRESETS = [
    path
    for path in sorted(conf_dir().rglob("*.yaml"))
    if path.parent.name not in ("suites", "launcher")
]


@pytest.mark.parametrize(
    "path", PRESETS, ids=lambda path: path.relative_to(conf_dir()).with_suffix("").as_posix()
)
def test_a_preset_says_only_what_differs(path: Any) -> None:
    """And which choice it is, as `method: eap-ig` in circuit/eap-ig.yaml does; roles' thresholds
    are one table, of which some may be as they are by default.
    """
    group = path.parent.name
    prefix = "" if group in ("conf", "experiment") else f"{group}."
    for key, value in values(yaml.safe_load(path.read_text()), prefix).items():
        if not key.startswith("heads.thresholds"):
            assert key in OPTIONS, f"{key}: no such option"
            assert value != value_of(CONFIG, key) or value == path.stem, f"{key} is the default"
