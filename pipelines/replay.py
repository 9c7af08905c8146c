"""
The spec's own policy on a stream of files: intake, decide, window, train and evaluate as in production, in one process.

State lies in memory, and the only clock is the stream's: the event time of the newest row that was taken in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import sklearn

from trimtab.adapters import columns as tables
from trimtab.adapters import estimators
from trimtab.adapters.arrivals import assemble, entry_of, list_source
from trimtab.adapters.intake import take_in
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.models import Champion, reference_of
from trimtab.adapters.performance import PerformanceWatch
from trimtab.adapters.rows import load_rows
from trimtab.adapters.state import State
from trimtab.adapters.state.state import wall_clock
from trimtab.components.evaluate.evaluation import Assessment, assess
from trimtab.components.select_window.window import select
from trimtab.components.train.training import Fitted, fit
from trimtab.core.comparison import BatchScore, TrainingRun, Upload, run_evidence, why_of
from trimtab.core.errors import Invalid
from trimtab.core.observation import in_order, observe
from trimtab.core.records import Decision, IntakeOutcome, ModelVersion, Outcome, digest, run_key
from trimtab.core.spec.digests import training_digest
from trimtab.core.trigger import decide
from trimtab.core.triggering import Policy, Sign, StartRun, Verdict, Wait
from trimtab.core.window import TrainingWindow
from trimtab.pipelines.fixed_policies import Taken

if TYPE_CHECKING:
    from trimtab.adapters.batches import Batch
    from trimtab.core.spec import ContinuousModel

STATE = "s3://backtest/replay"
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
NO_LOG = pl.DataFrame({"version": []}, schema={"version": pl.Int64})
SETTLED = timedelta(days=3650)  # nothing else is arriving: a replayed upload has settled long ago


@dataclass
class Replay:
    """
    One model's policy, upload by upload.

    Args:
        model: The spec.
        text: Its YAML.
        folder: Where the user's own modules lie.
        cache: A folder for local copies of partitions.
    """

    model: ContinuousModel
    text: str
    folder: str
    cache: Path
    scores: list[BatchScore] = field(default_factory=list)
    runs: list[TrainingRun] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._buckets = MemoryBuckets()
        self._landing = self._buckets.bucket(self.model.spec.data.bucket)
        self._state = State.open(self._buckets, STATE, self.model.name, self.cache)
        self._policy = Policy(self.model.name, self.model.spec.triggers, self.model.spec.suspend)
        code = estimators.code_digest(self.model.spec.training, self.folder)
        self._recipe = training_digest(self.model, code, sklearn.__version__)
        self._champion: Champion | None = None
        self._serving_since: datetime | None = None  # wall clock, as outcomes are recorded on it
        self._performance = PerformanceWatch(self._state, self.model, replayed=True)
        self._versions = 0
        self._now = BEGINNING

    def upload(self, batch: Batch) -> None:
        """Take one upload in, judge the live champion on it, then train if the policy says so."""
        champion = self._champion
        outcome = self._take_in(batch)
        if outcome.state == "ingested" and outcome.partition is not None and outcome.partition.labelled:
            self._note_rows(outcome, champion)
        verdict = self._decide()
        if isinstance(verdict, StartRun):
            self._train(verdict)
        self._note_upload(batch, outcome, verdict)

    # Intake

    def _take_in(self, batch: Batch) -> IntakeOutcome:
        data, key = self.model.spec.data, self.model.spec.data.prefix + batch.name
        self._landing.put(key, batch.body)
        info = self._landing.head(key)
        assert info is not None, "it was put a moment ago"
        entry = entry_of(info, data.bucket, self._state.namespace, self.model.name, "listing", self._now)
        self._state.ledger.see(entry)
        outcome = take_in(self._state, self._landing, entry, self.model, self._champion, self._now)
        if outcome.state == "ingested" and outcome.partition and outcome.partition.last:
            self._now = max(self._now, outcome.partition.last)
        return outcome

    def _note_rows(self, outcome: IntakeOutcome, champion: Champion | None) -> None:
        """The rows that every other policy learns from, and those that all are judged on."""
        partition, data = outcome.partition, self.model.spec.data
        assert partition is not None, "an ingested file has a partition"
        rows = tables.labelled(pl.read_parquet(self._state.data.partition(partition.id), glob=False), data)
        judged, primary = outcome.judgement, self.model.spec.evaluation.primary
        if judged is None or champion is None or judged.denominator <= 0:
            self.taken.append(Taken(rows, rows.clear()))
            return
        fresh = rows.filter(pl.col(data.timestamp) > champion.version.trained_until)
        self.taken.append(Taken(rows, fresh))
        times: Any = fresh[data.timestamp]
        score = BatchScore(
            start=times.min(),
            end=times.max(),
            rows=judged.rows,
            value=judged.metrics.get(primary, judged.numerator / judged.denominator),
            numerator=judged.numerator,
            denominator=judged.denominator,
        )
        self.scores.append(score)

    # Decision

    def _decide(self) -> Verdict:
        ledger, decisions = self._state.ledger, self._state.decisions
        observed = observe(
            entries=ledger.entries().values(),
            outcomes=ledger.outcomes(),
            decisions=decisions.all(),
            results=decisions.outcomes(),
            champion=self._champion.version if self._champion else None,
            requests=(),
            training_digest=self._recipe,
            maturity=self.model.spec.data.labels.maturity,
            wall=self._now + SETTLED,
            wall_is_policy=False,
            drift=self._policy.triggers.drift,
            champion_since=self._serving_since,
            worse=self._worse(),
        )
        return decide(self._policy, observed, self._now)

    def _worse(self) -> Sign | None:
        """What the uploads prove against the champion; nobody serves here, so there is no log."""
        if self._champion is None or self._policy.triggers.performance is None:
            return None
        known = self._state.ledger.outcomes()
        standing = [known[entry.id] for entry in in_order(self._state.ledger.entries().values()) if entry.id in known]
        outcomes = [outcome for outcome in standing if outcome.state == "ingested"]
        decisions = self._state.decisions.all()
        (found,) = self._performance.look(self._champion, NO_LOG, outcomes, decisions, self._now)
        return found.sign()

    def _note_upload(self, batch: Batch, outcome: IntakeOutcome, verdict: Verdict) -> None:
        if isinstance(verdict, StartRun):
            decision, why = "train", why_of(verdict.reason, verdict.evidence)
        else:
            decision, why = ("wait" if isinstance(verdict, Wait) else "ignore"), verdict.reason
        self.uploads.append(
            Upload(
                name=batch.name,
                at=self._now,
                state=outcome.state,
                kind=outcome.kind,
                reason=outcome.reason,
                rows=outcome.partition.rows if outcome.partition else 0,
                decision=decision,
                why=why,
            )
        )

    # A run

    def _train(self, start: StartRun) -> None:
        number = len(self.runs) + 1
        dataset = assemble(self._state, list_source(self._buckets, self.model))
        key = run_key(self._state.namespace, self.model.name, start.entries, self._recipe, start.reason, number)
        decision = Decision(
            number=number,
            reason=start.reason,
            entries=start.entries,
            dataset=dataset.digest,
            training_digest=self._recipe,
            spec=digest(self.text),
            run_key=key,
            evidence=start.evidence,
            decided_at=self._now,
            recorded_at=self._now,
        )
        self._state.decisions.propose(decision)
        data = self.model.spec.data
        run = TrainingRun(
            at=self._now,
            reason=start.reason,
            why=why_of(start.reason, start.evidence),
            outcome="failed",
            fits=0,
            evidence=start.evidence,
        )
        try:
            rows = load_rows(self._state, dataset, data)
            window = select(rows, self.model, dataset.digest, self._now)
            fitted = fit(rows, self.model, window, estimators.build(self.model.spec.training, self.folder))
            run = run.model_copy(update={"fits": 1, "seconds": fitted.seconds})
            assessment = assess(rows, self.model, window, fitted.pipeline, self._champion)
            run = self._assessed(run, decision, window, fitted, assessment)
        except Invalid as error:
            run = run.model_copy(update={"outcome_reason": error.message})
        self.runs.append(run)
        self._conclude(decision, run)

    def _assessed(
        self, run: TrainingRun, decision: Decision, window: TrainingWindow, fitted: Fitted, assessment: Assessment
    ) -> TrainingRun:
        """The run's result; an accepted model serves from here on, as under the strategy `immediate`."""
        evaluation = assessment.evaluation
        version = None
        if evaluation.accepted:
            self._versions += 1
            version = self._versions
        if evaluation.state in ("champion", "challenger"):
            self._champion = self._serve(self._versions, decision, assessment)
            self._serving_since = wall_clock()
        return run.model_copy(
            update={
                "outcome": "champion" if evaluation.state == "challenger" else evaluation.state,
                "outcome_reason": evaluation.reason,
                "version": version,
                "fits": 1 + assessment.fits,
                "seconds": fitted.seconds + assessment.seconds,
                "evidence": run.evidence
                | run_evidence(
                    window.model_dump(mode="json", by_alias=True), evaluation.model_dump(mode="json", by_alias=True)
                ),
            }
        )

    def _serve(self, number: int, decision: Decision, assessment: Assessment) -> Champion:
        data, learned = self.model.spec.data, assessment.learned
        times: Any = learned[data.timestamp]
        version = ModelVersion(
            number=number,
            run_key=decision.run_key,
            artifact="",
            evaluated_artifact="",
            dataset=decision.dataset,
            training_digest=self._recipe,
            spec=decision.spec,
            trained_from=times.min(),
            trained_until=times.max(),
            rows=learned.height,
            estimator=self.model.spec.training.estimator,
            seed=self.model.spec.training.seed,
            metrics={},
            evaluation=assessment.evaluation.model_dump(mode="json", by_alias=True),
            reference=self._state.data.put_profile(reference_of(assessment.pipeline, learned, data)),
            lineage={},
            training_seconds=0.0,
            fits=1 + assessment.fits,
            recorded_at=self._now,
        )
        return Champion(version, assessment.pipeline)

    def _conclude(self, decision: Decision, run: TrainingRun) -> None:
        self._state.decisions.conclude(
            Outcome(
                number=decision.number,
                run_key=decision.run_key,
                state=run.outcome,
                reason=run.outcome_reason,
                version=run.version,
                training_seconds=run.seconds,
                fits=run.fits,
                decided_at=self._now,
                recorded_at=self._now,
            )
        )
