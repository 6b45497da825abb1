"""A model drawn at random: the same one everywhere, and a T5 to whoever loads it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from serve.text import TextCodec
from tools.base_model import drawn, folder
from tools.errors import UserError
from tools.files import file_digest
from tools.recipe.architecture import Architecture, Encoder
from tools.recipe.load import load
from tools.recipe.schema import Model

ARCH = Architecture(
    hidden=32, layers=1, mlp=48, vocab=128, heads=2, kv_heads=2, tied=True, gated=True, head_dim=16,
    encoder=Encoder(type="t5", decoder_layers=2, relative=32),
)  # fmt: skip
MODEL = Model(
    id="oneday/own", source="random", family="T5", licence="CC0-1.0", instruct=False,
    kind="seq2seq", context=64, eos="</s>", pad="<pad>", words="The key is in box A", arch=ARCH,
)  # fmt: skip


def but(**values: Any) -> Model:
    return dataclasses.replace(MODEL, **values)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drawn") / "model"
    drawn.make(MODEL, path)
    return path


def test_it_is_the_t5_of_its_numbers(made: Path) -> None:
    from transformers import AutoModelForSeq2SeqLM, T5ForConditionalGeneration

    net = AutoModelForSeq2SeqLM.from_pretrained(made)
    assert type(net) is T5ForConditionalGeneration
    assert (len(net.encoder.block), len(net.decoder.block)) == (1, 2)
    assert net.get_input_embeddings().weight.shape == (128, 32)
    assert net.config.decoder_start_token_id == net.config.pad_token_id == 0


def test_two_are_the_same_to_the_byte(made: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    drawn.make(MODEL, tmp_path / "again")
    names = sorted(path.name for path in made.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in names:
        assert file_digest(made / name) == file_digest(tmp_path / "again" / name), name
    assert torch.equal(before, torch.get_rng_state()), "nobody else's random numbers are used up"


def test_words_are_read_whole_and_all_else_is_spelt(made: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(made / "tokenizer.json"))
    assert tokenizer.encode("The key?\nA").tokens == ["▁The", "▁key", "?", "▁A", "</s>"]
    assert tokenizer.encode("boxes").tokens == ["▁box", "e", "s", "</s>"]
    assert tokenizer.decode(tokenizer.encode("The boxes!").ids) == "The boxes!"


def test_helm_gets_its_text_back(made: Path) -> None:
    codec = TextCodec.load(made)
    text = "Question: The key is in box A.\nA. In box A\nAnswer:"
    ids = codec.encode(text)
    assert codec.decode(ids) == text


def test_the_folder_is_made_once_and_anew_for_other_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert folder.at_hand(MODEL) is None and not folder.is_here(MODEL)
    path = folder.local_folder(MODEL)
    assert json.loads((path / "origin.json").read_text()) == {"model": "oneday/own", "seed": 17}
    assert folder.local_folder(MODEL) == path == folder.tokenizer_folder(MODEL)
    assert capsys.readouterr().out.count("drawing oneday/own at random (once)") == 1
    assert folder.at_hand(MODEL) == path and folder.config_file(MODEL) == path / "config.json"
    assert folder.local_folder(but(arch=dataclasses.replace(ARCH, mlp=64))) != path
    assert folder.local_folder(but(words="other")) != path


BERT = dataclasses.replace(ARCH, encoder=Encoder(type="bert", positions=64))
FAULTS = {
    "no numbers": (but(arch=None), "model.arch: missing"),
    "no encoder": (
        but(arch=dataclasses.replace(ARCH, encoder=None)),
        "model.arch.encoder.type: none; source: random draws a T5",
    ),
    "another family": (but(arch=BERT), "model.arch.encoder.type: bert; source: random"),
    "too few rows": (
        but(arch=dataclasses.replace(ARCH, vocab=100)),
        "model.arch.vocab: 100 rows for 104 pieces, model.words and single characters; set 104",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_be_drawn(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, message = FAULTS[case]
    with pytest.raises(UserError) as caught:
        folder.local_folder(model)
    assert caught.value.faults[0].startswith(message)


def test_the_demo_knows_every_word_that_its_makers_use() -> None:
    import random
    import re

    from tools.data import render
    from tools.data.skills import maker

    recipe = load(Path("recipes/cpu-t5.yaml")).recipe
    words, used = set(recipe.model.words.split()), set[str]()
    for name, source in recipe.data.sources.items():
        numbers = random.Random(name)
        for _ in range(500):
            text = "".join(render.pair(name, maker(source.path)(numbers)).texts())
            used |= set(re.findall(r"(?:^|(?<=\s))\w+", text))
    assert used and used <= words
