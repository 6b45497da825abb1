"""The export verb: what is made, what is kept, what a wrong or interrupted file leaves behind."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import make_run
from tools.data.prepare import prepare
from tools.errors import StageError
from tools.export import asking, merged, programs, stage
from tools.export.merged import Merged
from tools.run.folder import Run

REAL = "set ONEDAY_TEST_GGUF=1 where make gguf has built llama.cpp"
RIGHT: dict[str, Any] = {
    "bos": 11, "eos": 1, "ends": [1], "add_bos": False, "add_eos": False, "chat_template": "",
    "tokens": [], "loss": 0.0, "labels": 1, "greedy": [[1]], "engine": "llama", "parameters": 8,
}  # fmt: skip


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Run:
    """A run whose merged model is the tiny one."""
    run = make_run(tmp_path / "my runs", model__path=str(tiny_model), serve__threads=1)
    prepare(run)
    with run.produce("merge") as work:
        shutil.copytree(tiny_model, work.folder, dirs_exist_ok=True)
    return run


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """llama.cpp and the merged model replaced: what was asked of them."""
    calls: list[str] = []

    def convert(folder: Path, file: Path, kind: str, log: Path, **options: Any) -> None:
        assert options == {"add_bos": False, "name": "tiny"}
        calls.append(f"convert {kind}")
        file.write_bytes(b"whole")

    def pack(source: Path, file: Path, kind: str, threads: int, log: Path) -> None:
        assert source.read_bytes() == b"whole"
        calls.append(f"pack {kind}")
        file.write_bytes(b"packed")

    monkeypatch.setattr(programs, "families", lambda: {"LlamaForCausalLM"})
    monkeypatch.setattr(programs, "convert", convert)
    monkeypatch.setattr(programs, "pack", pack)
    monkeypatch.setattr(programs, "ask", lambda request, log: dict(RIGHT))
    own = Merged(1.0, [], [], [], [[0]], [[1]], [[1.0]], None, 1, [1], False, "")
    monkeypatch.setattr(merged, "ask", lambda *_: own)
    return calls


def test_what_is_made(run: Run, done: list[str]) -> None:
    found = stage.export(run, ["F32", "Q8_0", "Q4_K_M"])
    assert done == ["convert F32", "pack Q8_0", "pack Q4_K_M"], "F32 is made once"
    assert [one["type"] for one in found] == ["F32", "Q8_0", "Q4_K_M"]
    folder = run.path / "export-gguf"
    made = {path.relative_to(folder).as_posix() for path in folder.rglob("*.gguf")}
    assert made == {f"{kind}/tiny-{kind}.gguf" for kind in ("F32", "Q8_0", "Q4_K_M")}
    done.clear()
    assert stage.export(run, ["F32", "Q8_0", "Q4_K_M"]) == found and done == []


def test_a_packed_type_alone_keeps_nothing_of_the_whole_file(run: Run, done: list[str]) -> None:
    place = run.path / "export-gguf" / ".whole.partial"
    place.mkdir(parents=True)  # of one that was killed
    (place / "F32.gguf").write_bytes(b"half")
    stage.export(run, ["Q8_0"])
    assert done == ["convert F32", "pack Q8_0"]
    assert [path.name for path in (run.path / "export-gguf").iterdir()] == ["Q8_0"]


def test_a_wrong_file_does_not_count(
    run: Run, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "ask", lambda request, log: RIGHT | {"eos": 0})
    with pytest.raises(StageError, match="the Q8_0 file is not the merged model: eos is 0"):
        stage.export(run, ["Q8_0"])
    assert list((run.path / "export-gguf").iterdir()) == []


def test_another_merge_makes_it_anew(run: Run, done: list[str]) -> None:
    stage.export(run, ["F16"])
    other = make_run(run.path.parent, model__path=run.recipe.model.path, merge__max_logit_error=0.5)
    assert not other.done("gguf_F16")


@pytest.fixture
def real(run: Run, tiny_model: Path) -> Callable[..., list[dict[str, Any]]]:
    if "ONEDAY_TEST_GGUF" not in os.environ:
        pytest.skip(REAL)
    return lambda *kinds: stage.export(run, list(kinds))


def test_llama_cpp_answers_as_the_merged_model_does(
    run: Run, real: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    """And what is read back from its file is the merged model, weight by weight."""
    import torch
    from safetensors.torch import load_file

    from tools.base_model import folder

    whole, eight = real("F32", "Q8_0")
    assert whole["greedy"]["equal"] == whole["greedy"]["prompts"] > 0
    assert whole["perplexity_ratio"] == pytest.approx(1, abs=1e-4)
    assert eight["perplexity_ratio"] == pytest.approx(1, abs=0.05)
    assert whole["kl"] < 1e-5 and whole["top1"] > 0.99 and whole["compared_tokens"] > 10
    assert whole["kl"] < eight["kl"] < 0.05 and eight["top1"] > 0.8
    assert whole["eos"] == 1 and whole["add_bos"] is False
    file = next(run.output("gguf_F32").glob("*.gguf"))
    folder._convert(file, run.recipe.model, tmp_path / "back")
    before = load_file(run.output("merge") / "model.safetensors")
    after = load_file(tmp_path / "back" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert merged.words(tmp_path / "back") == merged.words(run.output("merge"))


def test_llama_cpp_sees_a_damaged_file(
    run: Run, real: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = programs.convert

    def spoilt(folder: Path, file: Path, kind: str, log: Path, **options: Any) -> None:
        convert(folder, file, kind, log, **options)
        file.write_bytes(file.read_bytes()[:-20_000])

    monkeypatch.setattr(programs, "convert", spoilt)
    with pytest.raises(StageError, match=r"llama\.cpp cannot load|does not run"):
        real("F32")
    assert not run.output("gguf_F32").exists()


def test_greedy_text_is_asked_of_fifty_prompts() -> None:
    assert asking.PROMPTS == 50
