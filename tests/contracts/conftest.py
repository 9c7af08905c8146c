"""The same tests against every store that trimtab calls by a port."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.core.ports import Bucket, Buckets


@pytest.fixture(params=["memory", "seaweedfs"])
def endpoint(request: pytest.FixtureRequest) -> Buckets:
    """A store; `bucket` names one of its buckets."""
    if request.param == "memory":
        return MemoryBuckets(only={"held"})
    return request.getfixturevalue("buckets")


@pytest.fixture
def bucket(endpoint: Buckets, request: pytest.FixtureRequest) -> Bucket:
    """An empty bucket that exists."""
    if isinstance(endpoint, MemoryBuckets):
        return endpoint.bucket("held")
    return endpoint.bucket(request.getfixturevalue("state_bucket"))


@pytest.fixture
def state(endpoint: Buckets, bucket: Bucket, tmp_path: Path) -> State:
    return State.open(endpoint, f"s3://{bucket.name}/default", f"flights-{uuid.uuid4().hex[:6]}", cache=tmp_path / "c")
