"""A sound spec that tests break in one place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SOUND = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: flights}
spec:
  data:
    source: s3://flights/landing/
    format: parquet
    timestamp: ts
    key: [id]
    target: delayed
    exclude: [dep_delay]
    labels: {joinBy: requestId, maturity: 0s}
    schema:
      carrier: {type: category, values: [AA, DL, UA]}
      distance: {type: float, min: 0, max: 6000}
      delayed: {type: boolean}
    quality: {maxInvalidRowRatio: 0.01}
  triggers:
    upload: {minNewRows: 5000, settle: 30s}
    schedule: {cron: "0 3 * * 1", timeZone: Etc/UTC}
    performance: {metric: roc_auc, worseThan: 0.65}
    cooldown: 6h
  window: {strategy: fixed, size: 26w, minClassRatio: 0.05}
  training:
    estimator: sklearn.ensemble:HistGradientBoostingClassifier
    parameters: {max_iter: 200}
    seed: 0
  evaluation:
    holdout: 2w
    metrics: [roc_auc, log_loss]
    primary: roc_auc
    floor: 0.6
    margin: 0.01
    block: 1d
    slices: [carrier]
  rollout:
    strategy: canary
    steps: [{shadow: {minRequests: 500}}, {setWeight: 5}, {pause: {}}, {setWeight: 50, minDuration: 10m}]
    maxDuration: 24h
  alerts: [{urlFrom: {env: SLACK_URL}, events: [drift]}]
"""


@pytest.fixture
def sound() -> str:
    """A spec without a mistake, with a rollout by canary."""
    return SOUND


@pytest.fixture
def edited() -> Callable[..., str]:
    """The sound spec with pieces of its text replaced, each of which must stand in it once."""

    def edit(*changes: tuple[str, str]) -> str:
        text = SOUND
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the sound spec"
            text = text.replace(old, new)
        return text

    return edit
