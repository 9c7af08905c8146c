"""
The images as one archive for a cluster without a registry: `python images/archive.py --tag test build/images.tar`.

No builder, no network, no root: Python and its libraries come from this machine, packages from the environments that
`make` has made. The contents are those of the Dockerfiles; `docker load`, `kind load image-archive` and `ctr images
import` take the file. The same contents give the same bytes. It runs on machines of this architecture.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import contents
from contents import ROOT, SITE
from layer import Layer

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}
LIBRARY_SITE = Path(sysconfig.get_path("purelib"))
SERVING_SITE = ROOT / ".venv-serving" / "lib" / contents.VERSION / "site-packages"
LIBRARY = ("core", "serving", "adapters", "app", "components", "pipelines")
PACKAGE = "opt/trimtab/continuous_training.yaml"
ENVIRONMENT = {
    "PATH": "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TRIMTAB_CACHE": "/var/cache/trimtab",
    "SSL_CERT_FILE": f"/{SITE}/certifi/cacert.pem",  # not this machine's, which may trust more
}
Write = Callable[[Layer], None]


@dataclass(frozen=True)
class Image:
    """An image's layers by name, in order, and how it starts."""

    layers: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()


SERVED = {
    "TRIMTAB_BIND": "0.0.0.0:9000",
    "TRIMTAB_METRICS_BIND": "0.0.0.0:6000",
    "TRIMTAB_LOG_FOLDER": "/var/lib/trimtab/log",
}
SERVICES = {
    "TRIMTAB_PIPELINE_PACKAGE": f"/{PACKAGE}",
    "MALLOC_ARENA_MAX": "2",  # a dozen threads with arenas of their own would keep far more memory
}
IMAGES = {
    "pipeline": Image(["base", "steps", "trimtab"]),
    "services": Image(["base", "steps", "services", "trimtab", "package"], SERVICES),
    "serving": Image(["base", "served", "server"], SERVED, ["python", "-m", "trimtab.adapters.seldon.server"]),
    # The laptop's own store and proxy, for clusters that reach no registry.
    "seaweedfs": Image(["base", "weed"], entrypoint=["/usr/local/bin/weed"]),
    "envoy": Image(["base", "envoy"], entrypoint=["/usr/local/bin/envoy"]),
}


def writers(tag: str, folder: Path) -> dict[str, Write]:
    """How each layer is filled."""
    pins = ROOT / "requirements"
    return {
        "base": contents.base,
        "steps": lambda layer: contents.packages(layer, LIBRARY_SITE, pins / "pipeline.txt"),
        "services": lambda layer: contents.packages(
            layer, LIBRARY_SITE, pins / "services.txt", without=pins / "pipeline.txt"
        ),
        "trimtab": lambda layer: contents.trimtab(layer, LIBRARY, script=True),
        "package": lambda layer: layer.copy(compiled(tag, folder), PACKAGE, 0o644),
        "served": lambda layer: contents.packages(layer, SERVING_SITE, pins / "serving.txt"),
        "server": lambda layer: contents.trimtab(layer, ("core", "serving", "adapters"), script=False),
        "weed": lambda layer: _program(layer, Path(sys.prefix, "bin", "weed")),
        "envoy": lambda layer: _program(layer, LIBRARY_SITE / "envoy" / "_bin" / "envoy"),
    }


def compiled(tag: str, folder: Path) -> Path:
    """The pipeline, its steps in the pipeline image of the same tag."""
    path = folder / "continuous_training.yaml"
    pipeline = "trimtab.pipelines.continuous_training:continuous_training"
    command = [sys.executable, "-m", "trimtab.adapters.kfp_package", pipeline, str(path), "", ""]
    environment = {**os.environ, "TRIMTAB_IMAGE": f"trimtab/pipeline:{tag}"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment, cwd=ROOT)
    return path


def write(names: Sequence[str], tag: str, out: Path) -> None:
    """All these images in one archive; a layer that several have stands in it once."""
    out = out.resolve()  # the pipeline is compiled from another folder
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    wanted = list(dict.fromkeys(layer for name in names for layer in IMAGES[name].layers))
    with tempfile.TemporaryDirectory(dir=out.parent) as folder, tarfile.open(partial, "w") as archive:
        known = writers(tag, Path(folder))
        digests: dict[str, str] = {}
        for name in wanted:
            with tempfile.TemporaryFile(dir=folder) as file:
                layer = Layer(file)
                known[name](layer)
                layer.close()
                file.seek(0)
                entry = tarfile.TarInfo(f"{layer.digest}/layer.tar")
                entry.size = layer.size
                archive.addfile(entry, file)
            digests[name] = layer.digest
            print(f"layer {name}: {layer.size / 1e6:.0f} MB", flush=True)
        manifest = []
        for name in names:
            config = _config(IMAGES[name], name, [digests[layer] for layer in IMAGES[name].layers])
            path = hashlib.sha256(config).hexdigest() + ".json"
            _add(archive, path, config)
            layers = [f"{digests[layer]}/layer.tar" for layer in IMAGES[name].layers]
            manifest.append({"Config": path, "RepoTags": [f"trimtab/{name}:{tag}"], "Layers": layers})
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    partial.replace(out)


def _config(image: Image, name: str, digests: Sequence[str]) -> bytes:
    run = {
        "User": f"{contents.USER}:{contents.USER}",
        "Env": [f"{key}={value}" for key, value in {**ENVIRONMENT, **image.environment}.items()],
        "Entrypoint": list(image.entrypoint),
        "WorkingDir": "/tmp",  # noqa: S108  (of the image)
        "Labels": {"org.opencontainers.image.title": f"trimtab/{name}"},
    }
    config = {
        "architecture": ARCHITECTURE[platform.machine()],
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created_by": "images/archive.py"} for _ in digests],
    }
    return json.dumps(config, sort_keys=True).encode()


def _add(archive: tarfile.TarFile, path: str, body: bytes) -> None:
    entry = tarfile.TarInfo(path)
    entry.size = len(body)
    archive.addfile(entry, BytesIO(body))


def _program(layer: Layer, program: Path) -> None:
    """A program that a package of the library brings, with what it needs of this machine's libraries."""
    layer.copy(program, f"usr/local/bin/{program.name}", 0o755)
    contents.libraries(layer, [Path("/bin/sh"), program])


def main() -> None:
    parser = argparse.ArgumentParser(description="Write trimtab's images as one docker archive.")
    parser.add_argument("out", type=Path, help="such as build/images.tar")
    parser.add_argument("--tag", default="test", help="of the images (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=[*IMAGES], help="these images alone; may be repeated")
    arguments = parser.parse_args()
    write(arguments.only or [*IMAGES], arguments.tag, arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
