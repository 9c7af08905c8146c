"""How a command comes to a model's state: settings, store, and a check that there is such a model at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from trimtab.adapters import s3
from trimtab.adapters.environment import Environment
from trimtab.adapters.s3 import S3Buckets
from trimtab.adapters.state import State
from trimtab.app.settings import settings
from trimtab.core.errors import Invalid, NotFound


@dataclass(frozen=True)
class Platform:
    """The platform that the environment, or the nearest `.trimtab/env`, names."""

    environment: Environment

    @classmethod
    def find(cls) -> Platform:
        """
        Raises:
            Invalid: If neither names one.
        """
        return cls(settings())

    @cached_property
    def buckets(self) -> S3Buckets:
        return s3.connect()

    def models(self) -> list[str]:
        """Names of the models that have state here."""
        return sorted(self.buckets.bucket(self.environment.state_bucket).folders(f"{self.environment.namespace}/"))

    def state(self, model: str | None = None) -> State:
        """
        The state of a model; without a name, of the only one there is.

        Raises:
            NotFound: If there is none by this name, or none at all.
            Invalid: If there are several and none was named.
        """
        models = self.models()
        there_are = f"there are {', '.join(models)}" if models else "there is none yet: trimtab up -f model.yaml"
        if not models or (model is not None and model not in models):
            raise NotFound(f"found no model {model or ''} in {self.environment.state}".replace("  ", " "), there_are)
        if model is None and len(models) > 1:
            raise Invalid(f"{self.environment.state} holds several models; name one", there_are)
        return State.open(self.buckets, self.environment.state, model or models[0])

    def policy_time(self, state: State) -> datetime:
        """Now on the policy clock: the wall clock's time, or in a replay the newest event taken in."""
        if self.environment.policy_clock != "stream":
            return datetime.now(UTC)
        partitions = [outcome.partition for outcome in state.ledger.outcomes().values() if outcome.partition]
        ends = [partition.last for partition in partitions if partition.last]
        return max(ends, default=datetime.now(UTC))
