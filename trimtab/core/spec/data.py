"""The data section: where rows come from, what a column holds, which rows are set aside."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from trimtab.core.errors import Invalid
from trimtab.core.metrics import Task
from trimtab.core.spec.fields import Address, ColumnName, Duration, Prefix, Section
from trimtab.core.spec.units import split_s3

ColumnType = Literal["float", "int", "boolean", "category", "string", "timestamp"]


class Column(Section):
    """One column: its type, and which values of it are valid."""

    type: ColumnType = Field(
        description="What the column holds. string and timestamp are checked, and are features only under "
        "training.input frame."
    )
    min: float | None = Field(default=None, description="Smallest valid value of a float or int, in the column's unit.")
    max: float | None = Field(default=None, description="Largest valid value of a float or int, in the column's unit.")
    values: tuple[str, ...] = Field(
        default=(), strict=False, description="The valid values of a category, as text; their order gives the codes."
    )
    on_new: Literal["quarantine", "missing"] = Field(
        default="quarantine",
        description="A category's value that is not listed: quarantine its row, or take the value as missing.",
    )
    nullable: bool = Field(
        default=True,
        description="Whether a value may be missing. A missing target is never invalid: the row is unlabelled.",
    )


class Labels(Section):
    """Labels that come later than their rows."""

    source: Prefix | None = Field(
        default=None,
        description="Prefix of files that bring labels of predictions; null: they come by the API. Rows to learn from "
        "are uploaded with their target either way.",
    )
    join_by: Literal["requestId", "key"] = Field(
        default="requestId", description="What joins a label to its row: the prediction's request id, or data.key."
    )
    maturity: Duration = Field(
        default=timedelta(0),
        description="Age from which a row is tested and learned from; younger labels are a biased sample.",
    )
    depend_on_prediction: bool = Field(
        default=False, description="The answer changes the outcome (clicks, refused loans): only live traffic can tell."
    )


def _by_name(columns: dict[str, Column]) -> dict[str, Column]:
    return dict(sorted(columns.items()))


# In the order of their names: an API server keeps no order of fields, and a spec means one thing everywhere.
Columns = Annotated[dict[ColumnName, Column], AfterValidator(_by_name)]


class Quality(Section):
    """How much bad data is a bad row, and how much a bad file."""

    max_invalid_row_ratio: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of a file's rows that may be invalid, 0 to 1. Up to it the rows are quarantined, "
        "above it the file.",
    )


class Data(Section):
    """Where rows come from and what they look like."""

    source: Prefix = Field(description="Prefix that is watched; each object put under it is an upload.")
    format: Literal["csv", "parquet", "jsonl"] = Field(description="Format of every upload.")
    timestamp: ColumnName = Field(description="Column with the event time of a row; naive times are UTC.")
    key: tuple[ColumnName, ...] = Field(
        default=(),
        strict=False,
        description="Columns that identify a row; the last arrival wins. Empty: rows are not deduplicated.",
    )
    target: ColumnName = Field(
        description="Column to predict. boolean and category make a classification, float and int a regression."
    )
    exclude: tuple[ColumnName, ...] = Field(
        default=(),
        strict=False,
        description="Columns that are never features: what leaks the target, identifiers. Any other undeclared column "
        "is refused.",
    )
    labels: Labels = Field(default=Labels(), description="Labels that come later than their rows.")
    columns: Columns | None = Field(
        default=None,
        alias="schema",
        min_length=1,
        max_length=2000,
        description="The columns by name. A model takes them in the order of their names, however they are written. "
        "`trimtab init FILE` writes it. timestamp, key and excluded columns need no entry.",
    )
    schema_ref: Address | None = Field(
        default=None, description="s3:// address of a YAML file that holds the schema instead."
    )
    quality: Quality = Field(default=Quality(), description="When rows, and when files, are quarantined.")

    @property
    def described(self) -> dict[str, Column]:
        """
        The schema's columns, in the order of their names.

        Raises:
            Invalid: If the schema stands behind `schemaRef` and has not been read yet.
        """
        if self.columns is None:
            raise Invalid(
                f"spec.data.schemaRef: the schema at {self.schema_ref} has not been read",
                "read the spec with trimtab.adapters.specs, which resolves schemaRef",
            )
        return self.columns

    @property
    def features(self) -> tuple[str, ...]:
        """Columns a model learns from, in the order in which it takes them: that of their names."""
        other = {self.target, self.timestamp, *self.key, *self.exclude}
        return tuple(name for name in self.described if name not in other)

    @property
    def task(self) -> Task:
        """Classification for a boolean or category target, else regression."""
        return "classification" if self.described[self.target].type in ("boolean", "category") else "regression"

    @property
    def bucket(self) -> str:
        """The bucket that is watched."""
        return split_s3(self.source)[0]

    @property
    def prefix(self) -> str:
        """The prefix that is watched: empty, or with a slash at its end."""
        return split_s3(self.source)[1]
