"""The data that entries need: found, fetched, linked, and told of when it cannot be had."""

import dataclasses
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools.errors import UserError
from tools.questions import needs
from tools.questions.data import Data
from tools.questions.needs import Need


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder whose files are served, and the address of it."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def table(monkeypatch: pytest.MonkeyPatch, **found: list[Need]) -> None:
    """Let these run specs need these files."""
    monkeypatch.setattr(
        needs, "_TABLE", {name: lambda _, needed=needed: needed for name, needed in found.items()}
    )


def test_fetches_what_is_not_there_and_keeps_it(
    tmp_path: Path, served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = served
    (folder / "a.txt").write_text("a")
    table(monkeypatch, gsm=[Need("scenarios/gsm/a", (f"{url}/a.txt",))])
    store = tmp_path / "store"
    Data(["gsm:model=x"], store=store).fetch()
    assert (store / "scenarios/gsm/a").read_text() == "a"
    (folder / "a.txt").unlink()
    again = Data(["gsm:model=x"], store=store)
    again.fetch()
    assert list(again.digests()) == ["scenarios/gsm/a"]
    assert not list(store.rglob("*.part"))


def test_unpacks_an_archive_of_one_folder_as_helm_does(
    tmp_path: Path, served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = served
    (tmp_path / "data/test").mkdir(parents=True)
    (tmp_path / "data/test/law.csv").write_text("law")
    with tarfile.open(folder / "data.tar", "w") as archive:
        archive.add(tmp_path / "data", "data")
    need = Need(
        "scenarios/mmlu/data/test/law.csv", (f"{url}/data.tar",), "tar", "scenarios/mmlu/data"
    )
    lacking = dataclasses.replace(need, path="scenarios/mmlu/data/test/art.csv")
    table(monkeypatch, mmlu=[need])
    Data(["mmlu"], store=tmp_path / "store").fetch()
    assert (tmp_path / "store" / need.path).read_text() == "law"
    table(monkeypatch, mmlu=[need, lacking])
    with pytest.raises(UserError, match=r"art\.csv: .*the archive holds no such file"):
        Data(["mmlu"], store=tmp_path / "other").fetch()


def test_tells_of_every_file_that_cannot_be_had(
    tmp_path: Path, served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = served[1]
    dead = "http://127.0.0.1:9"
    table(
        monkeypatch,
        gsm=[Need("scenarios/gsm/a", (f"{url}/a.txt",)), Need("scenarios/gsm/b", (f"{dead}/b",))],
        bbq=[Need("scenarios/gsm/b", (f"{dead}/b",)), Need("scenarios/bbq/c", (f"{dead}/c",))],
    )
    with pytest.raises(UserError) as caught:
        Data(["gsm", "gsm:max_eval_instances=3", "bbq"], store=tmp_path).fetch()
    first, second, third = caught.value.faults
    assert first.startswith(f"eval: gsm (2 run entries): scenarios/gsm/a: not there, and {url}")
    assert "the server says 404" in first and first.endswith("make eval DATA=FOLDER")
    assert second.startswith("eval: gsm, bbq (3 run entries): scenarios/gsm/b: not there")
    assert "cannot be downloaded" in second and "refused" in second and "refused" in third
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and "served" not in path.parts
    ]


def test_a_dead_host_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def urlopen(url: str, timeout: float) -> None:
        asked.append(url)
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    table(monkeypatch, gsm=[Need(f"scenarios/gsm/{n}", (f"https://x.test/{n}",)) for n in range(9)])
    with pytest.raises(UserError) as caught:
        Data(["gsm"], store=tmp_path).fetch()
    assert len(caught.value.faults) == 9 and len(asked) == 1


def test_a_hub_data_set_is_left_to_helm_where_it_can_be_had(
    tmp_path: Path, served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = served
    monkeypatch.setenv("HF_ENDPOINT", url)
    table(
        monkeypatch,
        math=[
            Need(
                "scenarios/MATH/data/test.jsonl", ("a/b",), "hub", other="scenarios/MATH/data/a___b"
            )
        ],
    )
    with pytest.raises(UserError, match="a/b: the server says 404"):
        Data(["math"], store=tmp_path / "store").fetch()
    (folder / "api/datasets/a").mkdir(parents=True)
    (folder / "api/datasets/a/b").write_text("{}")
    found = Data(["math"], store=tmp_path / "store")
    found.fetch()
    assert found.online
    (tmp_path / "store/scenarios/MATH/data/a___b").mkdir(parents=True)
    there = Data(["math"], store=tmp_path / "store")
    there.fetch()
    assert not there.online


def write(folder: Path, path: str, text: str) -> Path:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)
    return folder


def test_links_what_there_is_and_takes_only_links_away(tmp_path: Path) -> None:
    given = write(tmp_path / "given", "scenarios/gsm/gsm_data_test", "given")
    write(given, "scenarios/gsm/gsm_data_test.lock", "")
    store = write(tmp_path / "store", "scenarios/gsm/gsm_data_test", "store")
    write(store, "perturbations/dialect/words.json", "{}")
    output = write(tmp_path / "output", "runs/oneday/x", "result")
    found = Data(["gsm"], str(given), store)
    for _ in range(2):  # an interrupted evaluation goes on
        found.link(output)
        assert (output / "scenarios/gsm/gsm_data_test").read_text() == "given"
        assert (output / "perturbations/dialect/words.json").is_symlink()
        assert not (output / "scenarios/gsm/gsm_data_test.lock").exists()
    write(output, "scenarios/new/fetched", "by HELM")
    write(output, "scenarios/new/fetched.lock", "")
    found.unlink(output)
    assert sorted(path.name for path in output.iterdir()) == ["runs"]
    assert (store / "scenarios/new/fetched").read_text() == "by HELM"
    assert not (store / "scenarios/new/fetched.lock").exists()
    assert (given / "scenarios/gsm/gsm_data_test").read_text() == "given"


def test_what_is_given_must_be_such_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"eval\.data: .*gone: no such folder"):
        Data([], str(tmp_path / "gone"))
    with pytest.raises(UserError, match="holds neither scenarios/ nor perturbations/"):
        Data([], str(tmp_path))
