"""Artifacts in the graph: how a client makes a version, file by file and manifest, gives it
aliases, and finds it again.
"""

from __future__ import annotations

import base64
import json
import mimetypes
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from support.wandb.graphql import Node, Refusal, page
from support.wandb.store import Project, Sequence, Store, StoredArtifact, now, opaque


@dataclass(frozen=True)
class ServerArtifact:
    """A version of an artifact with the contents of its files by their paths."""

    name: str
    type: str
    version: str
    files: dict[str, bytes]
    metadata: dict[str, Any]
    aliases: list[str]


def shown(artifact: StoredArtifact, store: Store) -> ServerArtifact:
    """The artifact as it is now, for those without the lock."""
    files = {
        path: store.blobs[_hex(entry["digest"])]
        for path, entry in entries(artifact).items()
        if _hex(entry["digest"]) in store.blobs
    }
    metadata = json.loads(artifact.metadata or "{}")
    version = f"v{artifact.index}"
    name, kind = artifact.sequence.name, artifact.type
    return ServerArtifact(name, kind, version, files, metadata, list(artifact.aliases))


def entries(artifact: StoredArtifact) -> dict[str, dict[str, Any]]:
    """What the manifest says of each file: its digest, its size."""
    return dict(json.loads(artifact.manifest or b"{}").get("contents", {}))


def artifact_node(artifact: StoredArtifact, url: str, store: Store) -> Node:
    """A version of an artifact; `url` is how the client names this server."""
    from support.wandb.schema import project_node, run_or_none

    sequence = artifact.sequence
    collection = lambda: sequence_node(sequence, url, store)  # noqa: E731

    def files(
        names: list[str] | None = None, after: str | None = None, first: int | None = None
    ) -> Node:
        return files_page(artifact, names, after, first, url)

    def by_entries(entries: list[dict[str, Any]], **_: Any) -> Node:
        wanted = [entry.get("name") or entry.get("path") for entry in entries]
        return files_page(artifact, wanted, None, None, url)

    manifest = manifest_node(artifact, url)
    node = Node(
        "Artifact",
        id=artifact.id,
        artifactSequence=collection,
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
        fileCount=len(entries(artifact)),
        createdAt=artifact.created,
        updatedAt=artifact.created,
        aliases=[alias_node(alias, artifact, url, store) for alias in artifact.aliases],
        currentManifest=manifest if artifact.manifest is not None else None,
        files=files,
        filesByManifestEntries=by_entries,
        createdBy=lambda: run_or_none(artifact.run, url, store),
        usedBy=lambda: page(
            [
                found
                for run in store.every_run()
                if artifact in run.used and (found := run_or_none(run, url, store))
            ],
            None,
            None,
        ),
        artifactMemberships=lambda: page([membership_node(artifact, url, store)], None, None),
        project=lambda: project_node(sequence.project, url, store),
    )
    node.edge = {"version": f"v{artifact.index}"}
    return node


def sequence_node(sequence: Sequence, url: str, store: Store) -> Node:
    """The collection of an artifact's versions."""
    from support.wandb.schema import project_node

    def versions(
        after: str | None = None,
        first: int | None = None,
        order: str | None = None,
        filters: str | None = None,
    ) -> Node:
        newest_first = [*reversed(sequence.committed())]
        return page([artifact_node(one, url, store) for one in newest_first], first, after)

    def membership(aliasName: str) -> Node | None:
        found = version(sequence, aliasName)
        return membership_node(found, url, store) if found else None

    def latest() -> Node | None:
        every = sequence.committed()
        return artifact_node(every[-1], url, store) if every else None

    def aliases(after: str | None = None, first: int | None = None) -> Node:
        every = [
            alias_node(alias, one, url, store)
            for one in sequence.committed()
            for alias in one.aliases
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
        project=lambda: project_node(sequence.project, url, store),
        defaultArtifactType=kind,
        digestAlgorithm="MANIFEST_MD5",
        tags=page([Node("Tag", id=opaque(tag), name=tag) for tag in sequence.tags], None, None),
        latestArtifact=latest,
        artifacts=versions,
        artifactMembership=membership,
        aliases=aliases,
    )


def membership_node(artifact: StoredArtifact, url: str, store: Store) -> Node:
    """That a version is one of its collection."""

    def files(
        names: list[str] | None = None, after: str | None = None, first: int | None = None
    ) -> Node:
        return files_page(artifact, names, after, first, url)

    return Node(
        "ArtifactCollectionMembership",
        id=opaque(f"ArtifactCollectionMembership:{artifact.id}"),
        versionIndex=artifact.index,
        createdAt=artifact.created,
        aliases=[alias_node(alias, artifact, url, store) for alias in artifact.aliases],
        artifactCollection=lambda: sequence_node(artifact.sequence, url, store),
        artifact=lambda: artifact_node(artifact, url, store),
        files=files,
    )


def manifest_node(artifact: StoredArtifact, url: str) -> Node:
    """The manifest, and where it is put and read."""
    where = f"{url}/storage/manifests/{quote(artifact.id, safe='')}"
    file = Node(
        "File",
        id=opaque(f"File:manifest:{artifact.id}"),
        uploadUrl=where,
        uploadHeaders=[],
        directUrl=where,
    )
    return Node("ArtifactManifest", id=opaque(f"ArtifactManifest:{artifact.id}"), file=file)


def alias_node(alias: str, artifact: StoredArtifact, url: str, store: Store) -> Node:
    """An alias and whose it is."""
    return Node(
        "ArtifactAlias",
        id=opaque(f"ArtifactAlias:{artifact.sequence.id}:{alias}"),
        alias=alias,
        artifactCollection=lambda: sequence_node(artifact.sequence, url, store),
    )


def files_page(
    artifact: StoredArtifact,
    names: list[str] | None,
    after: str | None,
    first: int | None,
    url: str,
) -> Node:
    """The files that the manifest lists, those of some names or all."""
    nodes = []
    for path, entry in entries(artifact).items():
        if names and path not in names:
            continue
        where = blob_url(entry["digest"], url)
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


def blob_url(digest: str, url: str) -> str:
    """Where the content of a digest (base64 of its MD5) is put and read."""
    return f"{url}/storage/blobs/{_hex(digest)}"


def version(sequence: Sequence, alias: str) -> StoredArtifact | None:
    """The version that an alias or `v0` means."""
    for one in sequence.committed():
        if alias in (*one.aliases, f"v{one.index}", one.id):
            return one
    return None


def by_name(project: Project, name: str) -> StoredArtifact | None:
    """The artifact `name:alias` of a project."""
    name, _, alias = name.partition(":")
    sequence = project.sequences.get(name)
    return version(sequence, alias or "latest") if sequence else None


def create(store: Store, given: dict[str, Any]) -> StoredArtifact:
    """A new version, not committed yet; or the one that has this very content."""
    project = store.made_project(given.get("projectName"), given.get("entityName"))
    (name,) = given.get("artifactCollectionNames") or [given["artifactCollectionName"]]
    kind = given["artifactTypeName"]
    sequence = project.sequences.get(name)
    if sequence is None:
        number = next(store.numbers)
        sequence = Sequence(
            opaque(f"ArtifactCollection:{number}"),
            name,
            kind,
            project,
            now(),
            given.get("sequenceClientID"),
        )
        project.sequences[name] = sequence
    if sequence.type != kind:
        raise Refusal(f"artifact {name} is of type {sequence.type}, not {kind}", 409)
    aliases = [one["alias"] for one in given.get("aliases") or []]
    for one in sequence.committed():
        if given.get("enableDigestDeduplication") and one.digest == given["digest"]:
            name_it(one, aliases)
            return one
    artifact = StoredArtifact(
        opaque(f"Artifact:{next(store.numbers)}"),
        kind,
        sequence,
        given["digest"],
        run=store.live_run(given.get("projectName"), given.get("runName"), given.get("entityName")),
        client_id=given.get("clientID"),
        description=given.get("description"),
        metadata=given.get("metadata"),
        aliases=aliases,
        tags=[one["tagName"] for one in given.get("tags") or []],
        created=now(),
        history_step=given.get("historyStep"),
    )
    sequence.versions.append(artifact)
    return artifact


def commit(artifact: StoredArtifact) -> None:
    """Make a version one that others see; it is the next one of its name."""
    if artifact.state == "COMMITTED":
        return
    artifact.index = len(artifact.sequence.committed())
    artifact.state = "COMMITTED"
    artifact.size = sum(entry.get("size", 0) for entry in entries(artifact).values())
    name_it(artifact, artifact.aliases)


def name_it(artifact: StoredArtifact, aliases: list[str]) -> None:
    """Give a version aliases, which other versions of the name lose."""
    for other in artifact.sequence.versions:
        if other is not artifact:
            other.aliases = [alias for alias in other.aliases if alias not in aliases]
    artifact.aliases = [*dict.fromkeys([*artifact.aliases, *aliases])]


def _hex(digest: str) -> str:
    """The hexadecimal form of a digest in base64."""
    return base64.b64decode(digest).hex()
