"""Fetching: whole, checked, resumed; never twice; refused with every reason at once."""

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve import fetch as module
from serve.fetch import KNOWN, PARTS, FetchError, File, Progress, Reference, fetch, read_reference

CONTENT = {
    "config.json": b'{"model_type": "llama"}',
    "model-00001.safetensors": bytes(range(256)) * 4000,
    "sub folder/tokenizer.json": b"{}" * 100,
}
Answer = Callable[[BaseHTTPRequestHandler, bytes], bool]


class Origin:
    """A server of files that notes what it is asked, and can be told to fail.

    ``faults`` are tried in order, one a request; one that returns true has dealt with it.
    """

    def __init__(self) -> None:
        self.files = dict(CONTENT)
        self.asked: list[tuple[str, str]] = []
        self.faults: list[Answer] = []
        self.parts = True
        origin = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                origin.answer(self)

            def log_message(self, *words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/weights"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range", "")
        self.asked.append((request.path, asked))
        content = self.files.get(request.path.removeprefix("/weights/").replace("%20", " "))
        if self.faults and self.faults.pop(0)(request, content or b""):
            return
        if content is None:
            request.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.parts else 0
        if start and start >= len(content):
            request.send_error(416)
            return
        request.send_response(206 if asked and self.parts else 200)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        request.wfile.write(content[start:])

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    monkeypatch.setattr(module, "PAUSE_S", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    found = Origin()
    yield found
    found.close()


def reference(address: str, content: dict[str, bytes] = CONTENT) -> Reference:
    files = (File(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in content.items())
    return Reference(tuple(files), address)


def whole(folder: Path) -> bool:
    return all((folder / name).read_bytes() == content for name, content in CONTENT.items())


def status(code: int) -> Answer:
    def answer(request: BaseHTTPRequestHandler, content: bytes) -> bool:
        request.send_error(code)
        return True

    return answer


def cut(after: int) -> Answer:
    """Sends only so many bytes of a whole answer, or of a part."""

    def answer(request: BaseHTTPRequestHandler, content: bytes) -> bool:
        asked = request.headers.get("Range", "bytes=0-")
        rest = content[int(asked.removeprefix("bytes=").rstrip("-")) :]
        request.send_response(206)
        request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        request.wfile.write(rest[:after])
        return True

    return answer


def test_files_are_fetched_and_nothing_is_asked_again(origin: Origin, tmp_path: Path) -> None:
    progress = Progress()
    folder = tmp_path / "model"
    assert fetch(reference(origin.url), folder, progress) == sum(map(len, CONTENT.values()))
    assert whole(folder) and not (folder / PARTS).exists()
    assert progress.done == progress.total
    asked = len(origin.asked)
    origin.close()  # offline from here on
    assert fetch(reference(origin.url), folder, Progress()) == 0
    assert len(origin.asked) == asked == len(CONTENT)


def test_only_what_is_missing_is_fetched(origin: Origin, tmp_path: Path) -> None:
    fetch(reference(origin.url), tmp_path, Progress())
    (tmp_path / "config.json").write_bytes(b"x" * len(CONTENT["config.json"]))
    origin.asked.clear()
    fetch(reference(origin.url), tmp_path, Progress())
    assert whole(tmp_path) and [path for path, _ in origin.asked] == ["/weights/config.json"]


def test_what_was_hashed_is_not_hashed_again(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(reference(origin.url), tmp_path, Progress())
    assert set(json.loads((tmp_path / KNOWN).read_text())) == set(CONTENT)
    monkeypatch.setattr(module, "_sha256", lambda path: pytest.fail(f"hashed {path}"))
    assert module.wrong_files(reference(origin.url), tmp_path) == []


def test_a_folder_that_cannot_be_written_is_only_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, known: Any) -> None:
        raise PermissionError(13, "read-only")

    for name, content in CONTENT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(module, "_write_known", refuse)
    assert fetch(reference("http://127.0.0.1:9/nowhere"), tmp_path, Progress()) == 0


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(1, 400_000), max_size=6))
def test_a_broken_download_goes_on_at_its_byte(
    cuts: list[int], origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, name = tmp_path_factory.mktemp("model"), "model-00001.safetensors"
    origin.asked.clear()
    origin.faults = [cut(after) for after in cuts]
    only = {name: CONTENT[name]}
    progress = Progress()
    fetch(reference(origin.url, only), folder, progress)
    assert (folder / name).read_bytes() == CONTENT[name]
    starts = [int(asked[6:-1]) for _, asked in origin.asked]
    assert starts == sorted(starts), "no byte is fetched twice"
    assert progress.done == progress.total == len(CONTENT[name])
    origin.faults = []


def test_a_download_goes_on_after_a_restart(origin: Origin, tmp_path: Path) -> None:
    name = "model-00001.safetensors"
    part = tmp_path / PARTS / name
    part.parent.mkdir()
    part.write_bytes(CONTENT[name][:1000])
    fetch(reference(origin.url), tmp_path, Progress())
    assert whole(tmp_path) and (f"/weights/{name}", "bytes=1000-") in origin.asked


def test_what_an_earlier_start_left_damaged_is_fetched_anew(origin: Origin, tmp_path: Path) -> None:
    name = "model-00001.safetensors"
    part = tmp_path / PARTS / name
    part.parent.mkdir()
    part.write_bytes(b"damaged!" * 10)
    fetch(reference(origin.url), tmp_path, Progress())
    assert whole(tmp_path)


def test_a_server_without_parts_sends_all_again(origin: Origin, tmp_path: Path) -> None:
    origin.parts = False
    part = tmp_path / PARTS / "model-00001.safetensors"
    part.parent.mkdir()
    part.write_bytes(b"1234")
    fetch(reference(origin.url), tmp_path, Progress())
    assert whole(tmp_path)


def test_a_busy_server_is_asked_again(origin: Origin, tmp_path: Path) -> None:
    origin.faults = [status(503), status(429), status(500)]
    fetch(reference(origin.url), tmp_path, Progress())
    assert whole(tmp_path)


def test_a_server_that_never_answers_is_given_up(origin: Origin, tmp_path: Path) -> None:
    origin.faults = [status(503)] * 100
    with pytest.raises(FetchError, match=r"no byte came in 8 tries \(HTTP 503"):
        fetch(reference(origin.url, {"config.json": b"abc"}), tmp_path, Progress())


def test_every_file_that_is_refused_is_named_and_not_asked_again(
    origin: Origin, tmp_path: Path
) -> None:
    del origin.files["config.json"], origin.files["sub folder/tokenizer.json"]
    with pytest.raises(FetchError) as caught:
        fetch(reference(origin.url), tmp_path, Progress())
    assert ["config.json: HTTP 404" in f or "tokenizer.json: HTTP 404" in f
            for f in caught.value.faults] == [True, True]  # fmt: skip
    assert len(origin.asked) == len(CONTENT)
    assert (tmp_path / "model-00001.safetensors").is_file(), "what came is kept"


def test_weights_that_are_not_public_are_named_so(origin: Origin, tmp_path: Path) -> None:
    origin.faults = [status(401)]
    with pytest.raises(FetchError, match="HTTP 401: it is not public"):
        fetch(reference(origin.url, {"config.json": b"abc"}), tmp_path, Progress())


def test_other_bytes_are_refused(origin: Origin, tmp_path: Path) -> None:
    wanted = reference(origin.url, {"config.json": b"x" * len(CONTENT["config.json"])})
    with pytest.raises(FetchError, match="the manifest says"):
        fetch(wanted, tmp_path, Progress())
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize("parts", [True, False])
def test_more_bytes_than_there_should_be_are_refused(
    parts: bool, origin: Origin, tmp_path: Path
) -> None:
    origin.parts = parts
    with pytest.raises(FetchError, match="has more than the manifest's 3 bytes"):
        fetch(reference(origin.url, {"config.json": b"abc"}), tmp_path, Progress())


def test_fewer_bytes_than_there_should_be_are_refused(origin: Origin, tmp_path: Path) -> None:
    wanted = reference(origin.url, {"config.json": CONTENT["config.json"] + b"more"})
    with pytest.raises(FetchError, match="HTTP 416: fewer bytes are there"):
        fetch(wanted, tmp_path, Progress())
    origin.parts = False
    with pytest.raises(FetchError, match="no byte came"):
        fetch(wanted, tmp_path, Progress())


def test_a_full_disk_is_told_before_the_first_byte(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("Free", (), {"free": 10})())
    with pytest.raises(FetchError, match="free the disk"):
        fetch(reference(origin.url), tmp_path, Progress())
    assert not origin.asked


def test_a_disk_that_fills_amid_a_download_is_told_at_once(origin: Origin, tmp_path: Path) -> None:
    name = "model-00001.safetensors"
    (tmp_path / PARTS).mkdir()
    (tmp_path / PARTS / name).symlink_to("/dev/full")
    with pytest.raises(FetchError, match=rf"{name}: .*No space left on device; free the disk"):
        fetch(reference(origin.url, {name: CONTENT[name]}), tmp_path, Progress())
    assert len(origin.asked) == 1


def test_rebuilt_weights_serve_though_their_bytes_differ(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(FetchError, match="make them with the train image"):
        fetch(reference(""), tmp_path, Progress())
    (tmp_path / "config.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert fetch(reference(""), tmp_path, Progress()) == 0
    assert "not, byte by byte" in caplog.text


def written(path: Path, **values: Any) -> Path:
    path.write_text(json.dumps({"files": {"a": {"size": 1, "sha256": "b"}}, **values}))
    return path


def test_the_hub_s_address_names_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "weights.json", source="hub", id="me/it", revision="c0ffee")
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert read_reference(file).address == "https://huggingface.co/me/it/resolve/c0ffee"
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror/")
    assert read_reference(file).address == "http://mirror/me/it/resolve/c0ffee"


def test_an_address_and_none(tmp_path: Path) -> None:
    file = written(tmp_path / "weights.json", source="url", url="https://x.org/m/")
    assert read_reference(file) == Reference((File("a", 1, "b"),), "https://x.org/m")
    assert read_reference(written(file, source="rebuild")).address == ""


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"source": "url", "files": []}', '{"files": 1}'])
def test_a_damaged_reference_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "weights.json").write_text(text)
    with pytest.raises(FetchError, match=r"weights\.json: damaged"):
        read_reference(tmp_path / "weights.json")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", ""])
def test_no_file_is_written_outside_the_folder(name: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.json"
    entry = {"size": 1, "sha256": "b"}
    file.write_text(json.dumps({"source": "url", "url": "http://x", "files": {name: entry}}))
    with pytest.raises(FetchError, match="outside the model folder"):
        read_reference(file)
