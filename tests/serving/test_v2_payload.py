"""Tensors of Open Inference say the type that their numbers have."""

import pytest

from trimtab.serving import v2_payload


@pytest.mark.parametrize(
    ("kind", "said", "datatype"),
    [("int", [406.2], "FP64"), ("float", [0.5], "FP64"), ("boolean", [True], "BOOL"), ("category", ["a"], "BYTES")],
)
def test_predictions_have_a_type_that_holds_them(kind: str, said: list, datatype: str) -> None:
    answer = v2_payload.write("rents", 7, "id", ("cnt", kind), said, None, {})
    assert answer["outputs"] == [{"name": "cnt", "shape": [1, 1], "datatype": datatype, "data": said}]
    described = v2_payload.metadata("rents", 7, [("hour", "int")], ("cnt", kind), 0)
    assert described["outputs"][0]["datatype"] == datatype
    assert described["inputs"][0]["datatype"] == "INT64"
