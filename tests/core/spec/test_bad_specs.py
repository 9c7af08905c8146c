"""Every mistake in a spec is told with its path, what was found, and the next move."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trimtab.core.errors import Invalid
from trimtab.core.spec import load
from trimtab.core.spec.problems import InvalidSpec

Edited = Callable[..., str]

# What is replaced in the sound spec, by what; then path, found, hint as they are told.
FIELDS = {
    "another version": (
        ("trimtab.dev/v1alpha1", "trimtab.dev/v2"),
        ("apiVersion", "found 'trimtab.dev/v2'; it is trimtab.dev/v1alpha1", "did you mean trimtab.dev/v1alpha1?"),
    ),
    "a name with capitals": (
        ("{name: flights}", "{name: Flights}"),
        ("metadata.name", "found 'Flights'", "a-z, 0-9 and inner hyphens"),
    ),
    "a name that begins with a digit, as no Service's does": (
        ("{name: flights}", "{name: 1flights}"),
        ("metadata.name", "found '1flights'", "a letter of a-z, then a-z, 0-9 and inner hyphens"),
    ),
    "a name that is too long": (
        ("{name: flights}", "{name: " + "f" * 54 + "}"),
        ("metadata.name", "at most 53 characters", "shorten it"),
    ),
    "a name that is a number": (
        ("{name: flights}", "{name: 2011}"),
        ("metadata.name", "found 2011; it is text", 'put quotes around it: "2011"'),
    ),
    "a missing field": (
        ("    target: delayed\n", ""),
        ("spec.data.target", "is missing", "add `target: …` (Column to predict"),
    ),
    "a misspelt field": (
        ("minNewRows", "minNewRow"),
        ("spec.triggers.upload.minNewRow", "there is no field minNewRow", "did you mean minNewRows?"),
    ),
    "a field in Python's spelling": (
        ("minNewRows", "min_new_rows"),
        ("spec.triggers.upload.min_new_rows", "there is no field", "did you mean minNewRows?"),
    ),
    "a field of another section": (
        ("    cooldown: 6h\n", "    cooldown: 6h\n    settle: 3s\n"),
        ("spec.triggers.settle", "its fields are upload, schedule", "settle stands at spec.triggers.upload.settle"),
    ),
    "a misspelt field of a column": (
        ("{type: boolean}", "{type: boolean, nulable: true}"),
        ("spec.data.schema.delayed.nulable", "there is no field nulable", "did you mean nullable?"),
    ),
    "a misspelt field of a step": (
        ("{setWeight: 5}", "{setWeigth: 5}"),
        ("spec.rollout.steps[1].setWeigth", "there is no field setWeigth", "did you mean setWeight?"),
    ),
    "an unknown format": (
        ("format: parquet", "format: parket"),
        ("spec.data.format", "found 'parket'; it is one of csv, parquet, jsonl", "did you mean parquet?"),
    ),
    "an unknown type": (
        ("{type: float,", "{type: decimal,"),
        ("spec.data.schema.distance.type", "found 'decimal'; it is one of float, int", "take one of these"),
    ),
    "a source that is a local path": (
        ("s3://flights/landing/", "/data/landing/"),
        ("spec.data.source", "found '/data/landing/'; an address is s3://BUCKET/KEY", "s3://my-bucket/landing/"),
    ),
    "a prefix without its slash": (
        ("s3://flights/landing/", "s3://flights/landing"),
        ("spec.data.source", "s3://flights/landing-old/ would match", "write s3://flights/landing/"),
    ),
    "a duration without a unit": (
        ("cooldown: 6h", "cooldown: 6"),
        ("spec.triggers.cooldown", "found 6; a duration is a whole number and one unit", "30s, 10m, 6h, 1d or 2w"),
    ),
    "a duration in words": (
        ("cooldown: 6h", "cooldown: 6 hours"),
        ("spec.triggers.cooldown", "found '6 hours'", "30s, 10m, 6h, 1d or 2w"),
    ),
    "a duration of centuries": (
        ("size: 26w", "size: 999999999999w"),
        ("spec.window.size", "at most 5200w", "shorten it"),
    ),
    "an empty window": (
        ("size: 26w", "size: 0s"),
        ("spec.window.size", "longer than 0s", "2w"),
    ),
    "a holdout without a unit": (
        ("holdout: 2w", "holdout: 5000"),
        ("spec.evaluation.holdout", "found 5000; a number needs its unit", "write `5000 rows`"),
    ),
    "no holdout": (
        ("holdout: 2w", "holdout: 0d"),
        ("spec.evaluation.holdout", "found '0d'; a holdout is longer than nothing", "5000 rows"),
    ),
    "a cron line of six fields": (
        ('"0 3 * * 1"', '"0 0 3 * * 1"'),
        ("spec.triggers.schedule.cron", "a cron line has five fields, this one has 6", '"0 3 * * 1"'),
    ),
    "a cron line out of range": (
        ('"0 3 * * 1"', '"61 3 * * 1"'),
        ("spec.triggers.schedule.cron", "found '61 3 * * 1'; the cron line is out of range", "write minute hour"),
    ),
    "a cron line in shorthand": (
        ('"0 3 * * 1"', '"@daily"'),
        ("spec.triggers.schedule.cron", "found '@daily'", "write minute hour day month weekday"),
    ),
    "a day that never comes": (
        ('"0 3 * * 1"', '"0 3 31 2 *"'),
        ("spec.triggers.schedule.cron", "no day of the calendar ever matches", "write minute hour"),
    ),
    "a time zone that is not one": (
        ("timeZone: Etc/UTC", "timeZone: Europe/Berln"),
        (
            "spec.triggers.schedule.timeZone",
            "found 'Europe/Berln'; a time zone is a name",
            "did you mean Europe/Berlin",
        ),
    ),
    "an unknown metric": (
        ("primary: roc_auc", "primary: auc_roc"),
        ("spec.evaluation.primary", "found 'auc_roc'; a metric is one of roc_auc,", "take one of these"),
    ),
    "a misspelt metric": (
        ("metrics: [roc_auc, log_loss]", "metrics: [roc_auc, logloss]"),
        ("spec.evaluation.metrics[1]", "found 'logloss'; a metric is one of", "did you mean log_loss?"),
    ),
    "a share above one": (
        ("maxInvalidRowRatio: 0.01", "maxInvalidRowRatio: 5"),
        ("spec.data.quality.maxInvalidRowRatio", "found 5; it is at most 1", "lower it to 1 or less"),
    ),
    "a negative margin": (
        ("margin: 0.01", "margin: -0.01"),
        ("spec.evaluation.margin", "found -0.01; it is at least 0", "raise it to 0 or more"),
    ),
    "a number that is not finite": (
        ("floor: 0.6", "floor: .nan"),
        ("spec.evaluation.floor", "found nan; it is a finite number", "leave the field out"),
    ),
    "a fraction of rows": (
        ("minNewRows: 5000", "minNewRows: 0.5"),
        ("spec.triggers.upload.minNewRows", "found 0.5; it is a whole number", "without quotes or a fraction"),
    ),
    "yes for true": (
        ("    seed: 0\n", '    seed: 0\n  suspend: "yes"\n'),
        ("spec.suspend", "found 'yes'; it is true or false", "without quotes"),
    ),
    "a category's value that is a number": (
        ("values: [AA, DL, UA]", "values: [AA, 9]"),
        ("spec.data.schema.carrier.values[1]", "found 9; it is text", 'put quotes around it: "9"'),
    ),
    "text where a list is needed": (
        ("key: [id]", "key: id"),
        ("spec.data.key", "found 'id'; it is a list", "write it as [first, second]"),
    ),
    "text where a section is needed": (
        ("upload: {minNewRows: 5000, settle: 30s}", "upload: true"),
        ("spec.triggers.upload", "found true; it is a mapping", "write it as {name: value}"),
    ),
    "an endless parameter": (
        ("max_iter: 200", "max_iter: .inf"),
        ("spec.training.parameters", "max_iter holds inf; a parameter is a finite number", "write a number"),
    ),
    "an estimator without a class": (
        ("sklearn.ensemble:HistGradientBoostingClassifier", "sklearn.ensemble.HistGradientBoostingClassifier"),
        ("spec.training.estimator", "found 'sklearn.ensemble.HistGradientBoostingClassifier'", "module:Class"),
    ),
    "a weight of 100": (
        ("{setWeight: 5}", "{setWeight: 100}"),
        ("spec.rollout.steps[1].setWeight", "found 100; it is at most 99", "lower it to 99 or less"),
    ),
    "an unknown event": (
        ("events: [drift]", "events: [drifts]"),
        ("spec.alerts[0].events[0]", "found 'drifts'; it is one of drift,", "did you mean drift?"),
    ),
    "an image without a digest": (
        ("    seed: 0\n", "    seed: 0\n    image: me/mine:latest\n"),
        ("spec.training.image", "found 'me/mine:latest'", "an image by digest"),
    ),
}


@pytest.mark.parametrize("case", FIELDS)
def test_a_wrong_field_is_told_with_path_found_and_hint(case: str, edited: Edited) -> None:
    change, (path, found, hint) = FIELDS[case]
    with pytest.raises(InvalidSpec) as refused:
        load(edited(change))
    problem = next(problem for problem in refused.value.problems if problem.path == path)
    assert found in problem.message
    assert hint in problem.hint
    assert str(problem) in str(refused.value)


def test_every_mistake_is_told_at_once_in_the_order_of_lines(edited: Edited) -> None:
    text = edited(("parquet", "orc"), ("6h", "6x"), ("seed: 0", "seed: -1"))
    with pytest.raises(InvalidSpec) as refused:
        load(text, "flights.yaml")
    assert [(problem.line, problem.path) for problem in refused.value.problems] == [
        (7, "spec.data.format"),
        (22, "spec.triggers.cooldown"),
        (27, "spec.training.seed"),
    ]
    assert str(refused.value).startswith("flights.yaml has 3 problems\n  line 7: spec.data.format: ")


@pytest.mark.parametrize(
    "alert",
    [
        '{urlFrom: "https://hooks.slack.example/T0KEN"}',
        '{url: "https://hooks.slack.example/T0KEN"}',
        '{urlFrom: {env: "https://hooks.slack.example/T0KEN"}}',
        '{urlFrom: {env: "xoxb-T0KEN"}}',
        '{urlFrom: {url: "xoxb-T0KEN"}}',
        '{urlFrom: {env: A}, events: ["https://hooks.slack.example/T0KEN"]}',
    ],
)
def test_an_address_in_an_alert_is_refused_and_not_repeated(alert: str, edited: Edited) -> None:
    with pytest.raises(Invalid) as refused:
        load(edited(("{urlFrom: {env: SLACK_URL}, events: [drift]}", alert)))
    assert "spec.alerts[0]" in str(refused.value)
    assert "T0KEN" not in str(refused.value)


def test_one_wrong_event_is_one_problem(edited: Edited) -> None:
    with pytest.raises(InvalidSpec) as refused:
        load(edited(("events: [drift]", "events: [rain]")))
    assert len(refused.value.problems) == 1


@pytest.mark.parametrize(("text", "found"), [("- a\n- b\n", "a list of 2"), ("hello\n", "'hello'"), ("~\n", "null")])
def test_what_is_no_mapping_is_no_spec(text: str, found: str) -> None:
    with pytest.raises(InvalidSpec, match="begins with apiVersion, kind, metadata and spec") as refused:
        load(text)
    assert found in str(refused.value)
    assert "trimtab init" in str(refused.value)
