"""
The pipeline as a file: KFP's package, or Kubernetes manifests for kubectl.

kfp takes a second to import and leaves handlers behind, so compiling happens in a child process: this module run as
`python -m trimtab.adapters.kfp_package`.
"""

from __future__ import annotations

import graphlib
import hashlib
import importlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.adapters.kfp_spec import furnished, manifests, read_package
from trimtab.core.errors import Invalid, TrimtabError


@dataclass(frozen=True, slots=True)
class Package:
    """A compiled pipeline: `digest` is the SHA-256 of the file, `image` what its steps run in by default."""

    path: Path
    digest: str
    name: str
    image: str
    steps: tuple[str, ...]


def load_pipeline(setting: str) -> Callable[..., Any]:
    """
    The pipeline function that a setting names as `module:attribute`.

    Raises:
        Invalid: If the setting has another form, or the module or attribute does not exist or fails to import.
    """
    module, _, attribute = setting.partition(":")
    try:
        if not module or not attribute:
            raise ValueError("it must be module:attribute")
        function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise Invalid(
            f"could not load the pipeline {setting!r}: {error}",
            "TRIMTAB_PIPELINE names it, e.g. trimtab.pipelines.continuous_training:continuous_training",
        ) from error
    return function


def compile_package(
    pipeline: str, path: Path, namespace: str | None = None, image: str = "", secret: str = ""
) -> Package:
    """
    Write the package; equal sources, versions and image give equal bytes.

    Args:
        pipeline: `module:attribute` of the pipeline function.
        path: The YAML file to write; its folder is made.
        namespace: When given, write `Pipeline` and `PipelineVersion` objects for this namespace instead. The version
            is named by its content, because a PipelineVersion's spec cannot change.
        image: What the steps run in; without it TRIMTAB_IMAGE, or the image that the release names.
        secret: Its keys become variables of the steps in Kubernetes; none where the service account opens the store.

    Raises:
        Invalid: If the pipeline cannot be imported or compiled, or the file cannot be written.
    """
    command = [sys.executable, "-m", "trimtab.adapters.kfp_package", pipeline, str(path)]
    command += [namespace or "", secret]
    env = {**os.environ, "TRIMTAB_IMAGE": image} if image else None
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode != 0:
        message, _, hint = done.stderr.strip().rpartition("\nhint: ")
        raise Invalid(message or hint or f"compiling {pipeline} ended with {done.returncode}", hint if message else "")
    answer = json.loads(done.stdout.splitlines()[-1])
    return Package(path=path, **{**answer, "steps": tuple(answer["steps"])})


def write(setting: str, path: Path, namespace: str, secret: str) -> dict[str, Any]:
    """Compile in this process; returns what `Package` holds beside the path."""
    pipeline = load_pipeline(setting)
    from google.protobuf import json_format
    from kfp import compiler

    if not hasattr(pipeline, "pipeline_spec"):
        raise Invalid(
            f"{setting} is {type(pipeline).__name__}, not a KFP pipeline", "name a function under @dsl.pipeline"
        )
    spec = json_format.MessageToDict(pipeline.pipeline_spec)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        compiler.Compiler().compile(pipeline, str(path))
        if namespace or secret:
            _rewrite(path, namespace, secret)
    except OSError as error:
        raise Invalid(
            f"could not write {path}: {error.strerror}", "name a file in a folder that you may write"
        ) from error
    inputs = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return {
        "digest": hashlib.sha256(path.read_bytes()).hexdigest(),
        "name": spec["pipelineInfo"]["name"],
        "image": inputs.get("image", {}).get("defaultValue", ""),
        "steps": list(_steps(spec["root"], spec["components"])),
    }


def _rewrite(path: Path, namespace: str, secret: str) -> None:
    """The compiled package with its Secret, or as objects for kubectl."""
    import yaml

    pipeline = furnished(read_package(path), secret)
    documents = list(manifests(pipeline, namespace)) if namespace else [pipeline.spec, pipeline.platform]
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False, width=120))


def _steps(component: dict[str, Any], components: dict[str, Any]) -> Iterator[str]:
    """The names of the tasks that run something, in order, those under conditions included."""
    tasks = component["dag"]["tasks"]
    order = graphlib.TopologicalSorter({name: tasks[name].get("dependentTasks", []) for name in sorted(tasks)})
    for name in order.static_order():
        child = components[tasks[name]["componentRef"]["name"]]
        if "dag" in child:
            yield from _steps(child, components)
        else:
            yield name


def main(arguments: list[str]) -> None:
    """The child: the answer as one line of JSON, or the error on standard error."""
    warnings.filterwarnings("ignore")  # kfp's own deprecations
    setting, path, namespace, secret = arguments
    try:
        print(json.dumps(write(setting, Path(path), namespace, secret)))
    except TrimtabError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(sys.argv[1:])
