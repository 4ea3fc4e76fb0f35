"""The roots of the graph: what can be queried, and the mutations."""

from __future__ import annotations

from typing import Any

from support.wandb import artifacts, runs, views
from support.wandb.filters import chosen
from support.wandb.graphql import Node, Refusal, page
from support.wandb.store import Project, Store, StoredArtifact, StoredRun, opaque

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


def query_root(store: Store, url: str) -> Node:
    """What can be asked."""

    def project(name: str | None = None, entityName: str | None = None) -> Node | None:
        found = store.project(name, entityName)
        return project_node(found, url, store) if found else None

    def projects(
        entityName: str | None = None, after: str | None = None, first: int | None = None
    ) -> Node:
        wanted = entityName or store.entity
        found = [one for one in store.projects.values() if one.entity == wanted]
        return page([project_node(one, url, store) for one in found], first, after)

    def artifact(id: str) -> Node | None:
        found = store.artifact(id)
        return artifacts.artifact_node(found, url, store) if found else None

    def collection(id: str) -> Node | None:
        for one in store.projects.values():
            for sequence in one.sequences.values():
                if sequence.id == id:
                    return artifacts.sequence_node(sequence, url, store)
        return None

    def client_id(clientID: str) -> Node | None:
        found = store.artifact(clientID)
        return Node("ClientIDMapping", serverID=found.id) if found else None

    def view(id: str) -> Node | None:
        found = views.by_id(store, id)
        return views.view_node(found, store, url) if found else None

    features = [Node("ServerFeature", name=name, isEnabled=True) for name in FEATURES]
    return Node(
        "Query",
        viewer=viewer_node(store),
        serverInfo=Node("ServerInfo", features=features),
        entity=lambda name=None: entity_node(name or store.entity),
        project=project,
        model=project,
        projects=projects,
        models=projects,
        artifact=artifact,
        artifactCollection=collection,
        clientIDMapping=client_id,
        view=view,
    )


def viewer_node(store: Store) -> Node:
    """Whose the API key is."""
    return Node(
        "User",
        id=opaque("User:1"),
        entity=store.entity,
        name=store.entity,
        username=store.entity,
        email=f"{store.entity}@example.com",
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


def project_node(project: Project, url: str, store: Store) -> Node:
    """A project and what is in it."""

    def node(run: StoredRun) -> Node:
        return runs.run_node(run, url, lambda: project_node(project, url, store), store)

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
        return views.views_page(project.views, store, url, viewType, viewName, first, after)

    def artifact(name: str) -> Node | None:
        found = artifacts.by_name(project, name)
        return artifacts.artifact_node(found, url, store) if found else None

    def membership(name: str) -> Node | None:
        found = artifacts.by_name(project, name)
        return artifacts.membership_node(found, url, store) if found else None

    def collection(name: str) -> Node | None:
        found = project.sequences.get(name)
        return artifacts.sequence_node(found, url, store) if found else None

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
        user=viewer_node(store),
        run=run,
        bucket=run,
        runCount=lambda filters=None: len(chosen(live(), filters, None)),
        runs=listed,
        allViews=view_list,
        artifact=artifact,
        artifactCollection=collection,
        artifactCollectionMembership=membership,
        artifactCollections=lambda after=None, first=None, filters=None, order=None: _collections(
            project, None, after, first, url, store
        ),
        artifactType=lambda name: _type_node(project, name, url, store),
        artifactTypes=lambda after=None, first=None: page(
            [_type_node(project, kind, url, store) for kind in _types(project)], first, after
        ),
    )


def run_or_none(run: StoredRun | None, url: str, store: Store) -> Node | None:
    """A run of any project."""
    if run is None or run.deleted:
        return None
    project = store.made_project(run.project, run.entity)
    return runs.run_node(run, url, lambda: project_node(project, url, store), store)


def _types(project: Project) -> list[str]:
    return sorted({sequence.type for sequence in project.sequences.values()})


def _collections(
    project: Project,
    kind: str | None,
    after: str | None,
    first: int | None,
    url: str,
    store: Store,
) -> Node:
    found = [one for one in project.sequences.values() if kind in (None, one.type)]
    return page([artifacts.sequence_node(one, url, store) for one in found], first, after)


def _type_node(project: Project, kind: str, url: str, store: Store) -> Node | None:
    if kind not in _types(project):
        return None

    def collection(name: str) -> Node | None:
        found = project.sequences.get(name)
        if found is None or found.type != kind:
            return None
        return artifacts.sequence_node(found, url, store)

    return Node(
        "ArtifactType",
        id=opaque(f"ArtifactType:{project.number}:{kind}"),
        name=kind,
        description=None,
        createdAt=project.created,
        artifactCollection=collection,
        artifactCollections=lambda after=None, first=None, filters=None, order=None: _collections(
            project, kind, after, first, url, store
        ),
    )


def mutation_root(store: Store, url: str) -> Node:
    """What can be changed."""

    def node(run: StoredRun) -> Node | None:
        return run_or_none(run, url, store)

    def upsert_bucket(input: dict[str, Any]) -> Node:
        run, inserted = runs.upsert(store, input)
        bucket = node(run)
        if bucket is not None and store.again != "append":
            bucket.fields["historyLineCount"] = 0  # the line from which the client would go on
        return Node("UpsertBucketPayload", bucket=bucket, inserted=inserted)

    def delete_run(input: dict[str, Any]) -> Node:
        run = store.run_by_storage_id(input["id"])
        if run is None:
            raise Refusal("run not found", 404)
        if input.get("deleteArtifacts"):
            for one in runs.logged(run, store):
                one.state = "DELETED"
        run.deleted = True
        return Node("DeleteRunPayload", clientMutationId=None, success=True)

    def stop_run(input: dict[str, Any]) -> Node:
        run = store.run_by_storage_id(input["id"])
        if run is not None:
            run.stop = True
        return Node("StopRunPayload", success=run is not None, clientMutationId=None)

    def update_run_state(input: dict[str, Any]) -> Node:
        run = store.run_by_storage_id(input["id"])
        if run is not None:
            run.state = input["state"]
        return Node("UpdateRunStatePayload", success=run is not None)

    def create_run_files(input: dict[str, Any]) -> Node:
        run = _run(input)
        files = [
            Node("File", name=name, uploadUrl=runs.file_url(run, name, url))
            for name in input["files"]
        ]
        return Node("CreateRunFilesPayload", runID=run.storage_id, uploadHeaders=[], files=files)

    def mark_uploaded(input: dict[str, Any]) -> Node:
        return Node("MarkRunFilesUploadedPayload", success=bool(_run(input)))

    def delete_files(input: dict[str, Any]) -> Node:
        for run in store.every_run():
            for name in list(run.files):
                if opaque(f"File:{run.id}:{name}") in input["files"]:
                    del run.files[name]
        return Node("DeleteFilesPayload", success=True)

    def alert(input: dict[str, Any]) -> Node:
        _run(input).alerts.append(input)
        return Node("NotifyScriptableRunAlertPayload", success=True)

    def upsert_model(input: dict[str, Any]) -> Node:
        name, entity = input.get("name"), input.get("entityName")
        inserted = store.project(name, entity) is None
        made = project_node(store.made_project(name, entity), url, store)
        return Node("UpsertModelPayload", project=made, model=made, inserted=inserted)

    def upsert_view(input: dict[str, Any]) -> Node:
        view, inserted = views.upsert(store, input)
        shown = views.view_node(view, store, url)
        return Node("UpsertViewPayload", view=shown, inserted=inserted)

    def delete_view(input: dict[str, Any]) -> Node:
        found = views.delete(store, input["id"])
        return Node("DeleteViewPayload", success=found, pendingDrafts=[])

    def _run(given: dict[str, Any]) -> StoredRun:
        run = store.live_run(given["projectName"], given["runName"], given["entityName"])
        if run is None:
            raise Refusal("run not found", 404)
        return run

    return Node(
        "Mutation",
        upsertBucket=upsert_bucket,
        deleteRun=delete_run,
        stopRun=stop_run,
        updateRunState=update_run_state,
        createRunFiles=create_run_files,
        markRunFilesUploaded=mark_uploaded,
        deleteFiles=delete_files,
        notifyScriptableRunAlert=alert,
        upsertModel=upsert_model,
        upsertView=upsert_view,
        deleteView=delete_view,
        **_artifact_mutations(store, url),
    )


def _artifact_mutations(store: Store, url: str) -> dict[str, Any]:
    def found(id: str | None) -> StoredArtifact:
        artifact = store.artifact(id)
        if artifact is None:
            raise Refusal("artifact not found", 404)
        return artifact

    def shown(artifact: StoredArtifact, kind: str) -> Node:
        return Node(kind, artifact=artifacts.artifact_node(artifact, url, store))

    def create(input: dict[str, Any]) -> Node:
        return shown(artifacts.create(store, input), "CreateArtifactPayload")

    def create_manifest(input: dict[str, Any]) -> Node:
        manifest = artifacts.manifest_node(found(input["artifactID"]), url)
        return Node("CreateArtifactManifestPayload", artifactManifest=manifest)

    def update_manifest(input: dict[str, Any]) -> Node:
        for project in store.projects.values():
            for sequence in project.sequences.values():
                for one in sequence.versions:
                    manifest = artifacts.manifest_node(one, url)
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
                uploadUrl=artifacts.blob_url(spec["md5"], url),
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
