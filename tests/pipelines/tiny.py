"""A pipeline of two steps without a store, for the launcher's own tests: what it does is told by its parameters."""

from kfp import dsl


@dsl.component(base_image="python", packages_to_install=[], install_kfp_package=False)
def first(model: str, spec: str, batch: dsl.Output[dsl.Dataset]) -> bool:
    import logging
    import os
    import signal
    import time
    from pathlib import Path

    print(f"model {model}")
    logging.info("from the log")
    batch.uri = "s3://bucket/batch"
    batch.metadata["digest"] = "12ab"
    word, _, path = spec.partition(" ")
    if path:
        Path(path).write_text(str(os.getpid()))
    if word == "wait":
        time.sleep(60)
    if word == "invalid":
        from trimtab.core.errors import Invalid

        raise Invalid("found 12 rows; training needs 1000", "upload more")
    if word == "raise":
        raise ValueError("Input X contains NaN.\nSee the documentation.")
    if word == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return word != "stop"


@dsl.component(base_image="python", packages_to_install=[], install_kfp_package=False)
def second(batch: dsl.Input[dsl.Dataset], objects: list, image: str):
    print(f"batch {batch.uri} {batch.metadata['digest']}, objects {objects}, image {image!r}")


@dsl.pipeline(name="tiny")
def tiny(
    model: str,
    spec: str,
    state: str,
    objects: list = [],  # noqa: B006 - KFP reads the default
    reason: str = "",
    run_key: str = "",
    image: str = "default",
):
    begun = first(model=model, spec=spec)
    with dsl.If(begun.outputs["Output"] == True, name="goes-on"):  # noqa: E712
        second(batch=begun.outputs["batch"], objects=objects, image=image)
