"""The SeldonDeployments of a cluster as traffic splits: of a model, and of a rollout without one."""

from __future__ import annotations

import logging

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.predictor import FreePredictors, ModelPredictors, ServedModel
from trimtab.adapters.kubernetes.seldon_traffic import Answers, Predictors, SeldonTraffic
from trimtab.adapters.log_answers import LogAnswers
from trimtab.adapters.prometheus import PrometheusAnswers
from trimtab.adapters.state import State
from trimtab.app.cluster.free_request import CHALLENGER, names_of
from trimtab.app.cluster.resources import PREFIX, annotations_of
from trimtab.core.errors import Invalid
from trimtab.core.ports import Answer, Buckets
from trimtab.core.spec.model import ContinuousModel

log = logging.getLogger("trimtab.seldon")
SCRAPED, LOGGED = "scraped", "logged"  # what a position begins with
IMAGE = f"{PREFIX}serving-image"  # annotation of a ContinuousModel: serves it in place of TRIMTAB_SERVING_IMAGE


class SeldonSplits:
    def __init__(self, api: Api, settings: ClusterSettings, buckets: Buckets) -> None:
        self._api = api
        self._settings = settings
        self._buckets = buckets

    def of_model(self, namespace: str, model: ContinuousModel, owner: Object) -> SeldonTraffic:
        """A model's: its SeldonDeployment has its name."""
        settings = self._settings
        predictors = ModelPredictors(
            ServedModel(
                namespace=namespace,
                model=model.name,
                owner=owner,
                image=annotations_of(owner).get(IMAGE) or settings.serving_image,
                state_bucket=settings.state_bucket,
                secret=settings.s3_secret,
                account=settings.model_service_account,
                trusted_types=settings.trusted_types,
            )
        )
        state = State.open(self._buckets, f"s3://{settings.state_bucket}/{namespace}", model.name)
        logged = LogAnswers(state)
        counted = self._counted(namespace, model.name, predictors)
        answers = ScrapedOrLogged(counted, logged, f"{namespace}/{model.name}") if counted else logged
        return SeldonTraffic(self._api, namespace, model.name, predictors, answers)

    def of_rollout(self, rollout: Object) -> SeldonTraffic:
        """
        Of a ModelRollout that no model stands behind.

        Raises:
            Invalid: If there is no Prometheus: nothing else counts what such predictors answer.
        """
        namespace = rollout["metadata"]["namespace"]
        target = rollout["spec"]["target"]
        predictors = FreePredictors(names_of(rollout), CHALLENGER, target["challenger"]["predictor"])
        answers = self._counted(namespace, target["seldonDeployment"], predictors)
        if answers is None:
            raise Invalid(
                "found no TRIMTAB_PROMETHEUS_URL: without a model, only Prometheus tells what a predictor answered",
                "set it in the controller's environment",
            )
        return SeldonTraffic(self._api, namespace, target["seldonDeployment"], predictors, answers)

    def _counted(self, namespace: str, name: str, predictors: Predictors) -> PrometheusAnswers | None:
        url = self._settings.prometheus_url
        return PrometheusAnswers(url, namespace, name, predictors.number) if url else None


class ScrapedOrLogged:
    """
    Answers by Prometheus where it scrapes a SeldonDeployment when a rollout of it begins, else by the prediction log.

    A rollout stays with what it began with: the two tell of the same requests.
    """

    def __init__(self, counted: PrometheusAnswers, logged: Answers, name: str) -> None:
        self._sources: dict[str, Answers] = {SCRAPED: counted, LOGGED: logged}
        self._knows = counted.knows
        self._name = name

    def answers(self, position: str, limit: int = 10_000) -> tuple[list[Answer], str]:
        """As `TrafficSplit.answers`."""
        source, _, before = position.partition(" ")
        if not position:
            source = SCRAPED if self._knows() else LOGGED
            if source == LOGGED:
                log.warning(
                    "%s: Prometheus has not scraped its pods: requests are counted by the prediction log, which knows "
                    "none that reached no model server; components/prometheus has the PodMonitor",
                    self._name,
                )
        elif source not in self._sources:  # of a version of trimtab that knew Prometheus alone
            source, before = SCRAPED, position
        found, after = self._sources[source].answers(before, limit)
        return found, f"{source} {after}"
