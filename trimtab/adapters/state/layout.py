"""Where each record stands in the state bucket: `s3://BUCKET/NAMESPACE/MODEL/…`, one place for every key."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """Keys of one model's state. Numbers are written with 20 digits, so that they list in order."""

    namespace: str
    model: str

    @property
    def root(self) -> str:
        return f"{self.namespace}/{self.model}/"

    def spec(self, digest: str) -> str:
        return f"{self.root}specs/{digest}.yaml"

    def ledger(self, entry: str = "", name: str = "") -> str:
        """`seen.json`, `outcome.json` or `released.json` of an entry; without an entry, the prefix of all."""
        return f"{self.root}ledger/{entry}.{name}" if entry else f"{self.root}ledger/"

    def partition(self, partition: str) -> str:
        return f"{self.root}partitions/{partition}.parquet"

    def quarantined_rows(self, partition: str) -> str:
        return f"{self.root}quarantine/{partition}.parquet"

    def profile(self, digest: str) -> str:
        return f"{self.root}profiles/{digest}.json"

    def dataset(self, digest: str) -> str:
        return f"{self.root}datasets/{digest}.json"

    def numbered(self, kind: str, number: int | None = None) -> str:
        """
        `kind` is decisions, claims, outcomes, versions, manifests, rollouts or journal; no number gives the prefix.
        """
        return f"{self.root}{kind}/" if number is None else f"{self.root}{kind}/{number:020d}.json"

    def artifact(self, digest: str) -> str:
        return f"{self.root}artifacts/{digest}.skops"

    def card(self, digest: str) -> str:
        return f"{self.root}cards/{digest}.html"

    def step(self, run_key: str, step: str) -> str:
        """What a step of a run concluded: small JSON, create-only."""
        return f"{self.root}runs/{run_key}/{step}.json"

    def log(self, run_id: str) -> str:
        """A run's whole log, put when it has ended."""
        return f"{self.root}logs/{run_id}.txt"

    def rollout(self, number: int, name: str) -> str:
        """`asked` or `state` of a rollout; the rollout itself is numbered under `rollouts`."""
        return f"{self.root}rollout-states/{number:020d}.{name}.json"

    def predictions(self, writer: str = "", sequence: int | None = None) -> str:
        """
        A segment of the prediction log: writers number theirs from 0 without gaps. Without them the prefix.

        `{first:020d}-{last:020d}.jsonl` beside them stands for segments that were compacted (state.segments).
        """
        if not writer:
            return f"{self.root}predictions/"
        folder = f"{self.root}predictions/{writer}/"
        return folder if sequence is None else f"{folder}{sequence:020d}.jsonl"

    def labels(self, name: str = "") -> str:
        """Labels that came through the API or in files: segments of each writer, as of the prediction log."""
        return f"{self.root}labels/{name}.jsonl" if name else f"{self.root}labels/"

    def label_file(self, name: str = "") -> str:
        """How a file of labels was taken in, by the digest of its bucket, key and etag; without it the prefix."""
        return f"{self.root}label-files/{name}.json" if name else f"{self.root}label-files/"

    def current(self, name: str) -> str:
        """A compare-and-swapped summary: `monitor`, `compaction`."""
        return f"{self.root}current/{name}.json"

    @property
    def lease(self) -> str:
        """The lease of the process that works for this model."""
        return f"{self.root}lease.json"
