"""
Makes `data/2013-MM.parquet` from one table of nycflights13's flights with their hourly weather.

    python examples/flights/prepare.py flights.parquet

The target is added here: a flight is delayed when it left more than 15 minutes late, the usual mark of the US Bureau
of Transportation Statistics. A cancelled flight has no departure delay, so no label.
"""

import sys
from pathlib import Path

import polars as pl

DELAYED_MINUTES = 15  # the Bureau's mark for "on time"
AIRPORTS = "America/New_York"  # months are those of the airports; `ts` stays in UTC
FOLDER = Path(__file__).parent / "data"


def prepare(table: Path, folder: Path = FOLDER) -> list[Path]:
    """Writes one file a month, in order of the scheduled departure; returns their paths."""
    flights = (
        pl.read_parquet(table)
        .with_columns(delayed=pl.col("dep_delay") > DELAYED_MINUTES)
        .sort("ts", "carrier", "flight", "origin")
        .with_columns(month=pl.col("ts").dt.convert_time_zone(AIRPORTS).dt.strftime("%Y-%m"))
    )
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for (month,), rows in flights.partition_by("month", as_dict=True, maintain_order=True, include_key=False).items():
        path = folder / f"{month}.parquet"
        rows.write_parquet(path, compression="zstd", compression_level=19)
        paths.append(path)
    return paths


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for made in prepare(Path(sys.argv[1])):
        print(made)
