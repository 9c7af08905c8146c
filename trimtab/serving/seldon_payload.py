"""Seldon's protocol: requests read into a table, predictions and errors written as it writes them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from trimtab.serving.refusal import WORDS, Refused
from trimtab.serving.table import ABSENT, Table, by_column, require_names, require_rows

OTHER_DATA = ("binData", "strData", "customData")


def read(message: Any, features: Sequence[str], known: Container[str]) -> Table:
    """
    The rows of a request.

    Args:
        message: The body as JSON gave it: `data.ndarray`, `data.tensor` or `jsonData`.
        features: The model's columns in the order of their names: what unnamed columns are taken for.
        known: Every column that means something here; what rows of their own names hold besides is only counted.

    Raises:
        Refused: Naming the field that is missing or wrong.
    """
    if type(message) is not dict:
        raise Refused("", 'the body must be a JSON object such as {"data": {"names": […], "ndarray": [[…]]}}')
    if "jsonData" in message:
        return _objects(message["jsonData"], known)
    data = message.get("data")
    if type(data) is not dict:
        other = [name for name in OTHER_DATA if name in message]
        found = f"found {other[0]} instead" if other else "it is missing or no object"
        raise Refused("data", f"{found}; a request needs data.ndarray, data.tensor or jsonData")
    if "ndarray" in data:
        return _ndarray(data, features)
    if "tensor" in data:
        return _tensor(data, features)
    raise Refused("data", "found neither ndarray nor tensor in it")


def _ndarray(data: dict[str, Any], features: Sequence[str]) -> Table:
    rows = data["ndarray"]
    if type(rows) is not list:
        raise Refused("data.ndarray", "it must be a list of rows")
    if rows and type(rows[0]) is not list and not any(type(value) is list for value in rows):
        rows = [rows]  # one row, as Seldon's own clients may write it
    require_rows(len(rows), "data.ndarray")
    names = _names(data, features, len(rows[0]) if type(rows[0]) is list else 0)
    return Table(by_column(names, rows, "data.ndarray"), len(rows), "ndarray")


def _tensor(data: dict[str, Any], features: Sequence[str]) -> Table:
    tensor = data["tensor"]
    if type(tensor) is not dict or type(tensor.get("values")) is not list:
        raise Refused("data.tensor.values", "it must be a list of numbers")
    values, shape = tensor["values"], tensor.get("shape")
    if (
        type(shape) is not list
        or not all(type(size) is int and size >= 0 for size in shape)
        or len(shape) not in (1, 2)
    ):
        raise Refused("data.tensor.shape", "it must be [rows, columns]")
    count, width = shape if len(shape) == 2 else (1, shape[0])
    if count * width != len(values):
        raise Refused("data.tensor.values", f"found {len(values)} values; the shape says {count} x {width}")
    require_rows(count, "data.tensor.shape")
    names = _names(data, features, width)
    if len(names) != width:
        raise Refused("data.names", f"found {len(names)} names for {width} columns")
    # A tensor cannot say null: by NaN numpy's users mean that nothing is known.
    return Table({name: values[place::width] for place, name in enumerate(names)}, count, "tensor")


def _names(data: dict[str, Any], features: Sequence[str], width: int) -> list[str]:
    names = data.get("names")
    if names or (type(names) is list and width == 0):
        return require_names(names, "data.names")
    if width != len(features):
        raise Refused(
            "data.names",
            f"it is missing, and the rows have {width} values; without names they are taken for the model's "
            f"{len(features)} columns: {', '.join(features)}",
        )
    return list(features)


def _objects(given: Any, known: Container[str]) -> Table:
    """A list of objects, one object, or an object of columns."""
    if type(given) is dict and given and all(type(values) is list for values in given.values()):
        sizes = {name: len(values) for name, values in given.items()}
        first = next(iter(sizes))
        for name, size in sizes.items():
            if size != sizes[first]:
                raise Refused(f"jsonData.{name}", f"found {size} values; {first} has {sizes[first]}")
        require_rows(sizes[first], "jsonData")
        return Table(dict(given), sizes[first], "jsonData")
    rows = [given] if type(given) is dict else given
    if type(rows) is not list:
        raise Refused("jsonData", "it must be a list of objects, one a row")
    require_rows(len(rows), "jsonData")
    names: dict[str, None] = {}
    for number, row in enumerate(rows):
        if type(row) is not dict:
            raise Refused("jsonData", f"row {number} is no object")
        names.update(dict.fromkeys(row))
    # Names that each row makes up would be a table of rows times names.
    columns = {name: [row.get(name, ABSENT) for row in rows] for name in names if name in known}
    return Table(columns, len(rows), "jsonData", unknown=len(names) - len(columns))


def write(
    form: str,
    meta: dict[str, Any],
    target: str,
    classes: Sequence[Any],
    predictions: Sequence[Any],
    scores: Sequence[Sequence[float]] | None,
) -> dict[str, Any]:
    """
    The answer, in the form of the request.

    The first column is the prediction, under the target's name; of a classification one a class follows, named
    `TARGET=CLASS`, its probability. A tensor holds numbers alone: predicted words make it an ndarray.
    """
    words = [_word(each) for each in classes] if scores is not None else []
    if form == "jsonData":
        if scores is None:
            return {"meta": meta, "jsonData": [{target: value} for value in predictions]}
        each = [
            {target: value, "probabilities": dict(zip(words, row, strict=True))}
            for value, row in zip(predictions, scores, strict=True)
        ]
        return {"meta": meta, "jsonData": each}
    names = [target, *(f"{target}={word}" for word in words)]
    if scores is None:
        rows = [[value] for value in predictions]
    else:
        rows = [[value, *row] for value, row in zip(predictions, scores, strict=True)]
    if form == "tensor" and not any(isinstance(value, str) for value in predictions):
        flat = [float(value) for row in rows for value in row]
        return {"meta": meta, "data": {"names": names, "tensor": {"shape": [len(rows), len(names)], "values": flat}}}
    return {"meta": meta, "data": {"names": names, "ndarray": rows}}


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def failure(code: int, info: str, meta: dict[str, Any] | None = None) -> dict[str, Any]:
    """An error as Seldon writes it; `reason` is a word for programs, `info` a sentence for people."""
    status = {"code": code, "status": "FAILURE", "reason": WORDS.get(code, "ERROR"), "info": info}
    return {"status": status, "meta": meta} if meta else {"status": status}
