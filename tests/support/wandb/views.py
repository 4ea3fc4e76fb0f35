"""Saved views: workspaces and reports of a project, whose spec is kept as it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.wandb.graphql import Node, Refusal, page
from support.wandb.store import Store, now, opaque

if TYPE_CHECKING:
    from support.wandb.world import World


def upsert(store: Store, given: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Save a view: the one of this id or of this name and type, else a new one."""
    if given.get("id"):
        view = by_id(store, given["id"])
        if view is None:
            raise Refusal("view not found", 404)
    else:
        project = store.project(given.get("projectName"), given.get("entityName"))
        if project is None:
            raise Refusal("project not found", 404)
        same = [
            one
            for one in project.views
            if (one["name"], one["type"]) == (given.get("name"), given.get("type"))
        ]
        if not same or not given.get("name"):
            view = {
                "id": opaque(f"View:{next(store.numbers)}"),
                "entity": project.entity,
                "project": project.name,
                "createdAt": now(),
                **dict.fromkeys(("type", "name", "displayName", "description", "spec")),
            }
            project.views.append(view)
        else:
            view = same[0]
    inserted = "updatedAt" not in view
    for key in ("type", "name", "displayName", "description", "spec"):
        if given.get(key) is not None:
            view[key] = given[key]
    view["updatedAt"] = now()
    return view, inserted


def by_id(store: Store, id: str) -> dict[str, Any] | None:
    """The view of an id; None if there is none."""
    return next((view for view in every(store) if view["id"] == id), None)


def every(store: Store) -> list[dict[str, Any]]:
    """The views of all projects."""
    return [view for project in store.projects.values() for view in project.views]


def delete(store: Store, id: str) -> bool:
    """Forget a view, and whether there was one."""
    view = by_id(store, id)
    if view is not None:
        project = store.project(view["project"], view["entity"])
        assert project is not None
        project.views.remove(view)
    return view is not None


def view_node(view: dict[str, Any], world: World) -> Node:
    """A saved view."""

    def project() -> Node:
        return world.project(world.store.made_project(view["project"], view["entity"]))

    user = Node("User", username=view["entity"], name=view["entity"], photoUrl=None, email="")
    shown = {key: value for key, value in view.items() if key not in ("entity", "project")}
    return Node("View", **shown, project=project, user=user, accessTokens=[])


def views_page(
    views: list[dict[str, Any]],
    world: World,
    kind: str,
    name: str | None,
    first: int | None,
    after: str | None,
) -> Node:
    """The views of a type, and of a name if one is asked for."""
    kept = [view for view in views if view["type"] == kind and name in (None, view["name"])]
    return page([view_node(view, world) for view in kept], first, after)
