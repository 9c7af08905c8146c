"""
The Open Inference Protocol (V2): a tensor a column, or one two-dimensional tensor with names in its parameters.

What is not known is null, which JSON has and the protocol's numbers have not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from trimtab.serving.refusal import Refused
from trimtab.serving.table import Table, by_column, require_names, require_rows

NUMBERS = {
    *("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"),
    *("FP16", "FP32", "FP64", "BF16"),
}
DATATYPES = {*NUMBERS, "BOOL", "BYTES"}
OF_TYPE = {
    "float": "FP64",
    "int": "INT64",
    "boolean": "BOOL",
    "category": "BYTES",
    "string": "BYTES",
    "timestamp": "BYTES",
}


def read(message: Any, features: Sequence[str]) -> Table:
    """
    The rows of an inference request.

    Raises:
        Refused: Naming the field that is missing or wrong.
    """
    if type(message) is not dict:
        raise Refused("", 'the body must be a JSON object such as {"inputs": [{"name": …, "data": […]}]}')
    inputs = message.get("inputs")
    if type(inputs) is not list or not inputs:
        raise Refused("inputs", "it must be a list of tensors, one a column")
    tensors = [_tensor(tensor, place) for place, tensor in enumerate(inputs)]
    if len(tensors) == 1 and len(tensors[0][1]) == 2 and tensors[0][1][1] != 1:
        return _matrix(message, inputs[0], *tensors[0], features)
    columns: dict[str, list[Any]] = {}
    rows = tensors[0][1][0]
    require_rows(rows, "inputs[0].shape")
    for place, (name, shape, values) in enumerate(tensors):
        if shape[0] != rows or shape[1:] not in ([], [1]):
            raise Refused(f"inputs[{place}].shape", f"found {shape} for {name!r}; it must be [{rows}] or [{rows}, 1]")
        if name in columns:
            raise Refused(f"inputs[{place}].name", f"found column {name!r} twice")
        columns[name] = values
    return Table(columns, rows, "v2")


def _matrix(
    message: dict[str, Any],
    tensor: dict[str, Any],
    name: str,
    shape: list[int],
    values: list[Any],
    features: Sequence[str],
) -> Table:
    rows, width = shape
    require_rows(rows, "inputs[0].shape")
    named: Any = None
    for place in (tensor, message):
        parameters = place.get("parameters")
        if named is None and type(parameters) is dict:
            named = parameters.get("names")
    if named is None and width != len(features):
        raise Refused(
            "inputs[0].parameters.names",
            f"it is missing, and tensor {name!r} has {width} columns; without names they are taken for the model's "
            f"{len(features)}: {', '.join(features)}",
        )
    names = list(features) if named is None else require_names(named, "inputs[0].parameters.names")
    lines = [values[start : start + width] for start in range(0, len(values), width)]
    return Table(by_column(names, lines, "inputs[0].data"), rows, "v2")


def _tensor(tensor: Any, place: int) -> tuple[str, list[int], list[Any]]:
    """Name, shape and flat values of one input."""
    where = f"inputs[{place}]"
    if type(tensor) is not dict:
        raise Refused(where, "it must be an object with name, shape, datatype and data")
    name, shape, datatype, data = (tensor.get(key) for key in ("name", "shape", "datatype", "data"))
    if type(name) is not str:
        raise Refused(f"{where}.name", "it must be a string")
    if (
        type(shape) is not list
        or len(shape) not in (1, 2)
        or not all(type(size) is int and size >= 0 for size in shape)
    ):
        raise Refused(f"{where}.shape", "it must be [rows] or [rows, columns]")
    if type(datatype) is not str or datatype not in DATATYPES:
        raise Refused(f"{where}.datatype", f"it must be one of {', '.join(sorted(DATATYPES))}")
    if type(data) is not list:
        raise Refused(f"{where}.data", "it must be a list of values; binary data is not supported")
    values = _flat(data, f"{where}.data")
    size = math.prod(shape)
    if size != len(values):
        raise Refused(f"{where}.data", f"found {len(values)} values; the shape {shape} says {size}")
    return name, shape, values


def _flat(data: list[Any], field: str) -> list[Any]:
    if not any(type(value) is list for value in data):
        return data
    flat: list[Any] = []
    for row in data:
        if type(row) is not list or any(type(value) is list for value in row):
            raise Refused(field, "it must be flat, or a list of rows")
        flat.extend(row)
    return flat


def write(
    name: str,
    version: int,
    request: str,
    target: tuple[str, str],
    predictions: Sequence[Any],
    scores: Sequence[Sequence[float]] | None,
    parameters: dict[str, Any],
) -> dict[str, Any]:
    """The answer: a tensor named as the target, and of a classification its probabilities, classes in parameters."""
    rows = len(predictions)
    column, kind = target
    outputs: list[dict[str, Any]] = [
        {"name": column, "shape": [rows, 1], "datatype": _predicted(kind), "data": list(predictions)}
    ]
    if scores is not None:
        flat = [value for row in scores for value in row]
        shape = [rows, len(flat) // rows]
        outputs.append({"name": "probabilities", "shape": shape, "datatype": "FP64", "data": flat})
    return {
        "model_name": name,
        "model_version": str(version),
        "id": request,
        "parameters": parameters,
        "outputs": outputs,
    }


def metadata(
    name: str, version: int, columns: Sequence[tuple[str, str]], target: tuple[str, str], classes: int
) -> dict[str, Any]:
    """What the model takes and gives, by (name, type of the schema)."""
    outputs = [{"name": target[0], "datatype": _predicted(target[1]), "shape": [-1, 1]}]
    if classes:
        outputs.append({"name": "probabilities", "datatype": "FP64", "shape": [-1, classes]})
    inputs = [{"name": column, "datatype": OF_TYPE[kind], "shape": [-1]} for column, kind in columns]
    return {
        "name": name,
        "versions": [str(version)],
        "platform": "trimtab_sklearn",
        "inputs": inputs,
        "outputs": outputs,
    }


def _predicted(kind: str) -> str:
    """A regression predicts fractions of whole numbers too."""
    return "FP64" if kind in ("int", "float") else OF_TYPE[kind]
