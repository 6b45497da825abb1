"""The recipe's operators on the data stage's rows: ``tools.curate`` does it, in columns."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.data.account import Account
from tools.data.render import Item, Pair
from tools.data.rows import Stored
from tools.recipe.operators.declared import Decontaminate, Step
from tools.recipe.schema import Data, Eval

if TYPE_CHECKING:
    import pyarrow as pa

    from tools.curate.score import Answers
    from tools.curate.steps import Account as Done
    from tools.curate.steps import Questions
    from tools.data.spread.executor import Spread

BATCH = 10_000  # rows in memory at once while operators look at one row at a time
_Made = tuple[int, tuple[str, str] | None]  # a row's number, and its texts where they changed
#: Named as fields are, and none.
_TEXTS = {"", "prompt", "completion", "both", "length", "rouge_l", "base"}


@dataclass(frozen=True)
class _Operators:
    """Some operators of a list, for rows that may be a part of all: another process can call it.

    Attributes:
        steps: the list.
        key: its full key in the recipe.
        seed: the recipe's.
        makers: sources whose rows are made by generators.
        chats: sources whose rows are in a chat template.
        last: only the operators on training rows, or the others.
        chosen: of the list, these.
        known: fields that become columns.
        named: all fields, for messages.
    """

    steps: Sequence[Step]
    key: str
    seed: int
    makers: Sequence[str]
    chats: Sequence[str]
    last: bool
    chosen: slice
    known: Sequence[str]
    named: Sequence[str]

    def __call__(
        self,
        items: Sequence[Item],
        questions: "Questions | None" = None,
        answers: "Answers | None" = None,
    ) -> "tuple[list[_Made], list[Done]]":
        """The rows that stay, and an account of each operator.

        Args:
            items: the rows.
            questions: gives what rows are decontaminated against, where an operator asks.
            answers: gives the base model's answers, where an operator scores by them.
        """
        from tools.curate.steps import carry_out

        texts = [item.texts() for item in items]
        rows, done = carry_out(
            _table(items, texts, self.known, self.named),
            self.steps,
            self.key,
            self.seed,
            questions or (lambda options: {}),
            self.makers,
            self.last,
            self.chosen,
            self.chats,
            answers,
        )
        columns = (rows.column(name).to_pylist() for name in ("_row", "prompt", "completion"))
        made = [
            (number, None if texts[number] == (prompt, completion) else (prompt, completion))
            for number, prompt, completion in zip(*columns, strict=True)
        ]
        return made, done


class Curation:
    """All operators of a recipe, and what they did.

    Args:
        data: the recipe's ``data`` section.
        evaluation: its ``eval`` section, whose questions rows may be held against.
        spread: carries out what looks at one row at a time, many batches at once; ``map`` is one
            after the other.
        answers: the base model's to prompts, where an operator scores by them.

    Attributes:
        accounts: what was done so far, in order.
        flattened: conversations that learn their last answer alone now, by source.
    """

    def __init__(
        self,
        data: Data,
        evaluation: Eval,
        spread: "Spread" = map,
        answers: "Answers | None" = None,
    ) -> None:
        self._spread = spread
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
        from tools.curate.steps import leading, together

        first = 0 if last else leading(steps)
        known, named = _known(items, self.fields)
        sources = self._data.sources.items()
        makers = [name for name, one in sources if one.kind == "generator"]
        chats = [name for name, one in sources if one.form == "chat_template"]
        parts = slice(0, first), slice(first, None)
        head, rest = (
            _Operators(steps, key, self._data.seed, makers, chats, last, chosen, known, named)
            for chosen in parts
        )
        kept = list(items)
        if first:
            batches = [items[at : at + BATCH] for at in range(0, max(len(items), 1), BATCH)]
            # A batch alone is done sooner here than a process is started.
            spread = self._spread if len(batches) > 1 else map
            kept, accounts = [], []
            for some, (made, done) in zip(batches, spread(head, batches), strict=True):
                kept += self._back(some, made)
                accounts.append(done)
            self.accounts += together(accounts)
        if first < len(steps):
            made, done = rest(kept, self._questions, self._answers)
            kept = list(self._back(kept, made))
            self.accounts += done
        return kept

    def _questions(self, options: Decontaminate) -> Mapping[str, Sequence[str]]:
        from tools.data.against import against

        return against(options, self._evaluation)

    def _back(self, items: Sequence[Item], made: Iterable[_Made]) -> Iterator[Item]:
        """The rows that operators left, as they were where they are as they were."""
        for number, text in made:
            item = items[number]
            if text is None:
                yield item
                continue
            prompt, completion = text
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
