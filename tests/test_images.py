"""The Dockerfiles and their locks, as far as they can be read without an engine."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CARDS = ("4090", "a100")
LOCKS = sorted((ROOT / "requirements" / "hashed").glob("*.txt"))
PIN = re.compile(r"([a-z0-9-]+)==(\S+) \\\n    --hash=sha256:([0-9a-f]{64})")


def text(card: str) -> str:
    return (ROOT / f"Dockerfile.{card}").read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    """Version by package of a lock, plain or hashed."""
    found = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s\\]+)", found, re.MULTILINE))


def test_they_differ_in_their_card_only() -> None:
    one = text("4090").replace("RTX 4090, 24 GB", "CARD").replace("4090", "CARD")
    assert one.split("\nENV ")[0].count("CARD") == 3
    other = text("a100").replace("A100, 40 GB", "CARD").replace("a100", "CARD")
    same = [line for line in one.splitlines() if "A CARD (8.9)" not in line]
    assert same == [line for line in other.splitlines() if "A 4090 (8.9)" not in line]


@pytest.mark.parametrize("card", CARDS)
def test_every_base_is_pinned_by_digest(card: str) -> None:
    arguments = dict(re.findall(r"^ARG (\w+)=(.*)$", text(card), re.MULTILINE))
    stages = re.findall(r"^FROM \S+ AS (\S+)$", text(card), re.MULTILINE)
    for source in re.findall(r"^FROM (\S+)", text(card), re.MULTILINE):
        plain = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], source)
        pinned = re.fullmatch(r"[a-z/]+:[\w.-]+@sha256:[0-9a-f]{64}", plain)
        assert pinned or plain in stages, source
    assert stages[-1] == "serve", "the one that plain `docker build` builds"


@pytest.mark.parametrize("card", CARDS)
def test_nothing_unpinned_is_installed(card: str) -> None:
    joined = text(card).replace("\\\n", " ")
    assert "apt" not in re.sub(r"^#.*$", "", joined, flags=re.MULTILINE)
    installs = re.findall(r"pip (?:install|wheel)[^&\n]*", joined)
    assert len(installs) == 4
    assert all("--require-hashes" in one or "--no-index" in one for one in installs)
    for name in re.findall(r"--requirement (\S+)", joined):
        for device in ("cuda", "cpu"):
            assert (ROOT / name.replace("${DEVICE}", device)).is_file(), name


@pytest.mark.parametrize("card", CARDS)
def test_both_images_run_as_a_plain_user_and_send_nothing_home(card: str) -> None:
    common, _, rest = text(card).partition("AS trainer\n")
    for quiet in ("AXOLOTL_DO_NOT_TRACK=1", "DO_NOT_TRACK=1", "HF_HUB_DISABLE_TELEMETRY=1"):
        assert quiet in common
    train, _, serve = rest.partition(" AS serve\n")
    for stage in (train, serve):
        assert stage.rindex("USER oneday") < stage.rindex("CMD [") and "USER root" not in stage
    assert "HEALTHCHECK" in serve and "EXPOSE 80" in serve and "tools" not in serve


@pytest.mark.parametrize("card", CARDS)
def test_what_is_copied_passes_the_ignore_file(card: str) -> None:
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    sources = re.findall(r"^COPY (?!--from)(.*) \S+$", text(card), re.MULTILINE)
    for source in " ".join(sources).split():
        assert source.split("/")[0] in allowed, source


def test_there_is_a_lock_for_each_environment() -> None:
    names = {path.stem for path in LOCKS}
    cards = {"serve-cuda", "serve-cpu", "train-cuda", "train-cpu"}
    assert names == cards | {"helm", "gguf", "onnx", "compress"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_package_has_a_hash(lock: Path) -> None:
    comment, _, rest = lock.read_text(encoding="utf-8").partition("\n")
    assert comment.startswith("#") and PIN.sub("", rest).strip() == ""


@pytest.mark.parametrize(
    "lock", ["serve-cuda", "serve-cpu", "train-cuda", "train-cpu", "helm", "gguf", "onnx"]
)
def test_hashed_pins_are_the_plain_ones(lock: str) -> None:
    plain, hashed = pins(lock.split("-")[0]), pins(f"hashed/{lock}")
    more = set(hashed) - set(plain)
    assert {name: hashed.get(name) for name in plain} == plain
    assert all(name.startswith(("nvidia-", "cuda-")) for name in more), more
    assert bool(more) == lock.endswith("cuda"), "torch's CUDA build brings its own"


def test_vllms_lock_has_what_was_asked_for_and_our_torch() -> None:
    """It is resolved by hand (its first lines say how), and by no make lock."""
    asked = (ROOT / "requirements" / "vllm.in").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", asked, re.MULTILINE))
    found, ours = pins("vllm"), pins("train")
    assert {name: found.get(name) for name in pinned} == pinned
    assert found["torch"] == ours["torch"]
    assert "for Python 3.12" in (ROOT / "requirements" / "vllm.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("card", CARDS)
def test_nothing_is_compiled(card: str) -> None:
    assert "nvcc" not in text(card) and "no-build-isolation" not in text(card)
    assert "flash-attn" not in {name for lock in LOCKS for name in pins(f"hashed/{lock.stem}")}


def test_the_serving_locks_hold_no_trainer() -> None:
    for device in ("cuda", "cpu"):
        assert not {"axolotl", "peft", "deepspeed", "flash-attn"} & set(
            pins(f"hashed/serve-{device}")
        )


def test_the_workflow_pins_its_actions_and_builds_both_images() -> None:
    file = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(file)["jobs"]
    assert set(jobs) == {"lint", "test", "image"}
    assert jobs["image"]["strategy"]["matrix"]["card"] == list(CARDS)
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in used)
