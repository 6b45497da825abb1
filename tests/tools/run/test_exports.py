"""Exports are outputs of the run folder like a stage's."""

from tools.run.exports import GGUF_TYPES, exported, folder_of, stage_of
from tools.run.folder import STAGES


def test_each_type_is_a_stage_of_its_own_made_from_the_merged_model() -> None:
    for kind in GGUF_TYPES:
        stage = STAGES[stage_of(kind)]
        assert (stage.folder, stage.upstream) == (folder_of(kind), ("merge",))
        assert exported(stage_of(kind)) == kind
    assert exported("merge") == ""
