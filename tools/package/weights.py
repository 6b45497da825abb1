"""The served weights as a submission names them: files by SHA-256, and where they are fetched."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from tools.files import file_digests
from tools.recipe.schema import Publish, Recipe
from tools.run.folder import Run

# What a model folder needs at serving; its README, which the hub rewrites, is not of it.
SERVED = {".safetensors", ".json", ".model", ".jinja", ".txt", ".tiktoken"}
COMMIT = re.compile(r"[0-9a-f]{40}")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_BELONGS = {"hub": ("id", "revision"), "url": ("url",), "rebuild": (), "": ()}


def faults(recipe: Recipe) -> list[str]:
    """Why nobody else could get these weights, or serve them."""
    return [*_address_faults(recipe.publish), *_serving_faults(recipe)]


def _address_faults(publish: Publish) -> Iterator[str]:
    if not publish.source:
        yield (
            "publish.source: nothing says where the weights can be fetched; upload the served "
            "folder and name it in the recipe, as `publish: {source: hub, id: you/name, revision: "
            "COMMIT}` or `publish: {source: url, url: https://...}`, or say `publish: {source: "
            "rebuild}` when the train image is to make them anew"
        )
    if publish.source == "hub":
        if not HUB_ID.fullmatch(publish.id):
            yield f"publish.id: {publish.id!r} is no hub id; give it as owner/name"
        if not COMMIT.fullmatch(publish.revision):
            yield (
                f"publish.revision: {publish.revision!r} is no commit (40 hex digits), and a "
                "branch or tag may move; the upload's page lists its commits"
            )
    if publish.source == "url":
        yield from _url_faults(publish.url)
    for key in ("id", "revision", "url"):
        if getattr(publish, key) and publish.source and key not in _BELONGS[publish.source]:
            yield f"publish.{key}: means nothing with source: {publish.source}; remove it"


def _url_faults(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        yield f"publish.url: {url!r} is no address; give one that begins with https://"
    elif "@" in parts.netloc:
        yield "publish.url: holds a password; give an address that needs none"
    elif parts.query or parts.fragment:
        yield "publish.url: a file's name is put behind it, so it must not have ? or #"


def _serving_faults(recipe: Recipe) -> Iterator[str]:
    """Settings that work here and not in the serving image."""
    if recipe.serve.engine == "vllm":
        yield "serve.engine: vllm is not in the serving image; set serve.engine=transformers"
    if recipe.serve.adapters:
        names = ", ".join(recipe.serve.adapters)
        yield f"serve.adapters: a submission carries none ({names}); merge them, or serve without"


def changed(run: Run, stage: str) -> list[str]:
    """Files of the served folder that are not what was made: others would fetch something else."""
    record = run.record(stage)
    assert record is not None
    paths = {name: run.output(stage) / name for name in record["outputs"] if _is_served(name)}
    hashes = file_digests(list(paths.values()), "submission")
    return [
        f"{path}: changed since it was made; call make verify RUN={run.path}"
        for name, path in paths.items()
        if hashes[path] != record["outputs"][name]["sha256"]
    ]


def reference(run: Run, stage: str) -> dict[str, Any]:
    """The content of ``weights.json``, which ``serve.fetch`` reads."""
    record, publish = run.record(stage), run.recipe.publish
    assert record is not None
    keys = {key: getattr(publish, key) for key in _BELONGS[publish.source]}
    files = {name: entry for name, entry in record["outputs"].items() if _is_served(name)}
    return {"source": publish.source, **keys, "files": files}


def _is_served(name: str) -> bool:
    return PurePosixPath(name).suffix in SERVED


def notes(recipe: Recipe) -> Iterator[str]:
    """What an author may have overlooked."""
    if recipe.publish.source == "rebuild":
        yield (
            "publish.source is rebuild: who only builds and runs gets no model. The challenge's "
            "organizers do no more than that, so for them upload the weights"
        )
    elif recipe.publish.source:
        yield "the weights must be public: make rehearse fetches and checks them as strangers would"
