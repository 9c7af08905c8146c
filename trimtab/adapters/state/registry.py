"""
The registry: immutable versions, and numbered manifests of which the newest says what serves.

Both aliases stand in one manifest, so a promotion is one create of number N+1: two promotions cannot both go through
on the same reading, and none is half done.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trimtab.adapters.state.layout import Layout
from trimtab.adapters.state.numbered import Numbered
from trimtab.adapters.state.objects import Objects, file_digest
from trimtab.core.errors import NotFound
from trimtab.core.records import Manifest, ModelVersion
from trimtab.core.references import Reference

ATTEMPTS = 20  # each refusal means that another writer got on; more at once than this is a fault


class Registry:
    def __init__(self, objects: Objects, layout: Layout) -> None:
        self._objects = objects
        self._layout = layout
        self._versions = Numbered(objects, layout, "versions", ModelVersion)
        self._manifests = Numbered(objects, layout, "manifests", Manifest)

    # Versions

    def versions(self) -> list[ModelVersion]:
        """By number, ascending, without gaps."""
        return list(self._versions.all().values())

    def version(self, number: int) -> ModelVersion:
        """
        Raises:
            NotFound: If there is no such version; says which there are.
        """
        found = self._versions.find(number)
        if found is None:
            raise NotFound(f"found no version v{number} of {self._layout.model}; {self._there_are()}")
        return found

    def version_of(self, run_key: str) -> ModelVersion | None:
        """The version that the run registered, if it came so far."""
        return next((version for version in self.versions() if version.run_key == run_key), None)

    def add_version(self, build: Callable[[int], ModelVersion]) -> ModelVersion:
        """
        Register a version under the next free number; a run that registered one before gets that one.

        Args:
            build: Makes the version for a number, its run key the same each time.
        """
        earlier: list[ModelVersion] = []

        def next_version(number: int, known: dict[int, ModelVersion]) -> ModelVersion | None:
            version = build(number)
            earlier[:] = [other for other in known.values() if other.run_key == version.run_key]
            return None if earlier else version

        return self._versions.append(next_version, ATTEMPTS) or earlier[0]

    def resolve(self, reference: Reference) -> ModelVersion:
        """
        The version that `NAME/vN` or `NAME@alias` names now.

        Raises:
            NotFound: If the version does not exist, or nothing stands under the alias.
        """
        if reference.number is not None:
            return self.version(reference.number)
        manifest = self.manifest()
        number = None
        if manifest is not None:
            number = manifest.champion if reference.alias == "champion" else manifest.challenger
        if number is None:
            raise NotFound(f"{self._layout.model} has no {reference.alias}; {self._there_are()}")
        return self.version(number)

    def _there_are(self) -> str:
        numbers = [f"v{version.number}" for version in self.versions()]
        return f"it has {', '.join(numbers[-10:])}" if numbers else "it has no versions yet (trimtab status)"

    # Aliases

    def manifest(self) -> Manifest | None:
        """What serves now; None before the first version was promoted or made challenger."""
        known = self._manifests.all()
        return known[max(known)] if known else None

    def manifests(self) -> list[Manifest]:
        """Every change of an alias, oldest first."""
        return list(self._manifests.all().values())

    def publish(self, change: Callable[[Manifest | None], Manifest | None], attempts: int = ATTEMPTS) -> Manifest:
        """
        Move aliases: read the newest manifest, let `change` make the next one of it, create that as number N+1.

        When another writer was first, `change` is called again with what that one wrote. It may raise, and None
        leaves everything as it is.

        Raises:
            Conflict: If other writers were first each time.
        """
        current: list[Manifest | None] = [None]

        def next_manifest(number: int, known: dict[int, Manifest]) -> Manifest | None:
            current[0] = known[max(known)] if known else None
            changed = change(current[0])
            return None if changed is None else changed.model_copy(update={"number": number})

        published = self._manifests.append(next_manifest, attempts) or current[0]
        if published is None:
            raise NotFound(f"{self._layout.model} has no champion and no challenger, and none was published")
        return published

    # Artifacts

    def put_artifact(self, path: Path) -> str:
        """Keep a saved model; returns its SHA-256, which is its name."""
        digest = file_digest(path)
        self._objects.put_file(self._layout.artifact(digest), path)
        return digest

    def artifact(self, digest: str) -> Path:
        """
        A local copy of the saved model, its SHA-256 checked now.

        Raises:
            NotFound: If there is none.
            Invalid: If the store holds other bytes under this name.
        """
        return self._objects.verified_file(self._layout.artifact(digest), digest)
