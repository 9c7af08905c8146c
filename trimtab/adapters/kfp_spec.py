"""
A compiled pipeline as data: what one model's runs need of it besides is written into it before it is sent.

No compiler is needed for that, so that the process that starts runs never imports one. KFP keeps what only Kubernetes
understands (Secrets) in a part of its own beside the pipeline, its platform spec.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from trimtab.core.errors import Invalid
from trimtab.core.records import canonical
from trimtab.core.spec.problems import dotted
from trimtab.core.spec.resources import quantity, unfit

SCHEMA_VERSION = "2.1.0"  # the only one that KFP's API server takes
STORE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION")
# Steps that call the user's estimator: `evaluate` fits the recipe again.
FITTING = ("exec-train", "exec-evaluate")


@dataclass(frozen=True, slots=True)
class CompiledPipeline:
    """What `trimtab compile` wrote: the pipeline, and what of it is for Kubernetes alone."""

    spec: dict[str, Any]
    platform: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.spec["pipelineInfo"]["name"])

    def body(self) -> dict[str, Any]:
        """As the API takes it: the pipeline alone, or both parts by name."""
        if not self.platform:
            return self.spec
        return {"pipeline_spec": self.spec, "platform_spec": self.platform}


def read_package(path: Path) -> CompiledPipeline:
    """
    The pipeline of a compiled package.

    Raises:
        Invalid: If there is no such file, or it is no package of a schema that KFP takes.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    hint = f"write one with `trimtab compile -o {path}`; TRIMTAB_PIPELINE_PACKAGE names it"
    try:
        documents = [each for each in YAML(typ="safe").load_all(path.read_text()) if each]
    except OSError as error:
        raise Invalid(f"found no pipeline package at {path}: {error.strerror}", hint) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} is no pipeline package: {str(error).splitlines()[0]}", hint) from error
    specs = [each for each in documents if isinstance(each, dict) and "pipelineInfo" in each]
    if len(specs) != 1:
        raise Invalid(f"{path} holds {len(specs)} pipelines; a package holds one", hint)
    if (found := specs[0].get("schemaVersion")) != SCHEMA_VERSION:
        raise Invalid(f"{path} has schema version {found}; KFP takes {SCHEMA_VERSION} alone", hint)
    platforms = [each for each in documents if isinstance(each, dict) and "platforms" in each]
    return CompiledPipeline(specs[0], platforms[0] if platforms else {})


def furnished(
    pipeline: CompiledPipeline,
    secret: str = "",
    environment: Mapping[str, str] | None = None,
    resources: Mapping[str, Any] | None = None,
) -> CompiledPipeline:
    """
    The pipeline with what its steps get from the cluster; the given one stays as it is.

    Args:
        secret: Of the namespace that the run is in; each of its `STORE_KEYS` that is there becomes a variable.
        environment: Variables of every step.
        resources: Of the steps that fit, as in a Pod: `{"requests": {"cpu": "2"}, "limits": {"memory": "8Gi"}}`.

    Raises:
        Invalid: If the resources are of a form or kind that KFP cannot express.
    """
    spec, platform = copy.deepcopy(pipeline.spec), copy.deepcopy(pipeline.platform)
    executors: dict[str, Any] = spec["deploymentSpec"]["executors"]
    wanted = kfp_resources(resources or {})
    for name, executor in executors.items():
        container = executor["container"]
        if environment:
            known = {each["name"]: each for each in container.get("env", [])}
            known |= {each: {"name": each, "value": value} for each, value in environment.items()}
            container["env"] = list(known.values())
        if wanted and name in FITTING:
            container["resources"] = wanted
    if secret:
        kubernetes = platform.setdefault("platforms", {}).setdefault("kubernetes", {})
        settings = kubernetes.setdefault("deploymentSpec", {}).setdefault("executors", {})
        for name in executors:
            settings.setdefault(name, {})["secretAsEnv"] = [_secret(secret)]
    return CompiledPipeline(spec, platform)


def manifests(pipeline: CompiledPipeline, namespace: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """
    The `Pipeline` and its `PipelineVersion` for kubectl.

    A version's spec never changes once it is applied, so its name holds the digest of all that is in it.
    """
    name, spec = pipeline.name, pipeline.spec
    version = f"{name}-{sha256(canonical(pipeline.body())).hexdigest()[:12]}"
    description = spec["pipelineInfo"].get("description", "")

    def thing(kind: str, own: str, wanted: dict[str, Any]) -> dict[str, Any]:
        meta = {"name": own, "namespace": namespace}
        wanted = {"displayName": own, **({"description": description} if description else {}), **wanted}
        return {"apiVersion": "pipelines.kubeflow.org/v2beta1", "kind": kind, "metadata": meta, "spec": wanted}

    platform = {"platformSpec": pipeline.platform} if pipeline.platform else {}
    return (
        thing("Pipeline", name, {}),
        thing("PipelineVersion", version, {"pipelineName": name, "pipelineSpec": spec, **platform}),
    )


def _secret(name: str) -> dict[str, Any]:
    return {
        # Both spellings: the driver reads the parameter first, older ones know only the name.
        "secretName": name,
        "secretNameParameter": {"runtimeValue": {"constant": name}},
        "optional": True,  # in a cloud the service account alone may open the store
        "keyToEnv": [{"secretKey": key, "envVar": key} for key in STORE_KEYS],
    }


def kfp_resources(resources: Mapping[str, Any]) -> dict[str, Any]:
    """
    A Pod's resources in KFP's words.

    Raises:
        Invalid: If they are of another form, or name what KFP cannot pass on.

    >>> kfp_resources({"limits": {"cpu": "500m", "nvidia.com/gpu": 1}})
    {'cpuLimit': 0.5, 'resourceCpuLimit': '500m', 'accelerator': {'type': 'nvidia.com/gpu', 'resourceType': \
'nvidia.com/gpu', 'count': '1', 'resourceCount': '1'}}
    """
    for breach in unfit(resources):
        raise Invalid(f"{dotted(('spec', 'training', 'resources', *breach.at))}: {breach.found}", breach.hint)
    found: dict[str, Any] = {}
    for section, amounts in resources.items():
        word = section.removesuffix("s").capitalize()
        for name, amount in amounts.items():
            number = quantity(amount)
            assert number is not None
            if name in ("cpu", "memory"):
                value = float(number) if name == "cpu" else float(number / 10**9)  # KFP counts memory in 10^9 bytes
                found |= {f"{name}{word}": value, f"resource{name.capitalize()}{word}": str(amount)}
            elif section == "limits":
                kinds = {"type": name, "resourceType": name, "count": str(number), "resourceCount": str(number)}
                found["accelerator"] = kinds
    return found
