"""The rehearsal as a whole: every step on the page, what failed named, nothing left running."""

import http.client
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.tools.rehearse.local import LocalContainer, LocalEngine
from tools.errors import StageError, UserError
from tools.rehearse import asking, checks
from tools.rehearse import rehearsal as verb
from tools.rehearse.checks import NotTried
from tools.rehearse.page import Step, render
from tools.rehearse.rehearsal import Options, rehearse

STEPS = ["folder", "build", "start", "contract", "30 at once", "HELM", "SIGTERM", "restart",
         "read-only"]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "Submission-4090"
    found.mkdir()
    (found / "Dockerfile").write_text("FROM x\n")
    return found


def use(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(url: str, folder: Path, logs: Path) -> str:
        raise NotTried("HELM is not installed")

    monkeypatch.setattr(verb, "find", lambda name: engine)
    monkeypatch.setattr(asking, "helm", missing)


def rows(page: str) -> dict[str, str]:
    cells = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")][1:]
    return {row[0].strip("| "): row[1] for row in cells}


def test_every_step_is_on_the_page(
    folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LocalEngine(tiny_model)
    use(engine, monkeypatch)
    options = Options(base="other:1", build=("--pull=false",), model=tiny_model)
    page, passed = rehearse(folder, options)
    assert passed and list(rows(page)) == STEPS
    assert {name for name, verdict in rows(page).items() if verdict != "pass"} == {"HELM"}
    assert "Verdict: **pass, but not tried: HELM**" in page
    assert "1.23 GB unpacked; base swapped for other:1" in page and "weights put in" in page
    assert engine.built == [("submission_4090", ["--pull=false", "--build-arg", "BASE=other:1"])]
    assert (folder.parent / "Submission-4090-rehearsal.md").read_text() == page
    assert not (folder.parent / "Submission-4090-rehearsal" / "model").exists()


def test_what_cannot_be_built_ends_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(LocalEngine):
        def build(self, *words: Any) -> None:
            raise StageError("docker build failed; log:\nno space | left")

    use(Broken(tmp_path), monkeypatch)
    page, passed = rehearse(folder, Options())
    assert not passed and rows(page)["build"] == "FAIL"
    assert all(rows(page)[name] == "not tried" for name in STEPS[2:])
    assert "no space \\| left" in page and "Verdict: **FAIL (build)**" in page


def test_what_does_not_start_ends_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(LocalEngine(tmp_path / "nowhere"), monkeypatch)
    page, passed = rehearse(folder, Options())
    assert not passed and rows(page)["start"] == "FAIL" and "no such folder" in page
    assert rows(page)["SIGTERM"] == "not tried"


def test_a_container_that_cannot_be_made_is_on_the_page(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoToolkit(LocalEngine):
        def start(self, *words: Any, **options: Any) -> LocalContainer:
            raise StageError("docker start: could not select device driver")

    use(NoToolkit(tmp_path), monkeypatch)
    page, passed = rehearse(folder, Options())
    assert not passed and rows(page)["start"] == "FAIL" and "device driver" in page
    assert all(rows(page)[name] == "not tried" for name in STEPS[3:])
    assert (folder.parent / "Submission-4090-rehearsal.md").read_text() == page


class Dead:
    """A container whose server is gone; it is removed though its log cannot be had."""

    url = "http://127.0.0.1:9"  # nobody listens there
    removed = False

    def running(self) -> bool:
        return False

    def start(self) -> None:
        raise psutil.NoSuchProcess(1)

    def stop(self, seconds: float) -> int:
        raise psutil.NoSuchProcess(1)

    def logs(self) -> str:
        raise OSError("no log")

    def remove(self) -> None:
        self.removed = True


def test_a_server_that_dies_amid_a_step_is_on_the_page(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dying(LocalEngine):
        def start(self, *words: Any, **options: Any) -> Any:
            return dead

    dead = Dead()
    use(Dying(tmp_path), monkeypatch)
    monkeypatch.setattr(checks, "becomes_ready", lambda container, limit: "ready")
    page, passed = rehearse(folder, Options())
    failed = [name for name, verdict in rows(page).items() if verdict == "FAIL"]
    assert not passed and failed == ["contract", "30 at once", "SIGTERM", "restart"]
    assert "Connection refused" in page and "process no longer exists" in page
    assert dead.removed and (folder.parent / "Submission-4090-rehearsal.md").read_text() == page


@pytest.mark.parametrize(
    "fault", [OSError(), http.client.IncompleteRead(b"ab", 5), psutil.NoSuchProcess(1)]
)
def test_whatever_a_dead_server_raises_fails_the_step(fault: Exception, tmp_path: Path) -> None:
    def do() -> str:
        raise fault

    mine = verb.Rehearsal(tmp_path, LocalEngine(tmp_path), Options())
    assert not mine.step("contract", do)
    assert mine.steps[0].verdict == "FAIL" and mine.steps[0].text


def test_a_container_that_was_not_stopped_is_not_started_again() -> None:
    dead = Dead()
    dead.running = lambda: True  # type: ignore[method-assign]
    with pytest.raises(NotTried, match="it was not stopped"):
        verb._restart(dead, 1)


def test_a_read_only_root_needs_mounted_weights(
    folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(LocalEngine(tiny_model), monkeypatch)
    page, _ = rehearse(folder, Options())
    assert rows(page)["read-only"] == "not tried" and "give MODEL=" in page


def test_what_is_no_submission_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UserError, match="has no Dockerfile"):
        rehearse(tmp_path, Options())
    with pytest.raises(UserError, match=r"holds no config\.json"):
        rehearse(folder, Options(model=tmp_path))


def test_lines_stay_in_their_cell() -> None:
    page, passed = render(Path("x"), "docker", [Step("a", "FAIL", "one\ntwo", 1.25)])
    assert not passed and "| a | FAIL | one<br>two | 1.2 |" in page
