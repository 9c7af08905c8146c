"""Model `bikes`: its spec, and files of rows that it takes in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

SPEC = """
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: NAME}
spec:
  data:
    source: SOURCE
    format: csv
    timestamp: ts
    target: count
    schema:
      heat:  {type: float, min: -30, max: 50, nullable: false}
      count: {type: float, min: 0}
  triggers:
    upload: {minNewRows: 10, settle: 0s}
  window: {strategy: all, minRows: 5}
  training: {estimator: "sklearn.linear_model:LinearRegression"IMAGE}
  evaluation: {holdout: 1d, block: 1h, primary: mean_absolute_error}
"""
DAY = datetime(2012, 1, 1, tzinfo=UTC)


def spec(name: str = "bikes", source: str = "s3://landing/in/", image: str = "") -> str:
    """
    The spec's text.

    Args:
        image: That holds the estimator; empty for none.
    """
    text = SPEC.replace("NAME", name).replace("SOURCE", source)
    return text.replace("IMAGE", f", image: {image}" if image else "")


def day_file(day: int, rows: int = 12, of: datetime = DAY) -> bytes:
    """One file: `rows` hours of that day, every value different."""
    lines = [
        f"{(of + timedelta(days=day, minutes=60 * row)).isoformat()},{day % 20 + row / 10},{day * 100 + row}"
        for row in range(rows)
    ]
    return "\n".join(["ts,heat,count", *lines, ""]).encode()
