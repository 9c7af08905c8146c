"""What images are made from: one base by digest, the same settings as the archives, and `images/build`'s words."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ("pipeline", "services", "serving")
RECORDER = '#!/usr/bin/env bash\nprintf "%s\\n" "$@" "" >> "$RECORD"\n'


def dockerfile(image: str) -> str:
    """With the lines that go on put together."""
    return (ROOT / "images" / image / "Dockerfile").read_text().replace("\\\n", " ")


def final(image: str, instruction: str) -> list[str]:
    """What follows this instruction in the stage that becomes the image."""
    stage = dockerfile(image).rpartition("\nFROM ")[2]
    return re.findall(rf"^{instruction} (.+)$", stage, re.MULTILINE)


def of_archive(image: str) -> tuple[dict[str, str], list[str]]:
    """The environment and the entry point that the archive of this image has."""
    program = (
        "import archive, json, sys; image = archive.IMAGES[sys.argv[1]]; "
        "print(json.dumps([{**archive.ENVIRONMENT, **image.environment}, image.entrypoint]))"
    )
    command = [sys.executable, "-c", program, image]
    said = subprocess.run(command, cwd=ROOT / "images", check=True, capture_output=True).stdout
    environment, entrypoint = json.loads(said)
    return environment, entrypoint


def built(tmp_path: Path, *words: str, **environ: str) -> list[list[str]]:
    """The words of each call of a builder that notes them."""
    builder = tmp_path / "builder"
    builder.write_text(RECORDER)
    builder.chmod(0o755)
    record = tmp_path / "record"
    env = {**os.environ, "BUILDER": str(builder), "RECORD": str(record), **environ}
    subprocess.run([ROOT / "images" / "build", *words], env=env, check=True)
    return [call.split("\n") for call in record.read_text().strip().split("\n\n")]


def test_all_images_have_one_base_by_digest() -> None:
    bases = {base for image in IMAGES for base in re.findall(r"^ARG PYTHON=(\S+)$", dockerfile(image), re.MULTILINE)}
    (base,) = bases
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)


@pytest.mark.parametrize("image", IMAGES)
def test_no_step_of_a_build_may_fail_unseen(image: str) -> None:
    assert "||" not in dockerfile(image)
    assert ";" not in "".join(re.findall(r"^RUN (.+)$", re.sub(r"'[^']*'", "", dockerfile(image)), re.MULTILINE))


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_starts_as_its_archive_does(image: str) -> None:
    settings = dict(pair.split("=", 1) for line in final(image, "ENV") for pair in shlex.split(line))
    expected, entrypoint = of_archive(image)
    del expected["SSL_CERT_FILE"]  # the Dockerfiles' base has certificates of its own
    assert settings.pop("PATH").startswith("/opt/venv/bin:")
    assert expected.pop("PATH").startswith("/opt/venv/bin:")
    assert settings == expected
    assert [json.loads(words) for words in final(image, "ENTRYPOINT")] == [entrypoint] * bool(entrypoint)


def test_a_build_takes_the_tag_the_base_and_more_words(tmp_path: Path) -> None:
    calls = built(tmp_path, "7", PYTHON_IMAGE="mirror/python:3.11", BUILD_ARGS="--pull --label 'two words'")
    assert [call[call.index("--tag") + 1] for call in calls] == [f"trimtab/{image}:7" for image in IMAGES]
    for call in calls:
        assert "PYTHON=mirror/python:3.11" in call
        assert call[-4:] == ["--pull", "--label", "two words", "."]
    assert ["PIPELINE_IMAGE=trimtab/pipeline:7" in call for call in calls] == [False, True, False]


def test_without_settings_a_build_uses_the_dockerfiles_base(tmp_path: Path) -> None:
    calls = built(tmp_path, PYTHON_IMAGE="", BUILD_ARGS="", PYTHON="python3.12")
    assert [call[call.index("--tag") + 1] for call in calls] == [f"trimtab/{image}:test" for image in IMAGES]
    assert not [word for call in calls for word in call if word.startswith("PYTHON=")]


def test_a_word_that_is_no_tag_is_refused() -> None:
    done = subprocess.run([ROOT / "images" / "build", "--push"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "found option --push; needed a tag\nhint: images/build --help\n"
