"""HELM's log: what is read from it, and how long the rest will take by it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.evaluate.helm import faults
from tools.evaluate.helm.log import PROMPT_TOKENS, Log, Progress, Spec, failures, forecast, plain

HEAD = "2026-01-01 00:00:00,000 INFO     "


def stamp(seconds: float) -> str:
    return f"2026-01-01 00:{int(seconds) // 60:02d}:{int(seconds) % 60:02d},500 INFO     "


def listed(name: str, questions: int, tokens: int) -> str:
    return (
        f"{HEAD}  RunSpec(name='{name}', scenario_spec=ScenarioSpec(class_name='x', args={{}}), "
        f"adapter_spec=AdapterSpec(method='generation', instructions='a\\n', max_train_instances=5,"
        f" max_eval_instances={questions}, num_outputs=1, temperature=0.0, max_tokens={tokens}, "
        "stop_sequences=['\\n']), metric_specs=[])\n"
    )


def begin(name: str, seconds: float) -> str:
    return f"{stamp(seconds)}  Running {name} {{\n"


def announced(*names: str) -> str:
    specs = "".join(listed(name, 10, 8) for name in names)
    return f"{HEAD}{len(names)} entries produced {len(names)} run specs\n{specs}"


def test_reads_what_is_listed_and_begun(tmp_path: Path) -> None:
    path = tmp_path / "eval.log"
    path.write_text(announced("old:model=m") + begin("old:model=m", 0))
    log = Log(path)
    assert not log.started and not log.total  # that was an earlier attempt
    new = announced("gsm:model=m", "bbq:subject=all,model=m") + begin("gsm:model=m", 10)
    with path.open("a") as file:
        file.write(new[:-9])
        file.flush()
        assert log.read() and not log.started  # the line is not whole
        file.write(new[-9:] + begin("bbq:subject=all,model=m", 70))
    log.close()
    assert log.total == 2 and list(log.started) == ["gsm:model=m", "bbq:subject=all,model=m"]
    assert log.specs["gsm:model=m"] == Spec("gsm:model=m", 10, 8)
    assert log.spent() == {"gsm:model=m": 60.0}
    assert log.text() == new + begin("bbq:subject=all,model=m", 70)


def test_finds_the_traceback_of_each_failure() -> None:
    text = (
        f"{begin('a:model=m', 1)}{stamp(2)}Error when running a:model=m:\nTraceback\n  x\n"
        f"ValueError: one\n\n{stamp(2)}}}\n{stamp(3)}Error when running b:model=m:\nTraceback\n"
        f"OSError: two\n\n{stamp(4)}done\n"
    )
    found = failures(text)
    assert list(found) == ["a:model=m", "b:model=m"]
    assert faults.explain(found["a:model=m"]) == "ValueError: one"
    assert "two" in found["b:model=m"] and "one" not in found["b:model=m"]


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        ("", "see the log"),
        ("KeyError: 'x'", "KeyError: 'x'"),
        ("x\nMissingSchema: Invalid URL 'None/process': No", "HELM_HTTP_MODEL_BASE_URL"),
        ("LookupError\n  Resource punkt_tab not found.\n", "NLTK_DATA"),
        ("ModuleNotFoundError: No module named 'bert_score'", "summarization_cnndm, whose ROUGE"),
        ("urllib.error.URLError: <urlopen error [Errno -2] Name>", "make eval DATA=FOLDER"),
        ("Exception: Failed with exit code 4: wget https://x -O y", "make eval DATA=FOLDER"),
        ("ConnectionError: Couldn't reach 'a/b' on the Hub", "make eval DATA=FOLDER"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'wget'", "not installed"),
        ("requests...ConnectionError: HTTPConnectionPool(host='127.0.0.1')", "see its log"),
    ],
)
def test_says_what_a_failure_means(trace: str, said: str) -> None:
    found = faults.explain(trace)
    assert said in found and "\n" not in found
    if trace:
        assert trace.strip().splitlines()[-1].strip() in found


NAMES = [f"{kind}:n={n}" for kind in ("a", "b", "c") for n in range(4)]
RATES = {"a": 0.01, "b": 0.2, "c": 3.0}


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(1, 400)), min_size=12, max_size=12),
    st.integers(9, 12),
    st.sets(st.integers(0, 11), max_size=3),
)
def test_the_forecast_is_exact_where_a_scenarios_run_specs_are_alike(
    sizes: list[tuple[int, int]], count: int, skipped: set[int]
) -> None:
    specs = {name: Spec(name, *size) for name, size in zip(NAMES, sizes, strict=True)}
    known = {NAMES[at] for at in skipped}
    costs = {n: 0.0 if n in known else RATES[n[0]] * spec.weight for n, spec in specs.items()}
    spent = {name: costs[name] for name in NAMES[:count]}
    found = forecast(specs, spent, known)
    seen = {name[0] for name in spent if name not in known}
    if len(set(spent) - known) < 5:
        assert found is None or set(specs) - known == set(spent) - known
    elif seen == {name[0] for name in NAMES if name not in known}:
        assert found == pytest.approx(sum(costs.values()))


def test_no_forecast_before_there_is_something_to_go_by() -> None:
    specs = {name: Spec(name, 10, 8) for name in NAMES}
    spent: dict[str, float] = {}
    for name in NAMES[:4]:
        spent[name] = 1.0
        assert forecast(specs, spent, set()) is None
    assert forecast(specs, {**spent, NAMES[4]: 1.0}, set()) == pytest.approx(12.0)
    assert forecast({}, {}, set()) is None and forecast(specs, {}, set()) is None


def test_a_scenario_not_yet_seen_costs_by_its_bounds() -> None:
    specs = {name: Spec(name, 10, PROMPT_TOKENS) for name in NAMES[:5]}
    specs["new"] = Spec("new", 20, 3 * PROMPT_TOKENS)  # twice the questions, twice the tokens
    assert forecast(specs, dict.fromkeys(NAMES[:5], 2.0), set()) == pytest.approx(10 + 8)


def told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: float, *moments: float
) -> list[str]:
    """What is said as run specs begin at these moments."""
    path = tmp_path / "eval.log"
    names = [f"gsm:n={n},model=m" for n in range(20)]
    progress = Progress(Log(path), set(), limit)
    with path.open("a") as file:
        file.write(announced(*names))
        for name, moment in zip(names, moments, strict=False):
            file.write(begin(name, moment))
            file.flush()
            progress.update()
    progress.close()
    return capsys.readouterr().out.splitlines()


def test_says_the_forecast_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(tmp_path, capsys, 30, *range(0, 600, 60))
    assert lines == ["eval: about 20 min in all, going by 5 of 20 run specs; the limit is 30 min"]


def test_warns_once_when_the_limit_is_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = told(tmp_path, capsys, 30, 0, 60, 120, 180, 240, 300, 1500, 1900, 2000)
    assert len(lines) == 2 and "about 20 min" in lines[0]
    assert "more than the 30 min of eval.limit_minutes" in lines[1]


def test_plain_names() -> None:
    assert plain("gsm:model=neurips_local") == "gsm"
    assert plain("bbq:subject=all,model=m,groups=x") == "bbq:subject=all,groups=x"
