"""Names that become folders and paths: refused in one line before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from circuitwatch.cli import main
from circuitwatch.config import own_name
from circuitwatch.errors import UserError
from circuitwatch.names import MOST_NAME, plain_name, plain_path

LONG = "n" * 10_000


@pytest.mark.parametrize("name", ["pythia-160m", "a_b.c", "Modell №1", "模型", "é" * 50, "n" * 100])
def test_names_that_are_taken(name: str, tmp_path: Path) -> None:
    plain_name(name, "sweep")
    (tmp_path / f"{name}.partial").mkdir()


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a/b", "a\\b", "a\0b", "a\nb", "a\tb", "a\x1b[2Jb", "a\u2028b"),
        *(".hidden", "-flag", "~user", "end.", "end ", " begin", "a:b", "a*", "a?", "a|b", 'a"b'),
        *("<a>", "\udcff", "n" * 101, "é" * 51, LONG),
    ],
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"^sweep=") as error:
        plain_name(name, "sweep")
    line = str(error.value)
    assert len(line) < 200 and line.isprintable()


def test_the_message_says_how_long_a_name_may_be() -> None:
    with pytest.raises(UserError, match=f"is 10000 bytes long; a name has at most {MOST_NAME}$"):
        plain_name(LONG, "sweep")


@pytest.mark.parametrize("path", ["", " ", "a\0b", "a\nb", LONG, "a/" * 5000, "x/" + "n" * 256])
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(UserError, match=r"^out=") as error:
        plain_path(path, "out")
    assert len(str(error.value)) < 200 and str(error.value).isprintable()


def test_paths_that_are_taken() -> None:
    for path in (".", "~/x", "/a/../b", "runs of mine/2024:01", "n" * 255):
        plain_path(path, "out")


@pytest.mark.parametrize(
    "arguments",
    [
        *([f"{key}={LONG}"] for key in ("sweep", "out", "cache", "model.name", "task.name")),
        ["task=file", f"task.path={LONG}"],
        ["task=file", f"task.path={'n' * 200}.csv"],
        ["-m", f"sweep=short,{LONG}"],
        [f"sweep='{LONG}'"],
        ["summarize", f"sweep={LONG}"],
        ["summarize", "sweep=x", f"out={LONG}"],
        ["summarize", f"from={LONG}", "to=x"],
        ["summarize", "from=x", f"to={LONG}"],
        ["transfer", f"sweep={LONG}"],
        ["track", f"sweep={LONG}"],
        ["track", "sweep=x", f"project={LONG}"],
        ["export", f"cell={LONG}", "to=x"],
        ["workspace", f"sweep={LONG}"],
        ["train", "model=nano-100k", f"cache={LONG}"],
    ],
    ids=lambda arguments: " ".join(arguments)[:30],
)
def test_a_long_name_is_one_short_line(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [] if arguments[0].isalpha() else ["model=nano-100k", "tracking=off"]
    with pytest.raises(SystemExit) as end:
        main([*command, *arguments])
    lines = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and len(lines) == 1 and len(lines[0]) < 250, lines
    assert "at most" in lines[0] or "a file system takes" in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_names_that_files_give(tmp_path: Path) -> None:
    """A task's file, and a model of a suite of one's own."""
    with pytest.raises(UserError, match=r"^task\.name=.* is 200 bytes long"):
        own_name(f"{'n' * 200}.csv")
    with pytest.raises(UserError, match=r"^task\.name='a:b'.*; say task\.name= for a file that"):
        own_name("a:b.csv")
    with pytest.raises(UserError, match=r"^task\.path=.*at most"):
        own_name(LONG)
    from circuitwatch.cli.choices import own_templates, suites

    for group in ("suites", "tasks"):
        (tmp_path / group).mkdir()
    arguments = ["--config-dir", str(tmp_path)]
    (tmp_path / "suites/mine.yaml").write_text(
        f"models: {{{'m' * 200}: {{hub_id: a/b, revisions: 'step{{step}}', tokens_per_step: 1}}}}"
    )
    with pytest.raises(UserError, match=r"mine\.yaml: model=.* is 200 bytes long"):
        suites(arguments)
    (tmp_path / f"tasks/{'t' * 200}.yaml").write_text("")
    with pytest.raises(UserError, match=r"name of a task's file=.* is 200 bytes long"):
        own_templates(arguments)
