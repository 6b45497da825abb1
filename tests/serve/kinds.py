"""Tokenizers of the families as the worker reads them, one of each kind, for several test files."""

import itertools
import json
import random
from pathlib import Path

from serve.text import TextCodec
from tests import kin
from tools.data.render import pair, row
from tools.data.skills import SKILLS

#: Kind of tokenizer by a family that has it.
BYTES, CASED, UNCASED, T5, ALBERT = "roberta", "distilbert", "bert", "t5", "albert"
KINDS = (BYTES, CASED, UNCASED, T5, ALBERT)
LOSSY = (CASED, UNCASED, T5, ALBERT)  # their own decoding loses line ends, blanks or capitals

#: What is hard to keep: kinds of blanks, characters that normalizers rewrite, special tokens.
PROBES = (
    "",
    " ",
    "\n",
    " The  end ",
    "a\n\n\tb\r\n",
    "Hello , world .",
    "it 's",
    "\ufb01 \u2163 x\u00b2",
    "e\u0301",
    "café 東京 😀",
    "\u200b\u00a0\x00\U0001b000",
    "[MASK] [SEP] [UNK] </s> <unk> <mask> <extra_id_0>",
    "McDonald's iPhone",
    "def f(x):\n    return x\n",
    "\u2581The \u2581\u2581",
)


def load(family: str, root: Path) -> TextCodec:
    """Its tokenizer, out of the files of a model folder."""
    made, (_, end, begin, _, mask) = kin.backend(family)
    folder = root / family
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    names = {"bos_token": begin, "eos_token": end, "mask_token": mask}
    config = {} if family == UNCASED else names  # as BERT's own folders, which name neither
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return TextCodec.load(folder)


def prompts(count: int = 290) -> list[str]:
    """Training rows of the skills in HELM's words, one to three questions each, with answers."""
    rng = random.Random(0)
    made = []
    for skill, number in zip(itertools.cycle(SKILLS), range(count), strict=False):
        block = [pair(skill, SKILLS[skill](rng)) for _ in range(1 + number % 3)]
        made.append("".join(segment["text"] for segment in row(block)["segments"]))
    return made
