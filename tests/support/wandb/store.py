"""What the stand-in remembers: projects with their runs, uploaded files, artifacts and views. All
of it in memory; whoever reads or writes holds the server's lock.
"""

from __future__ import annotations

import base64
import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class ServerRun:
    """A run as the server had it when it was asked: config without the wrapping that W&B gives
    it, history as rows in the order of the lines.
    """

    id: str
    name: str
    display_name: str
    group: str | None
    job_type: str | None
    tags: list[str]
    notes: str | None
    state: str
    program: str | None
    config: dict[str, Any]
    summary: dict[str, Any]
    rows: list[dict[str, Any]]
    files: dict[str, bytes]
    output: list[str]
    alerts: list[dict[str, Any]]
    deleted: bool


@dataclass
class StoredRun:
    """A run's data, its history, events and output as the lines that were streamed."""

    entity: str
    project: str
    id: str
    number: int
    display_name: str
    created: str
    heartbeat: str
    group: str | None = None
    job_type: str | None = None
    tags: list[str] = field(default_factory=list)
    notes: str | None = None
    description: str | None = None
    state: str = "running"
    host: str | None = None
    program: str | None = None
    commit: str | None = None
    wrapped: dict[str, Any] = field(default_factory=dict)
    summary_text: str = "{}"
    history: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    uploaded: dict[str, str] = field(default_factory=dict)
    used: list[StoredArtifact] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    stop: bool = False
    deleted: bool = False

    @property
    def storage_id(self) -> str:
        return opaque(f"Run:v1:{self.id}:{self.project}:{self.entity}")

    @property
    def config(self) -> dict[str, Any]:
        """The config as its user wrote it."""
        return {
            key: value["value"] if isinstance(value, dict) and "value" in value else value
            for key, value in self.wrapped.items()
            if key not in ("_wandb", "wandb_version")
        }

    @property
    def summary(self) -> dict[str, Any]:
        return dict(json.loads(self.summary_text))

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.history]

    def shown(self) -> ServerRun:
        """The run as it is now, for those without the lock."""
        return ServerRun(
            id=self.id,
            name=self.id,
            display_name=self.display_name,
            group=self.group,
            job_type=self.job_type,
            tags=list(self.tags),
            notes=self.notes,
            state=self.state,
            program=self.program,
            config=self.config,
            summary=self.summary,
            rows=self.rows(),
            files=dict(self.files),
            output=[output_line(line)["content"] for line in self.output],
            alerts=list(self.alerts),
            deleted=self.deleted,
        )


@dataclass(eq=False)
class StoredArtifact:
    """A version of an artifact: which files it has is what its manifest says."""

    id: str
    type: str
    sequence: Sequence
    digest: str
    index: int | None = None
    state: str = "PENDING"
    description: str | None = None
    metadata: str | None = None
    run: StoredRun | None = None
    client_id: str | None = None
    aliases: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    manifest: bytes | None = None
    created: str = ""
    size: int = 0
    history_step: int | None = None


@dataclass(eq=False)
class Sequence:
    """The versions of an artifact under one name."""

    id: str
    name: str
    type: str
    project: Project
    created: str
    client_id: str | None = None
    description: str | None = None
    tags: list[str] = field(default_factory=list)
    versions: list[StoredArtifact] = field(default_factory=list)

    def committed(self) -> list[StoredArtifact]:
        return [one for one in self.versions if one.state == "COMMITTED"]


@dataclass(eq=False)
class Project:
    """A project: its runs by id, its artifacts by name, its saved views."""

    entity: str
    name: str
    number: int
    created: str
    runs: dict[str, StoredRun] = field(default_factory=dict)
    sequences: dict[str, Sequence] = field(default_factory=dict)
    views: list[dict[str, Any]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return opaque(f"Project:v1:{self.name}:{self.entity}")


@dataclass
class Store:
    """Everything: the projects, and the contents of artifacts' files by their MD5 (hex).

    `again` is what becomes of the history of a run that is initialised anew without `resume`.
    """

    entity: str
    forget_deleted: bool = False
    again: str = "overwrite"
    projects: dict[tuple[str, str], Project] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def project(self, name: str | None, entity: str | None = None) -> Project | None:
        return self.projects.get((entity or self.entity, name or "uncategorized"))

    def made_project(self, name: str | None, entity: str | None = None) -> Project:
        """The project of that name, a new one if there is none."""
        key = entity or self.entity, name or "uncategorized"
        if key not in self.projects:
            self.projects[key] = Project(*key, next(self.numbers), now())
        return self.projects[key]

    def run(self, project: str | None, id: str | None, entity: str | None = None) -> StoredRun:
        """A run, also a deleted one. KeyError if there never was one."""
        return self.projects[entity or self.entity, project or "uncategorized"].runs[str(id)]

    def live_run(
        self, project: str | None, id: str | None, entity: str | None = None
    ) -> StoredRun | None:
        """A run that is not deleted."""
        found = self.project(project, entity)
        run = found.runs.get(str(id)) if found else None
        return run if run is not None and not run.deleted else None

    def run_by_storage_id(self, storage_id: str) -> StoredRun | None:
        return next((run for run in self.every_run() if run.storage_id == storage_id), None)

    def every_run(self) -> list[StoredRun]:
        return [
            run
            for project in self.projects.values()
            for run in project.runs.values()
            if not run.deleted
        ]

    def artifact(self, id: str | None) -> StoredArtifact | None:
        """An artifact by the server's id or by the one that the client gave it."""
        for project in self.projects.values():
            for sequence in project.sequences.values():
                for one in sequence.versions:
                    if id and id in (one.id, one.client_id):
                        return one
        return None


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def opaque(text: str) -> str:
    """An id as W&B's are: base64 of what it is of."""
    return base64.b64encode(text.encode()).decode()


def output_line(line: str) -> dict[str, Any]:
    """What a line of output says (`content`) and what the client tells with it, if it does."""
    try:
        told = json.loads(line)
    except ValueError:
        told = None
    return told if isinstance(told, dict) and "content" in told else {"content": line}
