"""`trimtab show`, `get` and `approve`: model versions, read, downloaded, promoted by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trimtab.app.cli import print_json
from trimtab.core.errors import Invalid

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.core.records import Manifest, ModelVersion


@click.command(epilog="Example:  trimtab show flights@champion")
@click.argument("version")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def show(version: str, as_json: bool) -> None:
    """
    Show a model version: metrics, evaluation, lineage.

    VERSION reads NAME/vN, NAME@champion or NAME@challenger; NAME alone lists all its versions.
    """
    from trimtab.app.opening import Platform
    from trimtab.core.references import parse_reference

    reference = parse_reference(version)
    state = Platform.find().state(reference.name)
    if not ("@" in version or "/" in version):
        _show_all(state, as_json)
        return
    found = state.registry.resolve(reference)
    if as_json:
        print_json(as_json_value(found, state.registry.manifest()))
        return
    from trimtab.app.cli.version_page import show_version

    result = next((o for o in state.decisions.outcomes().values() if o.version == found.number), None)
    show_version(state.model, found, aliases(found.number, state.registry.manifest()), result)


@click.command(epilog="Example:  trimtab get flights@champion -o model/")
@click.argument("version")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="A folder.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def get(version: str, output: Path, as_json: bool) -> None:
    """
    Download a model version: artifact.skops, card.html and version.json.

    The artifact's SHA-256 is checked against the registry. Files that stand there with other content stay, and the
    command ends without writing.
    """
    from trimtab.app.opening import Platform
    from trimtab.core.references import parse_reference

    reference = parse_reference(version)
    state = Platform.find().state(reference.name)
    found = state.registry.resolve(reference)
    contents = {"artifact.skops": state.registry.artifact(found.artifact).read_bytes()}
    if found.card:
        contents["card.html"] = state.data.card(found.card).encode()
    contents["version.json"] = found.model_dump_json(by_alias=True, indent=2).encode() + b"\n"
    _write_new(output, contents)
    if as_json:
        print_json({"version": f"{state.model}/v{found.number}", "folder": str(output), "files": sorted(contents)})
        return
    click.echo(f"{state.model}/v{found.number} in {output}: {', '.join(contents)}")
    click.echo(f"verified: artifact.skops has SHA-256 {found.artifact}")
    click.echo(f"load it:  python -c 'import trimtab; print(trimtab.load_folder({_quoted(output)}))'")


@click.command(epilog="Example:  trimtab approve flights        (or: trimtab approve flights v7)")
@click.argument("name")
@click.argument("version", required=False)
@click.option("--reason", default="", help="Why, in your words; kept with a rollout's approval.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def approve(name: str, version: str | None, reason: str, as_json: bool) -> None:
    """
    Let NAME's rollout go on beyond the pause it waits at.

    With VERSION: let that version serve, which was better than its champion, and short of the floor: at once under
    the strategy immediate, else through its rollout.
    """
    from trimtab.app.cli.rollout import ask, poke

    if version is None:
        ask("approve", name, reason, as_json, f"approved; trimtab plan {name} shows what comes next")
        return
    from trimtab.app.opening import Platform
    from trimtab.core.approval import approved
    from trimtab.core.references import parse_reference
    from trimtab.core.spec import load

    number = parse_reference(f"{name}/v{version.removeprefix('v')}").number
    assert number is not None
    platform = Platform.find()
    state = platform.state(name)
    wanted, outcomes = state.registry.version(number), state.decisions.outcomes().values()
    how: dict[str, Any] = {
        "immediate": load(state.data.spec(wanted.spec)).spec.rollout.strategy == "immediate",
        "rolled_out": {spec.version for spec in state.rollouts.all()},
    }
    manifest = state.registry.publish(lambda now: approved(name, wanted, outcomes, now, datetime.now(UTC), **how))
    # Under the same id as the loop would tell it, which may be quicker.
    evidence = manifest.model_dump(mode="json", by_alias=True, include={"champion", "challenger", "previous"})
    decided_at = platform.policy_time(state)
    kind = "promoted" if manifest.champion == number else "aliases"
    state.journal.tell(f"manifest/{manifest.number}", kind, manifest.cause, evidence, decided_at)
    poke(platform, name)
    if as_json:
        print_json(manifest.model_dump(mode="json", by_alias=True))
        return
    if manifest.champion != number:
        click.echo(f"{name}/v{number} is challenger; how its rollout goes on: trimtab status {name} -w")
        return
    before = f", before it v{manifest.previous}" if manifest.previous else ""
    click.echo(f"{name}/v{manifest.champion} is champion{before}")


def _quoted(path: Path) -> str:
    """As a Python string inside a shell's single quotes."""
    return json.dumps(str(path), ensure_ascii=False).replace("'", "'\\''")


def aliases(number: int, manifest: Manifest | None) -> list[str]:
    """What the version is called besides its number."""
    if manifest is None:
        return []
    named = {"champion": manifest.champion, "challenger": manifest.challenger, "previous": manifest.previous}
    return [alias for alias, held in named.items() if held == number]


def as_json_value(version: ModelVersion, manifest: Manifest | None) -> dict[str, Any]:
    """The record as it stands in the store, with its aliases of now."""
    return version.model_dump(mode="json", by_alias=True) | {"aliases": aliases(version.number, manifest)}


def _show_all(state: State, as_json: bool) -> None:
    versions, manifest = state.registry.versions(), state.registry.manifest()
    if as_json:
        print_json([as_json_value(version, manifest) for version in versions])
        return
    if not versions:
        click.echo(f"{state.model} has no versions yet; what waits and why: trimtab status")
        return
    from trimtab.app.cli.version_page import show_versions

    results = {o.version: o.state for o in state.decisions.outcomes().values() if o.version}
    show_versions(state.model, versions, manifest, results)


def _write_new(folder: Path, contents: dict[str, bytes]) -> None:
    """All the files, or none where one stands with other content."""
    taken = [name for name, body in contents.items() if (folder / name).exists() and _differs(folder / name, body)]
    if taken:
        raise Invalid(
            f"{folder} holds {', '.join(taken)} with other content; nothing was written", "name another folder with -o"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, body in contents.items():
            (folder / name).write_bytes(body)
    except OSError as error:
        raise Invalid(
            f"cannot write to {folder}: {error.strerror}", "name a folder that you may write with -o"
        ) from error


def _differs(path: Path, body: bytes) -> bool:
    return not path.is_file() or path.read_bytes() != body
