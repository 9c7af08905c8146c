"""The digests change with what they stand for, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trimtab.core.errors import Invalid
from trimtab.core.spec import load
from trimtab.core.spec.digests import data_digest, training_digest

Edited = Callable[..., str]


def recipe(text: str, code: str = "", version: str = "1.9.1") -> str:
    return training_digest(load(text), code, version)


RECIPE = {
    "format": ("format: parquet", "format: csv"),
    "timestamp": ("timestamp: ts", "timestamp: time"),
    "key": ("key: [id]", "key: []"),
    "exclude": ("exclude: [dep_delay]", "exclude: []"),
    "schema": ("max: 6000", "max: 7000"),
    "quality": ("maxInvalidRowRatio: 0.01", "maxInvalidRowRatio: 0.02"),
    "window": ("size: 26w", "size: 8w"),
    "parameters": ("max_iter: 200", "max_iter: 100"),
    "seed": ("seed: 0", "seed: 1"),
    "holdout": ("holdout: 2w", "holdout: 4w"),
    "refit": ("    block: 1d\n", "    block: 1d\n    refit: false\n"),
    "primary": ("primary: roc_auc", "primary: log_loss"),
}
OUTSIDE = {
    "suspend": ("  window:", "  suspend: true\n  window:"),
    "source": ("s3://flights/landing/", "s3://flights/other/"),
    "triggers": ("cooldown: 6h", "cooldown: 7h"),
    "resources": ("    seed: 0\n", "    seed: 0\n    resources: {limits: {memory: 1Gi}}\n"),
    "margin": ("margin: 0.01", "margin: 0.02"),
    "slices": ("slices: [carrier]", "slices: []"),
    "rollout": ("{setWeight: 5}", "{setWeight: 6}"),
    "alerts": ("events: [drift]", "events: [failed]"),
    "a default written out": ("    seed: 0\n", "    seed: 0\n    mode: offline\n    threads: 1\n"),
    "another unit of the same length": ("size: 26w", "size: 182d"),
    "a comment": ("  window:", "  # what it learns\n  window:"),
}


@pytest.mark.parametrize("field", RECIPE)
def test_the_training_digest_changes_with_the_recipe(field: str, sound: str, edited: Edited) -> None:
    assert recipe(edited(RECIPE[field])) != recipe(sound)


@pytest.mark.parametrize("field", OUTSIDE)
def test_the_training_digest_does_not_change_with(field: str, sound: str, edited: Edited) -> None:
    assert recipe(edited(OUTSIDE[field])) == recipe(sound)


def test_the_training_digest_changes_with_the_users_code_and_scikit_learn(sound: str) -> None:
    assert len({recipe(sound), recipe(sound, code="abc"), recipe(sound, version="1.9.2")}) == 3


def test_a_model_takes_its_columns_in_the_order_of_their_names_however_they_are_written(
    sound: str, edited: Edited
) -> None:
    carrier = "      carrier: {type: category, values: [AA, DL, UA]}\n"
    distance = "      distance: {type: float, min: 0, max: 6000}\n"
    turned = edited((carrier + distance, distance + carrier))
    assert turned != sound
    assert load(turned).spec.data.features == load(sound).spec.data.features == ("carrier", "distance")
    assert recipe(turned) == recipe(sound)
    assert data_digest(load(turned)) == data_digest(load(sound))


def test_the_data_digest_changes_with_what_validates_rows_only(sound: str, edited: Edited) -> None:
    digest = data_digest(load(sound))
    assert data_digest(load(edited(("max: 6000", "max: 7000")))) != digest
    assert data_digest(load(edited(("size: 26w", "size: 8w"), ("max_iter: 200", "max_iter: 1")))) == digest


def test_a_schema_that_was_not_read_has_no_digest(sound: str) -> None:
    start, end = sound.index("    schema:"), sound.index("    quality:")
    model = load(sound[:start] + "    schemaRef: s3://flights/schema.yaml\n" + sound[end:])
    with pytest.raises(Invalid, match="has not been read"):
        data_digest(model)
