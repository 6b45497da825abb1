"""Verify: no byte of a run can change unseen, and stages that do not belong together are named."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import make_run
from tools.data.prepare import prepare
from tools.errors import UserError
from tools.rebuild.verify import verify
from tools.run.folder import RECORD, Run

STAGES = ("train", "merge", "quantize", "eval_base", "eval_tuned")


def stub(run: Run, name: str) -> None:
    """A stage that only writes files: one below another, one empty."""
    with run.produce(name) as work:
        (work.folder / "inner").mkdir()
        (work.folder / "inner" / "weights").write_bytes(
            f"{name} of {run.recipe.data.seed}".encode()
        )
        (work.folder / "inner" / RECORD).write_text("{}")  # a file like any other down here
        (work.folder / "empty").write_bytes(b"")


def finished(root: Path) -> Run:
    run = make_run(root)
    prepare(run)
    for name in STAGES:
        stub(run, name)
    return run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return finished(tmp_path)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Path]]]:
    """A whole run that every example puts back as it was, and its outputs that hold anything."""
    folder = finished(tmp_path_factory.mktemp("kept")).path
    outputs = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    outputs = [path for path in outputs if path.stat().st_size and path.parent != folder]
    outputs = [path for path in outputs if path.parent / RECORD != path or "inner" in path.parts]
    assert len(outputs) == 4 + 2 * len(STAGES)
    yield folder, outputs
    assert verify(folder) == []


def test_a_whole_run_has_no_fault(run: Run) -> None:
    assert verify(run.path) == []


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_changed_byte_is_found(kept: tuple[Path, list[Path]], data: st.DataObject) -> None:
    folder, outputs = kept
    path = data.draw(st.sampled_from(outputs))
    before = path.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1))
    change = data.draw(st.integers(1, 255))
    path.write_bytes(before[:at] + bytes([before[at] ^ change]) + before[at + 1 :])
    try:
        (fault,) = verify(folder)
    finally:
        path.write_bytes(before)
    name = path.relative_to(folder).as_posix()
    assert fault.startswith(f"{name}: changed since it was made") and "call make" in fault


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_damage_of_a_record_is_a_traceback(
    kept: tuple[Path, list[Path]], data: st.DataObject
) -> None:
    """Any byte of a record or the manifest: what it says is checked, white space may pass."""
    folder, _ = kept
    path = data.draw(st.sampled_from(sorted({*folder.rglob(RECORD), folder / "manifest.json"})))
    before = path.read_bytes()
    at, byte = data.draw(st.integers(0, len(before) - 1)), data.draw(st.integers(0, 255))
    path.write_bytes(before[:at] + bytes([byte]) + before[at + 1 :])
    try:
        changed = _said(path) != _said_of(before)
        try:
            faults = verify(folder)
        except UserError as error:
            faults = error.faults
    finally:
        path.write_bytes(before)
    assert bool(faults) or not changed


def _said(path: Path) -> object:
    return _said_of(path.read_bytes())


def _said_of(content: bytes) -> object:
    """What is checked: of the manifest all but the run's name, for folders may be renamed."""
    try:
        value = json.loads(content.decode())
    except ValueError:
        return None
    return (value["stages"], value.get("contents")) if "stages" in value else value


def test_a_missing_and_a_foreign_file(run: Run) -> None:
    (run.output("merge") / "inner" / "weights").unlink()
    (run.output("merge") / "notes.txt").write_text("mine")
    foreign, missing = sorted(verify(run.path), key=lambda fault: "missing" in fault)
    assert foreign == "merged/notes.txt: in no record; it is not of this run"
    assert missing == "merged/inner/weights: missing; remove merged/ and call make merge"


def test_a_longer_and_a_shorter_file(run: Run) -> None:
    for stage, text in (("train", "x"), ("merge", "a longer one than before")):
        (run.output(stage) / "inner" / "weights").write_text(text)
    assert [fault.partition(":")[0] for fault in verify(run.path)] == [
        "adapter/inner/weights",
        "merged/inner/weights",
    ]


def test_stages_that_do_not_belong_together(run: Run) -> None:
    other = Run(make_run(run.path.parent, data__seed=2).recipe, run.path.parent)
    stub(other, "train")
    faults = verify(run.path)
    assert len(faults) == 2
    assert faults[0].startswith(
        f"adapter: made from another data ({other.fingerprint('data')[:12]}) than the one beside "
        f"it ({run.fingerprint('data')[:12]})"
    )
    assert faults[1].startswith("merged: made from another adapter")


def test_a_stage_that_was_removed(run: Run) -> None:
    shutil.rmtree(run.output("quantize"))
    (fault,) = verify(run.path)
    assert fault.startswith("quantized: missing, though manifest.json lists it")


def test_a_folder_without_a_record(run: Run) -> None:
    (run.output("quantize") / RECORD).unlink()
    (fault,) = verify(run.path)
    assert fault.startswith("quantized/oneday.json: missing or no record")


def test_an_older_folder_put_back(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.output("train"), tmp_path / "older")
    with run.produce("train") as work:
        work.note(attempt=2)
    shutil.rmtree(run.output("train"))
    (tmp_path / "older").rename(run.output("train"))
    assert verify(run.path) == [
        "adapter/oneday.json: an older record than the newest of manifest.json"
    ]


def test_an_edited_record(run: Run) -> None:
    path = run.output("train") / RECORD
    record = json.loads(path.read_text())
    record["inputs"]["recipe"]["train"]["learning_rate"] = 1
    path.write_text(json.dumps(record))
    assert [fault.partition(": ")[2] for fault in verify(run.path)] == [
        "its inputs do not give its fingerprint, so it was edited",
        "a record that is not in manifest.json",
    ]


def test_an_edited_content_of_the_manifest(run: Run) -> None:
    path = run.path / "manifest.json"
    path.write_text(path.read_text().replace('"learning_rate": 0.001', '"learning_rate": 0.01'))
    faults = verify(run.path)
    assert any("not what its hash says" in fault for fault in faults)
    assert any("do not give its fingerprint" in fault for fault in faults)


def test_records_of_an_older_version(run: Run) -> None:
    def older(record: dict[str, object]) -> dict[str, object]:
        known = {
            key: value for key, value in record.items() if key not in ("provenance", "contents")
        }
        return {**known, "python": "3.11.0", "platform": "Linux"}

    manifest = json.loads((run.path / "manifest.json").read_text())
    stages = [older(record) for record in manifest["stages"]]
    (run.path / "manifest.json").write_text(json.dumps({"run": "tiny", "stages": stages}))
    for name in ("data", *STAGES):
        path = run.output(name) / RECORD
        path.write_text(json.dumps(older(json.loads(path.read_text()))))
    assert verify(run.path) == []


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_what_is_no_run(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run folder .*give RUN=runs/NAME"):
        verify(tmp_path / name)


def test_an_export_that_was_changed(run: Run) -> None:
    with run.produce("gguf_Q8_0") as work:
        (work.folder / "cpu.gguf").write_bytes(b"weights")
    assert verify(run.path) == []
    (run.output("gguf_Q8_0") / "cpu.gguf").write_bytes(b"others!")
    (fault,) = verify(run.path)
    assert fault.startswith("export-gguf/Q8_0/cpu.gguf: changed since it was made")
    assert fault.endswith("remove export-gguf/Q8_0/ and call make export TYPE=Q8_0")


def test_onnx_files_that_were_changed(run: Run) -> None:
    with run.produce("onnx") as work:
        (work.folder / "model.onnx").write_bytes(b"weights")
    assert verify(run.path) == []
    (run.output("onnx") / "model.onnx").write_bytes(b"others!")
    (fault,) = verify(run.path)
    assert fault.endswith("remove export-onnx/ and call make export FORMAT=onnx")
