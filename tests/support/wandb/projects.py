"""Projects in the graph, and whose they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.wandb import artifact_nodes, artifacts, runs, views
from support.wandb.filters import chosen
from support.wandb.graphql import Node, page
from support.wandb.store import Project, StoredRun, opaque

if TYPE_CHECKING:
    from support.wandb.world import World


def viewer_node(world: World) -> Node:
    """Whose the API key is."""
    return Node(
        "User",
        id=opaque("User:1"),
        entity=world.store.entity,
        name=world.store.entity,
        username=world.store.entity,
        email=f"{world.store.entity}@example.com",
        admin=False,
        flags="{}",
        deletedAt=None,
        apiKeys=page([], None, None),
        teams=page([], None, None),
    )


def entity_node(name: str) -> Node:
    """Who owns projects: a person without an organization."""
    return Node(
        "Entity",
        id=opaque(f"Entity:{name}"),
        name=name,
        isTeam=False,
        organization=None,
        user=None,
        xxhashDigestsEnabled=False,
    )


def project_node(project: Project, world: World) -> Node:
    """A project and what is in it."""

    def node(run: StoredRun) -> Node:
        return runs.run_node(run, world)

    def live() -> list[StoredRun]:
        return [run for run in project.runs.values() if not run.deleted]

    def run(name: str, missingOk: bool = False) -> Node | None:
        found = project.runs.get(name)
        return node(found) if found and not found.deleted else None

    def listed(
        filters: str | None = None,
        after: str | None = None,
        first: int | None = None,
        order: str | None = None,
    ) -> Node:
        found = chosen(live(), filters, order)
        return page([node(one) for one in found], first, after, "RunConnection")

    def view_list(
        viewType: str = "runs",
        viewName: str | None = None,
        userName: str | None = None,
        first: int | None = None,
        after: str | None = None,
    ) -> Node:
        return views.views_page(project.views, world, viewType, viewName, first, after)

    def artifact(name: str) -> Node | None:
        found = artifacts.by_name(project, name)
        return artifact_nodes.artifact_node(found, world) if found else None

    def membership(name: str) -> Node | None:
        found = artifacts.by_name(project, name)
        return artifact_nodes.membership_node(found, world) if found else None

    def collection(name: str) -> Node | None:
        found = project.sequences.get(name)
        return artifact_nodes.sequence_node(found, world) if found else None

    return Node(
        "Project",
        id=project.id,
        internalId=str(project.number),
        name=project.name,
        entity=entity_node(project.entity),
        entityName=project.entity,
        createdAt=project.created,
        isBenchmark=False,
        readOnly=False,
        description=None,
        access="USER_READ",
        views=None,
        user=viewer_node(world),
        run=run,
        bucket=run,
        runCount=lambda filters=None: len(chosen(live(), filters, None)),
        runs=listed,
        allViews=view_list,
        artifact=artifact,
        artifactCollection=collection,
        artifactCollectionMembership=membership,
        artifactCollections=lambda after=None, first=None, filters=None, order=None: _collections(
            project, None, after, first, world
        ),
        artifactType=lambda name: (
            _type_node(project, name, world) if name in _types(project) else None
        ),
        artifactTypes=lambda after=None, first=None: page(
            [_type_node(project, kind, world) for kind in _types(project)], first, after
        ),
    )


def _types(project: Project) -> list[str]:
    return sorted({sequence.type for sequence in project.sequences.values()})


def _collections(
    project: Project,
    kind: str | None,
    after: str | None,
    first: int | None,
    world: World,
) -> Node:
    found = [one for one in project.sequences.values() if kind in (None, one.type)]
    return page([artifact_nodes.sequence_node(one, world) for one in found], first, after)


def _type_node(project: Project, kind: str, world: World) -> Node:
    def collection(name: str) -> Node | None:
        found = project.sequences.get(name)
        if found is None or found.type != kind:
            return None
        return artifact_nodes.sequence_node(found, world)

    return Node(
        "ArtifactType",
        id=opaque(f"ArtifactType:{project.number}:{kind}"),
        name=kind,
        description=None,
        createdAt=project.created,
        artifactCollection=collection,
        artifactCollections=lambda after=None, first=None, filters=None, order=None: _collections(
            project, kind, after, first, world
        ),
    )
