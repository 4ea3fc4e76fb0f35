"""Steps from revisions' names: units, two revisions of one step, and stages that are joined."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.checkpoints.settings import CheckpointsConfig, ModelConfig
from circuitwatch.checkpoints.stages import Stages
from circuitwatch.checkpoints.stream import HubSource
from circuitwatch.checkpoints.suites import can_be_named, checkpoints_named
from circuitwatch.config import Config, validate
from circuitwatch.errors import UserError

PATTERN = "stage*-step{step}-tokens{tokens}B"
ONE = ["stage1-step1000-tokens3B", "stage1-step2000-tokens5B"]
TWO = [
    f"stage2-ingredient{ingredient}-step{step}-tokens{tokens}B"
    for ingredient in (1, 2)
    for step, tokens in ((0, 0), (1000, 4), (2000, 9))
]


@pytest.mark.parametrize(
    ("pattern", "name", "step", "tokens"),
    [
        ("step-{step}-token-{tokens}", "step-480k-token-1007B", 480_000, 1007 * 10**9),
        ("step-{step}k-token-{tokens}B", "step-480k-token-1007B", 480_000, 1007 * 10**9),
        ("step-{step}-*", "step-1.5K-x", 1500, 3000),
        ("step-{step}", "step-2M", 2_000_000, 4_000_000),
        ("step{step}-tokens{tokens}B", "step557000-tokens2T", 557_000, 2 * 10**12),
    ],
)
def test_numbers_have_units(pattern: str, name: str, step: int, tokens: int) -> None:
    per_step = None if "{tokens}" in pattern else 2
    assert checkpoints_named([name], pattern, per_step) == [Checkpoint(step, tokens, name)]
    assert not can_be_named("step-{step}k", 2) and can_be_named("step-{step}", 2)


def test_two_of_one_step_are_an_error() -> None:
    with pytest.raises(UserError) as caught:
        checkpoints_named([*ONE, TWO[2]], PATTERN, None)
    said = str(caught.value)
    assert ONE[1] in said and TWO[2] in said and "\n" not in said
    assert "model.revisions='stage1*-step{step}-tokens{tokens}B'" in said
    assert "model.stages=join" in said
    assert len(checkpoints_named([*ONE, *TWO], "stage1*-step{step}-tokens{tokens}B", None)) == 2
    with pytest.raises(UserError, match=r"stage2\*ingredient1\*"):
        checkpoints_named(TWO, PATTERN, None)
    with pytest.raises(UserError, match="a pattern that only one of them has"):
        checkpoints_named(["a-step1", "b-step1"], "*-step{step}", 2)


def test_a_branch_is_stage_1_and_one_ingredient() -> None:
    found = checkpoints_named([*TWO, *ONE], PATTERN, None, Stages(ingredient=2))
    assert [(c.step, c.tokens, c.revision) for c in found] == [
        (1000, 3 * 10**9, ONE[0]),
        (2000, 5 * 10**9, ONE[1]),
        (3000, 9 * 10**9, TWO[4]),  # step 0 of stage 2 is stage 1's end
        (4000, 14 * 10**9, TWO[5]),
    ]


def test_stage_2_goes_on_where_the_registry_says() -> None:
    ends = Stages(steps=[2500], tokens=[6 * 10**9], ingredient=1)
    found = checkpoints_named([*ONE, *TWO], PATTERN, None, ends)
    assert [(c.step, c.tokens) for c in found[2:]] == [(3500, 10 * 10**9), (4500, 15 * 10**9)]
    alone = checkpoints_named(TWO, PATTERN, None, ends)
    assert alone == found[2:]
    with pytest.raises(UserError, match=r"no revision of stage 1 .*model\.stage_steps"):
        checkpoints_named(TWO, PATTERN, None, Stages(ingredient=1))
    with pytest.raises(UserError, match="stage1-step2000-tokens5B is later than the end of stage"):
        checkpoints_named(ONE + TWO, PATTERN, None, Stages([1500], [4 * 10**9], 1))


def test_three_stages() -> None:
    names = [*ONE, "stage2-step10-tokens1B", "stage2-step20-tokens2B", "stage3-step5-tokens1B"]
    found = checkpoints_named(names, PATTERN, None, Stages())
    assert [c.step for c in found] == [1000, 2000, 2010, 2020, 2025]
    assert found[-1].tokens == 8 * 10**9


def test_which_ingredient_must_be_said() -> None:
    with pytest.raises(UserError, match=r"ingredients 1, 2, .* -m model\.ingredient=1,2"):
        checkpoints_named([*ONE, *TWO], PATTERN, None, Stages())
    with pytest.raises(UserError, match=r"model\.ingredient=3: .*there are 1, 2"):
        checkpoints_named([*ONE, *TWO], PATTERN, None, Stages(ingredient=3))
    with pytest.raises(UserError, match="step5-tokens1B has no stage in its name"):
        checkpoints_named(["step5-tokens1B"], "*step{step}-tokens{tokens}B", None, Stages())


def test_a_source_joins_them(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelConfig(
        name="mine", source="hub", hub_id="org/mine", revisions=PATTERN, stages="join", ingredient=1
    )
    source = HubSource(model, CheckpointsConfig())
    monkeypatch.setattr(source, "commits", lambda: dict.fromkeys([*ONE, *TWO, "main"], "c"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("circuitwatch.checkpoints.stream.offline", lambda: False)
    assert [c.step for c in source.available()] == [1000, 2000, 3000, 4000]
    model.steps = [2000, 3000]
    assert [c.step for c in source.available()] == [2000, 3000]


def validated(**model: object) -> Config:
    given = {"name": "mine", "source": "hub", "hub_id": "a/b", "revisions": PATTERN, **model}
    config = {"model": given, "task": {"name": "ioi"}}
    return validate(OmegaConf.merge(OmegaConf.structured(Config), config))


def test_each_branch_has_a_name_of_its_own() -> None:
    config = validated(stages="join", ingredient=2)
    assert config.model.name == "mine-ingredient2"
    assert validate(OmegaConf.structured(config)).model.name == "mine-ingredient2"
    with pytest.raises(UserError, match=r"ingredient does nothing without model\.stages=join"):
        validated(ingredient=2)
    with pytest.raises(UserError, match=r"stages=join does nothing with model\.source=folder"):
        validated(stages="join", source="folder", path="x", tokens_per_step=2)
