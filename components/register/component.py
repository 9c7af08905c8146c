"""The KFP signature of register: read, call, write."""

from kfp import dsl
from kfp.dsl import HTML, Input, Model, Output

from trimtab.adapters.environment import pipeline_image


@dsl.component(base_image=pipeline_image(), packages_to_install=[], install_kfp_package=False)
def register(
    model: str,
    spec: str,
    state: str,
    run_key: str,
    refitted: Input[Model],
    version: Output[Model],
    card: Output[HTML],
) -> bool:
    """Write the model version, move the alias it earned, conclude the run; whether a rollout comes next."""
    from trimtab.adapters.steps import step

    with step("register", model, spec, state, run_key) as run:
        if run.done is None:
            from trimtab.components.register.registration import register_run

            run.conclude(register_run(run))
        ended = run.result
        run.say(f"{ended['state']}: {ended['reason']}")
        if ended["version"] is not None:
            run.hand_on(version, run.state.layout.numbered("versions", ended["version"]), ended)
            run.hand_on_page(card, ended["card"])
        else:
            run.hand_on(version, run.key(), ended)
            run.hand_on(card, run.key(), {})
        return ended["state"] == "challenger"
