"""An import from beginning to end: tests, rows that were bad before, changed rows, new rows, and the verification.

Each step goes by chunks, and a chunk that was done is not done again. The old installation may go on meanwhile: a run
ends at the id that was the last when it began, and the next run takes up what has come since.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from persistence.catalogue import Catalogue, NewTest, Shelf
from persistence.catalogue.imports.checking import PassageCheck, RowRules
from persistence.catalogue.imports.importing import DEFAULT_CATEGORY
from persistence.catalogue.imports.rows import BadRow, PassageRow
from persistence.catalogue.versions import may_be_given
from persistence.errors import StoreError
from persistence.importing.converting import Conversion, Converted, ImportRules
from persistence.importing.source import OldRow, OldSite, OldTable
from persistence.importing.target import Fault, New, Target
from persistence.importing.values import Bad
from scoring.text import TextLimits

__all__ = ["Counts", "Differences", "Importing", "Trial", "try_out"]

CHUNK: Final = 2_000
"""Rows read and written at once."""
_VERIFIED_AT_ONCE: Final = 10_000
_MOST_IN_RANGE: Final = 1_000_000
"""Rows that a range of as many may have by the time it is looked at more closely."""
_NAMED: Final = 10
"""Ids that are named of each kind of difference."""
_MOST_KINDS: Final = 1_000
_SAMPLED: Final = 100_000
_PASSAGE_FIELDS: Final = ("title", "text", "category", "difficulty", "language", "source")

Progress = Callable[[str, int, int], None]
"""Told the step, the rows done, and of how many."""


@dataclass(slots=True)
class Counts:
    """What a run has done to rows of one table."""

    new: int = 0
    changed: int = 0
    bad: int = 0
    """Those that there are after it."""


@dataclass(slots=True)
class Differences:
    """What a verification has found, over all results up to the last that an import has read."""

    rows: int = 0
    """Old rows that were compared."""
    tests: int = 0
    """Old tests that were compared."""
    kinds: dict[str, list[int]] = field(default_factory=dict)
    """Kind of a difference: how often, then some ids."""

    def note(self, kind: str, ids: Sequence[int]) -> None:
        """Take down rows that differ."""
        if ids:
            known = self.kinds.setdefault(kind, [0])
            known[0] += len(ids)
            known += sorted(ids)[: _NAMED + 1 - len(known)]

    @property
    def serious(self) -> bool:
        """Whether anything differs that does not come of the old place's going on."""
        return bool(self.kinds.keys() - {CHANGED, GONE})

    @property
    def behind(self) -> bool:
        """Whether another run would find something changed at the old place."""
        return CHANGED in self.kinds

    def __bool__(self) -> bool:
        return bool(self.kinds)


MISSING: Final = "not imported"
CHANGED: Final = "changed at the old place since they were imported"
TWICE: Final = "imported twice"
GONE: Final = "no longer at the old place, and still here"
LOST: Final = "imported, and not in the store"
ALTERED: Final = "in the store, but not as they were imported"
OLD_TESTS: Final = "tests that are not in the catalogue as they are at the old place"
_MENDED: Final = (MISSING, CHANGED, TWICE)


class Importing:
    """An import, whose source and target are open. `now_ms` is the wall clock (epoch)."""

    def __init__(
        self,
        site: OldSite,
        target: Target,
        catalogue: Catalogue,
        rules: ImportRules,
        *,
        now_ms: int,
        chunk: int = CHUNK,
        progress: Progress = lambda step, done, total: None,
    ) -> None:
        self._site = site
        self._target = target
        self._catalogue = catalogue
        self._rules = rules
        self._now_ms = now_ms
        self._chunk = chunk
        self._progress = progress
        self._conversion = Conversion(rules, now_ms=now_ms, version_of=lambda test: version_of(catalogue.shelf, test))
        self.tests = Counts()
        self.results = Counts()

    async def run(self, *, verify: bool, restore: bool) -> Differences | None:
        """Import what has not been imported; what still differs then, where that is to be verified.

        `restore`: write again what is no longer in the store as it was written. Raises `StoreError`; run again, it goes
        on where it was.
        """
        await self._target.begin(self._site.address, str(self._rules))
        await self._take_tests()
        changed_to = await self._site.changed_to()
        await self._take_bad_again()
        await self._take_changed()
        await self._take_new()
        differences = await self.verify(mend=True, restore=restore) if verify else None
        self.results.bad = await self._target.count_faults("test_results")  # some were met several times
        await self._target.finish(changed_to)
        return differences

    # -- tests ---------------------------------------------------------------------------------------------------

    async def _take_tests(self) -> None:
        """Put all tests into the catalogue; it knows which of them are new."""
        total, last = await self._site.bounds(self._site.tests, None)
        done = 0
        bad: set[int] = set()
        async for rows in self._pages(self._site.tests, None, last):
            good, faults = convert_tests(self._site.tests, rows, self._rules, self._catalogue.shelf)
            added = await self._catalogue.add(list(good.values()), created_at_ms=self._now_ms)
            await self._target.advance(table="tests", faults=faults, mended=good)
            self.tests.new += added.new
            self.tests.changed += added.changed
            self.tests.bad += len(faults)
            bad |= {fault.id for fault in faults}
            done += len(rows)
            self._progress("tests", done, total)
        above: int | None = None
        while kept := await self._target.faults("tests", above=above, limit=self._chunk):
            above = kept[-1].id
            await self._target.advance(table="tests", mended=[fault.id for fault in kept if fault.id not in bad])

    # -- results -------------------------------------------------------------------------------------------------

    async def _take_bad_again(self) -> None:
        """Try rows again that were bad before."""
        total = await self._target.count_faults("test_results")
        done, last = 0, None
        while True:
            faults = await self._target.faults("test_results", above=last, limit=self._chunk)
            if not faults:
                return
            last = faults[-1].id
            rows = await self._site.rows(self._site.results, [fault.id for fault in faults])
            await self._take(rows, again=True)
            there = {row.id for row in rows}
            await self._target.advance(
                table="test_results", mended=[fault.id for fault in faults if fault.id not in there]
            )
            done += len(faults)
            self._progress("rows that were bad before", done, total)

    async def _take_changed(self) -> None:
        """Read rows again that were changed since the last run, where the old place tells."""
        state = await self._target.state()
        assert state is not None, "it was begun"
        if state.changed_to is None or state.done_to is None or not self._site.results.updated_at:
            return
        done, above = 0, None
        while True:
            seen = await self._site.checksums(
                self._site.results, above, state.done_to, limit=_VERIFIED_AT_ONCE, changed_since=state.changed_to
            )
            known = await self._target.known(list(seen)) if seen else {}
            ids = [id_ for id_, checksum in seen.items() if [one.seen for one in known.get(id_, ())] != [checksum]]
            for some in _parts(ids, self._chunk):
                await self._take(await self._site.rows(self._site.results, some))
            done += len(seen)
            self._progress("changed rows", done, 0)
            if len(seen) < _VERIFIED_AT_ONCE:
                return
            above = max(seen)

    async def _take_new(self) -> None:
        """Read the rows that no run has read."""
        state = await self._target.state()
        assert state is not None, "it was begun"
        total, last = await self._site.bounds(self._site.results, state.done_to)
        done = 0
        self._progress("results", 0, total)
        async for rows in self._pages(self._site.results, state.done_to, last):
            await self._take(rows, done_to=rows[-1].id)
            done += len(rows)
            self._progress("results", done, total)

    async def _pages(self, table: OldTable, above: int | None, to: int | None) -> AsyncIterator[list[OldRow]]:
        limit = min(self._chunk, table.at_once)
        while to is not None:
            rows = await self._site.page(table, above=above, to=to, limit=limit)
            if rows:
                yield rows
            if len(rows) < limit:
                return
            above = rows[-1].id

    async def _take(self, rows: Sequence[OldRow], *, done_to: int | None = None, again: bool = False) -> None:
        """Import a chunk: what is new or has changed is written, what is bad is kept apart.

        `again`: rows that there is a reason to read again, whether or not they have changed since they were read.
        """
        known = await self._target.known([row.id for row in rows]) if rows else {}
        new: list[New] = []
        faults: list[Fault] = []
        seen: dict[int, int] = {}
        counts = self.results
        for row in rows:
            before = known.get(row.id, [])
            if len(before) == 1 and before[0].seen == row.seen and not again:
                continue
            try:
                new.append(New(row.id, row.seen, self._converted(row)))
            except Bad as why:
                # what was imported of it before stays: it was right once
                faults.append(fault_of(self._site.results, row, why, imported=bool(before)))
                if before:
                    seen[row.id] = row.seen
            else:
                counts.changed += bool(before)
                counts.new += not before
        if new:
            await self._target.write(new, known)
        if seen:
            await self._target.see(seen, known)
        if faults or again or done_to is not None:
            await self._target.advance(
                table="test_results",
                faults=faults,
                mended={row.id for row in rows} - {fault.id for fault in faults} if again else (),
                done_to=done_to,
            )

    def _converted(self, row: OldRow) -> Converted:
        return self._conversion.result(row.id, self._site.results.fields(row))

    # -- verification --------------------------------------------------------------------------------------------

    async def verify(self, *, mend: bool = False, restore: bool = False) -> Differences:
        """Compare counts and checksums: the old rows with what is known of them, and that with what is in the store.

        `mend`: import what is missing or has changed meanwhile; `restore`: also what is not in the store as it was.
        """
        found = Differences()
        state = await self._target.state()
        if state is None:
            raise StoreError(f"nothing was imported from {self._rules.source!r}", retriable=False)
        await self._verify_tests(found)
        total, _ = await self._site.bounds(self._site.results, None)
        above: int | None = None
        while state.done_to is not None and above != state.done_to:
            to = await self._verify_range(found, above, state.done_to, mend=mend, restore=restore)
            above = to
            self._progress("verified", min(found.rows, total), total)
        return found

    async def _verify_range(
        self, found: Differences, above: int | None, done_to: int, *, mend: bool, restore: bool
    ) -> int:
        """Compare a range, and mend it; its last id."""
        site, target = self._site, self._target
        sums, to = await site.sums(site.results, above, _VERIFIED_AT_ONCE, done_to)
        least = await target.last_of(above, to, limit=2 * _VERIFIED_AT_ONCE)
        if least < to:  # of rows that are no longer at the old place there may be any number
            to = least
            sums, _ = await site.sums(site.results, above, _VERIFIED_AT_ONCE, to)
        found.rows += sums.rows
        differing: dict[str, list[int]] = {}
        if sums != await target.sums(above, to):
            differing = await self._differing(above, to)
            ids = sorted(id_ for kind in _MENDED for id_ in differing.get(kind, ()))
            if mend and ids:
                for some in _parts(ids, self._chunk):
                    await self._take(await site.rows(site.results, some), again=True)
                differing = await self._differing(above, to)
        unlike = await target.unlike(above, to)
        if restore and unlike:
            ids = sorted(one.old_id for one in unlike)
            for some in _parts(ids, self._chunk):
                await target.forget(some)
                await self._take(await site.rows(site.results, some), again=True)
            unlike = await target.unlike(above, to)
        for kind, ids in differing.items():
            found.note(kind, ids)
        found.note(LOST, [one.old_id for one in unlike if one.lost])
        found.note(ALTERED, [one.old_id for one in unlike if not one.lost])
        return to

    async def _differing(self, above: int | None, to: int) -> dict[str, list[int]]:
        there = await self._site.checksums(self._site.results, above, to, limit=_MOST_IN_RANGE)
        here = await self._target.entries(above, to)
        return {
            MISSING: [id_ for id_ in there if id_ not in here],
            CHANGED: [id_ for id_, seen in here.items() if len(seen) == 1 and there.get(id_, seen[0]) != seen[0]],
            TWICE: [id_ for id_, seen in here.items() if len(seen) > 1 and id_ in there],
            GONE: [id_ for id_ in here if id_ not in there],
        }

    async def _verify_tests(self, found: Differences) -> None:
        table = self._site.tests
        _, last = await self._site.bounds(table, None)
        shelf = self._catalogue.shelf
        async for rows in self._pages(table, None, last):
            good, _ = convert_tests(table, rows, self._rules, shelf)
            found.tests += len(rows)
            found.note(OLD_TESTS, [id_ for id_, test in good.items() if not _is_there(test, shelf)])


@dataclass(slots=True)
class Trial:
    """What an import would do."""

    tests: Counts = field(default_factory=Counts)
    results: Counts = field(default_factory=Counts)
    kinds: dict[str, int] = field(default_factory=dict)
    """Results by mode and verdict."""
    reasons: dict[str, int] = field(default_factory=dict)
    """What is wrong with rows, without the values."""
    figures: dict[str, list[float]] = field(default_factory=lambda: {"wpm": [], "accuracy": [], "seconds": []})
    """Speed, accuracy and seconds of good results, or of a sample of them."""
    faults: list[Fault] = field(default_factory=list)
    unknown_tests: int = 0
    """Results that name a test which neither the old table nor the catalogue has."""


async def try_out(
    site: OldSite,
    shelf: Shelf,
    rules: ImportRules,
    *,
    now_ms: int,
    most_faults: int = 10_000,
    progress: Progress = lambda step, done, total: None,
) -> Trial:
    """Read everything and write nothing."""
    trial = Trial()
    chance = Random(1)
    tests: set[int] = set()
    conversion = Conversion(rules, now_ms=now_ms, version_of=lambda test: version_of(shelf, test))

    def refuse(fault: Fault, counts: Counts) -> None:
        counts.bad += 1
        if len(trial.faults) < most_faults:
            trial.faults.append(fault)
        kind = f"{fault.table}: {_kind_of(fault.reason)}"
        if kind in trial.reasons or len(trial.reasons) < _MOST_KINDS:
            trial.reasons[kind] = trial.reasons.get(kind, 0) + 1

    for table in (site.tests, site.results):
        total, last = await site.bounds(table, None)
        above, done, limit = None, 0, min(CHUNK, table.at_once)
        while last is not None:
            rows = await site.page(table, above=above, to=last, limit=limit)
            if table is site.tests:
                good, faults = convert_tests(table, rows, rules, shelf)
                tests |= good.keys()
                trial.tests.new += len(good)
                for fault in faults:
                    refuse(fault, trial.tests)
            else:
                for row in rows:
                    try:
                        one = conversion.result(row.id, table.fields(row))
                    except Bad as why:
                        refuse(fault_of(table, row, why), trial.results)
                        continue
                    trial.results.new += 1
                    result = one.result
                    kind = f"{result.mode}, {result.verdict}{', on a board' if one.board is not None else ''}"
                    trial.kinds[kind] = trial.kinds.get(kind, 0) + 1
                    trial.unknown_tests += (
                        result.test is not None and result.test not in tests and (not result.test_version)
                    )
                    # a sample, where they are many
                    place = (
                        chance.randrange(trial.results.new) if trial.results.new > _SAMPLED else trial.results.new - 1
                    )
                    summary = result.summary
                    figures = (summary.wpm, summary.acc, summary.duration_ms / 1000)
                    for values, value in zip(trial.figures.values(), figures, strict=True):
                        if place < _SAMPLED:
                            values[place : place + 1] = [value]
            done += len(rows)
            progress(table.name, done, total)
            if len(rows) < limit:
                break
            above = rows[-1].id
    return trial


def convert_tests(
    table: OldTable, rows: Iterable[OldRow], rules: ImportRules, shelf: Shelf
) -> tuple[dict[int, NewTest], list[Fault]]:
    """The catalogue's tests that old rows are, by their ids, and what is wrong with the others.

    They keep their ids. Two may have the same text: results name both.
    """
    check = RowRules(
        {"language": rules.language, "category": DEFAULT_CATEGORY},
        TextLimits(),
        f"import-{rules.source}",
        lambda test: may_be_given(test, shelf),
    )
    good: dict[int, NewTest] = {}
    faults: list[Fault] = []
    for row in rows:
        try:
            found = table.fields(row)
            if "deleted" in found and found["deleted"] not in (0, False, "0", "false"):
                raise Bad("the test", "was deleted at the old place")
            fields: dict[str, object] = {name: found[name] for name in _PASSAGE_FIELDS if name in found}
            test = PassageCheck(check).check(PassageRow(row.id, None, {"id": row.id, **fields}))
            if not isinstance(test, NewTest):
                raise Bad("the test", "; ".join(_told(bad) for bad in test))
            good[row.id] = test
        except Bad as why:
            faults.append(fault_of(table, row, why))
    return good, faults


def fault_of(table: OldTable, row: OldRow, why: Bad, *, imported: bool = False) -> Fault:
    """A bad row, as it is kept and reported."""
    reason = str(why).encode("utf-8", "backslashreplace").decode()
    return Fault(table.name, row.id, row.seen, reason, table.excerpt(row), imported)


def version_of(shelf: Shelf, test_id: int) -> int | None:
    """The present version of a test; None where there is none."""
    test = shelf.test(test_id)
    return None if test is None else test.version


def _parts(ids: Sequence[int], at_once: int) -> Iterable[Sequence[int]]:
    for start in range(0, len(ids), at_once):
        yield ids[start : start + at_once]


def _is_there(test: NewTest, shelf: Shelf) -> bool:
    present = None if test.id is None else shelf.test(test.id)
    return present is not None and (present.title, present.text, present.language, present.category) == (
        test.title,
        test.text,
        test.language,
        test.category,
    )


def _told(bad: BadRow) -> str:
    return f"{bad.field or 'it'} {bad.problem}; allowed: {bad.allowed}"


def _kind_of(reason: str) -> str:
    """A reason without its value, so that like ones are counted together."""
    head, _, allowed = reason.partition("; allowed: ")
    what, is_, _ = head.partition(" is ")
    return f"{what} is not {allowed}" if is_ and allowed else head
