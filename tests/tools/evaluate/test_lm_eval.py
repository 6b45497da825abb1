"""lm-eval as the evaluator: tasks found, told what to do, results read; the worker is a stub."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from serve.config import ServeConfig
from tests.serve.conftest import byte_level_tokenizer, prepend_tokenizer
from tests.tiny import make_run
from tools.errors import StageError, UserError
from tools.evaluate import lm_eval, lm_scores
from tools.run.folder import Run, read_json, write_json

KNOWN = ["arc_easy", "arc_challenge", "hellaswag", "mmlu_law", "mmlu_anatomy"]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short list: lm-eval's own takes seconds to read."""
    monkeypatch.setattr(lm_eval, "known_tasks", lambda: KNOWN)


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "a task.yaml"
    path.write_text("task: own\n")
    return path


def test_names_patterns_files_and_folders(task: Path) -> None:
    assert lm_eval.find_tasks("arc_easy, hellaswag") == {"arc_easy": None, "hellaswag": None}
    assert list(lm_eval.find_tasks("arc_easy hellaswag,arc_easy")) == ["arc_easy", "hellaswag"]
    own = lm_eval.Own(task, "task")
    assert lm_eval.find_tasks(f"mmlu_*,{task}") == {"mmlu_*": None, "own": own}
    assert lm_eval.find_tasks(str(task.parent)) == {"own": own}


def test_a_group_and_an_include(task: Path) -> None:
    group, child = task.with_name("group.yaml"), task.with_name("child.yaml")
    group.write_text("group: mine\ntask: [own]\n")
    child.write_text("include: a task.yaml\ndoc_to_text: !function other.made\n")
    found = lm_eval.find_tasks(f"{group},{child}")
    assert found == {"mine": lm_eval.Own(group, "group"), "own": lm_eval.Own(child, "task")}


def test_all_that_is_unknown_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("a: [")
    (tmp_path / "y.yaml").write_text("serve: {}")
    files = [f"{tmp_path}/{name}" for name in ("none.yaml", "x.yml", "y.yaml")]
    with pytest.raises(UserError) as caught:
        lm_eval.find_tasks(",".join(["arc_eazy", "qqq*", *files, "hellaswag"]))
    faults = caught.value.faults
    assert len(faults) == 5
    assert "'arc_eazy'; did you mean arc_easy?" in faults[0]
    assert "'qqq*'" in faults[1] and "lm-eval ls tasks" in faults[1]
    assert "no file" in faults[2] and "x.yml is no task (" in faults[3]
    assert "y.yaml is no task; lm-eval" in faults[4]


@pytest.mark.parametrize("text", ["", " , "])
def test_no_task(text: str) -> None:
    with pytest.raises(UserError, match="TASKS=arc_easy"):
        lm_eval.find_tasks(text)


class Healthy(BaseHTTPRequestHandler):
    """A worker of which only /health is asked."""

    def do_GET(self) -> None:
        reply = json.dumps({"status": "ready", "model": {"context": 777}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    byte_level_tokenizer().save_pretrained(folder)
    return folder


def test_what_lm_eval_is_told(tmp_path: Path, url: str, model: Path) -> None:
    run = make_run(tmp_path, eval__threads=7, eval__max_instances=9)
    told = lm_eval.configuration(run, url, model, ["arc_easy"], tmp_path / "out")
    assert (told["model"], told["tasks"], told["limit"]) == ("local-completions", ["arc_easy"], 9)
    arguments = told["model_args"]
    assert arguments["base_url"] == f"{url}/v1/completions"
    assert (arguments["max_length"], arguments["num_concurrent"]) == (777, 7)
    assert arguments["tokenizer"] == str(model) and arguments["tokenized_requests"] is True
    assert arguments["add_bos_token"] is False
    assert "gen_kwargs" not in told and told["confirm_run_unsafe_code"] is False


def test_how_long_answers_are_and_that_their_code_runs_is_the_users_to_say(
    tmp_path: Path, url: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ALLOW_CODE_EVAL", "1")
    run = make_run(tmp_path, eval__max_new_tokens=512)
    told = lm_eval.configuration(run, url, model, ["humaneval"], tmp_path / "out")
    assert told["gen_kwargs"] == {"max_gen_toks": 512} and told["confirm_run_unsafe_code"] is True


def test_bos_is_added_where_the_worker_adds_it(tmp_path: Path) -> None:
    prepend_tokenizer().save_pretrained(tmp_path)
    assert lm_eval.adds_bos(tmp_path) is True


def test_another_reading_of_the_tokenizer_is_told(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = model / "tokenizer.json"
    state = json.loads(path.read_text())
    assert not lm_eval.adds_bos(model) and not capsys.readouterr().out
    # A special token that the prompt holds: text to the worker, a token to transformers.
    state["added_tokens"][0] |= {"content": "What is"}
    vocabulary = state["model"]["vocab"]
    vocabulary["What is"] = vocabulary.pop("<|endoftext|>")
    path.write_text(json.dumps(state))
    lm_eval.adds_bos(model)
    assert "otherwise than the worker" in capsys.readouterr().out


RESULTS = {
    "results": {
        "own": {
            "alias": "own",
            "acc,none": 0.5,
            "acc_stderr,none": 0.1,
            "exact_match,strict": 0.25,
            "exact_match_stderr,strict": "N/A",
        }
    },
    "higher_is_better": {"own": {"acc": True, "exact_match": True}},
    "n-samples": {"own": {"original": 90, "effective": 9}},
}


def results(value: float, name: str = "results_2026-01-01.json") -> dict[str, Any]:
    return {name: json.loads(json.dumps(RESULTS).replace("0.5", str(value), 1))}


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, url: str) -> list[Path]:
    """Replaces worker and lm-eval; gives the configurations it was started with."""
    asked: list[Path] = []

    @contextlib.contextmanager
    def serving(model: Path, config: ServeConfig, device: str, log: Path) -> Iterator[str]:
        yield url

    def ask(self: Any, config: Path, url: str) -> None:
        asked.append(config)
        output = Path(read_json(config)["output_path"]) / "tiny"
        output.mkdir()
        for name, content in results(0.5).items():
            write_json(output / name, content)

    monkeypatch.setattr(lm_eval, "serving", serving)
    monkeypatch.setattr(lm_eval._Harness, "ask", ask)
    return asked


def ask(run: Run, tasks: str, model: Path) -> dict[str, Any]:
    return lm_eval.lm_eval(run, tasks, {"base": model, "tuned": model})


def test_scores_are_kept_whole_in_the_run_folder(
    tmp_path: Path, harness: list[Path], model: Path
) -> None:
    run = make_run(tmp_path)
    found = ask(run, "arc_easy", model)
    assert found["base"] == found["tuned"]
    assert found["base"]["own"]["acc"] == {
        "value": 0.5, "stderr": 0.1, "higher_is_better": True, "n": 9,
    }  # fmt: skip
    assert found["base"]["own"]["exact_match:strict"]["stderr"] is None
    folder = run.path / "eval" / "lm-eval"
    assert sorted(path.name for path in folder.iterdir()) == ["base", "tuned"]
    assert read_json(folder / "tuned" / "scores.json")["scores"] == found["tuned"]
    assert read_json(folder / "tuned" / "lm-eval.json")["include_path"] is None


def test_own_tasks_are_found_by_their_names(
    tmp_path: Path, harness: list[Path], model: Path, task: Path
) -> None:
    run = make_run(tmp_path)
    ask(run, f"{task},arc_easy", model)
    folder = run.path / "eval" / "lm-eval"
    told = read_json(folder / "base" / "lm-eval.json")
    assert sorted(told["tasks"]) == ["arc_easy", "own"]
    [included] = Path(told["include_path"]).iterdir()
    assert read_json(included) == {"include": str(task), "task": "own"}


def test_the_same_again_is_not_asked_again(
    tmp_path: Path, harness: list[Path], model: Path, task: Path
) -> None:
    run = make_run(tmp_path)
    first = ask(run, "arc_easy", model)
    assert ask(run, "arc_easy", model) == first and len(harness) == 2
    ask(run, "arc_easy,hellaswag", model)
    assert len(harness) == 4
    ask(run, f"{task}", model)
    ask(run, f"{task}", model)
    assert len(harness) == 8, "nobody knows whether the data of a task of one's own has changed"
    ask(make_run(tmp_path, eval__max_instances=3), "arc_easy", model)
    assert len(harness) == 10
    ask(make_run(tmp_path, eval__max_instances=3, eval__max_new_tokens=9), "arc_easy", model)
    assert len(harness) == 12


def test_an_earlier_result_survives_a_failure(
    tmp_path: Path, harness: list[Path], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path)
    first = ask(run, "arc_easy", model)
    monkeypatch.setattr(lm_eval._Harness, "ask", lambda *_: None)  # leaves no results
    with pytest.raises(StageError, match="left no results"):
        ask(run, "hellaswag", model)
    assert read_json(run.path / "eval/lm-eval/base/scores.json")["scores"] == first["base"]


def test_the_newest_results_count(tmp_path: Path) -> None:
    for value, day in ((0.1, "02"), (0.9, "03"), (0.3, "01")):
        for name, content in results(value, f"results_2026-01-{day}.json").items():
            write_json(tmp_path / name, content)
    assert lm_scores.read_scores(tmp_path)["own"]["acc"]["value"] == 0.9


def start(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Puts a script in lm-eval's place."""
    real = lm_eval.child

    def child(words: list[str], log: Path, env: dict[str, str]) -> Any:
        assert words[1:4] == ["-m", "lm_eval", "run"]
        return real([sys.executable, "-c", script], log, env)

    monkeypatch.setattr(lm_eval, "child", child)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("ValueError: odd", "ValueError: odd"),
        ("ConnectionError: couldn't reach the hub", "data is not on this machine and HF_HUB"),
    ],
)
def test_a_failure_has_its_cause(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, words: str, told: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    log = tmp_path / "log"
    log.write_text("earlier\n")
    start(monkeypatch, f'import sys; print("Requesting API: 5%| 1/20 [x"); sys.exit("{words}")')
    with pytest.raises(StageError, match=told) as caught:
        lm_eval._Harness(log, tmp_path / "worker").ask(tmp_path / "config", url)
    assert str(log) in str(caught.value)


def test_a_dead_worker_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "worker").write_text("out of memory\n")
    start(monkeypatch, "import time; time.sleep(60)")
    with pytest.raises(StageError, match=r"(?s)the worker died.*out of memory"):
        lm_eval._Harness(tmp_path / "log", tmp_path / "worker").ask(
            tmp_path / "config", "http://127.0.0.1:1"
        )


def test_its_bar_follows(tmp_path: Path) -> None:
    log = tmp_path / "log"
    harness = lm_eval._Harness(log, log)
    bar = lm_eval.bar(0, "lm-eval", " requests")
    for line, expected in (
        ("loading\n", (0, 0)),
        ("Requesting API:  20%|##  | 4/20 [00:01<00:02]\r", (4, 20)),
        ("Requesting API: 100%|####| 20/20 [00:01<00:02]\n", (20, 20)),
        ("Requesting API:   0%|    | 0/7 [00:00<?, ?it/s]\r", (0, 7)),
    ):
        with log.open("a") as file:
            file.write(line)
        harness._draw(bar)
        assert (bar.n, bar.total) == expected
    bar.close()


def test_the_installed_lm_eval_is_the_one_that_is_pinned() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lm_eval", "run", "--help"], capture_output=True, text=True
    )
    assert "--config" in done.stdout
    root = Path(__file__).resolve().parents[3]
    assert f"lm-eval=={lm_eval._version()}" in (root / "requirements" / "train.txt").read_text()
