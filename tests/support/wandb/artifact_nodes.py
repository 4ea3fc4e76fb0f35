"""Artifacts in the graph: versions, the collections they are in, their manifests and files."""

from __future__ import annotations

import mimetypes
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from support.wandb import artifacts
from support.wandb.graphql import Node, page
from support.wandb.store import Sequence, StoredArtifact, opaque

if TYPE_CHECKING:
    from support.wandb.world import World


def artifact_node(artifact: StoredArtifact, world: World) -> Node:
    """A version of an artifact."""
    sequence = artifact.sequence

    def files(
        names: list[str] | None = None, after: str | None = None, first: int | None = None
    ) -> Node:
        return files_page(artifact, names, after, first, world)

    def by_entries(entries: list[dict[str, Any]], **_: Any) -> Node:
        wanted = [str(entry.get("name") or entry.get("path")) for entry in entries]
        return files_page(artifact, wanted, None, None, world)

    manifest = manifest_node(artifact, world)
    node = Node(
        "Artifact",
        id=artifact.id,
        artifactSequence=lambda: sequence_node(sequence, world),
        versionIndex=artifact.index,
        artifactType=Node("ArtifactType", id=opaque(artifact.type), name=artifact.type),
        description=artifact.description,
        metadata=artifact.metadata,
        ttlDurationSeconds=-1,
        ttlIsInherited=True,
        tags=[Node("Tag", id=opaque(tag), name=tag) for tag in artifact.tags],
        historyStep=artifact.history_step,
        state=artifact.state,
        size=artifact.size,
        digest=artifact.digest,
        digestAlgorithm="MANIFEST_MD5",
        commitHash=artifact.digest,
        fileCount=len(artifacts.entries(artifact)),
        createdAt=artifact.created,
        updatedAt=artifact.created,
        aliases=[alias_node(alias, artifact, world) for alias in artifact.aliases],
        currentManifest=manifest if artifact.manifest is not None else None,
        files=files,
        filesByManifestEntries=by_entries,
        createdBy=lambda: world.run(artifact.run),
        usedBy=lambda: page(
            [
                found
                for run in world.store.every_run()
                if artifact in run.used and (found := world.run(run))
            ],
            None,
            None,
        ),
        artifactMemberships=lambda: page([membership_node(artifact, world)], None, None),
        project=lambda: world.project(sequence.project),
    )
    node.edge = {"version": f"v{artifact.index}"}
    return node


def sequence_node(sequence: Sequence, world: World) -> Node:
    """The collection of an artifact's versions."""

    def versions(
        after: str | None = None,
        first: int | None = None,
        order: str | None = None,
        filters: str | None = None,
    ) -> Node:
        newest_first = [*reversed(sequence.committed())]
        return page([artifact_node(one, world) for one in newest_first], first, after)

    def membership(aliasName: str) -> Node | None:
        found = artifacts.version(sequence, aliasName)
        return membership_node(found, world) if found else None

    def latest() -> Node | None:
        every = sequence.committed()
        return artifact_node(every[-1], world) if every else None

    def aliases(after: str | None = None, first: int | None = None) -> Node:
        every = [
            alias_node(alias, one, world) for one in sequence.committed() for alias in one.aliases
        ]
        return page(every, first, after)

    kind = Node("ArtifactType", id=opaque(sequence.type), name=sequence.type)
    return Node(
        "ArtifactSequence",
        id=sequence.id,
        name=sequence.name,
        description=sequence.description,
        state="READY",
        createdAt=sequence.created,
        updatedAt=sequence.created,
        project=lambda: world.project(sequence.project),
        defaultArtifactType=kind,
        digestAlgorithm="MANIFEST_MD5",
        tags=page([Node("Tag", id=opaque(tag), name=tag) for tag in sequence.tags], None, None),
        latestArtifact=latest,
        artifacts=versions,
        artifactMembership=membership,
        aliases=aliases,
    )


def membership_node(artifact: StoredArtifact, world: World) -> Node:
    """That a version is one of its collection."""

    def files(
        names: list[str] | None = None, after: str | None = None, first: int | None = None
    ) -> Node:
        return files_page(artifact, names, after, first, world)

    return Node(
        "ArtifactCollectionMembership",
        id=opaque(f"ArtifactCollectionMembership:{artifact.id}"),
        versionIndex=artifact.index,
        createdAt=artifact.created,
        aliases=[alias_node(alias, artifact, world) for alias in artifact.aliases],
        artifactCollection=lambda: sequence_node(artifact.sequence, world),
        artifact=lambda: artifact_node(artifact, world),
        files=files,
    )


def manifest_node(artifact: StoredArtifact, world: World) -> Node:
    """The manifest, and where it is put and read."""
    where = f"{world.url}/storage/manifests/{quote(artifact.id, safe='')}"
    file = Node(
        "File",
        id=opaque(f"File:manifest:{artifact.id}"),
        uploadUrl=where,
        uploadHeaders=[],
        directUrl=where,
    )
    return Node("ArtifactManifest", id=opaque(f"ArtifactManifest:{artifact.id}"), file=file)


def alias_node(alias: str, artifact: StoredArtifact, world: World) -> Node:
    """An alias and whose it is."""
    return Node(
        "ArtifactAlias",
        id=opaque(f"ArtifactAlias:{artifact.sequence.id}:{alias}"),
        alias=alias,
        artifactCollection=lambda: sequence_node(artifact.sequence, world),
    )


def files_page(
    artifact: StoredArtifact,
    names: list[str] | None,
    after: str | None,
    first: int | None,
    world: World,
) -> Node:
    """The files that the manifest lists, those of some names or all."""
    nodes = []
    for path, entry in artifacts.entries(artifact).items():
        if names and path not in names:
            continue
        where = blob_url(entry["digest"], world)
        node = Node(
            "File",
            id=opaque(f"File:{artifact.id}:{path}"),
            name=path,
            displayName=path,
            url=where,
            directUrl=where,
            sizeBytes=entry.get("size", 0),
            storagePath=path,
            mimetype=mimetypes.guess_type(path)[0] or "application/octet-stream",
            updatedAt=artifact.created,
            digest=entry["digest"],
            md5=entry["digest"],
        )
        nodes.append(node)
    return page(nodes, first, after)


def blob_url(digest: str, world: World) -> str:
    """Where the content of a digest (base64 of its MD5) is put and read."""
    return f"{world.url}/storage/blobs/{artifacts.hexadecimal(digest)}"
