"""`trimtab compile`: the training pipeline as a file for Kubeflow."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import click

from trimtab.adapters import environment
from trimtab.app.cli import print_json
from trimtab.core.errors import Invalid
from trimtab.core.spec.model import NAME_PATTERN

SUBDOMAIN_PATTERN = r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?"  # in DNS: the name of a Secret
# HOST:PORT/PATH:TAG@DIGEST, of which only the path must be there.
IMAGE_PATTERN = r"([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
SUBMIT = """\
submit it:
python -c '
import kfp
kfp.Client(host="http://localhost:8080").create_run_from_pipeline_package("{path}", arguments={{
    "model": "NAME", "spec": open("model.yaml").read(), "state": "s3://BUCKET/NAMESPACE"}})'"""


@click.command(epilog="Example:  trimtab compile -o build/continuous_training.yaml")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("continuous_training.yaml"),
    show_default=True,
    help="The YAML file to write.",
)
@click.option("--image", default="", help="What the steps run in. Default: TRIMTAB_IMAGE, or the release's image.")
@click.option("--kubernetes", is_flag=True, help="Write Pipeline and PipelineVersion objects for kubectl instead.")
@click.option("-n", "--namespace", default="kubeflow", show_default=True, help="Of those objects.")
@click.option("--secret", default="", help="A Secret in the runs' namespace with the store's AWS_… variables as keys.")
@click.option("--json", "as_json", is_flag=True, help="Print path, digest and steps as JSON.")
def compile_package(output: Path, image: str, kubernetes: bool, namespace: str, secret: str, as_json: bool) -> None:
    """Write the Kubeflow pipeline package."""
    from trimtab.adapters import kfp_package

    _check("--namespace", namespace, NAME_PATTERN, 63, "a-z, 0-9 and inner hyphens, such as kubeflow")
    if secret:
        _check("--secret", secret, SUBDOMAIN_PATTERN, 253, "a-z, 0-9, inner hyphens and dots, such as trimtab-s3")
    if image:
        _check("--image", image, IMAGE_PATTERN, 1024, "an image's address, such as registry.example.org/pipeline:1")
    place = namespace if kubernetes else None
    package = kfp_package.compile_package(environment.pipeline(), output, place, image, secret)
    if as_json:
        print_json(asdict(package))
        return
    click.echo(f"wrote       {package.path}")
    click.echo(f"digest      {package.digest}")
    click.echo(f"steps       {', '.join(package.steps)}")
    click.echo(f"image       {package.image}")
    if kubernetes:
        if "@sha256:" not in package.image:
            click.echo("note        a tag may move: with --image NAME@sha256:… the version says what its steps run in")
        click.echo(f"apply it:\nkubectl apply -f {package.path}")
    else:
        click.echo(SUBMIT.format(path=package.path))


def _check(option: str, word: str, pattern: str, longest: int, needed: str) -> None:
    """What no API server and no kubelet takes is refused before it stands in a file."""
    if len(word) > longest or not re.fullmatch(pattern, word, re.ASCII):
        raise Invalid(f"{option}: found {word!r}", f"write {needed}; at most {longest} characters")
