"""What runs and intake put is read back whole, by any process, and what was damaged is told."""

from __future__ import annotations

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.core.errors import Invalid, NotFound, Unavailable
from trimtab.core.ports import Buckets
from trimtab.core.records import Partition, digest

NOW = datetime(2012, 3, 1, 12, tzinfo=UTC)


def partition(name: str) -> Partition:
    return Partition(id=name, rows=10, labelled=10, quarantined=0, first=NOW, last=NOW)


def test_a_partition_is_read_from_a_local_copy(state: State, tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"rows" * 1000)
    state.data.put_partition("p1", tmp_path / "rows")
    copy = state.data.partition("p1")
    assert (copy.read_bytes(), copy.suffix) == (b"rows" * 1000, ".parquet")
    assert state.data.partition("p1") == copy
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700


def test_a_partition_that_stands_is_not_written_again(state: State, tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        (tmp_path / "rows").write_bytes(content)
        state.data.put_partition("p1", tmp_path / "rows")
    assert state.data.partition("p1").read_bytes() == b"first"


def test_copies_of_two_stores_in_one_folder_stay_apart(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        state = State.open(MemoryBuckets(), "s3://state/default", "flights", cache=tmp_path / "c")
        (tmp_path / "rows").write_bytes(content)
        state.data.put_partition("p1", tmp_path / "rows")
        assert state.data.partition("p1").read_bytes() == content


def test_a_copy_that_was_cut_off_is_read_again(state: State, endpoint: Buckets, tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"rows" * 1000)
    state.data.put_partition("p1", tmp_path / "rows")
    state.data.partition("p1").write_bytes(b"rows")
    other = State.open(endpoint, state.address, state.model, cache=tmp_path / "c")
    assert other.data.partition("p1").read_bytes() == b"rows" * 1000


def test_many_threads_read_many_partitions(state: State, tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / "rows").write_bytes(f"{number}".encode() * 1000)
        state.data.put_partition(f"p{number}", tmp_path / "rows")
    with ThreadPoolExecutor(8) as pool:
        copies = list(pool.map(state.data.partition, [f"p{number % 12}" for number in range(48)]))
    assert [copy.read_bytes()[:1] for copy in copies[:10]] == [f"{number}".encode() for number in range(10)]
    assert not list((tmp_path / "c").glob(".part-*"))


def test_a_missing_partition_is_an_error_and_missing_quarantined_rows_are_none(state: State) -> None:
    with pytest.raises(NotFound, match="partitions/p9"):
        state.data.partition("p9")
    assert state.data.quarantined("p9") is None


def test_quarantined_rows_are_kept(state: State, tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"bad rows")
    state.data.put_quarantined("p1", tmp_path / "rows")
    kept = state.data.quarantined("p1")
    assert kept is not None
    assert kept.read_bytes() == b"bad rows"


def test_a_dataset_is_its_partitions_in_order(state: State, endpoint: Buckets) -> None:
    one, two = partition("p1"), partition("p2")
    version = state.data.put_dataset([one, two])
    assert version.digest == digest("p1", "p2") != state.data.put_dataset([two, one]).digest
    assert state.data.put_dataset([one, two]) == version
    assert State.open(endpoint, state.address, state.model).data.dataset(version.digest).partitions == (one, two)


def test_profiles_specs_and_cards_are_named_for_what_is_in_them(state: State, endpoint: Buckets) -> None:
    profile = state.data.put_profile({"rows": 3, "columns": {"b": [0.1, None], "a": True}})
    spec, card = state.data.put_spec("kind: ContinuousModel\n"), state.data.put_card("<p>größer</p>")
    reader = State.open(endpoint, state.address, state.model).data
    assert reader.profile(profile) == {"rows": 3, "columns": {"b": [0.1, None], "a": True}}
    assert reader.spec(spec) == "kind: ContinuousModel\n"
    assert reader.card(card) == "<p>größer</p>"
    assert state.data.put_spec("kind: ContinuousModel\n") == spec


def test_a_spec_that_was_exchanged_is_refused(state: State, endpoint: Buckets) -> None:
    spec = state.data.put_spec("kind: ContinuousModel\n")
    state.bucket.put(state.layout.spec(spec), b"kind: Other\n")
    with pytest.raises(Invalid, match="damaged or exchanged"):
        State.open(endpoint, state.address, state.model).data.spec(spec)


def test_what_a_step_concluded_first_counts(state: State, endpoint: Buckets) -> None:
    assert state.data.step("run", "train") is None
    first = state.data.put_step("run", "train", {"rows": 5, "seconds": 1.5})
    other = State.open(endpoint, state.address, state.model)
    assert other.data.put_step("run", "train", {"rows": 6}) == first == {"rows": 5, "seconds": 1.5}
    assert other.data.step("run", "train") == first


def test_the_log_of_a_run_is_kept(state: State) -> None:
    assert state.data.log("r1") is None
    state.data.put_log("r1", "one\ntwo\n")
    state.data.put_log("r1", "late\n")
    assert state.data.log("r1") == "one\ntwo\n"


def test_a_cache_folder_that_cannot_be_written_is_told_with_its_variable(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    state = State.open(MemoryBuckets(), "s3://state/default", "flights", cache=tmp_path / "taken" / "c")
    (tmp_path / "rows").write_bytes(b"rows")
    state.data.put_partition("p1", tmp_path / "rows")
    with pytest.raises(Invalid, match="cannot write to") as refused:
        state.data.partition("p1")
    assert "TRIMTAB_CACHE" in refused.value.hint


def test_a_read_that_breaks_leaves_no_half_file(tmp_path: Path) -> None:
    broken = [False]

    def fail(operation: str, key: str, done: bool) -> None:
        if broken[0] and operation == "get":
            raise Unavailable("the line broke")

    state = State.open(MemoryBuckets(fail=fail), "s3://state/default", "flights", cache=tmp_path / "c")
    (tmp_path / "rows").write_bytes(b"rows")
    state.data.put_partition("p1", tmp_path / "rows")
    broken[0] = True
    with pytest.raises(Unavailable):
        state.data.partition("p1")
    assert list((tmp_path / "c").iterdir()) == []
    broken[0] = False
    assert state.data.partition("p1").read_bytes() == b"rows"


@pytest.mark.parametrize("address", ["", "state/default", "s3://state", "s3:///default", "s3://state//x", "file://a/b"])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(Invalid, match="s3://BUCKET/NAMESPACE"):
        State.open(MemoryBuckets(), address, "flights")


def test_a_full_disk_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: in a process of its own, since it holds for all of it."""
    program = """
import resource, sys
from pathlib import Path
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.core.errors import Unavailable

folder = Path(sys.argv[1])
state = State.open(MemoryBuckets(), "s3://state/default", "flights", cache=folder / "c")
(folder / "rows").write_bytes(b"rows" * 100_000)
state.data.put_partition("p1", folder / "rows")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    state.data.partition("p1")
except Unavailable as error:
    assert not list((folder / "c").iterdir())
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert state.data.partition("p1").stat().st_size == 400_000
"""
    ran = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert "cannot write" in ran.stdout
    assert "MiB are left" in ran.stdout
