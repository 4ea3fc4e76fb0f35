"""Runs in the graph: what a client may ask of a run and of its files, and how it makes, changes and
deletes one.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from support.wandb import history
from support.wandb.artifact_nodes import artifact_node
from support.wandb.graphql import Node, Refusal, page
from support.wandb.store import Project, Store, StoredArtifact, StoredRun, now, opaque, output_line

if TYPE_CHECKING:
    from support.wandb.world import World


def run_node(run: StoredRun, world: World) -> Node:
    """A run."""
    store = world.store

    def files(
        names: list[str] | None = None,
        after: str | None = None,
        first: int | None = None,
        pattern: str | None = None,
    ) -> Node:
        kept = [name for name in sorted(run.files) if not names or name in names]
        if pattern:
            kept = [name for name in kept if _like(name, pattern)]
        return page([_file_node(run, name, world) for name in kept], first, after)

    def lines(
        samples: int | None = None, minStep: int | None = None, maxStep: int | None = None
    ) -> list[str]:
        return history.between(run, samples, minStep, maxStep)

    def artifacts(used: bool) -> Callable[..., Node]:
        def listed(after: str | None = None, first: int | None = None) -> Node:
            every = run.used if used else logged(run, store)
            return page([artifact_node(one, world) for one in every], first, after)

        return listed

    def log_lines(
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        useImprovedPagination: bool = False,
    ) -> Node:
        nodes = [_log_line(number, line) for number, line in enumerate(run.output)]
        return page(nodes[-last:] if last else nodes, first, after)

    return Node(
        "Run",
        id=run.storage_id,
        name=run.id,
        displayName=run.display_name,
        projectId=str(store.made_project(run.project, run.entity).number),
        project=lambda: world.project(store.made_project(run.project, run.entity)),
        tags=run.tags,
        sweepName=None,
        state=run.state,
        config=lambda: json.dumps(run.wrapped),
        wandbConfig=lambda keys: json.dumps(_wandb_config(run, keys)),
        group=run.group,
        groupName=run.group,
        jobType=run.job_type,
        commit=run.commit,
        host=run.host,
        readOnly=False,
        stopped=run.stop,
        createdAt=run.created,
        updatedAt=run.heartbeat,
        heartbeatAt=run.heartbeat,
        description=run.description,
        notes=run.notes,
        systemMetrics=lambda: run.events[-1] if run.events else "{}",
        summaryMetrics=run.summary_text,
        historyLineCount=len(run.history),
        eventsLineCount=len(run.events),
        logLineCount=len(run.output),
        historyTail=lambda: history.tail(run.history),
        eventsTail=lambda: history.tail(run.events),
        historyKeys=lambda: history.keys(run),
        history=lines,
        events=lambda samples=None: history.thinned(run.events, samples),
        sampledHistory=lambda specs: [history.sampled(run, json.loads(spec)) for spec in specs],
        parquetHistory=lambda liveKeys=None: Node(
            "ParquetHistory", parquetUrls=[], liveData=_live(run, liveKeys)
        ),
        user=Node("User", name=run.entity, username=run.entity),
        fileCount=len(run.files),
        files=files,
        logLines=log_lines,
        outputArtifacts=artifacts(used=False),
        inputArtifacts=artifacts(used=True),
    )


def logged(run: StoredRun, store: Store) -> list[StoredArtifact]:
    """The committed artifacts that a run logged."""
    project = store.made_project(run.project, run.entity)
    every = [one for sequence in project.sequences.values() for one in sequence.committed()]
    return [one for one in every if one.run is run]


def upsert(store: Store, given: dict[str, Any]) -> tuple[StoredRun, bool]:
    """Make a run or change it, and whether it is new. What is null stays as it is."""
    if given.get("id"):
        run = store.run_by_storage_id(given["id"])
        if run is None:
            raise Refusal("run not found", 404)
        inserted = False
    else:
        project = store.made_project(given.get("modelName"), given.get("entityName"))
        name = given.get("name") or f"run{next(store.numbers)}"
        run, inserted = _named(store, project, name)
        if inserted or given.get("jobProgram") is not None:  # not a change of a run under way
            run.state = given.get("state") or "running"
    for key, attribute in _CHANGES.items():
        if given.get(key) is not None:
            setattr(run, attribute, given[key])
    if given.get("config") is not None:
        run.wrapped = json.loads(given["config"])
    run.heartbeat = now()
    return run, inserted


_CHANGES = {
    "groupName": "group",
    "jobType": "job_type",
    "tags": "tags",
    "notes": "notes",
    "description": "description",
    "displayName": "display_name",
    "host": "host",
    "jobProgram": "program",
    "commit": "commit",
    "summaryMetrics": "summary_text",
    "state": "state",
}


def _named(store: Store, project: Project, name: str) -> tuple[StoredRun, bool]:
    """The run of a name in a project, and whether it was made for that."""
    old = project.runs.get(name)
    if old is not None and old.deleted and not store.forget_deleted:
        raise Refusal(
            f"run {name} was previously created and deleted; try a new run name",
            409,
        )
    if old is not None and not old.deleted:
        return old, False
    number = next(store.numbers)
    run = StoredRun(project.entity, project.name, name, number, f"stand-in-{number}", now(), now())
    project.runs[name] = run
    return run, True


def file_url(run: StoredRun, name: str, world: World) -> str:
    """Where a run's file is put and read."""
    return f"{world.url}/files/" + "/".join(
        quote(part) for part in (run.entity, run.project, run.id, name)
    )


def _file_node(run: StoredRun, name: str, world: World) -> Node:
    content = run.files[name]
    where = file_url(run, name, world)
    return Node(
        "File",
        id=opaque(f"File:{run.id}:{name}"),
        name=name,
        url=lambda upload=False: where,
        directUrl=where,
        sizeBytes=len(content),
        mimetype=mimetypes.guess_type(name)[0] or "application/octet-stream",
        updatedAt=run.uploaded.get(name, run.created),
        md5=hashlib.md5(content).hexdigest(),
    )


def _log_line(number: int, line: str) -> Node:
    """A line of output; the client sends it as JSON, with when it came and from where."""
    told = output_line(line)
    return Node(
        "LogLine",
        number=number,
        timestamp=told.get("ts"),
        level=told.get("level", "info"),
        label=told.get("label", ""),
        line=told["content"],
    )


def _like(name: str, pattern: str) -> bool:
    """SQL's LIKE: `%` is any text, `_` any character."""
    parts = {"%": ".*", "_": "."}
    return bool(re.fullmatch("".join(parts.get(one, re.escape(one)) for one in pattern), name))


def _live(run: StoredRun, keys: list[str] | None) -> list[dict[str, Any]]:
    """The rows that are not in a Parquet file, which is all of them."""
    rows = [row for row in run.rows() if all(key in row for key in keys or [])]
    return [{key: row[key] for key in keys} if keys else row for row in rows]


def _wandb_config(run: StoredRun, keys: list[str]) -> dict[str, Any]:
    about = run.wrapped.get("_wandb", {}).get("value", {})
    return {key: about[key] for key in keys if key in about}
