"""What a merge of several adapters depends on: what is in their files."""

from pathlib import Path

from tests.tiny import make_run
from tools.recipe.schema import Merge, WeightedAdapter
from tools.run.folder import Run


def a_run(root: Path, folder: Path) -> Run:
    both = {"own": WeightedAdapter(1.0), "other": WeightedAdapter(1.0, str(folder))}
    return make_run(root, merge=Merge("plain", 1e-3, both))


def test_another_content_merges_anew(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    prints = []
    for weights, config in (("a", "{}"), ("b", "{}"), ("b", "[]"), ("a", "{}")):
        (folder / "adapter_model.safetensors").write_text(weights)
        (folder / "adapter_config.json").write_text(config)
        run = a_run(tmp_path, folder)
        files = run.inputs("merge")["files"]
        assert files.keys() == {"other"} and len(files["other"]) == 64
        prints.append(run.fingerprint("merge"))
    assert len(set(prints)) == 3 and prints[0] == prints[3]
    (folder / "adapter_config.json").unlink()
    assert a_run(tmp_path, folder).inputs("merge")["files"] == {"other": "absent"}


def test_one_adapter_is_upstream_alone(tmp_path: Path) -> None:
    assert "files" not in make_run(tmp_path).inputs("merge")
