"""A submission: whole, text only, the same bytes each time; what is missing is said at once."""

import dataclasses
import hashlib
import json
import re
import shutil
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.fetch import read_reference
from tests.tiny import jsonl, make_run, maker
from tools.errors import UserError
from tools.package import contents
from tools.package.names import ROOT, slug
from tools.package.pack import package
from tools.rebuild.reproduce import reproduce
from tools.recipe.load import load
from tools.recipe.schema import GgufPackage, Model, Publish
from tools.run import provenance
from tools.run.folder import Run
from tools.run.provenance import Manifest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = Publish("hub", "me/tiny", COMMIT)
BASE = Model("own/base", "hub", "Llama 2", "MIT", False, 1024, "</s>", "<unk>", revision=COMMIT)
CHAIN = ("data", "train", "merge", "quantize")
SECRET = "hf_" + "a1B2" * 8  # as a token looks


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of our own; no base model is there to be hashed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(provenance, "model_files", lambda model: {"model.safetensors": "a" * 64})


def made(stages: tuple[str, ...] = CHAIN, **values: Any) -> Run:
    """A run whose stages are small files."""
    values = {"model": BASE, "publish": HUB, **values}
    run = make_run(Path("runs"), **values)
    for name in stages:
        make(run, name)
    return run


def make(run: Run, name: str) -> None:
    """One stage."""
    with run.produce(name) as work:
        if name == "data":
            work.note(by_source={"counting": 24})
        (work.folder / "model.safetensors").write_bytes(name.encode() * 100)
        (work.folder / "config.json").write_text("{}")
        (work.folder / "README.md").write_text("a card")


def refused(run: Run, **options: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        package(run, Path("dist"), **options)
    assert not list(Path("dist").glob("*")) if Path("dist").exists() else True
    return caught.value.faults


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_a_submission_is_whole() -> None:
    packed = package(made(), Path("dist"))
    there = names(packed.folder)
    assert packed.folder == Path("dist/submission-tiny") and len(there) == packed.files
    wanted = {"Dockerfile", ".dockerignore", "README.md", "LICENSE", "DATA.md", "Makefile"}
    wanted |= {"manifest.json", "weights.json", "serve.json", "recipes/tiny.yaml", "openapi.json"}
    wanted |= set(
        re.findall(r"requirements/(?:find|install)[\w.-]+", (ROOT / "Makefile").read_text())
    )
    wanted |= {"serve/launch.py", "tools/__main__.py", "recipes/rules.yaml"}
    wanted |= {f"requirements/hashed/{lock}.txt" for lock in ("serve-cuda", "serve-cpu", "helm")}
    assert wanted <= there
    assert [name for name in there if Path(name).name.startswith("Dockerfile")] == ["Dockerfile"]


def test_only_text_and_only_what_is_listed_goes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = package(made(), Path("dist"))
    for name in names(packed.folder):
        assert not re.search(r"(^|/)(runs|tests|benchmarks|\.venv|__pycache__|__MACOSX)/", name)
        assert not name.endswith((".safetensors", ".pyc", ".DS_Store"))
        (packed.folder / name).read_text(encoding="utf-8")
    assert packed.size < 5e6


def test_strays_in_the_tree_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "repository"
    strays = "serve/.DS_Store serve/model.gguf serve/__pycache__/a.pyc tools/__MACOSX/a.py"
    for name in f"serve/a.py tools/b/c.py tools/.idea/x.json notes.txt {strays}".split():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    monkeypatch.setattr(contents, "ROOT", root)
    found = {path.relative_to(root).as_posix() for path in contents._allowed()}
    assert found == {"serve/a.py", "tools/b/c.py"}


def test_the_code_is_the_code_of_the_manifest() -> None:
    packed = package(made(), Path("dist"))
    files = {n for n in names(packed.folder) if n.startswith(("tools/", "serve/"))}
    hashes = {n: hashlib.sha256((packed.folder / n).read_bytes()).hexdigest() for n in files}
    assert provenance.digest(hashes) == provenance.code()["sha256"]


def test_equal_runs_give_equal_bytes() -> None:
    run = made()
    first = package(run, Path("dist")).archive.read_bytes()
    for path in sorted(Path("dist").rglob("*")):
        path.touch()
    assert package(run, Path("other")).archive.read_bytes() == first
    assert package(run, Path("dist")).archive.read_bytes() == first, "an older one is replaced"
    assert {p.name for p in Path("dist").iterdir()} == {"submission-tiny", "submission-tiny.zip"}


def test_the_zip_is_the_folder() -> None:
    packed = package(made(), Path("dist"))
    with zipfile.ZipFile(packed.archive) as zipped:
        assert zipped.namelist() == sorted(zipped.namelist()) and zipped.testzip() is None
        assert {n.removeprefix("submission-tiny/") for n in zipped.namelist()} == names(
            packed.folder
        )
        for entry in zipped.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert stat.S_IMODE(entry.external_attr >> 16) == 0o644
            content = (packed.folder.parent / entry.filename).read_bytes()
            assert zipped.read(entry) == content


def test_weights_are_named_not_packed() -> None:
    run = made()
    reference = read_reference(package(run, Path("dist")).folder / "weights.json")
    assert reference.address.endswith(f"/me/tiny/resolve/{COMMIT}")
    assert {file.name for file in reference.files} == {"model.safetensors", "config.json"}
    for file in reference.files:
        content = (run.output("quantize") / file.name).read_bytes()
        assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_merged_weights_are_named_where_they_are_served() -> None:
    run = made(CHAIN[:3], quantize__format="none")
    text = (package(run, Path("dist")).folder / "weights.json").read_text()
    assert hashlib.sha256(b"merge" * 100).hexdigest() in text


def test_the_packed_recipe_is_the_run_s() -> None:
    run = made()
    packed = load(package(run, Path("dist")).folder / "recipes/tiny.yaml").recipe
    assert packed == run.recipe


def test_the_manifest_is_the_run_s() -> None:
    run = made()
    packed = Manifest(package(run, Path("dist")).folder)
    assert not list(packed.faults())
    assert [record["stage"] for record in packed.stages] == list(CHAIN)


def test_the_run_is_rebuilt_from_the_packed_manifest_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the README has it: ``make reproduce RUN=. INTO=runs/tiny-again``."""
    monkeypatch.chdir(package(made(), Path("dist")).folder)
    found = reproduce(Path(), Path("runs/tiny-again"), make)
    assert (found.verdict, found.differences) == ("identical", [])
    assert {row.stage for row in found.rows} == set(CHAIN)


def test_the_worker_takes_the_settings() -> None:
    from serve.startup import load_config

    run = made(serve__context=777)
    config = load_config(package(run, Path("dist")).folder / "serve.json", {})
    assert config == run.recipe.serve


def test_data_and_licences_are_stated() -> None:
    text = (package(made(), Path("dist")).folder / "DATA.md").read_text()
    assert f"- own/base, family Llama 2, licence MIT\n- revision {COMMIT}\n" in text
    assert (
        "| counting | seeded maker in tools/data/skills.py | counting | - | CC0-1.0 | program "
        "| 24 |" in text
    )


def test_a_base_model_in_a_package_is_stated() -> None:
    gguf = GgufPackage("llm-x", "1.0", "x/y.gguf", "b" * 64)
    model = dataclasses.replace(BASE, source="gguf", package=gguf, revision="", instruct=True)
    text = (package(made(model=model), Path("dist")).folder / "DATA.md").read_text()
    assert f"llm-x 1.0, file x/y.gguf, SHA-256 {'b' * 64}" in text and "not eligible" in text


def dockerfile(**values: Any) -> str:
    return (package(made(**values), Path("dist")).folder / "Dockerfile").read_text()


def test_a_cpu_recipe_gets_an_image_without_cuda() -> None:
    text = dockerfile()
    assert "\nARG DEVICE=cpu\n" in text and "whl/cpu\n" in text
    assert 'CMD ["make", "day", "RECIPE=recipes/tiny.yaml"]' in text
    assert text.rstrip().endswith('CMD ["python", "-m", "serve.launch"]')
    assert "Dockerfile.4090" not in text


@pytest.mark.parametrize("track", ["4090", "a100"])
def test_a_card_s_recipe_gets_its_dockerfile(track: str) -> None:
    text = dockerfile(hardware__track=track, hardware__device="cuda")
    assert "\nARG DEVICE=cuda\n" in text and "whl/cpu" not in text.split("FROM")[1]


def test_everything_the_dockerfile_copies_is_there() -> None:
    packed = package(made(), Path("dist"))
    text = (packed.folder / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for source in line.replace("${DEVICE}", "cpu").split():
            assert list(packed.folder.glob(source)), source


def test_own_rows_go_along() -> None:
    Path("mine").mkdir()
    rows = [json.dumps({"prompt": f"{n}?", "completion": " yes"}) for n in range(9)]
    Path("mine/rows.jsonl").write_text("\n".join(rows) + "\n")
    run = made(
        data__sources={"counting": maker("counting"), "mine": jsonl(Path("mine/rows.jsonl"))}
    )
    folder = package(run, Path("dist")).folder
    assert (folder / "mine/rows.jsonl").read_bytes() == Path("mine/rows.jsonl").read_bytes()
    assert "\nCOPY mine/rows.jsonl mine/rows.jsonl\n" in (folder / "Dockerfile").read_text()
    assert "!mine/rows.jsonl\n" in (folder / ".dockerignore").read_text()
    assert "rows are here in full: mine/rows.jsonl" in (folder / "DATA.md").read_text()


def test_an_unfinished_run_and_all_else_is_said_at_once() -> None:
    own = dataclasses.replace(BASE, source="local", path="somewhere", revision="")
    run = made(
        ("data",), model=own, publish=Publish(), serve__engine="vllm",
        serve__adapters={"a": "b"},
    )  # fmt: skip
    found = refused(run)
    for start in ("runs/tiny: not finished: train, merge, quantize missing; first: make day",
                  "publish.source: nothing says", "model.path: nobody else has somewhere",
                  "serve.engine: vllm", "serve.adapters: "):  # fmt: skip
        assert [fault for fault in found if fault.startswith(start)], start
    assert len(found) == 5


def test_an_edited_recipe_is_said() -> None:
    made()
    run = make_run(Path("runs"), model=BASE, publish=HUB, train={"adapter": "lora", "lora_r": 9})
    assert "train, merge, quantize: made by another recipe" in refused(run)[0]


def test_changed_weights_are_said() -> None:
    run = made()
    file = run.output("quantize") / "model.safetensors"
    file.write_bytes(file.read_bytes().upper())
    (fault,) = refused(run)
    assert fault == f"{file}: changed since it was made; call make verify RUN=runs/tiny"


@pytest.mark.parametrize(
    ("publish", "starts"),
    [
        (Publish("hub"), ["publish.id", "publish.revision"]),
        (Publish("hub", "me/x", "main"), ["publish.revision: 'main' is no commit"]),
        (Publish("hub", "me/x", COMMIT, "http://x.org"), ["publish.url: means nothing"]),
        (Publish("url"), ["publish.url: '' is no address"]),
        (Publish("url", url="ftp://x/y"), ["publish.url: 'ftp://x/y' is no address"]),
        (Publish("url", url="https://u:p@x.org/y"), ["publish.url: holds a password"]),
        (Publish("url", url="https://x.org/y?a=b"), ["publish.url: a file's name"]),
        (Publish("rebuild", "me/x"), ["publish.id: means nothing"]),
    ],
)
def test_an_address_that_is_none_is_said(publish: Publish, starts: list[str]) -> None:
    found = refused(made(publish=publish))
    assert len(found) == len(starts)
    assert all(fault.startswith(start) for fault, start in zip(found, starts, strict=True))
    assert not any("u:p" in fault for fault in found)


@pytest.mark.parametrize("path", ["../rows.jsonl", "own rows.jsonl"])
def test_rows_that_cannot_go_along_are_said(path: str) -> None:
    Path(path).write_text('{"prompt": "a", "completion": "b"}\n' * 20)
    (fault,) = refused(made(data__sources={"mine": jsonl(Path(path))}))
    assert fault.startswith(f"data.sources.mine.path: {path}")


def test_rows_of_an_absolute_path_are_said(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (fault,) = refused(made(data__sources={"mine": jsonl(tmp_path / "rows.jsonl")}))
    assert "lies elsewhere" in fault


def test_a_secret_is_said_and_not_shown() -> None:
    Path("rows.jsonl").write_text('{"prompt": "a"}\n{"prompt": "' + SECRET + ' <s>"}\n')
    (fault,) = refused(made(data__sources={"mine": jsonl(Path("rows.jsonl"))}))
    assert fault == "rows.jsonl:2: holds a Hugging Face token; take it out"


def test_too_many_bytes_are_said() -> None:
    Path("rows.jsonl").write_text("x" * 3_000_000)
    (fault,) = refused(made(data__sources={"mine": jsonl(Path("rows.jsonl"))}), limit_mb=3)
    assert "and 3 MB is the limit; the largest file is rows.jsonl (3.0 MB)" in fault


def test_a_rebuilt_model_is_noted() -> None:
    packed = package(made(publish=Publish("rebuild")), Path("dist"))
    assert "who only builds and runs gets no model" in packed.render()
    assert "public" in package(made(), Path("dist")).render()


@given(st.text())
def test_a_slug_is_safe(name: str) -> None:
    made = slug(name)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", made)
    assert slug(made) == made


def test_no_secret_is_seen_in_our_own_files() -> None:
    found = {p.relative_to(ROOT).as_posix(): p.read_bytes() for p in contents._allowed()}
    assert len(found) > 100 and contents.faults(found, 50) == []


def test_a_moved_folder_packs_the_same(tmp_path: Path) -> None:
    run = made()
    first = package(run, Path("dist")).archive.read_bytes()
    shutil.move("runs", "elsewhere")
    moved = Run(run.recipe, Path("elsewhere"))
    assert package(moved, Path("dist")).archive.read_bytes() == first


def test_what_looks_like_a_reference_is_packed_as_none() -> None:
    """The recipe in a submission is read by OmegaConf, which takes ${price} for a key."""
    packed = package(made(train={"adapter": "lora", "wandb_name": "${price}"}), Path("dist"))
    text = (packed.folder / "recipes/tiny.yaml").read_text(encoding="utf-8")
    assert "  wandb_name: \\${price}\n" in text
