"""Engines: the words they are called with, as a recorded stand-in sees them."""

import json
import stat
from pathlib import Path

import pytest

from tools.errors import StageError, UserError
from tools.rehearse import base, engines
from tools.rehearse.engines import Buildah, Docker, Mount, find

STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> "{calls}"
case "$*" in
  info) {info} ;;
  build*broken*) echo "no such base"; exit 1 ;;
  create*) echo c0ffee ;;
  start*) {start} ;;
  *Size*) echo 123 ;;
  *Config.Env*) echo "[{env}]" ;;
  *ExitCode*) echo 7 ;;
  *Running*) echo true ;;
  logs*) echo printed; echo told >&2 ;;
esac
"""


def stand_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = "docker", info: str = "true",
    env: str = "A=b", start: str = "true",
) -> Path:  # fmt: skip
    program, calls = folder / "bin" / name, folder / "calls"
    program.parent.mkdir(exist_ok=True)
    program.write_text(STAND_IN.format(calls=calls, info=info, env=env, start=start))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")
    return calls


def test_docker_builds_without_arguments_and_maps_port_80(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = stand_in(tmp_path, monkeypatch)
    engine = find("docker")
    assert isinstance(engine, Docker) and engine.own_base(tmp_path / "log") == ""
    engine.build(tmp_path, "x_y", [], tmp_path / "log")
    assert engine.size("x_y") == 123
    container = engine.start("x_y", None, tmp_path / "log")
    port = container.url.rpartition(":")[2]
    assert container.running() and container.stop(90) == 7
    assert "printed" in container.logs() and "told" in container.logs()
    container.start()
    container.remove()
    said = calls.read_text().splitlines()
    assert f"docker build -t x_y {tmp_path}" in said
    assert f"docker create -p {port}:80 x_y" in said, "a port, and nothing else"
    assert "docker stop -t 90 c0ffee" in said and "docker rm -f -v c0ffee" in said
    assert said.count("docker start c0ffee") == 2


def test_a_card_a_mount_and_a_read_only_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = stand_in(tmp_path, monkeypatch, env="ONEDAY_DEVICE=cuda")
    Docker("docker").start("x", Mount(tmp_path, "/app/model"), tmp_path / "log", read_only=True)
    (run,) = [line for line in calls.read_text().splitlines() if " create " in line]
    assert "--gpus device=0" in run and f"-v {tmp_path}:/app/model:ro" in run
    assert "--read-only --tmpfs /tmp:exec" in run


def test_a_container_that_no_card_is_to_be_had_for_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = 'echo "could not select device driver" >&2; exit 1'
    calls = stand_in(tmp_path, monkeypatch, env="ONEDAY_DEVICE=cuda", start=fault)
    with pytest.raises(StageError, match="could not select device driver"):
        Docker("docker").start("x", None, tmp_path / "log")
    assert calls.read_text().splitlines()[-1] == "docker rm -f -v c0ffee"


def test_a_failed_build_tells_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch)
    with pytest.raises(StageError, match="no such base"):
        Docker("docker").build(tmp_path, "broken", [], tmp_path / "log")


def test_a_client_without_an_engine_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, info="exit 1")
    with pytest.raises(UserError, match="docker: none works here"):
        find("docker")
    stand_in(tmp_path, monkeypatch, name="podman")
    assert find("").name == "podman"


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(UserError, match="it is docker, podman or buildah"):
        find("dcoker")


def test_buildah_needs_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(tmp_path, monkeypatch, name="buildah")
    monkeypatch.setattr(base, "image", lambda buildah, log: "mine:1")
    engine = find("buildah")
    assert isinstance(engine, Buildah) and engine.own_base(tmp_path / "log") == "mine:1"
    engine.build(tmp_path, "x", ["--build-arg", "BASE=mine:1"], tmp_path / "log")
    assert calls.read_text().split() == [
        *"buildah --storage-driver vfs build --isolation chroot --network host".split(),
        *f"--format docker --tag x --build-arg BASE=mine:1 {tmp_path}".split(),
    ]


def test_a_base_that_is_there_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "printed", lambda *words: json.dumps([{"names": [base.NAME]}]))
    assert base.image(("buildah",), tmp_path / "log") == base.NAME
    monkeypatch.setattr(base, "printed", lambda *words: "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="debootstrap"):
        base.image(("buildah",), tmp_path / "log")


def test_ports_are_free() -> None:
    assert engines.free_port() > 1023
