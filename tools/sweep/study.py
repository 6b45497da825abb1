"""The trials of a sweep, kept by Optuna in a database; its sampler draws, its pruner prunes.

What is drawn and who goes on is asked of a study in memory that holds what the database holds. So
both depend on the seed and the results so far and on nothing else: a sweep that was killed at any
moment goes on as if it had not been. A trial is added in one transaction, its values in it.
"""

import contextlib
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tools.errors import StageError, UserError
from tools.recipe.redact import redact
from tools.recipe.schema import Sweep
from tools.sweep import space
from tools.sweep.space import Values

if TYPE_CHECKING:
    import optuna

State = Literal["running", "done", "lost"]
REDRAWS = 50  # draws that were all tried before, after which the first untried setting is taken


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: from 0 on, in the order of drawing.
        values: what it is tried with, by full key.
        told: eval_loss at each rung it came to; infinite where the training broke.
        state: ``done`` came to the last rung, ``lost`` did not.
        reason: why it broke; empty where it did not.
    """

    number: int
    values: Values
    told: tuple[float, ...]
    state: State
    reason: str = ""

    @property
    def rank(self) -> tuple[int, float, int]:
        """Smaller is better: who came farther, then who was told less, then who was first."""
        told = [value for value in self.told if math.isfinite(value)]
        return -len(told), told[-1] if told else math.inf, self.number


class Study:
    """All trials.

    Args:
        sweep: the recipe's section.
        url: of the database.
        name: of the study in it.
        own: the recipe's own values; where they lie on the axes they are tried first.

    Raises:
        UserError: the database cannot be used.
    """

    def __init__(self, sweep: Sweep, url: str, name: str, own: Values | None = None) -> None:
        self._sweep = sweep
        self._own = own if own and space.has(sweep.axes, own) else None
        self._kinds = space.distributions(sweep.axes)
        self._place = url, name, not sweep.database
        self._stored = _stored(*self._place)

    def begin_anew(self) -> None:
        """Forget all trials where each one broke: what broke them may be mended by now."""
        known = self.trials()
        if len(known) < self._sweep.trials or self.best() or known[-1].state == "running":
            return
        import optuna

        optuna.delete_study(study_name=self._stored.study_name, storage=self._stored._storage)
        self._stored = _stored(*self._place)

    def trials(self) -> list[Trial]:
        """All of them, by number."""
        return [self._trial(one) for one in self._stored.get_trials(deepcopy=False)]

    def own(self) -> Trial | None:
        """The trial of the recipe's own values; None where they are not on the axes."""
        return next((one for one in self.trials() if one.values == self._own), None)

    def best(self) -> Trial | None:
        """The trial that came farthest with the least loss; None where none came to a rung."""
        ranked = min(self.trials(), key=lambda one: one.rank, default=None)
        return ranked if ranked and ranked.rank[0] else None

    def next(self) -> Trial | None:
        """The trial that runs, a new one where none does, or None when all are made."""
        known = self.trials()
        for one in known:
            if one.state == "running":
                return one
        if len(known) >= self._sweep.trials:
            return None
        self._add(self._drawn(known), "RUNNING")
        return self.trials()[-1]

    def tell(self, number: int, rung: int, loss: float) -> bool:
        """Keep what a trial came to at a rung; whether it goes on from there.

        Args:
            number: of the trial, which runs.
            rung: from 0 on; one that was told before keeps what it was told.
            loss: eval_loss.
        """
        if rung == len(self.trials()[number].told):
            stored = self._stored.get_trials(deepcopy=False)[number]
            storage = self._stored._storage
            storage.set_trial_intermediate_value(stored._trial_id, rung, loss)
        trial = self.trials()[number]
        promoted = self._promoted(trial, rung)
        if promoted and rung + 1 < self._sweep.rungs:
            return True
        self._end(number, "COMPLETE" if promoted else "PRUNED", trial.told[rung])
        return False

    def lose(self, number: int, reason: str) -> None:
        """End a trial whose training broke: as bad as can be, so that its like is drawn less."""
        rung = len(self.trials()[number].told)
        stored = self._stored.get_trials(deepcopy=False)[number]
        storage = self._stored._storage
        storage.set_trial_user_attr(stored._trial_id, "reason", reason)
        storage.set_trial_intermediate_value(stored._trial_id, rung, math.inf)
        self._end(number, "PRUNED", math.inf)

    def note(self, name: str, value: Any) -> Any:
        """Keep a value with the study, or give the one that is kept already."""
        if name not in self._stored.user_attrs:
            self._stored.set_user_attr(name, value)
        return self._stored.user_attrs[name]

    def told_at(self, elapsed: float) -> None:
        """Keep when trials began and came to their rungs, of those of which it is not kept yet.

        Args:
            elapsed: seconds that the sweep has used by now.
        """
        kept = self._stored.user_attrs
        for one in self.trials():
            for name in (f"began {one.number}", *self._rungs(one)):
                if name not in kept:
                    self._stored.set_user_attr(name, elapsed)

    def seconds(self, trial: Trial) -> list[float]:
        """What a trial had used at each rung that it was told of."""
        kept = self._stored.user_attrs
        began = kept.get(f"began {trial.number}", 0.0)
        return [round(kept[name] - began, 1) for name in self._rungs(trial) if name in kept]

    def _rungs(self, trial: Trial) -> list[str]:
        return [f"told {trial.number} {rung}" for rung in range(len(trial.told))]

    def kept(self, name: str) -> Any:
        """A value that ``note`` kept; None where it did not."""
        return self._stored.user_attrs.get(name)

    def _drawn(self, known: Sequence[Trial]) -> Values:
        """The values of the next trial."""
        tried = [one.values for one in known]
        axes = self._sweep.axes
        if not known and self._own:
            return self._own
        if self._sweep.sampler == "grid":
            order = list(space.combinations(axes))
            random.Random(self._sweep.seed).shuffle(order)
            return next(one for one in order if one not in tried)
        for again in range(REDRAWS):
            # A seed for each trial: Optuna's generator does not outlive this process.
            seed = self._sweep.seed + 1000 * again + len(known)
            study = self._copy(known, self._sampler(seed))
            values = space.read(axes, study.ask(self._kinds).params)
            if values not in tried:
                return values
        return next((one for one in space.combinations(axes) if one not in tried), values)

    def _sampler(self, seed: int) -> "optuna.samplers.BaseSampler":
        from optuna import samplers

        if self._sweep.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        # Optuna's own ten trials at random would be all of a short sweep.
        return samplers.TPESampler(seed=seed, n_startup_trials=max(3, self._sweep.trials // 3))

    def _promoted(self, trial: Trial, rung: int) -> bool:
        """Whether a trial is among the best one in ``keep`` of those that came to this rung."""
        if not math.isfinite(trial.told[rung]):
            return False
        before = [one for one in self.trials() if one.number < trial.number]
        last = Trial(trial.number, trial.values, trial.told[: rung + 1], "running")
        study = self._copy([*before, last])
        import optuna

        running = study.get_trials(deepcopy=False)[-1]
        return not optuna.trial.Trial(study, running._trial_id).should_prune()

    def _copy(
        self, trials: Sequence[Trial], sampler: "optuna.samplers.BaseSampler | None" = None
    ) -> "optuna.Study":
        """A study in memory in which the trials climbed as they did."""
        import optuna

        pruner = optuna.pruners.SuccessiveHalvingPruner(1, self._sweep.keep, 0)
        study = optuna.create_study(
            sampler=sampler or optuna.samplers.RandomSampler(0), pruner=pruner
        )
        for one in trials:
            study.add_trial(self._frozen(one.values, "RUNNING"))
            frozen = study.get_trials(deepcopy=False)[-1]
            running = optuna.trial.Trial(study, frozen._trial_id)
            for rung, loss in enumerate(one.told):
                running.report(loss, self._sweep.keep**rung)
                if (one.state, rung + 1) != ("running", len(one.told)):
                    running.should_prune()  # by which Optuna notes that it came there
            if one.state == "done":
                study.tell(running, one.told[-1])
            elif one.state == "lost":
                study.tell(running, state=optuna.trial.TrialState.PRUNED)
        return study

    def _add(self, values: Values, state: str) -> None:
        self._stored.add_trial(self._frozen(values, state))

    def _frozen(self, values: Values, state: str) -> "optuna.trial.FrozenTrial":
        import optuna

        return optuna.create_trial(
            state=optuna.trial.TrialState[state],
            params=space.params(self._sweep.axes, values),
            distributions=self._kinds,
        )

    def _end(self, number: int, state: str, loss: float) -> None:
        import optuna

        stored = self._stored.get_trials(deepcopy=False)[number]
        storage = self._stored._storage
        final = [loss] if state == "COMPLETE" else None
        if not stored.state.is_finished():
            storage.set_trial_state_values(stored._trial_id, optuna.trial.TrialState[state], final)

    def _trial(self, stored: "optuna.trial.FrozenTrial") -> Trial:
        told = stored.intermediate_values
        return Trial(
            stored.number,
            space.read(self._sweep.axes, stored.params),
            tuple(told[rung] for rung in sorted(told)),
            {"RUNNING": "running", "COMPLETE": "done"}.get(stored.state.name, "lost"),  # type: ignore[arg-type]
            str(stored.user_attrs.get("reason", "")),
        )


@contextlib.contextmanager
def reachable() -> Iterator[None]:
    """Say so where the database is lost on the way.

    Raises:
        StageError: it is; what was told before is in it.
    """
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except StorageInternalError as error:
        raise StageError(
            f"sweep.database: {_first_line(error.__cause__ or error)}; start the database or free "
            "its disk, and the same command goes on"
        ) from None


def _stored(url: str, name: str, own: bool) -> "optuna.Study":
    """The study in a database; ``own``: a file of the run folder, not a user's ``database``."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(storage=url, study_name=name, load_if_exists=True)
    # Whatever the database's driver raises, or that there is none.
    except Exception as error:
        said = _first_line(error)
        file = url.removeprefix("sqlite:///")
        if own:
            raise UserError(
                f"{file}: {said}; free the disk, or remove the file: then the trials are made anew"
            ) from None
        raise UserError(
            f"sweep.database: {said}; start the database, install its driver with "
            ".venv/bin/pip, or leave the key out: then a file in the run folder is used"
        ) from None


def _first_line(error: BaseException) -> str:
    """What a driver says; it may quote the URL, and the URL a password."""
    return redact((str(error).splitlines() or [type(error).__name__])[0])
