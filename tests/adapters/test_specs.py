"""Specs from files and from the store, and the schema that stands apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.adapters import specs
from trimtab.adapters.memory import MemoryBuckets
from trimtab.core.errors import Invalid, NotFound
from trimtab.core.spec.parse import load

APART = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: small}
spec:
  data: {source: s3://small/, format: csv, timestamp: ts, target: 'y', schemaRef: s3://schemas/small.yaml}
  training: {estimator: sklearn.linear_model:Ridge}
  evaluation: {primary: r2}
"""
SCHEMA = "x: {type: float}\n'y': {type: int}\n"


@pytest.fixture
def buckets() -> MemoryBuckets:
    return MemoryBuckets()


def no_store() -> MemoryBuckets:
    raise AssertionError("a spec that holds its schema needs no store")


def test_a_spec_with_its_schema_needs_no_store() -> None:
    text = APART.replace("schemaRef: s3://schemas/small.yaml", "schema: {x: {type: float}, 'y': {type: int}}")
    assert specs.read(text, no_store)[0] == text


def test_a_schema_from_the_store_stands_in_the_text_that_is_kept(buckets: MemoryBuckets) -> None:
    buckets.bucket("schemas").put("small.yaml", SCHEMA.encode())
    text, model = specs.read(APART, lambda: buckets)
    assert model.spec.data.features == ("x",)
    assert "schemaRef" not in text
    assert load(text) == model


def test_a_missing_schema_is_told_by_its_address(buckets: MemoryBuckets) -> None:
    with pytest.raises(Invalid, match=r"found no object at s3://schemas/small\.yaml"):
        specs.read(APART, lambda: buckets)


def test_a_wrong_schema_is_told_by_its_address_and_line(buckets: MemoryBuckets) -> None:
    buckets.bucket("schemas").put("small.yaml", b"x: {type: float}\n'y': {type: integer}\n")
    with pytest.raises(Invalid, match=r"s3://schemas/small.yaml has a problem\n  line 2: y.type: found 'integer'"):
        specs.read(APART, lambda: buckets)


def test_a_spec_is_fetched_from_its_address(buckets: MemoryBuckets) -> None:
    buckets.bucket("schemas").put("small.yaml", SCHEMA.encode())
    buckets.bucket("schemas").put("spec.yaml", APART.encode())
    assert specs.fetch("s3://schemas/spec.yaml", lambda: buckets)[1].name == "small"
    with pytest.raises(NotFound):
        specs.fetch("s3://schemas/nothing.yaml", lambda: buckets)


def test_a_spec_in_the_store_that_is_not_text_is_refused(buckets: MemoryBuckets) -> None:
    buckets.bucket("schemas").put("spec.yaml", b"PAR1\xff\xfe")
    with pytest.raises(Invalid, match="is not UTF-8 text: byte 4"):
        specs.fetch("s3://schemas/spec.yaml", lambda: buckets)


def test_a_file_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "flights.yaml").write_text("")
    with pytest.raises(Invalid) as refused:
        specs.read_file(str(tmp_path / "model.yaml"))
    assert "found no file" in refused.value.message
    assert "flights.yaml" in refused.value.hint


def test_a_folder_is_no_spec(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="is a folder"):
        specs.read_file(str(tmp_path))


def test_a_data_file_is_no_spec(tmp_path: Path) -> None:
    file = tmp_path / "data.parquet"
    file.write_bytes(b"PAR1\xff")
    with pytest.raises(Invalid, match="is not UTF-8 text: byte 4 is 0xff"):
        specs.read_file(str(file))
    file.write_bytes(b"x" * (1 << 20) + b"x")
    with pytest.raises(Invalid, match="1,048,577 bytes"):
        specs.read_file(str(file))
