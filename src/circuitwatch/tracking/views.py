"""Workspaces and reports as W&B's server keeps them: both are views of a project, each with a name
that follows from the sweep's, so that running a command again finds its view and replaces it.

The package `wandb-workspaces` has the models of what a view says; what it does not offer (finding a
view by its name, and saving under a name of our own) is asked of the server here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from circuitwatch.errors import UserError
from circuitwatch.tracking.account import reason_of
from circuitwatch.tracking.charts import Watched
from circuitwatch.tracking.library import Kind, Library, as_json, name_of, title_of
from circuitwatch.tracking.report import DESCRIPTION, Content, report_of
from circuitwatch.tracking.server import default_entity
from circuitwatch.tracking.workspace import workspace_of

TYPES: dict[Kind, str] = {"workspace": "project-view", "report": "runs"}
"""What W&B calls a view that is a workspace, and one that is a report."""
FIND = """
    query View($entityName: String, $name: String, $viewType: String = "runs", $viewName: String) {
        project(name: $name, entityName: $entityName) {
            id
            internalId
            allViews(viewType: $viewType, viewName: $viewName) {
                edges { node { id name displayName } }
            }
        }
    }
"""
Asks = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Asks the server: called with a GraphQL document and its variables, gives its data."""


@dataclass(frozen=True)
class Place:
    """A project of W&B; an empty entity is not known yet."""

    entity: str
    project: str


@dataclass(frozen=True)
class Found:
    """What the server has: the project's own id, and a view's, None where it is not there."""

    project_id: str
    view_id: str | None


def both_as_json(
    content: Content, watched: Watched, library: Library, place: Place
) -> dict[Kind, dict[str, Any]]:
    """The workspace and the report of a sweep as JSON, read back by the library's own models;
    nothing is asked of a server.
    """
    where = {"entity": place.entity, "project": place.project}
    return {
        "workspace": as_json(workspace_of(watched, library, **where)),
        "report": as_json(report_of(content, watched, library, **where)),
    }


def asks(api: Any) -> Asks:
    """How the server is asked through an API object of W&B. What it raises becomes a UserError."""
    from wandb_workspaces import _graphql

    def ask(document: str, variables: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = _graphql.execute_graphql(api, document, variables)
        except Exception as error:  # W&B raises many kinds
            raise UserError(f"wandb: the server refuses ({reason_of(error)})") from error
        return answer

    return ask


def find(ask: Asks, kind: Kind, place: Place, name: str) -> Found:
    """A view by its name, as far as it is there. Raises UserError if there is no such project."""
    variables = {
        "entityName": place.entity,
        "name": place.project,
        "viewType": TYPES[kind],
        "viewName": name,
    }
    found = ask(FIND, variables).get("project")
    if found is None:
        raise UserError(
            f"wandb: no project {place.entity}/{place.project} that this account can read; log "
            "the sweep first, or give entity= and project="
        )
    edges = (found.get("allViews") or {}).get("edges") or []
    ids = [str(edge["node"]["id"]) for edge in edges if edge["node"]["name"] == name]
    return Found(str(found["internalId"]), ids[0] if ids else None)


def save_both(
    api: Any, content: Content, watched: Watched, library: Library, place: Place
) -> dict[Kind, str]:
    """Make the workspace and the report of a sweep, or replace those that there are; returns where
    each is seen.

    Args:
        api: W&B's API object.
        content: what the report says.
        watched: the runs of the sweep.
        library: see `load_library`.
        place: an empty entity is the account's own.

    Raises:
        UserError: no such project, or the server refuses.
    """
    ask = asks(api)
    entity = place.entity or default_entity(api)
    if not entity:
        raise UserError("wandb: the account has no default entity; give entity=")
    place = replace(place, entity=entity)
    where = {"entity": place.entity, "project": place.project}
    urls: dict[Kind, str] = {}
    name = name_of("workspace", place.entity, place.project, watched.name)
    found = find(ask, "workspace", place, name)
    view = workspace_of(watched, library, **where)
    spec = as_json(view)["spec"]
    id = _save(ask, "workspace", place, name, watched.name, spec, found)
    urls["workspace"] = _url("workspace", api, place, name, watched.name, id)
    name = name_of("report", place.entity, place.project, watched.name)
    report = report_of(
        replace(content, workspace=urls["workspace"]),
        watched,
        library,
        **where,
        internal_id=found.project_id,
    )
    spec = as_json(report)["spec"]
    id = _save(ask, "report", place, name, watched.name, spec, find(ask, "report", place, name))
    urls["report"] = _url("report", api, place, name, watched.name, id)
    return urls


def _save(
    ask: Asks,
    kind: Kind,
    place: Place,
    name: str,
    sweep: str,
    spec: dict[str, Any],
    found: Found,
) -> str:
    """Make a view, or replace the one that was found; returns its id."""
    from wandb_workspaces.reports.v2 import gql

    variables = {
        "entityName": place.entity,
        "projectName": place.project,
        "type": TYPES[kind],
        "name": name,
        "displayName": title_of(sweep),
        "description": DESCRIPTION if kind == "report" else "",
        "spec": json.dumps(spec),
    }
    if found.view_id is not None:
        variables["id"] = found.view_id
    return str(ask(gql.upsert_view, variables)["upsertView"]["view"]["id"])


def _url(kind: Kind, api: Any, place: Place, name: str, sweep: str, id: str) -> str:
    """Where a view is seen."""
    from wandb_workspaces._graphql import get_app_url

    project = f"{str(get_app_url(api)).rstrip('/')}/{quote(place.entity)}/{quote(place.project)}"
    if kind == "workspace":
        return f"{project}?nw={name.removeprefix('nw-').removesuffix('-v')}"
    words = quote(title_of(sweep).replace(": ", "-").replace(" ", "-"))
    return f"{project}/reports/{words}--{id.rstrip('=')}"
