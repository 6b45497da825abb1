"""The recipe's operators on the data stage's rows: ``tools.curate`` does it, in columns."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tools.data.account import Account
from tools.data.render import Item, Pair
from tools.data.rows import Stored
from tools.recipe.operators.declared import Decontaminate, Step
from tools.recipe.schema import Data, Eval

if TYPE_CHECKING:
    import pyarrow as pa

    from tools.curate.score import Answers
    from tools.curate.steps import Account as Done

BATCH = 10_000  # rows in memory at once while operators only leave some out
_TEXTS = {
    "",
    "prompt",
    "completion",
    "both",
    "length",
    "rouge_l",
    "base",
}  # named as fields are, and none


class Curation:
    """All operators of a recipe, and what they did.

    Args:
        data: the recipe's ``data`` section.
        evaluation: its ``eval`` section, whose questions rows may be held against.
        answers: the base model's to prompts, where an operator scores by them.

    Attributes:
        accounts: what was done so far, in order.
        flattened: conversations that learn their last answer alone now, by source.
    """

    def __init__(self, data: Data, evaluation: Eval, answers: "Answers | None" = None) -> None:
        self.accounts: list[Done] = []
        self.flattened: Counter[str] = Counter()
        self._data, self._evaluation, self._answers = data, evaluation, answers

    @property
    def any(self) -> bool:
        """Whether the recipe has operators at all."""
        return any(self._lists())

    def source(
        self, name: str, items: Sequence[Item], account: Account, last: bool = False
    ) -> list[Item]:
        """The rows of one source after its own operators.

        Args:
            name: the source's.
            items: its rows.
            account: is told what leaves, and what comes to it.
            last: only the operators on training rows, ``tools.curate.steps.LAST``, or the others.
        """
        before = len(self.accounts)
        steps = self._data.sources[name].operators
        found = self._done(items, steps, f"data.sources.{name}.operators", last)
        for one in self.accounts[before:]:
            places = {each.why: each.place for each in reversed(one.examples)}
            for why, count in one.left.items():
                account.take_out(f"{one.key}: {why}", places.get(why, ""), count)
            account.added[one.key] += one.added
        return found

    def mix(
        self, items: Sequence[Item], accounts: Mapping[str, Account], last: bool = False
    ) -> list[Item]:
        """The rows of all sources after ``data.operators``.

        Args:
            items: the rows.
            accounts: by source, told what leaves and what comes.
            last: as in ``source``.
        """
        key = "data.operators"
        found = self._done(items, self._data.operators, key, last)
        if self._data.operators:
            there = {id(one) for item in found for one in _line(item)}
            kept = Counter(item.source for item in items if id(item) in there)
            for item in items:
                if id(item) not in there:
                    accounts[item.source].take_out(key, item.place)
            for name, count in Counter(item.source for item in found).items():
                accounts[name].added[key] += count - kept[name]
        return found

    @property
    def fields(self) -> frozenset[str]:
        """Fields of rows that an operator names."""
        named = {
            getattr(options, key, "")
            for steps in self._lists()
            for step in steps
            for name, options in step.items()
            for key in ("column", "by", "against")
            if (name, key) != ("score", "by")  # no field, but a kind of score
        }
        return frozenset(named - _TEXTS)

    def table(self) -> str:
        """What every operator did, as plain text."""
        from tools.curate.steps import render

        lines = [render(self.accounts)] if self.accounts else []
        lines += [
            f"  {name}: {count:,} conversations learn their last answer alone, for an operator "
            "wrote what stands before it otherwise"
            for name, count in self.flattened.items()
        ]
        return "\n".join(lines)

    def _lists(self) -> list[list[Step]]:
        return [self._data.operators, *(one.operators for one in self._data.sources.values())]

    def _done(
        self, items: Sequence[Item], steps: Sequence[Step], key: str, last: bool
    ) -> list[Item]:
        if not steps:
            return list(items)
        # Only now: a recipe without operators needs none of it.
        from tools.curate.steps import carry_out, leading, together
        from tools.data.against import against

        makers = [name for name, one in self._data.sources.items() if one.kind == "generator"]
        chats = [name for name, one in self._data.sources.items() if one.form == "chat_template"]
        known, named = _known(items, self.fields)

        def questions(options: Decontaminate) -> Mapping[str, Sequence[str]]:
            return against(options, self._evaluation)

        def carried(some: Sequence[Item], chosen: slice) -> "tuple[list[Item], list[Done]]":
            texts = [item.texts() for item in some]
            rows = _table(some, texts, known, named)
            seed = self._data.seed
            rows, done = carry_out(
                rows, steps, key, seed, questions, makers, last, chosen, chats, self._answers
            )
            return list(self._back(some, texts, rows)), done

        first = 0 if last else leading(steps)
        kept, accounts = _batched(items, lambda some: carried(some, slice(0, first)), first)
        self.accounts += together(accounts)
        if first < len(steps):
            kept, done = carried(kept, slice(first, None))
            self.accounts += done
        return kept

    def _back(
        self, items: Sequence[Item], texts: Sequence[tuple[str, str]], rows: "pa.Table"
    ) -> Iterator[Item]:
        """The rows of a table as they were, where they are as they were."""
        columns = (rows.column(name).to_pylist() for name in ("_row", "prompt", "completion"))
        for number, prompt, completion in zip(*columns, strict=True):
            item = items[number]
            if texts[number] == (prompt, completion):
                yield item
                continue
            earlier = _earlier(item, prompt)
            if earlier is None:
                self.flattened[item.source] += 1
            yield Pair(
                item.source,
                prompt,
                completion,
                hardness=item.hardness,
                place=item.place,
                fields=item.fields,
                earlier=earlier or (),
                origin=item,
            )


def _batched(
    items: Sequence[Item], carried: Callable[[Sequence[Item]], tuple[list[Item], Any]], first: int
) -> tuple[list[Item], list[Any]]:
    """What operators leave that look at one row at a time: no more than a batch in memory."""
    if not first:
        return list(items), []
    kept: list[Item] = []
    accounts = []
    for at in range(0, max(len(items), 1), BATCH):
        some, done = carried(items[at : at + BATCH])
        kept += some
        accounts.append(done)
    return kept, accounts


def _line(item: Item | None) -> Iterator[Item]:
    """A row, and those that it was before operators wrote it otherwise."""
    while item is not None:
        yield item
        item = item.origin if isinstance(item, Pair) else None


def _earlier(item: Item, prompt: str) -> tuple[tuple[bool, str], ...] | None:
    """What stands before the last answer, where some of it is learnt; None when that is lost."""
    before = [(bool(one["label"]), str(one["text"])) for one in item.segments()[:-1]]
    if not any(learnt for learnt, _ in before):
        return ()
    if not prompt.endswith(item.prompt):
        return None
    more = prompt[: len(prompt) - len(item.prompt)]  # as of examples before a conversation
    return ((False, more), *before) if more else tuple(before)


def _known(items: Sequence[Item], fields: frozenset[str]) -> tuple[list[str], list[str]]:
    """Those of the fields that the rows have, and all that they have."""
    rows = {id(one): one for one in (item.rows for item in items if isinstance(item, Stored))}
    named = dict.fromkeys(name for one in rows.values() for name in one.columns)
    also = {
        name for item in items if isinstance(item, Pair) and item.fields for name in item.fields
    }
    known = also.union(named, *(one.kept for one in rows.values()))
    return sorted(fields & known), list(named)


def _table(
    items: Sequence[Item],
    texts: Sequence[tuple[str, str]],
    fields: Sequence[str],
    named: Sequence[str],
) -> "pa.Table":
    """The rows as columns; what a row does not have is null.

    Args:
        items: the rows.
        texts: prompt and completion of each.
        fields: of their records, those that become columns.
        named: all fields of their records, for messages.
    """
    import pyarrow as pa

    columns: dict[str, list[str | None]] = {
        "source": [item.source for item in items],
        "place": [item.place or item.source for item in items],
        "prompt": [prompt for prompt, _ in texts],
        "completion": [completion for _, completion in texts],
    }
    if fields:
        found = [item.fields or {} for item in items]
        columns |= {name: [one.get(name) for one in found] for name in fields}
    table = pa.table({name: pa.array(one, pa.string()) for name, one in columns.items()})
    table = table.append_column("_row", pa.array(range(len(items)), pa.int64()))
    return table.replace_schema_metadata({"fields": json.dumps(list(named))})
