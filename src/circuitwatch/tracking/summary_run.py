"""The run of a sweep's summary: tables, figures and the report, as `circuitwatch summarize` wrote
them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from circuitwatch.spreadsheets import table_of
from circuitwatch.tracking import sessions
from circuitwatch.tracking.account import load_wandb
from circuitwatch.tracking.answers import CONTENT
from circuitwatch.tracking.folders import Folders
from circuitwatch.tracking.identity import SUMMARY, Identity, summary_id
from circuitwatch.tracking.settings import TrackingConfig

TABLES = ("emergence", "scaling", "cells", "seeds")
"""Tables of a summary that a run shows; all are in its artifact."""
ARTIFACT_TYPE = "summary"


def has_summary(folder: Path) -> bool:
    """Whether a sweep's folder has a summary."""
    return (folder / "summary" / "emergence.csv").is_file()


def content_of(folder: Path) -> str:
    """A hash over the files of a sweep's summary."""
    digest = hashlib.sha256()
    for path in _files(folder / "summary"):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def identity_of_summary(sweep: str) -> Identity:
    """What the summary run of a sweep is called."""
    return Identity(
        id=summary_id(sweep),
        name=f"{sweep} summary",
        group=sweep,
        job_type=SUMMARY,
        tags=["summary"],
        notes=f"When each curve of the sweep {sweep} emerged, and how that changes with size",
        config={"sweep": sweep, "job_type": SUMMARY},
    )


def send_summary(
    folder: Path, identity: Identity, folders: Folders, config: TrackingConfig, there: str = ""
) -> str:
    """Send a sweep's summary, over an earlier one.

    Args:
        folder: of the sweep.
        identity: of the run.
        folders: what of this machine is not sent.
        config: the project and entity.
        there: the id of the run that the server has.

    Returns:
        the run's address.

    Raises:
        Unreachable: the server does not answer.
        NotUploaded: not all reached it.
    """
    summary = folder / "summary"
    session = sessions.start(
        identity, folder, online=True, project=config.project, entity=config.entity, there=there
    )
    url = session.url
    try:
        session.log(_shown(summary, folders), 0)
        wandb = load_wandb()
        artifact = wandb.Artifact(f"summary-{identity.id}", ARTIFACT_TYPE)
        for path in _files(summary):
            if path.suffix == ".png":
                artifact.add_file(str(path), path.name, policy="immutable", skip_cache=True)
                continue
            with artifact.new_file(path.name, "wb") as file:
                file.write(_text(path, folders).encode())
        session.keep(artifact, "the summary's artifact")
        session.run.summary[CONTENT] = content_of(folder)
    finally:
        session.finish()
    return url


def _text(path: Path, folders: Folders) -> str:
    """A table, a page or notes, without this machine's folders."""
    return str(folders.out_of(path.read_text(encoding="utf-8")))


def _shown(summary: Path, folders: Folders) -> dict[str, Any]:
    """Tables, figures and the report, as W&B shows them."""
    wandb = load_wandb()
    shown: dict[str, Any] = {}
    for name in TABLES:
        if (path := summary / f"{name}.csv").is_file():
            table = table_of(_text(path, folders))
            plain = table.astype(object).where(table.notna(), None)
            shown[name] = wandb.Table(
                list(plain.columns), plain.values.tolist(), allow_mixed_types=True
            )
    for path in sorted(summary.glob("*.png")):
        shown[f"figures/{path.stem}"] = wandb.Image(str(path))
    shown["report"] = wandb.Html(_text(summary / "report.html", folders), inject=False)
    return shown


def _files(summary: Path) -> list[Path]:
    """The summary's files; of each figure the PNG only."""
    return [
        p for p in sorted(summary.iterdir()) if p.is_file() and p.suffix not in (".pdf", ".svg")
    ]
