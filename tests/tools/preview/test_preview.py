"""The verb, on three tokenizers: rows as trained beside what serving reads; what it refuses."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.tools.preview.conftest import KINDS, QUESTIONS, Call, jsonl, own

CHAT = [
    {
        "messages": [
            {"role": "user", "content": f"Hi {n}"},
            {"role": "assistant", "content": f"Hello {n}."},
            {"role": "user", "content": "More?"},
            {"role": "assistant", "content": f"Yes, {n}."},
        ]
    }
    for n in range(40)
]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_as_they_are_trained(
    kind: str, folders: dict[str, Path], tmp_path: Path, call: Call
) -> None:
    recipe = own(kind, folders[kind], path=jsonl(tmp_path / "q.jsonl", QUESTIONS))
    code, out, err = call(recipe, "--rows", "3")
    assert code == 0, err
    shown = re.findall(r"^mine \d \((\S+:\d+.*?)\): \d+ tokens", out, re.MULTILINE)
    assert len(shown) == 3 and all("q.jsonl" in place for place in shown)
    assert "NOT EQUAL" not in out and out.count(": equal") >= 3
    lead = "<BOS>" if kind == "prepend" else ""
    assert f"\n{lead}Question: What is" in out
    learnt = [text.replace("|", "") for text in re.findall(r"\[\[(.*?)\]\]", out)[1:]]
    assert any(re.fullmatch(r" It is \d+\.<EOS>", text) for text in learnt)
    assert not (tmp_path / "runs").exists()


def test_every_answer_of_a_conversation_is_held_against_serving(
    folders: dict[str, Path], tmp_path: Path, call: Call
) -> None:
    recipe = own("prepend", folders["prepend"], path=jsonl(tmp_path / "c.jsonl", CHAT))
    code, out, err = call(recipe)
    assert code == 0, err
    assert "answer 2: served" in out and ": equal" in out
    found = re.search(r"before ([\d,]+) of ([\d,]+) answers", out)
    assert found and found[1] == found[2]


CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_turns_in_the_chat_template_are_held_against_what_chats_are_served(
    folders: dict[str, Path], tmp_path: Path, call: Call
) -> None:
    model = Path(shutil.copytree(folders["byte_level"], tmp_path / "chat model"))
    (model / "chat_template.jinja").write_text(CHATML)
    recipe = own("byte_level", model, path=jsonl(tmp_path / "c.jsonl", CHAT), form="chat_template")
    for _ in range(2):  # of rows made for it, and of those of the run
        code, out, err = call(recipe)
        assert code == 0, err
        found = re.search(r"before ([\d,]+) of ([\d,]+) answers", out)
        assert found and found[1] == found[2] and "NOT EQUAL" not in out
        (learnt, *_) = (text for text in re.findall(r"\[\[(.*?)\]\]", out)[1:])
        assert learnt.startswith("He") and learnt.endswith(".|<|im_end|>"), learnt
        assert call(recipe, verb="data")[0] == 0


def test_the_rows_of_a_finished_data_stage_are_shown(
    folders: dict[str, Path], tmp_path: Path, call: Call
) -> None:
    recipe = own("byte_level", folders["byte_level"], path=jsonl(tmp_path / "q.jsonl", QUESTIONS))
    before = call(recipe)[1]
    assert call(recipe, verb="data")[0] == 0
    files = sorted((tmp_path / "runs").rglob("*"))
    code, out, _ = call(recipe)
    assert code == 0 and "train.jsonl:1): " in out and "made for this" not in out
    assert "made for this and not kept" in before
    assert out.split("length of")[1] == before.split("length of")[1]  # the very same rows
    assert sorted((tmp_path / "runs").rglob("*")) == files


def test_lengths_packing_and_the_table(
    folders: dict[str, Path], tmp_path: Path, call: Call
) -> None:
    rows = [*QUESTIONS, *QUESTIONS[:3], {"question": "Long? " + "a b " * 90, "answer": "Yes."}]
    recipe = own(
        "byte_level", folders["byte_level"], path=jsonl(tmp_path / "q.jsonl", rows), answer="text"
    )
    recipe["train"] = {"sequence_len": 100}
    recipe["data"]["test_rows"] = 0
    code, out, err = call(recipe)
    assert code == 0, err
    counts = re.findall(r"to +[\d,]+  #* +([\d,]+)$", out, re.MULTILINE)
    total = re.search(r"length of ([\d,]+) rows in tokens", out)
    assert total and sum(map(int, counts)) == int(total[1])
    longer = re.search(r"(\d+) rows? (?:is|are) longer and .* not trained on", out)
    assert longer and int(longer[1]) == 1
    assert re.search(r"packing: batches of 2 padded .*, \d+\.\d% of [\d,]+ tokens", out)
    table = out[out.index("source  ") :]
    assert re.search(r'^mine +pairs "Question: .*" " \{answer\}" +44 +3 ', table, re.MULTILINE)
    assert "mine: 3 with the prompt of an earlier row (first: " in table
    packed = {**recipe, "train": {"sequence_len": 100, "sample_packing": True}}
    assert "packing: packs of 200 tokens" in call(packed)[1]


def test_only_one_source_is_shown(folders: dict[str, Path], tmp_path: Path, call: Call) -> None:
    recipe = own("byte_level", folders["byte_level"], path=jsonl(tmp_path / "q.jsonl", QUESTIONS))
    sources = recipe["data"]["sources"]
    maker = {"licence": "CC0-1.0", "origin": "program", "rows": 20}
    sources["sums"] = {"kind": "generator", "path": "counting", **maker}
    out = call(recipe, "--source", "sums")[1]
    assert "\nsums 1 (" in out and "\nmine 1 (" not in out
    assert re.search(r"^sums +maker counting +", out, re.MULTILINE)
    code, _, err = call(recipe, "--source", "sumz")
    assert code == 2 and "SOURCE=sumz: no such source; did you mean sums?" in err
    code, _, err = call(recipe, "--rows", "0")
    assert code == 2 and "N=0" in err


def test_colour_on_a_terminal_that_wants_it(
    folders: dict[str, Path], tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = own("byte_level", folders["byte_level"], path=jsonl(tmp_path / "q.jsonl", QUESTIONS))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[1;32m It" in call(recipe)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    out = call(recipe)[1]
    assert "\x1b" not in out and "[[ It" in out


def test_a_run_of_fewer_steps_than_its_settings_name(
    folders: dict[str, Path], tmp_path: Path, call: Call
) -> None:
    recipe = own("byte_level", folders["byte_level"], path=jsonl(tmp_path / "q.jsonl", QUESTIONS))
    recipe["train"] = {"warmup_ratio": None, "warmup_steps": 60}
    out = call(recipe)[1]
    for key in ("warmup_steps", "eval_steps", "save_steps"):
        assert f"warning: train.{key} is 60, and training has " in out


# What is wrong, the rows that show it, keys of the source, and what is said.
PAIR = {"prompt": "{q}", "completion": "{a}"}
REFUSED: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "the answer's blank in the prompt": (
        [{"q": "Answer: ", "a": "B"}],
        PAIR,
        "FILE:1: its prompt ends in a blank",
    ),
    "a word cut in two": (
        [{"q": f"{n} The capital of Fr", "a": "ance"} for n in range(30)],
        PAIR,
        "FILE:N:serving reads its prompt (…'apital of Fr') in other ids than are trained",
    ),
    "no prompt": (
        [{"q": "", "a": "All of it."}],
        PAIR,
        "FILE:1: nothing stands before its answer, so 100 % of it would be learnt",
    ),
    "BOS in the prompt": (
        [{"q": "<s>Hi", "a": " you"}],
        PAIR,
        "FILE:1: its prompt begins with <s>",
    ),
    "empty completions": (
        [{"q": "Hi", "a": ""}],
        PAIR,
        "FILE: none of its first 1 rows has an answer",
    ),
    "the end token in an answer": (
        [{"q": "Hi", "a": " you <|im_end|>"}],
        PAIR,
        "FILE:1: its answer holds <|im_end|>",
    ),
    "letters with their texts": (
        [{"q": f"What {n}?", "a": " A. Football"} for n in range(5)],
        PAIR,
        "data.sources.mine.completion: the answers are letters with their texts ('A. Football')",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, folders: dict[str, Path], tmp_path: Path, call: Call) -> None:
    rows, source, said = REFUSED[name]
    path = jsonl(tmp_path / "rows.jsonl", rows)
    code, out, err = call(own("byte_level", folders["byte_level"], path=path, **source))
    assert code == 2 and "Traceback" not in out + err
    first = err.split("error: ")[1]  # before it a bar may stand
    pattern = re.escape(said).replace("FILE", re.escape(path)).replace(":N:", r":\d+.*?: ?")
    assert re.match(pattern, first), err
    assert "data.sources.mine" in first and not (tmp_path / "runs").exists()


def test_whole_texts_are_learnt_whole_by_declaration(
    folders: dict[str, Path], tmp_path: Path, call: Call
) -> None:
    path = jsonl(tmp_path / "t.jsonl", [{"text": f"Document {n}."} for n in range(40)])
    code, out, err = call(own("byte_level", folders["byte_level"], path=path))
    assert code == 0, err
    assert "no prompt: the whole text is learnt" in out
    assert re.search(r"^mine +text +40 ", out, re.MULTILINE)


def test_faults_of_all_sources_are_told_at_once(
    folders: dict[str, Path], tmp_path: Path, call: Call
) -> None:
    recipe = own("byte_level", folders["byte_level"], path=jsonl(tmp_path / "a.jsonl", []))
    rows = jsonl(tmp_path / "b.jsonl", [{"q": "Answer: ", "a": "B"}])
    recipe["data"]["sources"]["other"] = {**recipe["data"]["sources"]["mine"], **PAIR, "path": rows}
    code, _, err = call(recipe)
    assert code == 2 and "a.jsonl: the file has no row" in err and "b.jsonl:1: its prompt" in err


def test_many_rows_with_one_fault_are_counted(
    folders: dict[str, Path], tmp_path: Path, call: Call
) -> None:
    rows = [{"q": f"{n} The capital of Fr", "a": "ance"} for n in range(30)]
    path = jsonl(tmp_path / "r.jsonl", rows)
    _, out, err = call(own("byte_level", folders["byte_level"], path=path, **PAIR, answer="none"))
    assert "NOT EQUAL" in out and "before 0 of " in out
    told = [line for line in err.splitlines() if "serving reads" in line]
    assert len(told) == 3 and re.search(r"mine: \d+ more rows with this fault: served other", err)


def test_a_model_without_its_tokenizer(tmp_path: Path, call: Call) -> None:
    (tmp_path / "empty").mkdir()
    path = jsonl(tmp_path / "q.jsonl", QUESTIONS)
    code, _, err = call(own("byte_level", tmp_path / "empty", path=path))
    assert code == 2 and "holds no config.json" in err
    (tmp_path / "empty" / "config.json").write_text("{}")
    assert "has no tokenizer.json" in call(own("byte_level", tmp_path / "empty", path=path))[2]


def test_another_end_token_than_the_recipe_s(
    folders: dict[str, Path], tmp_path: Path, call: Call
) -> None:
    recipe = own("prepend", folders["prepend"], path=jsonl(tmp_path / "q.jsonl", QUESTIONS))
    recipe["model"]["eos"] = "<|im_end|>"
    code, _, err = call(recipe)
    assert code == 2 and "missing EOS: rows end in the tokenizer's own '</s>'" in err
