"""The root of what can be asked of the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.wandb import artifact_nodes, projects, views
from support.wandb.graphql import Node, page

if TYPE_CHECKING:
    from support.wandb.world import World

# What the stand-in says it can do; the client takes older ways for what is not here.
FEATURES = (
    "LARGE_FILENAMES",
    "ARTIFACT_TAGS",
    "CLIENT_IDS",
    "STRUCTURED_CONSOLE_LOGS",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
    "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION",
    "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
    "TOTAL_COUNT_IN_FILE_CONNECTION",
    "MARK_RUN_FILES_UPLOADED",
    "FILESTREAM_GZIP",
)


def query_root(world: World) -> Node:
    """What can be asked."""
    store = world.store

    def project(name: str | None = None, entityName: str | None = None) -> Node | None:
        found = store.project(name, entityName)
        return world.project(found) if found else None

    def models(
        entityName: str | None = None, after: str | None = None, first: int | None = None
    ) -> Node:
        wanted = entityName or store.entity
        found = [one for one in store.projects.values() if one.entity == wanted]
        return page([world.project(one) for one in found], first, after)

    def artifact(id: str) -> Node | None:
        found = store.artifact(id)
        return artifact_nodes.artifact_node(found, world) if found else None

    def collection(id: str) -> Node | None:
        for one in store.projects.values():
            for sequence in one.sequences.values():
                if sequence.id == id:
                    return artifact_nodes.sequence_node(sequence, world)
        return None

    def client_id(clientID: str) -> Node | None:
        found = store.artifact(clientID)
        return Node("ClientIDMapping", serverID=found.id) if found else None

    def view(id: str) -> Node | None:
        found = views.by_id(store, id)
        return world.view(found) if found else None

    features = [Node("ServerFeature", name=name, isEnabled=True) for name in FEATURES]
    return Node(
        "Query",
        viewer=projects.viewer_node(world),
        serverInfo=Node("ServerInfo", features=features),
        entity=lambda name=None: projects.entity_node(name or store.entity),
        project=project,
        model=project,
        projects=models,
        models=models,
        artifact=artifact,
        artifactCollection=collection,
        clientIDMapping=client_id,
        view=view,
    )
