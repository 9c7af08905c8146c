"""What the serving image copies is enough to serve: its files alone, under the serving environment's interpreter."""

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "images" / "serving" / "Dockerfile"
PROGRAM = """
import importlib, sys, trimtab
for name in ("model", "loading", "application", "worker", "exposition", "server", "shipping"):
    importlib.import_module(f"trimtab.adapters.seldon.{name}")
assert not {"polars", "kfp", "kopf", "fastapi"} & set(sys.modules), "imports what does not serve"
print(trimtab.__file__)
"""


def copied() -> dict[str, str]:
    """What the Dockerfile takes from the source tree, and where it goes."""
    found = re.findall(r"^COPY (?!--from)(\S+) (\S+)$", DOCKERFILE.read_text(), re.M)
    return {source: target for source, target in found if source.startswith("trimtab/")}


def test_the_images_files_serve_without_the_rest_of_the_source_tree(tmp_path, serving_python):
    for source, target in copied().items():
        place = tmp_path / Path(target).relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, place)
    (root,) = {target.removesuffix(source) for source, target in copied().items()}
    own = tmp_path / Path(root).relative_to("/")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TRIMTAB_"))}
    environ["PYTHONPATH"] = str(own)
    ended = subprocess.run(
        [str(serving_python), "-P", "-c", PROGRAM],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert Path(ended.stdout.strip()).is_relative_to(own)


def test_the_image_runs_as_nobody_and_pins_by_hash():
    text = DOCKERFILE.read_text()
    assert re.search(r"^USER 65532:65532$", text, re.M)
    assert "--require-hashes" in text
    assert (ROOT / "requirements" / "serving.txt").read_text().count("--hash=sha256:") > 50
