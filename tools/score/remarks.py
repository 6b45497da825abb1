"""What a reader should know of a ranking's figures: what is missing, left out or not comparable."""

from collections.abc import Sequence

from tools.recipe.faults import nearest
from tools.score.pool import Entry
from tools.score.ranked import Ranked
from tools.score.ranking import FINAL, STAGES, board, column, takes_part

_SHOWN = 3  # names that a remark lists before it counts
_CLAIM = 1e-9  # published scores this near are the same


def remarks(rows: Sequence[Ranked]) -> list[str]:
    """The remarks on a ranked pool, a line each; none where the figures speak for themselves."""
    return [
        *_alone(rows),
        *_mixed(rows),
        *_absent(rows),
        *_unfinished(rows),
        *_missing(rows),
        *_left_out(rows),
        *_unknown(rows),
        *_checked(rows),
    ]


def _alone(rows: Sequence[Ranked]) -> list[str]:
    if len(rows) > 1:
        return []
    return ['one entry beats nobody, so its win rates are 0; add others: make score POOL="a b"']


def _mixed(rows: Sequence[Ranked]) -> list[str]:
    if len({row.entry.own for row in rows}) == 1:
        return []
    return [
        "own and published figures compare only where the questions, the number of shots and the "
        "metric are the same"
    ]


def _absent(rows: Sequence[Ranked]) -> list[str]:
    """Stages and scenarios of which there is no figure at all."""
    notes = []
    for stage, scenarios in STAGES.items():
        none = [one for one in scenarios if one not in rows[0].rates]
        if len(none) == len(scenarios):
            notes.append(f"{stage}: nobody has a figure, so there is no {stage} score and no final")
        elif none:
            kept = len(scenarios) - len(none)
            notes.append(f"{stage}: the mean of {kept} scenarios; nobody has {', '.join(none)}")
    return notes


def _unfinished(rows: Sequence[Ranked]) -> list[str]:
    """Who took no part in a stage of which others have figures."""
    notes = []
    for stage in STAGES:
        out = [row.entry.name for row in rows if row.score[stage] is None]
        if out and len(out) < len(rows):
            notes.append(f"{_listed(out)}: no figure of the {stage} stage, so no final")
    return notes


def _missing(rows: Sequence[Ranked]) -> list[str]:
    """Missing values, which count as the worst there is."""
    columns = dict.fromkeys(
        one for row in rows for name in row.entry.metrics if (one := column(name)).stage
    )
    notes = []
    for row in rows:
        empty = [
            one.name
            for one in columns
            if takes_part(row.entry.metrics, one.stage or "")
            and row.entry.metrics.get(one.name) is None
        ]
        if empty:
            notes.append(f"{row.entry.name}: no value, so last in: {_listed(empty)}")
    return notes


def _left_out(rows: Sequence[Ranked]) -> list[str]:
    """Run specs that count in no figure, as in HELM's own tables."""
    notes = []
    for row in rows:
        kinds = {
            "failed": [spec.name for spec in row.entry.specs if spec.stats is None],
            "with no question of the split that counts": [
                spec.name for spec in row.entry.specs if spec.elsewhere
            ],
        }
        for kind, names in kinds.items():
            if names:
                count = f"{len(names)} run spec{'s' * (len(names) > 1)} {kind}"
                notes.append(f"{row.entry.name}: left out, {count}: {_listed(names)}")
    return notes


def _unknown(rows: Sequence[Ranked]) -> list[str]:
    names = dict.fromkeys(
        name for row in rows for name in row.entry.metrics if column(name).scenario is None
    )
    found = [f"{name}{nearest(name, board())}" for name in names]
    return [f"columns that count in nothing: {_listed(found)}"] if found else []


def _checked(rows: Sequence[Ranked]) -> list[str]:
    """Whether published scores come out the same, where the pool is theirs alone."""
    claims = [(row.score[one], value) for row in rows for one, value in _claims(row.entry)]
    alone = len({row.entry.source for row in rows}) == 1
    if not claims or not alone:
        return []
    apart = max(abs((ours or 0.0) - theirs) for ours, theirs in claims)
    same = "the same as" if apart < _CLAIM else "NOT the same as"
    exact = f"{apart:.0e} apart at the most" if apart else "to the last bit"
    return [f"the scores are {same} those published in the file: {exact}"]


def _claims(entry: Entry) -> list[tuple[str, float]]:
    return [(one, value) for one, value in (entry.claimed or {}).items() if one in (*STAGES, FINAL)]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
