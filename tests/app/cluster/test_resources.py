"""What the API server holds, and the model that it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trimtab.adapters.environment import cluster_settings
from trimtab.app.cluster.resources import accepted, model_of, spec_text
from trimtab.core.errors import Invalid
from trimtab.core.sources import parse, refuse_unreadable
from trimtab.core.spec.document import read
from trimtab.core.spec.parse import load

FLIGHTS = Path(__file__).parents[3] / "examples" / "flights" / "model.yaml"


def stored(**meta: Any) -> dict[str, Any]:
    """The flights example as an API server gives it back."""
    written: dict[str, Any] = read(FLIGHTS.read_text(), "flights").value
    server = {"uid": "4f", "resourceVersion": "17", "generation": 1, "managedFields": [], "namespace": "shop"}
    return {**written, "metadata": written["metadata"] | server | meta, "status": {"phase": "Ready"}}


def test_the_server_s_own_fields_do_not_change_the_model() -> None:
    assert model_of(stored()).spec == load(FLIGHTS.read_text()).spec


def test_a_touched_object_has_the_text_it_had() -> None:
    touched = stored(annotations={"trimtab.dev/arrived": "7"}, labels={"team": "ops"}, resourceVersion="18")
    assert spec_text(model_of(touched)) == spec_text(model_of(stored()))


def test_the_text_says_the_same_model() -> None:
    assert load(spec_text(model_of(stored()))).spec == load(FLIGHTS.read_text()).spec


def test_a_contradiction_is_told_with_its_path() -> None:
    wrong = stored()
    wrong["spec"]["evaluation"]["primary"] = "no_such_metric"
    with pytest.raises(Invalid, match=r"spec\.evaluation"):
        model_of(wrong)


def test_what_is_wrong_with_an_object_is_told_from_the_first_line_on_without_lines_of_text() -> None:
    wrong = stored()
    wrong["spec"]["data"]["format"] = "orc"
    with pytest.raises(Invalid) as one:
        model_of(wrong)
    assert str(one.value).startswith("shop/flights has a problem: spec.data.format: found 'orc'")
    wrong["spec"]["training"]["seed"] = -1
    with pytest.raises(Invalid) as two:
        model_of(wrong)
    first, _, rest = str(two.value).partition("\n")
    assert first.startswith("shop/flights has 2 problems: spec.data.format: ")
    assert "\n  spec.training.seed: " in f"\n{rest}"
    assert "line " not in str(two.value)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"type": "Accepted", "status": "True", "observedGeneration": 2}, True),
        ({"type": "Accepted", "status": "True", "observedGeneration": 1}, False),
        ({"type": "Accepted", "status": "False", "observedGeneration": 2}, False),
        ({"type": "Ready", "status": "True", "observedGeneration": 2}, False),
    ],
)
def test_only_the_spec_that_stands_now_counts_as_accepted(condition: dict[str, Any], expected: bool) -> None:
    assert accepted(stored(generation=2) | {"status": {"conditions": [condition]}}) is expected


@pytest.mark.parametrize("runs", ["0", "-1", "many"])
def test_a_limit_that_is_no_number_of_runs_is_refused(runs: str) -> None:
    with pytest.raises(Invalid, match="TRIMTAB_MAX_CONCURRENT_RUNS"):
        cluster_settings({"TRIMTAB_STATE_BUCKET": "state", "TRIMTAB_MAX_CONCURRENT_RUNS": runs})


@pytest.mark.parametrize(
    "wrong", ["landing/*", "shop=landing", "shop=", "=landing/*", "shop=s3://landing/in/*", "shop=/*"]
)
def test_sources_of_another_form_are_refused(wrong: str) -> None:
    with pytest.raises(Invalid, match="TRIMTAB_SOURCES") as refused:
        cluster_settings({"TRIMTAB_STATE_BUCKET": "state", "TRIMTAB_SOURCES": f"web=web/*, {wrong}"})
    assert repr(wrong) in refused.value.message


@pytest.mark.parametrize(
    ("namespace", "address", "allowed"),
    [
        ("shop", ("landing", "in/"), True),
        ("shop", ("landing", "in/2026/"), True),
        ("shop", ("landing", ""), False),
        ("shop", ("landing", "inner/"), False),
        ("shop", ("landing-2", "in/"), False),
        ("web", ("landing", "in/"), False),
        ("web", ("web-eu", ""), True),
        ("web-2", ("web-eu", ""), False),
        ("anything", ("public", "samples/a.yaml"), True),
    ],
)
def test_each_namespace_reads_what_is_named_for_it(namespace: str, address: tuple[str, str], allowed: bool) -> None:
    given = "shop=landing/in/*\nweb=web-*/*, *=public/samples/*"
    sources = cluster_settings({"TRIMTAB_STATE_BUCKET": "state", "TRIMTAB_SOURCES": given}).sources
    if allowed:
        refuse_unreadable("source", *address, namespace, "state", sources)
    else:
        with pytest.raises(Invalid, match=f"namespace {namespace} may read"):
            refuse_unreadable("source", *address, namespace, "state", sources)


def test_the_state_is_refused_whatever_is_named() -> None:
    with pytest.raises(Invalid, match="trimtab's own state"):
        refuse_unreadable("source", "state", "in/", "shop", "state", parse("*=*/*"))
