"""Tests that were typed without a server."""

from dataclasses import replace
from typing import Any

import pytest

from scoring.slices import at_once
from session.identity import bucket_of, bucket_of_user, created_at_ms
from session.machine import TypingSession
from session.offline import OfflineTest
from session.options import SessionLimits, TestOptions
from session.passages import GENERATOR_VERSION, Material
from session.receipt import Forged, Ticket
from tests.session.play import EPOCH_MS, LIMITS, RING, USER, Player, material_for

WORDS_3 = TestOptions("words", count=3, language="en")
NOW_MS = EPOCH_MS + 3_600_000


def offline(player: Player, **changes: Any) -> OfflineTest:
    """What its client would tell of a test that was typed."""
    told = OfflineTest(
        user=USER,
        options=player.options,
        seed=player.seed,
        test_version=0,
        list_version=3,
        generator=GENERATOR_VERSION,
        started_ms=EPOCH_MS,
        events=tuple(player.log),
        holds=(),
    )
    return replace(told, **changes)


def typed(options: TestOptions = WORDS_3, *, keys: int | None = None) -> Player:
    player = Player(options)
    for key in player.material.text[:keys]:
        player.note(100, key)
    return player


def scored(test: OfflineTest, material: Material, limits: SessionLimits = LIMITS) -> TypingSession | str:
    return at_once(test.scoring(material, ring=RING, limits=limits, now_ms=5_000.0, epoch_ms=NOW_MS))


def test_it_has_the_figures_of_the_live_test() -> None:
    """The same scorer; but nothing of it was seen, and all the time since is not accounted for."""
    player = typed()
    player.send(0)
    live = player.session.settle(node="n")
    session = scored(offline(player, holds=(0, 80, 1, 90)), player.material)
    assert isinstance(session, TypingSession)
    result = session.settle(node="n")
    assert result.summary == live.summary
    assert (result.seen_live, result.slack_ms > 3_000_000) == (0, True)
    assert result.unseen_ms == result.summary.duration_ms
    assert (result.user, result.created_at_ms, result.language) == (USER, EPOCH_MS, "en")


def test_who_sends_it_again_meets_the_first_copy() -> None:
    """The same id and core at any time and by any key; another log, user or start is another test."""
    player = typed()
    test = offline(player)
    first, second = (scored(test, player.material) for _ in range(2))
    assert isinstance(first, TypingSession)
    assert isinstance(second, TypingSession)
    assert first.id == second.id
    assert first.settle(node="a").core_hash == second.settle(node="b").core_hash
    assert created_at_ms(first.id) == EPOCH_MS
    assert bucket_of(first.id) == bucket_of_user(USER)
    others = [
        offline(player, events=(player.log[0] + 1, *player.log[1:])),
        offline(player, user=USER + 1),
        offline(player, started_ms=EPOCH_MS + 1),
        offline(player, options=replace(WORDS_3, tags=("x",))),
    ]
    sessions = [scored(other, player.material) for other in others]
    ids = {first.id, *(session.id for session in sessions if isinstance(session, TypingSession))}
    assert len(ids) == 5


def test_its_ticket_opens_nothing() -> None:
    """No key has sealed it."""
    session = scored(offline(typed()), typed().material)
    assert isinstance(session, TypingSession)
    with pytest.raises(Forged):
        Ticket.open(RING, session.ticket)


@pytest.mark.parametrize("mode", ["time", "text", "zen", "quote"])
def test_every_mode(mode: str) -> None:
    """Ended by its text, by the clock, or as it stands."""
    options = {
        "time": TestOptions("time", seconds=2, language="en"),
        "text": TestOptions("text", text="a bc d"),
        "zen": TestOptions("zen"),
        "quote": TestOptions("quote", test=9),
    }[mode]
    player = typed(options) if mode != "zen" else Player(options)
    if mode == "zen":
        for key in "some words":
            player.note(90, key)
    session = scored(offline(player, test_version=2 * (mode == "quote")), player.material)
    assert isinstance(session, TypingSession)
    result = session.settle(node="n")
    assert result.mode == mode
    assert result.test == (9 if mode == "quote" else None)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"events": (1, "a", 2)}, "flat list"),
        ({"events": (1, 2)}, "a key is one typed grapheme"),
        ({"events": ("a", "a")}, "dt is a whole number"),
        ({"events": (0, "x"), "holds": (5, 1)}, "holds has"),
        ({"events": (0, "x")}, "not typed to its end"),
        ({"events": ()}, "not typed to its end"),
        ({"options": TestOptions("zen"), "events": ()}, "nothing was typed"),
    ],
)
def test_what_has_no_result(changes: dict[str, Any], told: str) -> None:
    """A sentence says why."""
    test = offline(typed(), **changes)
    why = scored(test, material_for(test.options))
    assert isinstance(why, str)
    assert told in why


def test_a_log_faster_than_anybody_types() -> None:
    """What closes a connection is no result here either."""
    player = Player(TestOptions("time", seconds=60, language="en"))
    for _ in range(3_000):
        player.note(1, "a")
    why = scored(offline(player), player.material)
    assert isinstance(why, str)
    assert "keys a second" in why


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"started_ms": NOW_MS + 300_001}, "in the future"),
        ({"started_ms": NOW_MS - LIMITS.ticket_ms - 1}, "for 7 days"),
        ({"events": (1, "a") * 30_001}, "at most 30000"),
        ({"started_ms": NOW_MS + 300_000}, None),
        ({}, None),
    ],
)
def test_what_comes_too_late_or_is_too_long(changes: dict[str, Any], told: str | None) -> None:
    test = offline(typed(keys=1), **changes)
    why = test.mistimed(epoch_ms=NOW_MS, limits=LIMITS) or test.refusal(limits=LIMITS)
    assert (told is None) == (why is None)
    assert why is None or told is None or told in why
