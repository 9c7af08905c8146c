"""S3 over a bad line: answers that are lost, streams that break, a store that is gone, wrong credentials."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from trimtab.adapters import s3
from trimtab.core.errors import Conflict, Invalid, Unavailable
from trimtab.core.ports import Bucket


@dataclass
class Line:
    """A TCP proxy before the store: `cut` says how many bytes of an answer to let through before the line breaks."""

    target: tuple[str, int]
    cut: Callable[[bytes], int | None] = lambda request: None
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def open(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        store = socket.create_connection(self.target)
        left: list[int | None] = [None]

        def requests() -> None:
            while data := _read(client):
                if data[:4] in (b"PUT ", b"GET "):
                    left[0] = self.cut(data)
                with contextlib.suppress(OSError):
                    store.sendall(data)
            _hang_up(store)

        threading.Thread(target=requests, daemon=True).start()
        while data := _read(store):
            if left[0] is not None:
                data, left[0] = data[: left[0]], left[0] - len(data)
            if data:
                client.sendall(data)
            if left[0] is not None and left[0] <= 0:
                break
        _hang_up(client)
        _hang_up(store)


def _hang_up(end: socket.socket) -> None:
    """Both directions at once; a thread that still reads from it sees the end. The last user closes it."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def _read(source: socket.socket) -> bytes:
    try:
        return source.recv(1 << 16)
    except OSError:
        return b""


@pytest.fixture
def line(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    store = urlsplit(environment["AWS_ENDPOINT_URL_S3"])
    line = Line((store.hostname or "", store.port or 0))
    line.open()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", line.address)
    yield line
    line.close()


@pytest.fixture
def bucket(line: Line, state_bucket: str) -> Bucket:
    return s3.connect().bucket(state_bucket)


def once(starts: bytes, let_through: int) -> tuple[Callable[[bytes], int | None], list[bytes]]:
    """Break the line in the answer to the first request that starts so; the list shows that it happened."""
    broken: list[bytes] = []

    def cut(request: bytes) -> int | None:
        if request.startswith(starts) and not broken:
            broken.append(request)
            return let_through
        return None

    return cut, broken


def test_a_create_whose_answer_was_lost_succeeds_by_reading_back(line: Line, bucket: Bucket) -> None:
    line.cut, broken = once(b"PUT ", 0)
    etag = bucket.create("decisions/1.json", b"mine")
    assert broken
    assert (bucket.get("decisions/1.json").body, bucket.get("decisions/1.json").etag) == (b"mine", etag)


def test_a_swap_whose_answer_was_lost_succeeds_by_reading_back(line: Line, bucket: Bucket) -> None:
    former = bucket.create("claims/1.json", b"free")
    line.cut, broken = once(b"PUT ", 0)
    etag = bucket.replace("claims/1.json", b"mine", former)
    assert broken
    assert bucket.get("claims/1.json").etag == etag


def test_a_create_that_came_second_is_refused_although_its_answer_was_lost(line: Line, bucket: Bucket) -> None:
    bucket.create("decisions/1.json", b"theirs")
    line.cut, broken = once(b"PUT ", 0)
    with pytest.raises(Conflict):
        bucket.create("decisions/1.json", b"mine")
    assert broken
    assert bucket.get("decisions/1.json").body == b"theirs"


def test_a_stream_that_breaks_off_goes_on_where_it_was(line: Line, bucket: Bucket) -> None:
    body = bytes(range(256)) * 16_384
    bucket.put("partitions/p.parquet", body)
    line.cut, broken = once(b"GET ", 2_500_000)
    assert b"".join(bucket.stream("partitions/p.parquet")) == body
    assert broken


def test_a_read_that_breaks_off_is_repeated(line: Line, bucket: Bucket) -> None:
    body = bytes(range(256)) * 8_192
    bucket.put("artifacts/a.skops", body)
    line.cut, broken = once(b"GET ", 1_000_000)
    assert bucket.get("artifacts/a.skops").body == body
    assert broken


def test_a_store_that_is_gone_is_unavailable_and_named(line: Line, state_bucket: str) -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
        patch.setattr(s3, "ATTEMPTS", 2)
        gone = s3.connect().bucket(state_bucket)
    with pytest.raises(
        Unavailable, match=rf"s3://{state_bucket}/key at http://127.0.0.1:{port} does not answer"
    ) as got:
        gone.get("key")
    assert "trimtab up" in got.value.hint
    assert got.value.__cause__ is not None


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "AWS_SECRET_ACCESS_KEY"),
        ("AWS_ACCESS_KEY_ID", "AKUNKNOWN", "AWS_ACCESS_KEY_ID"),
    ],
)
def test_wrong_credentials_are_told_with_the_variable_to_set(
    environment: dict[str, str], state_bucket: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str, hint: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Invalid, match=f"s3://{state_bucket}/key at .* refused us: 403") as refused:
        s3.connect().bucket(state_bucket).get("key")
    assert hint in refused.value.hint
    assert environment["AWS_SECRET_ACCESS_KEY"] not in str(refused.value)


def test_missing_credentials_are_told_with_the_next_move(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(Invalid, match="no S3 credentials") as refused:
        s3.connect().bucket("state").get("key")
    assert "AWS_ACCESS_KEY_ID" in refused.value.hint


def test_an_endpoint_that_is_no_address_is_refused_at_once(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "localhost")
    with pytest.raises(Invalid, match="localhost") as refused:
        s3.connect()
    assert "AWS_ENDPOINT_URL_S3" in refused.value.hint
