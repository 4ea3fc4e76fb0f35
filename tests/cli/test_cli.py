"""The command line: every mistake a user can make is one line and a non-zero exit, and leaves
nothing behind.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from circuitwatch import catalogue
from circuitwatch.cli.choices import conf_dir
from support.watched import write_watched

REPOSITORY = Path(__file__).parents[2]
LONG, NINES = 10_000 * "x", 400 * "9"
CUT = f"{60 * 'x'}… (10000 characters)"
FAR_TOO_LONG = {
    LONG: f"{CUT}: no such command; there are watch, ",
    f"{LONG}=1": f"{CUT}: no such option",
    f"model={LONG}": f"model={CUT}: no such model; choose one of folder, hub, ",
    f"-m model=nano-100k,{LONG}": f"model={CUT}: no such model; choose one of folder, hub, ",
    f"hydra/launcher={LONG}": f"hydra/launcher='{'x' * 60}'…: is 10000 bytes long; a name has at ",
    f"--config-name={LONG}": f"--config-name='{'x' * 60}'…: is 10000 bytes long; a name has at ",
    f"seed={NINES}": f"seed={'9' * 60}… (400 characters): must be at least 0, at most 4294967295",
    f"-m seed=1,{NINES}": f"seed={'9' * 60}… (400 characters): must be at least 0, at most ",
    "-m seed=range(0,1e400)": "seed=range(0,1e400): is of more than 100000 values",
    "-m seed=range(0,9,0)": "seed=range(0,9,0): is of more than 100000 values",
    f"-m seed=range({NINES})": f"seed=range({'9' * 49}… (412 characters): is of more than 100000 ",
    f"heads.thresholds.induction={NINES}": "heads.thresholds.induction: the configuration "
    "can't be composed: int too large",
    f"circuit.threshold={NINES}": "circuit.threshold: the configuration can't be composed: int ",
}
MISTAKES = {
    "model=nothing": "model=nothing: no such model; choose one of folder, hub, nano-",
    "model=pythia-160m-seed99": "model=pythia-160m-seed99: no such model; did you mean "
    "pythia-160m-seed9 or ",
    "model=folder model.path=x modle=3": "modle: no such option; did you mean model? ",
    "schedule.evry=3": "schedule.evry: no such option; did you mean schedule.every",
    "task=ioii": "task=ioii: no such task; did you mean ioi? choose one of agreement, ",
    "circuit.method=eapig": "circuit.method=eapig: choose one of eap-ig, eap, exact; did you mean "
    "eap-ig",
    "summarise": "summarise: no such command; did you mean summarize? there are watch, ",
    "summarize sweeep=x": "summarize sweeep=x: did you mean sweep? give sweep=<name>",
    "model=hub model.revisions=step{step}": "model.revisions=step{step}: can't be read; quote the "
    "value: 'model.revisions=\"step{step}\"'",
    "hydra/launcher=nothing": "hydra/launcher=nothing: no such launcher; choose one of basic, ",
    "-m hydra/sweeper=nothing": "hydra/sweeper=nothing: no such sweeper; choose one of ",
    "tracking=-inf": "tracking=-inf: no such tracking; choose one of auto, ",
    "-m +circuit=true": "circuit=true: no such circuit; choose one of eap, eap-ig, exact",
    "-m circuit=[128,0]": "circuit=[128, 0]: no such circuit; choose one of eap, ",
    "-m task=ioi --cfg job": "--cfg: shows the configuration of one cell; leave out -m",
    "model=[a": "model=[a: a bracket [ or ] is without its other half",
    "~model": "~model: no option can be left out",
    "++x=1": "x: no such option",
    "seed=1 seed=2": "seed: given twice, seed=1 and seed=2; give it once",
    "task=ioi,agreement": "task=ioi,agreement: several values are a sweep; add -m",
    "task=": "task=: no such task; choose one of agreement, ",
    "modèle=x": "'modèle=x': 'modèle' can't be a key",
    "hydra.sweeper.params=3": "hydra.sweeper.params=3: Cannot assign int",
    "--resolve": "--resolve: goes with --cfg job",
    "--experimental-rerun=x": "--experimental-rerun: would unpickle a file",
    "--config-dir nowhere": "--config-dir nowhere: no such folder",
    f"--config-dir {'x' * 300} task=ioi": f"--config-dir {'x' * 60}… (300 characters): no such",
    "model=hub": "model.hub_id is missing",
    "model=hub model.hub_id=a/b": "model=hub: tokens_per_step is missing, and the revisions' "
    "names hold no {tokens}",
    "model=hub model.hub_id=a/b model.revisions=main": "model=hub: revisions=main has no "
    "{step}, so `steps` must name",
    "schedule.from=soon": "schedule.from=soon: give steps such as 1000, or tokens such as 2.1B",
    "checkpoints.disk=20": "checkpoints.disk=20: give a size above 0",
    "checkpoints.keep=some": "checkpoints.keep=some: choose one of none, last, all",
    "doctor model=folder model.path=nowhere": "model.path=nowhere: no such directory",
    "task=chess": "task=chess: no such task; choose one of agreement, arithmetic, capitals, ",
    "task=file": "task.path is missing: task=file needs task.path=",
    "task=file task.path=none.csv": "task.path=none.csv: can't be read (No such file",
    "task=file task.path=.": "task.path=.: is a folder",
    "task=file task.path=none.csv task.name=a/b": "task.name='a/b': must be a plain name",
    "task.metric=log_prob": "task.metric does nothing with task=ioi",
    "task.space=false": "task.space does nothing with task=ioi",
    "task.min_prompts=1": "task.min_prompts=1: must be at least 2",
    "prompts show=none": "show=none: must be a whole number of at least 1",
    "circuit.threshold=1.5": "circuit.threshold=1.5: must be above 0 and at most 1",
    "circuit.threshold=much": "circuit.threshold=much: Value 'much' of type 'str' could not "
    "be converted to Float",
    "circuit.ig_steps=0": "circuit.ig_steps=0: must be auto, or a whole number of at least 1",
    "circuit.ig_steps=many": "circuit.ig_steps=many: must be auto, or a whole number of at least 1",
    "circuit.ig_steps=2.5": "circuit.ig_steps=2.5: must be auto, or a whole number of at least 1",
    "circuit.ig_max_steps=10": "circuit.ig_max_steps=10: choose one of 3, 9, 27, 81",
    "circuit.ig_tolerance=0": "circuit.ig_tolerance=0.0: must be above 0 and at most 1",
    "circuit.quadrature=right": "circuit.quadrature=right: circuit.ig_steps=auto takes "
    "midpoint steps",
    "circuit.thresold=0.5": "circuit.thresold: no such option",
    "+new=1": "new: no such option",
    "circuit.resamples=1": "circuit.resamples=1: must be 0 for no noise ceiling, or at least 2",
    "task.n_prompts=1": "task.n_prompts=1: must be at least 2",
    "heads.length=2": "heads.length=2: must be at least 3",
    "heads.loss_length=19": "heads.loss_length=19: must be at least 20",
    "heads.thresholds.induction=0": "heads.thresholds.induction=0.0: must be above 0 and at most 1",
    "heads.thresholds.attention_sink=1.5": "heads.thresholds.attention_sink=1.5: must be above 0",
    "heads.thresholds.inductoin=0.4": "heads.thresholds.inductoin: no such role; there are ",
    "+heads.thresholds.inductoin=0.4": "heads.thresholds.inductoin: no such role; choose one of "
    "previous_token, ",
    "heads.thresholds.induction=half": "heads.thresholds.induction=half: Value 'half' of type "
    "'str' could not be converted to Float",
    "heads.patch=all": "heads.patch=all: choose one of together, each",
    "heads.d_inputs=keys": "heads.d_inputs=keys: choose one of keys_and_values, values",
    "dtype=bfloat16": "dtype=bfloat16: choose one of float32, float64",
    "device=tpu": "device=tpu: choose one of auto, cpu, cuda, mps",
    "schedule=steps": "schedule.steps is missing",
    "schedule.every=3": "schedule.every does nothing with schedule=all",
    "sweep=a/b": "sweep='a/b': must be a plain name",
    "model=folder": "model.path is missing",
    "model=folder model.path=nowhere": "model.path=nowhere: no such directory",
    "follow=true": "follow=true: model=nano-400k does not grow while it is watched",
    "follow_idle=1h": "follow_idle does nothing without follow=true",
    "follow_every=1s": "follow_every does nothing without follow=true",
    "model=folder model.path=. follow=true schedule=sparse": "follow=true: schedule=sparse can't "
    "be chosen before the last checkpoint is there",
    "model=folder model.path=. follow=true follow_idle=soon": "follow_idle=soon: give a time above "
    "0 such as 10s or 30min",
    "model=folder model.path=. follow=true follow_every=0s": "follow_every=0s: give a time above 0",
    "model=folder model.path=. follow=true follow_idle=5s": "follow_idle=5s: must be at least "
    "follow_every=10s",
    "model=folder model.path=nowhere follow=true": "model.tokens_per_step is missing",
    "-m model=folder model.path=. task=ioi,agreement follow=true": "follow=true: with -m one cell "
    "comes after another",
    "out=/dev/null/x model=folder model.path=.": "/dev/null/x/default/folder/ioi/seed0: "
    "can't be used",
    "train model=folder model.path=.": "model=folder: only nano models are trained here",
    "frobnicate": "frobnicate: no such command",
    "summarize": "summarize: give sweep=<name>",
    "summarize sweep=none": "multirun/none: no such sweep",
    "heads.thresholds.nothing=0.3": "heads.thresholds.nothing: no such role; there are ",
    "circuit.memory=4": "circuit.memory=4: give a size above 0 such as 4GiB",
    "export cell=.": "export cell=.: give cell=<folder of one cell> and to=<folder to write>",
    "export cell=. to=x": ".: no cell.json there",
}


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "circuitwatch", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def one_line_of(arguments: str, folder: Path) -> str:
    """The one line of an error that leaves nothing behind."""
    done = run(*arguments.split(), cwd=folder)
    assert done.returncode == 2 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("circuitwatch: error: "), done.stderr
    assert not list(folder.iterdir())
    return lines[0].removeprefix("circuitwatch: error: ")


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.items())
def test_a_mistake_is_one_line(arguments: str, message: str, tmp_path: Path) -> None:
    said = one_line_of(arguments, tmp_path)
    assert said.startswith(message), said


@pytest.mark.parametrize("case", range(len(FAR_TOO_LONG)))
def test_what_is_far_too_long_is_one_short_line(case: int, tmp_path: Path) -> None:
    arguments, message = list(FAR_TOO_LONG.items())[case]
    said = one_line_of(arguments, tmp_path)
    assert said.startswith(message) and len(said) < 400, said


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model/mine.yaml", b"name: x\n  path: y\n", "model/mine.yaml, line 2: mapping values "),
        ("model/mine.yaml", b"name: x\n\npath: {a\n", "model/mine.yaml, line 4: while parsing a "),
        ("model/mine.yaml", b"name: x\nname: y\n", "model/mine.yaml, line 2: while constructing "),
        ("model/mine.yaml", b"\xff\xfe\x00", "model/mine.yaml: is not text in UTF-8"),
        ("model/mine.yaml", b"- a\n", "In 'model/mine': ValidationError raised while composing "),
        ("model/mine.yaml", None, "model=mine: no such model"),
        ("suites/mine.yaml", b"models: [\n", "own/suites/mine.yaml: can't be read as YAML ("),
        ("suites/mine.yaml", None, "own/suites/mine.yaml: can't be read as YAML ([Errno 21] Is a "),
        (
            "tasks/mine.yaml",
            b"words: x\npatterns: [a\n b: c",
            "own/tasks/mine.yaml: can't be read ",
        ),
        ("tasks/mine.yaml", None, "task.path=own/tasks/mine.yaml: is a folder"),
    ],
)
def test_a_file_of_ones_own_that_can_not_be_read_is_named(
    file: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    """With the line in which it is no YAML; None: a folder where a file is meant."""
    path = tmp_path / "own" / file
    path.parent.mkdir(parents=True)
    path.mkdir() if content is None else path.write_bytes(content)
    group = {"model": "model", "suites": "model", "tasks": "task"}[path.parent.name]
    done = run("--config-dir", "own", f"{group}=mine", cwd=tmp_path)
    errors = [line for line in done.stderr.splitlines() if "circuitwatch: error" in line]
    assert done.returncode == 2 and len(errors) == 1 and "Traceback" not in done.stderr
    assert message in errors[0], done.stderr


@pytest.mark.parametrize("file", ["cell.json", "done.json", "checkpoints/step000000/scalars.json"])
def test_a_file_of_a_sweep_that_can_not_be_read_is_one_line(file: str, tmp_path: Path) -> None:
    """A folder in its place: whatever is said of it, it is no traceback."""
    write_watched(tmp_path / "multirun/s", tasks=("ioi",))
    cell = next((tmp_path / "multirun/s").glob("*/ioi/seed0"))
    (cell / file).unlink()
    (cell / file).mkdir()
    export = ["export", f"cell={cell}", "to=x"]
    for command in (["summarize", "sweep=s"], ["status", "sweep=s"], export):
        done = run(*command, cwd=tmp_path)
        errors = [line for line in done.stderr.splitlines() if "circuitwatch: error" in line]
        assert "Traceback" not in done.stderr and len(errors) <= 1
        assert (done.returncode, len(errors)) in ((0, 0), (2, 1)), done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--hydra-help"], ["doctor", "--hydra-help"], ["--info", "searchpath"], ["--info"]],
)
def test_what_hydra_says_of_itself_can_be_asked(arguments: list[str], tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "" and "ydra" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_schedule_without_checkpoints_and_a_folder_without_weights(
    trained_suite: Path, tmp_path: Path
) -> None:
    model = ["model=folder", f"model.path={trained_suite}", "tracking=off"]
    done = run(*model, "schedule.from=5000", cwd=tmp_path)
    assert done.returncode == 2 and "schedule: no checkpoint from step 5000" in done.stderr
    (tmp_path / "runs/step1").mkdir(parents=True)
    done = run(
        "model=folder", "model.path=runs", "model.tokens_per_step=1", "tracking=off", cwd=tmp_path
    )
    assert (
        done.returncode == 2
        and "runs/step1: no config.json in this folder" in done.stderr
        and done.stderr.count("\n") == 1
    )


BOOM = """
from circuitwatch import catalogue
from circuitwatch.cli import main

def boom(*given):
    raise ValueError("boom in my role")

catalogue.add(catalogue.Role("mine", "mine", "mine", 0.5, "made up", score=boom))
main()
"""


def test_an_error_at_the_first_checkpoint_leaves_nothing_that_the_run_made(
    trained_suite: Path, tmp_path: Path
) -> None:
    """But what was there before, empty or not, stays."""
    (tmp_path / "before/empty").mkdir(parents=True)
    arguments = [
        "model=folder",
        f"model.path={trained_suite}",
        "tracking=off",
        "task.n_prompts=8",
        "heads.length=6",
        "heads.n_sequences=2",
        "heads.n_prompts=4",
        "device=cpu",
    ]
    for out in ("multirun", "before"):
        done = subprocess.run(
            [sys.executable, "-c", BOOM, *arguments, f"out={out}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        message = "circuitwatch: error: role mine: ValueError: boom in my role; 0 of "
        assert done.stderr.startswith(message) and done.stderr.count("\n") == 1, done.stderr
        assert [path.name for path in tmp_path.rglob("*")] == ["before", "empty"]
    cell = tmp_path / "before/default/folder/ioi/seed0"
    (cell / "checkpoints").mkdir(parents=True)
    (cell / "cell.json").write_text("{")
    done = run(*arguments, "out=before", cwd=tmp_path)
    assert done.returncode == 2 and "damaged" in done.stderr
    assert (cell / "cell.json").read_text() == "{"


def test_a_sweep_in_which_nothing_starts_leaves_nothing(tmp_path: Path) -> None:
    arguments = ["task=ioi,agreement", "model=folder", "model.path=nowhere", "out=a/b", "sweep=z"]
    done = run("-m", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and "2 of 2 cells failed" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_plug_in_that_can_not_be_loaded_is_one_line(tmp_path: Path) -> None:
    about = tmp_path / "bad-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[circuitwatch.roles]\nbad = bad:ROLE\n")
    (tmp_path / "bad.py").write_text("raise ValueError('boom')\n")
    done = run("sweep=mine", cwd=tmp_path)  # python -m looks in the folder it is started in
    assert done.returncode == 2
    assert done.stderr == (
        "circuitwatch: error: circuitwatch.roles: bad:ROLE can't be loaded (ValueError: boom)\n"
    )


def test_in_a_sweep_the_other_cells_go_on(trained_suite: Path, tmp_path: Path) -> None:
    done = run(
        "-m",
        "model=folder",
        "model.name=tiny",
        f"model.path={trained_suite}",
        "task=ioi,agreement",
        "task.n_prompts=500,8",
        "tracking=off",
        "heads.length=6",
        "heads.n_sequences=2",
        "heads.n_prompts=4",
        "schedule=steps",
        "schedule.steps=[300]",
        cwd=tmp_path,
    )
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if "circuitwatch: error" in line]
    assert len(lines) == 3 and "2 of 4 cells failed" in lines[-1], done.stderr
    assert lines[0].startswith("circuitwatch: error: tiny/ioi/seed0 task.n_prompts=8: ")
    assert "Traceback" not in done.stderr
    assert {path.parent.parent.name for path in tmp_path.rglob("done.json")} == {"ioi", "agreement"}


def test_help_names_every_choice_and_option(tmp_path: Path) -> None:
    shown = run("--help", cwd=tmp_path).stdout
    for name in (
        "nano-400k",
        "greater_than",
        "experiment=",
        "circuit.threshold",
        "summarize sweep=",
        "sweep ",
    ):
        assert name in shown
    for role in catalogue.roles().values():
        (line,) = (
            line
            for line in shown.splitlines()
            if line.startswith(f"  heads.thresholds.{role.name} ")
        )
        assert line.endswith(f" {role.threshold:g}: {role.source}")
        assert re.search(r"\b\d{4}\.\d{5}\b", line), f"no source of the threshold: {line}"
    assert run("--version", cwd=tmp_path).stdout.startswith("circuitwatch ")


@pytest.mark.parametrize(
    "path",
    sorted(p for p in (REPOSITORY / "conf").glob("*/*.yaml") if p.parent.name != "suites"),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_every_choice_composes(path: Path, tmp_path: Path) -> None:
    extra = {
        "folder": ["model.path=x"],
        "steps": ["schedule.steps=[1]"],
        "every": ["schedule.every=2"],
        "hub": ["model.hub_id=a/b"],
    }.get(path.stem, [])
    done = run(f"{path.parent.name}={path.stem}", *extra, "--cfg", "job", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_wheel_brings_the_configuration(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(REPOSITORY),
    ]
    subprocess.run(build, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "from circuitwatch.cli.choices import conf_dir; print(conf_dir())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "site")],
        check=True,
        capture_output=True,
        text=True,
    )
    installed = Path(found.stdout.strip())
    assert installed == tmp_path / "site" / "circuitwatch" / "conf"
    assert {p.relative_to(installed) for p in installed.rglob("*.yaml")} == {
        p.relative_to(conf_dir()) for p in conf_dir().rglob("*.yaml")
    }


def test_a_cells_configuration_is_resolved_in_its_header(
    trained_suite: Path, tmp_path: Path
) -> None:
    done = run(
        "model=folder",
        "model.name=tiny",
        f"model.path={trained_suite}",
        "task=ioi",
        "task.n_prompts=4",
        "heads.length=6",
        "heads.n_prompts=4",
        "schedule=steps",
        "schedule.steps=[300]",
        "tracking=off",
        "circuit.threshold=0.7",
        "heads.thresholds.induction=0.4",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    header = json.loads((tmp_path / "multirun/default/tiny/ioi/seed0/cell.json").read_text())
    assert (
        header["config"]["circuit"]["threshold"] == 0.7
        and header["config"]["task"]["name"] == "ioi"
    )
    assert "${" not in json.dumps(header["config"])
    given = {role.name: role.threshold for role in catalogue.roles().values()} | {"induction": 0.4}
    assert header["config"]["heads"]["thresholds"] == given
    assert header["facts"]["roles"]["induction"]["threshold"] == 0.4
