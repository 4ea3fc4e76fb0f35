"""What can be changed of artifacts: a version is made in several steps, used, named and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.wandb import artifact_nodes, artifacts
from support.wandb.graphql import Node, Refusal, page
from support.wandb.store import StoredArtifact

if TYPE_CHECKING:
    from support.wandb.world import World


def artifact_mutations(world: World) -> dict[str, Any]:
    """These changes by their names."""
    store = world.store

    def found(id: str | None) -> StoredArtifact:
        artifact = store.artifact(id)
        if artifact is None:
            raise Refusal("artifact not found", 404)
        return artifact

    def shown(artifact: StoredArtifact, kind: str) -> Node:
        return Node(kind, artifact=artifact_nodes.artifact_node(artifact, world))

    def create(input: dict[str, Any]) -> Node:
        return shown(artifacts.create(store, input), "CreateArtifactPayload")

    def create_manifest(input: dict[str, Any]) -> Node:
        manifest = artifact_nodes.manifest_node(found(input["artifactID"]), world)
        return Node("CreateArtifactManifestPayload", artifactManifest=manifest)

    def update_manifest(input: dict[str, Any]) -> Node:
        for project in store.projects.values():
            for sequence in project.sequences.values():
                for one in sequence.versions:
                    manifest = artifact_nodes.manifest_node(one, world)
                    if manifest.fields["id"] == input["artifactManifestID"]:
                        return Node("UpdateArtifactManifestPayload", artifactManifest=manifest)
        raise Refusal("manifest not found", 404)

    def create_files(input: dict[str, Any]) -> Node:
        nodes = []
        for spec in input["artifactFiles"]:
            artifact = found(spec["artifactID"])
            node = Node(
                "File",
                name=spec["name"],
                displayName=spec["name"],
                storagePath=f"wandb_artifacts/{artifact.id}/{spec['md5']}",
                uploadUrl=artifact_nodes.blob_url(spec["md5"], world),
                uploadHeaders=[],
                uploadMultipartUrls=None,
                artifact=Node("Artifact", id=artifact.id),
            )
            nodes.append(node)
        return Node("CreateArtifactFilesPayload", files=page(nodes, None, None))

    def commit(input: dict[str, Any]) -> Node:
        artifact = found(input["artifactID"])
        artifacts.commit(artifact)
        return shown(artifact, "CommitArtifactPayload")

    def use(input: dict[str, Any]) -> Node:
        artifact = found(input["artifactID"])
        run = store.live_run(input["projectName"], input["runName"], input["entityName"])
        if run is not None and artifact not in run.used:
            run.used.append(artifact)
        return shown(artifact, "UseArtifactPayload")

    def update(input: dict[str, Any]) -> Node:
        artifact = found(input["artifactID"])
        for key in ("description", "metadata"):
            if input.get(key) is not None:
                setattr(artifact, key, input[key])
        if input.get("aliases") is not None:
            artifact.aliases = []
            artifacts.name_it(artifact, [one["alias"] for one in input["aliases"]])
        gone = [one["tagName"] for one in input.get("tagsToDelete") or []]
        new = [one["tagName"] for one in input.get("tagsToAdd") or []]
        kept = [tag for tag in artifact.tags if tag not in gone]
        artifact.tags = [*dict.fromkeys([*kept, *new])]
        return shown(artifact, "UpdateArtifactPayload")

    def delete(input: dict[str, Any]) -> Node:
        artifact = found(input["artifactID"])
        if artifact.aliases and not input.get("deleteAliases"):
            raise Refusal("artifact has aliases", 409)
        artifact.state, artifact.aliases = "DELETED", []
        return shown(artifact, "DeleteArtifactPayload")

    def add_aliases(input: dict[str, Any]) -> Node:
        artifacts.name_it(found(input["artifactID"]), [one["alias"] for one in input["aliases"]])
        return Node("AddAliasesPayload", success=True)

    def delete_aliases(input: dict[str, Any]) -> Node:
        artifact, gone = found(input["artifactID"]), [one["alias"] for one in input["aliases"]]
        artifact.aliases = [alias for alias in artifact.aliases if alias not in gone]
        return Node("DeleteAliasesPayload", success=True)

    return {
        "createArtifact": create,
        "createArtifactManifest": create_manifest,
        "updateArtifactManifest": update_manifest,
        "createArtifactFiles": create_files,
        "commitArtifact": commit,
        "useArtifact": use,
        "updateArtifact": update,
        "deleteArtifact": delete,
        "addAliases": add_aliases,
        "deleteAliases": delete_aliases,
    }
