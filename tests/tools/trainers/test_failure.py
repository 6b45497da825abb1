"""Why a child ended: the last error of one, the first of several."""

import signal

import pytest

from tools.trainers.failure import LINES, reason

AGENT = "E1129 23:09:46.1 7 torch/distributed/elastic/multiprocessing/api.py:1] failed\n"
SUMMARY = """\
Traceback (most recent call last):
  File "run.py", line 1, in <module>
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
tools.axolotl.job FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-11-29_22:00:00
  host      : here
  rank      : 0 (local_rank: 0)
  exitcode  : {first} (pid: 41)
  error_file: <N/A>
  traceback : -
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-29_22:00:00
  host      : here
  rank      : 1 (local_rank: 1)
  exitcode  : {second} (pid: 42)
  error_file: <N/A>
  traceback : -
============================================================
"""
GONE = "RuntimeError: [../third_party/gloo/pair.cc:547] Connection closed by peer [127.0.0.1]:1\n"


def told(text: str, first: int = 1, second: int = 1) -> list[str]:
    return (text + AGENT + SUMMARY.format(first=first, second=second)).splitlines(keepends=True)


def test_the_last_error_is_the_reason() -> None:
    lines = ["OSError: one\n", "more\n", "ValueError: two\n", "where\n", " 9%| | 1/9\n"]
    assert reason(lines) == "ValueError: two\nwhere"


def test_without_an_error_it_is_the_last_lines() -> None:
    assert reason([f"line {i}\n" for i in range(20)]).splitlines()[0] == f"line {20 - LINES}"


@pytest.mark.parametrize("text", ["OSError: no room\n" + GONE, GONE + "OSError: no room\n"])
def test_of_several_jobs_it_is_that_of_the_one_that_failed(text: str) -> None:
    said = reason(told(text))
    assert said.splitlines()[0] == "OSError: no room" and "elastic" not in said


def test_torchs_name_of_the_job_is_passed_over() -> None:
    lines = told('[rank1]:   File "a.py"\n[rank1]: ValueError: own\n[rank0]: ' + GONE)
    assert reason(lines).splitlines()[0] == "ValueError: own"


def test_a_neighbours_end_is_told_where_nothing_else_is() -> None:
    assert "Connection closed by peer" in reason(told(GONE))


@pytest.mark.parametrize("other", [1, -signal.SIGTERM])
def test_a_job_that_was_killed_is_named(other: int) -> None:
    said = reason(told(GONE, first=other, second=-signal.SIGKILL))
    assert said.startswith("job 2 was ended by SIGKILL") and "memory" in said


def test_a_job_that_crashed_is_named() -> None:
    assert reason(told("", first=-signal.SIGSEGV)).startswith("job 1 was ended by SIGSEGV;")


def test_torchruns_own_way_out_is_no_part_of_the_reason() -> None:
    """Where the lines of its agent were written before those of the job."""
    lines = [AGENT, "RuntimeError: a worker is gone\n", *SUMMARY.splitlines(keepends=True)]
    assert reason([line.format(first=1, second=1) for line in lines[1:]]).splitlines() == [
        "RuntimeError: a worker is gone"
    ]
