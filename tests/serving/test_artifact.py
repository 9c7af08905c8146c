"""Artifacts: equal models have equal digests, and nothing is read that is damaged or foreign."""

import hashlib
import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from trimtab.core.errors import Invalid
from trimtab.serving import artifact, loader
from trimtab.serving.assembly import assemble, fit

# Fits each kind of estimator and prints its digest; MALLOC_PERTURB_ fills fresh memory, so that what compiled code
# leaves uninitialised would show.
FITS = """
import hashlib
import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from trimtab.serving import artifact, loader
from trimtab.serving.assembly import assemble, fit

random = np.random.default_rng(0)
rows = {"a": random.normal(size=300), "b": random.choice(["x", "y"], 300).astype(object)}
rows["c"] = np.where(random.random(300) < 0.1, np.nan, random.normal(size=300))
y = rows["a"] + (rows["b"] == "x") > 0.3
schema = (("a", "float", ()), ("b", "category", ("x", "y", "z")), ("c", "float", ()))
by_name = ColumnTransformer([("n", SimpleImputer(), ["a", "c"]), ("w", OneHotEncoder(), ["b"])])
for estimator, output, target in (
    (HistGradientBoostingClassifier(max_iter=5, random_state=0), "matrix", y),
    (LogisticRegression(), "matrix", y),
    (RandomForestRegressor(5, random_state=0), "matrix", rows["a"] * 2),
    (make_pipeline(by_name, LogisticRegression()), "frame", y),
):
    fitted = fit(assemble(schema, estimator, output), rows, target, 1)
    body = artifact.dumps(fitted)
    digest = hashlib.sha256(body).hexdigest()
    assert (loader.load(body, digest).predict(rows) == fitted.predict(rows)).all()
    print(digest)
"""


def digests(hash_seed: str, perturb: str) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "MALLOC_PERTURB_": perturb}
    done = subprocess.run([sys.executable, "-c", FITS], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_same_fit_in_two_processes_has_the_same_digest():
    first, second = digests("1", "85"), digests("2", "170")
    assert first == second
    assert len(set(first)) == 4


@pytest.fixture(scope="module")
def stored() -> tuple[bytes, str]:
    rows = {"a": np.arange(20.0)}
    pipeline = fit(assemble((("a", "float", ()),), LinearRegression(), "matrix"), rows, np.arange(20.0) * 3, 1)
    body = artifact.dumps(pipeline)
    return body, hashlib.sha256(body).hexdigest()


def test_a_stored_model_predicts_as_before(stored):
    assert loader.load(*stored).predict({"a": [7.0]}) == pytest.approx([21.0])


def test_a_file_and_its_digest_are_written_together(tmp_path, stored):
    digest = artifact.save(loader.load(*stored), tmp_path / "model.skops")
    assert hashlib.sha256((tmp_path / "model.skops").read_bytes()).hexdigest() == digest
    assert loader.load(tmp_path / "model.skops", digest).predict({"a": [1.0]}) == pytest.approx([3.0])


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty"])
def test_a_damaged_artifact_is_refused_before_anything_is_read(stored, damage, monkeypatch):
    body, digest = stored
    middle = len(body) // 2
    damaged = {
        "flipped": body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :],
        "truncated": body[:-10],
        "empty": b"",
    }[damage]
    monkeypatch.setattr(skops.io, "get_untrusted_types", lambda **_: pytest.fail("it was read"))
    with pytest.raises(Invalid, match=r"found SHA-256 .* nothing of it was read"):
        loader.load(damaged, digest)


@pytest.mark.parametrize("body", [b"", b"no zip at all", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_skops_file_is_refused_though_its_digest_is_right(body):
    with pytest.raises(Invalid, match="no readable skops file"):
        loader.load(body, hashlib.sha256(body).hexdigest())


class Own(BaseEstimator):
    """A user's own estimator."""

    def fit(self, X, y=None):  # noqa: N803
        self.mean_ = float(np.mean(y))
        return self

    def predict(self, X):  # noqa: N803
        return np.full(len(X), self.mean_)


def test_a_users_own_type_is_refused_by_name_until_the_operator_trusts_it():
    pipeline = fit(assemble((("a", "float", ()),), Own(), "matrix"), {"a": np.zeros(3)}, np.array([1.0, 2, 3]), 1)
    body = artifact.dumps(pipeline)
    digest, name = hashlib.sha256(body).hexdigest(), f"{Own.__module__}.Own"
    with pytest.raises(Invalid, match=name) as refused:
        loader.load(body, digest)
    assert f"TRIMTAB_TRUSTED_TYPES={name}" in str(refused.value)
    assert loader.load(body, digest, [name]).predict({"a": np.zeros(1)}) == [2.0]


def test_a_function_of_the_system_hidden_in_a_pipeline_is_refused():
    body = skops.io.dumps(Pipeline([("run", FunctionTransformer(func=os.system))]))
    with pytest.raises(Invalid, match=r"posix\.system"):
        loader.load(body, hashlib.sha256(body).hexdigest())


def test_a_pickle_is_never_loaded(tmp_path):
    import pickle

    mark = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return (open, (str(mark), "w"))

    raw = pickle.dumps(Payload())
    with pytest.raises(Invalid, match="no readable skops file"):
        loader.load(raw, hashlib.sha256(raw).hexdigest())
    assert not mark.exists()


def test_a_lambda_cannot_be_stored():
    with pytest.raises(Invalid, match="lambda"):
        artifact.dumps(Pipeline([("f", FunctionTransformer(func=lambda x: x))]))


def test_the_canonical_form_has_no_times_and_no_addresses(stored):
    with zipfile.ZipFile(io.BytesIO(stored[0])) as file:
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert file.namelist() == sorted(file.namelist())
        assert all(name == "schema.json" or (name[:8].isdigit() and len(name) == 12) for name in file.namelist())


def test_canonical_is_a_fixed_point(stored):
    assert artifact.canonical(stored[0]) == stored[0]
