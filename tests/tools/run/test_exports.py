"""Exports are outputs of the run folder like a stage's."""

from tools.run.exports import GGUF_TYPES, ONNX, ONNX_FOLDER, exported, folder_of, stage_of
from tools.run.folder import STAGES


def test_each_type_is_a_stage_of_its_own_made_from_the_merged_model() -> None:
    for kind in GGUF_TYPES:
        stage = STAGES[stage_of(kind)]
        assert (stage.folder, stage.upstream) == (folder_of(kind), ("merge",))
        assert exported(stage_of(kind)) == f"TYPE={kind}"
    assert (STAGES[ONNX].folder, STAGES[ONNX].upstream) == (ONNX_FOLDER, ("merge",))
    assert exported(ONNX) == "FORMAT=onnx"
    assert exported("merge") == ""
