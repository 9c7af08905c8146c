"""The KFP signature of select_window: read, call, write."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Output

from trimtab.adapters.environment import pipeline_image


@dsl.component(base_image=pipeline_image(), packages_to_install=[], install_kfp_package=False)
def select_window(
    model: str,
    spec: str,
    state: str,
    run_key: str,
    batch: Input[Dataset],
    window: Output[Dataset],
):
    """Choose which rows the candidate learns from and which judge it."""
    from trimtab.adapters.rows import load_rows
    from trimtab.adapters.steps import step
    from trimtab.components.select_window.window import select

    with step("window", model, spec, state, run_key) as run:
        if run.done is None:
            data = run.model.spec.data
            dataset = run.state.data.dataset(run.decision.dataset)
            rows = load_rows(run.state, dataset, data, columns=(data.timestamp, data.target))
            chosen = select(rows, run.model, dataset.digest, run.decision.decided_at)
            run.conclude(chosen.model_dump(mode="json", by_alias=True))
        result = run.result
        run.say(f"{result['rows']} rows to learn from, {result['holdoutRows']} to be judged on: {result['why']}")
        run.hand_on(window, run.key(), result)
