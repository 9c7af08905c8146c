"""
One script a claim, each measured beside its peer or floor in the same run.

`python -m benchmarks.NAME [--quick]` prints a table and ends with one line of JSON; `python -m benchmarks` runs all.
"""

from collections.abc import Iterable, Sequence


def show(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in aligned columns: text to the left, numbers to the right with their own format applied before."""
    body = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *body]) for i in range(len(header))]
    for row in [list(header), ["-" * width for width in widths], *body]:
        print(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
        )
