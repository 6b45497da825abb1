"""Points: published peaks within 12 % where conditions hold; odd points are listed, not fatal."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.errors import UserError
from tools.plan.points import TOLERANCE, as_json, compare, render

GOLDEN = Path(__file__).resolve().parents[4] / "shared" / "golden" / "memory_points.json"
LLAMA = {
    **{"hidden": 4096, "layers": 32, "mlp": 14336, "vocab": 128256, "heads": 32, "kv_heads": 8},
    "tied": False,
}
# Unsloth's table, HF + FA2.
POINT: dict[str, Any] = {
    "model": "llama3.1-8b",
    "arch": LLAMA,
    "method": "qlora",
    "sequence_len": 2551,
    "micro_batch": 1,
    "lora_r": 32,
    "targets": "all linear",
    "gradient_checkpointing": True,
    "loss": "hf",
    "optimizer": "adamw_torch",
    "peak_gb": 16,
    "tokens_per_s": None,
    "gpu": None,
    "source": "a table",
}


def store(folder: Path, *points: Any) -> Path:
    path = folder / "points.json"
    path.write_text(json.dumps({"unit": "GB", "points": list(points)}), encoding="utf-8")
    return path


def test_a_published_point(tmp_path: Path) -> None:
    (row,) = compare(store(tmp_path, POINT))
    assert row.error is not None and abs(row.error) < 0.02
    assert row.reason == "" and row.assumed == ()


@pytest.mark.skipif(not GOLDEN.is_file(), reason="shared/golden/memory_points.json is not here")
def test_all_golden_points_are_within_the_tolerance() -> None:
    rows = compare(GOLDEN)
    errors = [row.error for row in rows]
    assert len(rows) == len(json.loads(GOLDEN.read_text())["points"]) >= 13
    assert all(error is not None and abs(error) <= TOLERANCE for error in errors), errors
    text = render(rows)
    assert f"points: {len(rows)} of {len(rows)} within 12%" in text


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"peak_gb": 60, "gradient_checkpointing": False, "loss": "fused"}, "4-bit layer"),
        ({"peak_gb": 30, "method": "lora", "gradient_checkpointing": False}, "up to the kernels"),
        ({"peak_gb": 13}, "embeddings_skip_upcast: true) it would be 13."),
        ({"peak_gb": 4, "loss": "fused"}, "host memory"),
        ({"peak_gb": 20, "method": "full"}, "backward pass"),
        ({"peak_gb": 30, "loss": None}, "assumed: loss hf"),
        ({"peak_gb": 30, "gradient_checkpointing": "unsloth"}, "in flight"),
        ({"peak_gb": 30}, "off all the same"),
        ({"method": "ia3"}, "method ia3 is none of lora"),
        ({"arch": None}, "arch tells no hidden, layers, mlp, vocab, heads"),
        ({"arch": {**LLAMA, "mlp": None}}, "arch tells no mlp"),
        ({"sequence_len": "short"}, "sequence_len short is no whole number"),
        ({"sequence_len": float("nan")}, "sequence_len nan is no whole number"),
        ({"micro_batch": 0}, "micro_batch 0 is no whole number"),
    ],
)
def test_what_is_off_is_listed_with_a_reason(
    fields: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    rows = compare(store(tmp_path, POINT, {**POINT, **fields}))
    assert reason in rows[1].reason and rows[0].reason == ""
    text = render(rows)
    assert "\n  2. " in text and "points: 1 of 2 within 12%" in text
    assert as_json(rows)[1]["within"] is False


@pytest.mark.parametrize(
    "fields",
    [
        {"targets": "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"},
        {"targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]},
        {"targets": None, "micro_batch": None, "optimizer": None, "gradient_checkpointing": None},
        {"targets": "linear", "method": "QLoRA", "loss": "HF", "sequence_len": "2,551"},
        {"arch": {key: str(value) for key, value in LLAMA.items() if key != "tied"}},
        {"something": "more", "embeddings_skip_upcast": False},
    ],
)
def test_other_spellings_and_gaps(fields: dict[str, Any], tmp_path: Path) -> None:
    plain, other = compare(store(tmp_path, POINT, {**POINT, **fields}))
    assert plain.peak == other.peak


def test_fewer_targets_take_less(tmp_path: Path) -> None:
    all_of_them, two = compare(store(tmp_path, POINT, {**POINT, "targets": "qv"}))
    assert all_of_them.peak and two.peak and two.peak.adapters < all_of_them.peak.adapters / 4


def test_sixteen_bit_embeddings(tmp_path: Path) -> None:
    """Fused losses leave them so, and trainers that quantize linear layers only: a key says it."""
    others: list[dict[str, Any]] = [{"loss": "fused"}, {"embeddings_skip_upcast": True}]
    upcast, *rest = compare(store(tmp_path, POINT, *({**POINT, **fields} for fields in others)))
    difference = 2 * 2 * 128256 * 4096
    assert upcast.peak
    for row in rest:
        assert row.peak and row.peak.weights == upcast.peak.weights - difference


def test_speed_beside_published(tmp_path: Path) -> None:
    (row,) = compare(store(tmp_path, {**POINT, "gpu": "A100-40GB", "tokens_per_s": 2500}))
    assert row.speed and row.speed.low < 2500 < row.speed.high
    assert "2,500" in render([row])


def test_a_bare_list_and_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_text(json.dumps([POINT]), encoding="utf-8")
    assert len(compare(path)) == 1
    assert render([]).endswith("points: 0 of 0 within 12%")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"points": 3}', "nonsense"])
def test_not_the_format(content: str, tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match='a JSON file with "points", a list of mappings'):
        compare(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        compare(tmp_path / "none.json")
