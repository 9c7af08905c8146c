"""Pipelines and their versions: in the database, or as objects of a cluster."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

from listing import page
from messages import Json, now, shown
from refusals import Refused, Text, UploadRefused
from templates import RUN_PREFIX, fault, split

if TYPE_CHECKING:
    from world import World

MOST_NAME = 128
LABEL = "pipelines.kubeflow.org"
OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


class Pipelines:
    def __init__(self, world: World) -> None:
        self._world = world
        self._pipelines: dict[str, Json] = {}
        self._versions: dict[str, Json] = {}

    # What there is

    def all(self) -> list[Json]:
        if not self._world.store_kubernetes:
            return list(self._pipelines.values())
        return [of_object(each) for each in self._world.kube.objects("pipelines", self._place())]

    def versions(self) -> list[Json]:
        if not self._world.store_kubernetes:
            return list(self._versions.values())
        return [version_of_object(each) for each in self._world.kube.objects("pipelineversions", self._place())]

    def _place(self) -> str:
        """Where objects are looked for: with one user the server's own namespace alone."""
        return "" if self._world.multi_user else self._world.namespace

    def held(self, pipeline_id: str) -> Json:
        for each in self.all():
            if each["pipeline_id"] == pipeline_id:
                return each
        text = f"Pipeline {pipeline_id} not found"
        raise Refused(5, f"Failed to get a pipeline: ResourceNotFoundError: {text}", text)

    def resolve(self, reference: Json) -> Json:
        """The version that a run is made of; the newest where only the pipeline is named."""
        wanted, pipeline = reference.get("pipeline_version_id", ""), reference.get("pipeline_id", "")
        versions = self.versions()
        if not wanted:
            mine = [each for each in versions if each["pipeline_id"] == pipeline]
            if not mine:
                raise Refused(13, f"{RUN_PREFIX}: ResourceNotFoundError: PipelineVersion Latest not found")
            return mine[-1]
        found = next((each for each in versions if each["pipeline_version_id"] == wanted), None)
        if found is None:
            raise Refused(13, f"{RUN_PREFIX}: ResourceNotFoundError: PipelineVersion {wanted} not found")
        owner = found["pipeline_id"]
        if pipeline and owner and owner != pipeline:
            raise Refused(13, f"Pipeline version {wanted} belongs to pipeline {owner} (not {pipeline})")
        return {**found, "pipeline_id": owner or pipeline}

    # REST

    def list(self, query: dict[str, str], user: Any) -> Json:
        namespace = query.get("namespace", "")
        if self._world.multi_user and namespace:
            self._world.access.check(user, "list", "pipelines", namespace)
        found = [each for each in self.all() if not self._world.multi_user or each["namespace"] in ("", namespace)]
        return page("Pipeline", "pipelines", found, query, self._world.store_kubernetes)

    def list_versions(self, pipeline_id: str, query: dict[str, str]) -> Json:
        found = [each for each in self.versions() if each["pipeline_id"] == pipeline_id]
        return page("PipelineVersion", "pipeline_versions", found, query, self._world.store_kubernetes)

    def get_version(self, pipeline_id: str, version_id: str) -> Json:
        for each in self.versions():
            if each["pipeline_version_id"] == version_id and each["pipeline_id"] in ("", pipeline_id):
                return shown(each)
        text = f"PipelineVersion {version_id} not found"
        raise Refused(5, f"Failed to get a pipeline version: ResourceNotFoundError: {text}", text)

    def by_name(self, name: str, query: dict[str, str]) -> Json:
        namespace = query.get("namespace", "")
        for each in self.all():
            if each["name"] == name and (not self._world.multi_user or each["namespace"] in ("", namespace)):
                return shown(each)
        text = f"Pipeline {name} not found"
        raise Refused(5, f"Failed to get a pipeline by name: ResourceNotFoundError: {text}", text)

    def create(self, body: Json, user: Any) -> Json:
        name = body.get("name") or body.get("display_name") or ""
        if not name:
            raise Refused(3, "pipeline's name cannot be empty")
        self._world.access.check(user, "create", "pipelines", body.get("namespace", ""))
        if self._taken(name, body.get("namespace", "")):
            text = f"The name {name} already exist. Please specify a new name"
            raise Refused(6, f"Failed to create a new pipeline: Already exist error: {text}", text)
        return shown(self._store_pipeline(name, body))

    def delete(self, pipeline_id: str, query: dict[str, str], user: Any) -> Json:
        pipeline = self.held(pipeline_id)
        self._world.access.check(user, "delete", "pipelines", pipeline["namespace"])
        mine = [each for each in self.versions() if each["pipeline_id"] == pipeline_id]
        if mine and query.get("cascade") != "true":
            raise Refused(
                3,
                f"Failed to delete pipeline {pipeline_id} as it has existing pipeline versions (e.g. "
                f"{mine[0]['pipeline_version_id']}). Set cascade=true to delete all versions",
            )
        for each in mine:
            self._versions.pop(each["pipeline_version_id"], None)
        if self._world.store_kubernetes:
            self._world.kube.delete("pipelines", pipeline["namespace"], pipeline["name"])
        self._pipelines.pop(pipeline_id, None)
        return {}

    # Uploads

    def upload(self, query: dict[str, str], spec: Any, user: Any) -> Json:
        """A pipeline and its first version, which has its name."""
        failed = "Failed to create a pipeline and a pipeline version"
        self._allowed(query.get("namespace", ""), user)
        pipeline, _ = self._parts(spec)
        name = query.get("name") or pipeline["pipelineInfo"]["name"]
        if len(name) > MOST_NAME:
            raise Text(400, f"Invalid input error: Pipeline.Name length cannot exceed {MOST_NAME}")
        if self._world.store_kubernetes and not OBJECT_NAME.fullmatch(name):
            raise UploadRefused(400, failed, f"invalid name {name}. Use 'display_name' for human-readable labels")
        if self._taken(name, query.get("namespace", "")):
            raise UploadRefused(409, failed, f"Already exist error: {name}")
        made = self._store_pipeline(name, {**query, "tags": _tags(query)})
        self._store_version(made, name, spec, query)
        return shown({key: made[key] for key in made if key != "namespace" or made[key]})

    def upload_version(self, query: dict[str, str], spec: Any, user: Any) -> Json:
        failed = "Failed to create a pipeline version"
        pipeline_id = query.get("pipelineid", "")
        pipeline = next((each for each in self.all() if each["pipeline_id"] == pipeline_id), None)
        if pipeline is None:
            raise UploadRefused(400, failed, f"Pipeline {pipeline_id} not found")
        self._allowed(pipeline["namespace"], user)
        self._parts(spec)
        name = query.get("name", "")
        mine = (each for each in self.versions() if each["pipeline_id"] == pipeline_id)
        if any(each["name"].lower() == name.lower() for each in mine):
            raise UploadRefused(409, failed, f"Already exist error: {name}")
        return shown(self._store_version(pipeline, name, spec, query))

    def _allowed(self, namespace: str, user: Any) -> None:
        if namespace:  # what all share is taken from anybody
            try:
                self._world.access.check(user, "create", "pipelines", namespace)
            except Refused as refused:
                raise UploadRefused(400, "Failed to create a pipeline", str(refused)) from refused

    def _parts(self, spec: Any) -> tuple[Json, Json]:
        pipeline, platform = split(spec)
        if wrong := fault(pipeline):
            raise UploadRefused(400, "unknown template format", wrong)
        return pipeline, platform

    def _taken(self, name: str, namespace: str) -> bool:
        alike = [each for each in self.all() if each["name"].lower() == name.lower()]
        return any(not self._world.multi_user or each["namespace"] == namespace for each in alike)

    def _store_pipeline(self, name: str, body: Json) -> Json:
        if self._world.store_kubernetes:
            namespace = body.get("namespace") or self._world.namespace
            spec = {"displayName": body.get("display_name") or name, "description": body.get("description", "")}
            made = {"kind": "Pipeline", "metadata": {"name": name, "namespace": namespace}, "spec": spec}
            return of_object(self._world.kube.create("pipelines", {"apiVersion": f"{LABEL}/v2beta1", **made}))
        pipeline = {
            "pipeline_id": str(uuid.uuid4()),
            "display_name": body.get("display_name") or name,
            "name": name,
            "description": body.get("description", ""),
            "created_at": now(),
            "namespace": body.get("namespace", "") if self._world.multi_user else "",
            "tags": body.get("tags") or {},
        }
        self._pipelines[pipeline["pipeline_id"]] = pipeline
        return pipeline

    def _store_version(self, pipeline: Json, name: str, spec: Any, query: dict[str, str]) -> Json:
        if self._world.store_kubernetes:
            return self._store_version_object(pipeline, name, spec)
        version = {
            "pipeline_id": pipeline["pipeline_id"],
            "pipeline_version_id": str(uuid.uuid4()),
            "display_name": query.get("display_name") or name,
            "name": name,
            "description": query.get("description", ""),
            "created_at": now(),
            "pipeline_spec": spec,
            "tags": _tags(query),
        }
        self._versions[version["pipeline_version_id"]] = version
        return version

    def _store_version_object(self, pipeline: Json, name: str, spec: Any) -> Json:
        own = name if name == pipeline["name"] else f"{pipeline['name']}-{name}"
        body, platform = split(spec)
        wanted = {"pipelineName": pipeline["name"], "displayName": name, "versionName": name, "pipelineSpec": body}
        made = {
            "apiVersion": f"{LABEL}/v2beta1",
            "kind": "PipelineVersion",
            "metadata": {"name": own, "namespace": pipeline["namespace"]},
            "spec": {**wanted, **({"platformSpec": platform} if platform else {})},
        }
        return version_of_object(self._world.kube.create("pipelineversions", made))


def _tags(query: dict[str, str]) -> Json:
    return json.loads(query["tags"]) if query.get("tags") else {}


def of_object(item: Json) -> Json:
    meta, spec = item["metadata"], item.get("spec") or {}
    return {
        "pipeline_id": meta["uid"],
        "display_name": spec.get("displayName") or meta["name"],
        "name": meta["name"],
        "description": spec.get("description", ""),
        "created_at": meta["creationTimestamp"],
        "namespace": meta["namespace"],
        "tags": spec.get("tags") or {},
    }


def version_of_object(item: Json) -> Json:
    """A version belongs to the pipeline that its label names: without the webhook's label to none."""
    meta, spec = item["metadata"], item.get("spec") or {}
    body, platform = spec.get("pipelineSpec") or {}, spec.get("platformSpec") or {}
    return {
        "pipeline_id": (meta.get("labels") or {}).get(f"{LABEL}/pipeline-id", ""),
        "pipeline_version_id": meta["uid"],
        "display_name": spec.get("displayName") or meta["name"],
        "name": spec.get("versionName") or meta["name"],
        "description": spec.get("description", ""),
        "created_at": meta["creationTimestamp"],
        "pipeline_spec": {"pipeline_spec": body, "platform_spec": platform} if platform else body,
        "tags": spec.get("tags") or {},
    }
