"""Real parts for every test: one SeaweedFS a worker, fresh buckets a test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from trimtab.app.embedded.store import Store
    from trimtab.core.ports import Buckets

# What could send a test to a store of the developer's own.
FOREIGN = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION", "TRIMTAB_STATE_BUCKET", "TRIMTAB_URL")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copies of what tests read go to a folder of their own, not to the developer's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIMTAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A running store, shared by all tests of this worker: never stop it, never rely on what else it holds."""
    from trimtab.app.embedded.store import Store

    with Store(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def environment(store: Store, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Sets AWS_* for this test, for boto3 here and in child processes; returns the variables."""
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    return store.environment


@pytest.fixture
def buckets(environment: dict[str, str]) -> Buckets:
    """The store as the library sees it."""
    from trimtab.adapters import s3

    return s3.connect()


@pytest.fixture
def state_bucket(store: Store) -> str:
    """The name of a new, empty bucket for state."""
    return store.create_bucket(f"state-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def landing_bucket(store: Store) -> str:
    """The name of a new, empty bucket for users' data."""
    return store.create_bucket(f"landing-{uuid.uuid4().hex[:12]}")
