"""What happens to a race, rule by rule."""

from dataclasses import replace

import pytest

from session.identity import bucket_of, bucket_of_user, created_at_ms
from session.options import TestOptions
from session.race import Race
from session.racing import (
    Back,
    Due,
    Finished,
    Join,
    Judged,
    Leave,
    Lost,
    Next,
    NodesGone,
    Ready,
    Start,
    change,
    due_ms,
)
from session.state import RacerState
from tests.session.races import GHOST, QUOTE, RULES, T0_MS, TIMED, Play, a_race, running

ANN, BOB, CY, DEE = 11, 12, 13, 14


# --- the lobby ---


def test_the_first_who_joins_is_host() -> None:
    play = Play()
    play.join(ANN, BOB)
    assert (play.phase, play.race.host, play.race.version) == ("lobby", 0, 2)
    assert [(racer.lane, racer.user, racer.name) for racer in play.race.racers] == [(0, ANN, "U11"), (1, BOB, "U12")]
    assert play.until() is None


def test_a_second_join_of_a_user_comes_back_to_the_lane() -> None:
    """The newest connection has it; the name stays."""
    play = Play()
    play.join(ANN, BOB)
    play.do(Join(ANN, "Another", "n2"))
    assert [(racer.user, racer.name, racer.node) for racer in play.race.racers] == [
        (ANN, "U11", "n2"),
        (BOB, "U12", "n1"),
    ]


def test_who_comes_back_to_the_lobby_by_a_chosen_name_is_called_that() -> None:
    """The own name is nobody else's; from the countdown on names stay."""
    play = Play()
    play.join(ANN, BOB)
    for name, called in (("Ada", "Ada"), ("Ada", "Ada"), ("U12", "U12 2")):
        play.do(Join(ANN, name, "n1", chosen=True))
        assert [racer.name for racer in play.race.racers] == [called, "U12"]
    play = running(ANN, BOB)
    play.do(Join(ANN, "Ada", "n1", chosen=True))
    assert play.race.racers[0].name == "U11"


def test_names_that_look_the_same_get_numbers_ghosts_included() -> None:
    play = Play(a_race(ghosts=(GHOST,)))
    for user in (ANN, BOB):
        play.do(Join(user, "MY BEST", "n1"))
    assert [racer.name for racer in play.race.racers] == ["MY BEST 2", "MY BEST 3", "My best"]


def test_a_full_race_takes_nobody_until_a_lane_is_free() -> None:
    play = Play(a_race(most=2))
    play.join(ANN, BOB)
    assert play.refused(Join(CY, "Cy", "n1")) == "race_full"
    play.do(Leave(ANN))
    play.join(CY)
    assert [(racer.lane, racer.user) for racer in play.race.racers] == [(0, CY), (1, BOB)]
    assert play.race.host == 1


def test_when_the_host_leaves_the_next_lane_is_host() -> None:
    play = Play()
    play.join(ANN, BOB, CY)
    play.do(Leave(ANN))
    assert play.race.host == 1
    play.join(DEE)
    play.do(Leave(BOB))
    assert play.race.host == 2
    play.do(Leave(CY))
    assert play.race.host == 0  # round the end


def test_the_last_who_leaves_ends_it() -> None:
    play = Play(a_race(public=True))
    play.join(ANN)
    assert play.race.open
    play.do(Leave(ANN))
    assert (play.phase, play.race.racers, play.final(), play.race.open) == ("settled", (), True, False)


def test_a_lobby_where_nothing_happens_is_closed() -> None:
    """Whatever anybody does there keeps it open."""
    play = Play()
    play.join(ANN, BOB)
    play.do(Ready(ANN), after_ms=599_999)
    assert play.do(Due(), after_ms=599_999).phase.value == "lobby"
    assert play.do(Due(), after_ms=1).phase.value == "settled"
    assert play.states() == ["waiting", "waiting"]
    assert play.final()
    assert play.refused(Join(CY, "Cy", "n1")) == "race_over"
    play.ignored(Leave(ANN))


def test_who_loses_the_connection_keeps_the_lane_for_a_while() -> None:
    play = Play()
    play.join(ANN, BOB)
    play.do(Lost(ANN, "n1"))
    assert (play.racer(ANN).shown, play.racer(ANN).state) == ("detached", RacerState.WAITING)
    play.do(Back(ANN, "n2"), after_ms=19_999)
    assert (play.racer(ANN).shown, play.racer(ANN).node) == ("waiting", "n2")
    play.do(Lost(ANN, "n2"))
    play.do(Due(), after_ms=20_000)
    assert play.race.racer_of(ANN) is None
    assert play.race.host == 1


def test_a_connection_that_another_has_replaced_is_not_missed() -> None:
    """Whichever node says so first."""
    play = Play()
    play.join(ANN)
    play.do(Join(ANN, "Ann", "n2"))
    play.ignored(Lost(ANN, "n1"))
    play.ignored(Lost(99, "n1"))
    play.do(Lost(ANN, "n2"))
    play.ignored(Lost(ANN, "n2"), after_ms=5)
    assert play.racer(ANN).away_ms == T0_MS


def test_nodes_that_are_gone_take_their_connections_along() -> None:
    play = running(ANN, BOB, CY)
    play.do(NodesGone(frozenset({"n11", "n13", "n99"})))
    assert play.states() == ["detached", "racing", "detached"]
    play.ignored(NodesGone(frozenset({"n11", "n99"})), after_ms=5)


# --- how it begins ---


def test_it_begins_three_seconds_after_all_are_ready() -> None:
    play = Play()
    play.join(ANN)
    play.do(Ready(ANN))
    assert play.until() is None  # alone
    play.join(BOB)
    play.do(Ready(BOB), after_ms=100)
    assert play.until() == T0_MS + 3_100
    play.do(Ready(BOB))
    assert play.until() == T0_MS + 3_100
    play.do(Ready(BOB, False), after_ms=2_000)
    assert play.until() is None
    play.do(Ready(BOB))
    play.due()
    assert play.phase == "countdown"
    assert (play.since_ms, play.race.start_ms, play.until()) == (5_100, T0_MS + 10_100, T0_MS + 10_100)
    assert play.states() == ["racing", "racing"]


def test_who_joins_unready_stops_that() -> None:
    play = Play()
    play.join(ANN, BOB)
    play.do(Ready(ANN))
    play.do(Ready(BOB))
    play.join(CY)
    assert play.until() is None
    play.do(Leave(CY))
    assert play.until() == play.now_ms + 3_000


def test_one_racer_and_a_ghost_are_enough() -> None:
    play = Play(a_race(most=1, ghosts=(GHOST,)))
    play.join(ANN)
    assert play.until() is None
    play.do(Ready(ANN))
    assert play.until() == play.now_ms + 3_000
    play.due()
    play.due()
    play.finish(ANN, ms=26_000)
    assert play.phase == "settled"
    assert [(racer.lane, racer.place) for racer in play.race.racers] == [(0, 2), (1, 1)]


def test_the_host_begins_without_waiting() -> None:
    play = Play()
    play.join(ANN)
    assert play.refused(Start(ANN)) == "options"
    play.join(BOB)
    assert play.refused(Start(BOB)) == "not_host"
    play.do(Start(ANN))
    assert play.phase == "countdown"
    assert play.refused(Start(ANN)) == "not_racing"
    assert play.refused(Ready(BOB)) == "not_racing"


def test_a_public_race_begins_a_while_after_the_second_came() -> None:
    play = Play(a_race(public=True))
    play.join(ANN)
    assert play.until() is None
    play.join(BOB)
    assert play.until() == T0_MS + 15_000
    play.do(Join(CY, "Cy", "n1"), after_ms=9_000)
    assert play.until() == T0_MS + 15_000
    play.do(Join(DEE, "Dee", "n1"), after_ms=3_000)
    assert play.until() == T0_MS + 17_000  # a little more for who came late
    play.do(Leave(DEE))
    play.do(Leave(CY))
    assert play.until() == T0_MS + 17_000
    play.do(Leave(BOB))
    assert play.until() is None
    play.join(BOB)
    play.due()
    assert (play.phase, play.since_ms) == ("countdown", 27_000)


def test_a_public_race_begins_sooner_where_all_are_ready_or_there() -> None:
    play = Play(a_race(public=True, most=3))
    play.join(ANN, BOB)
    play.do(Ready(ANN))
    play.do(Ready(BOB))
    assert play.until() == T0_MS + 3_000
    play.do(Join(CY, "Cy", "n1"), after_ms=1_000)
    assert play.until() == T0_MS + 4_000  # full
    for user in (ANN, BOB, CY):
        play.do(Ready(user))
    assert play.until() == T0_MS + 4_000


def test_a_public_race_is_not_put_off_for_ever() -> None:
    """Somebody who comes and goes makes the others wait once more as long as from the first, and no longer."""
    play = Play(a_race(public=True))
    play.join(ANN, BOB)
    began_ms = play.now_ms
    while play.phase == "lobby":
        play.do(Join(CY, "Cy", "n1"), after_ms=1_500)
        if play.phase == "lobby":
            play.do(Leave(CY), after_ms=1_500)
        assert play.now_ms - began_ms < 2 * RULES.public_ms + 3_000


def test_who_is_away_when_it_begins_may_come_back() -> None:
    play = Play()
    play.join(ANN, BOB)
    play.do(Lost(BOB, "n1"))
    play.do(Start(ANN))
    assert play.states() == ["racing", "detached"]
    play.do(Back(BOB, "n1"))
    assert play.states() == ["racing", "racing"]


def test_sessions_are_minted_with_the_countdown() -> None:
    """Each its own, of its user and the instant, and not to be guessed from what is known of the race."""
    play = Play(a_race(ghosts=(GHOST,)))
    play.join(ANN, BOB)
    other = Play(replace(play.race, salt=6))
    play.do(Start(ANN), after_ms=77)
    other.do(Start(ANN), after_ms=77)
    sessions = [play.racer(ANN).session, play.racer(BOB).session]
    assert None not in sessions
    assert len({*sessions, other.racer(ANN).session}) == 3
    session = play.racer(ANN).session
    assert session is not None
    assert created_at_ms(session) == T0_MS + 77
    assert bucket_of(session) == bucket_of_user(ANN)
    assert play.race.racers[-1].session == GHOST.session


def test_nobody_joins_once_it_has_begun() -> None:
    play = running(ANN, BOB)
    assert play.refused(Join(CY, "Cy", "n1")) == "race_running"
    play.do(Join(ANN, "Ann", "n5"))
    assert play.racer(ANN).node == "n5"


# --- running, closing ---


def test_the_start_instant_begins_it_and_a_limit_ends_it() -> None:
    """As long as the text takes at the slowest speed, at least a minute, at most an hour; a timed one its time."""
    for clusters, limit_ms in ((250, 750_000), (5, 60_000), (9_999, 3_600_000)):
        race = a_race()
        play = running(ANN, BOB, race=replace(race, text=replace(race.text, clusters=clusters)))
        assert play.phase == "running"
        assert play.until() == play.now_ms + limit_ms
        play.due()
        assert (play.phase, play.final(), play.states()) == ("settled", True, ["dnf", "dnf"])
    timed = running(ANN, BOB, race=a_race(TIMED))
    assert timed.until() == timed.now_ms + 45_000


@pytest.mark.parametrize(("ms", "grace_ms"), [(20_000, 15_000), (50_000, 25_000), (400_000, 60_000)])
def test_the_others_have_a_while_after_the_first(ms: int, grace_ms: int) -> None:
    play = running(ANN, BOB, CY)
    play.now_ms += ms
    play.finish(ANN, ms=ms)
    assert play.phase == "closing"
    assert play.until() == play.now_ms + grace_ms
    play.now_ms += 1_000
    play.finish(BOB, ms=ms + 1_000)
    assert play.until() == play.now_ms - 1_000 + grace_ms
    play.due()
    assert (play.phase, play.states()) == ("settled", ["finished", "finished", "dnf"])
    assert play.places() == [1, 2, None]


def test_it_is_over_when_nobody_races_any_more() -> None:
    play = running(ANN, BOB, CY)
    play.finish(ANN, ms=20_000)
    play.do(Leave(BOB))
    play.ignored(Leave(BOB))
    play.finish(CY, ms=21_000)
    assert (play.phase, play.states()) == ("settled", ["finished", "dnf", "finished"])


def test_it_is_over_when_all_have_left() -> None:
    """In the countdown too."""
    for waits in (0, 1):
        play = Play()
        play.join(ANN, BOB)
        play.do(Start(ANN))
        if waits:
            play.due()
        play.do(Leave(ANN))
        play.do(Leave(BOB))
        assert (play.phase, play.final()) == ("settled", True)


def test_who_is_detached_may_finish_until_it_is_closed() -> None:
    play = running(ANN, BOB, CY)
    play.do(Lost(ANN, "n11"))
    play.do(Lost(BOB, "n12"))
    play.finish(CY, ms=20_000)
    play.do(Back(ANN, "n9"))
    assert play.states() == ["racing", "detached", "finished"]
    play.finish(BOB, ms=21_000)
    play.due()
    assert play.states() == ["dnf", "finished", "finished"]
    play.do(Back(ANN, "n9"), after_ms=1)
    assert play.states() == ["dnf", "finished", "finished"]


def test_who_was_taken_for_gone_is_there_still_unless_they_have_come_elsewhere() -> None:
    """A node that hung learns of both at once: it takes back nobody who has gone on at another one since."""
    play = running(ANN, BOB)
    play.do(NodesGone(frozenset({"n11", "n12"})))
    play.do(Back(ANN, "n9"))
    play.ignored(Back(ANN, "n11", still=True))
    play.do(Back(BOB, "n12", still=True))
    assert [(racer.node, racer.away_ms, racer.shown) for racer in play.race.people] == [
        ("n9", None, "racing"),
        ("n12", None, "racing"),
    ]


def test_what_comes_too_late_or_twice_or_of_nobody_changes_nothing() -> None:
    play = running(ANN, BOB)
    play.finish(ANN, ms=20_000)
    before = play.race
    assert play.finish(ANN, ms=19_000) is before
    play.ignored(Finished(77, 1.0, 1.0, 1.0, 1.0, "ok", play.now_ms))
    play.ignored(Judged(1, "ok"))
    play.ignored(Judged(77, "ok"))
    play.ignored(Due())
    play.due()
    play.now_ms += 1
    assert play.finish(BOB, ms=40_000).racers[1].state is RacerState.DNF


@pytest.mark.parametrize("test", [QUOTE, TIMED], ids=["text", "timed"])
@pytest.mark.parametrize("first", ["result", "due"])
def test_a_result_counts_by_when_it_was_there(test: TestOptions, first: str) -> None:
    """The store was away for the rest of the race: who finished meanwhile has, whichever node was first to be back."""
    play = running(ANN, BOB, CY, race=a_race(test))
    start_ms = play.now_ms
    if test is QUOTE:
        play.finish(ANN, ms=9_000)
    end_ms = play.until()
    assert end_ms is not None
    play.now_ms = end_ms + 5_000
    if first == "due":
        play.do(Due())
        assert (play.phase, play.final()) == ("settled", False)
    if test is TIMED:
        play.finish(ANN, ms=30_000, wpm=90, at_ms=start_ms + 30_000)
    play.finish(BOB, ms=12_000, wpm=80, at_ms=end_ms)
    assert play.finish(CY, ms=12_000, wpm=100, at_ms=end_ms + 1).racers[2].state is RacerState.DNF
    assert (play.phase, play.final(), play.states()) == ("settled", False, ["finished", "finished", "dnf"])
    play.do(Judged(0, "ok"))
    play.do(Judged(1, "ok"))
    play.due()
    assert (play.final(), play.places()) == (True, [1, 2, None])
    assert play.finish(CY, ms=12_000, at_ms=start_ms + 12_000).racers[2].state is RacerState.DNF


def test_what_a_late_result_begins_and_ends() -> None:
    """The others have their while from when the first was there; the last one in time is waited for no longer."""
    play = running(ANN, BOB)
    play.now_ms += 10_000
    play.finish(ANN, ms=9_000, at_ms=play.now_ms - 1_000)
    assert (play.phase, play.until()) == ("closing", play.now_ms - 1_000 + 15_000)
    play.now_ms += 20_000
    play.finish(BOB, ms=12_000, at_ms=play.now_ms - 18_000)
    assert (play.phase, play.final(), play.states()) == ("settled", False, ["finished", "finished"])
    assert play.until() == play.now_ms + RULES.verdicts_ms
    play.do(Judged(0, "ok"))
    assert play.do(Judged(1, "ok")).final


def test_who_has_left_does_not_finish_late() -> None:
    """However late the race is settled."""
    play = running(ANN, BOB)
    start_ms = play.now_ms
    play.do(Leave(BOB))
    play.now_ms += 10_000_000
    play.do(Due())
    assert (play.phase, play.final()) == ("settled", False)
    play.finish(BOB, ms=5_000, at_ms=start_ms + 5_000)
    play.finish(ANN, ms=5_000, at_ms=start_ms + 5_000)
    assert play.places() == [1, None]


def test_a_race_settled_in_time_waits_for_nobody() -> None:
    """Who has not finished by then did not: places are final at once."""
    play = running(ANN, BOB)
    play.due()
    assert (play.final(), play.states()) == (True, ["dnf", "dnf"])


def test_a_result_before_the_start_is_none() -> None:
    play = Play()
    play.join(ANN, BOB)
    play.do(Start(ANN))
    play.ignored(Finished(0, 1.0, 1.0, 1.0, 1.0, "ok", play.now_ms))


@pytest.mark.parametrize("wpm_and_verdict", [(10.0, "ok"), (150.0, "void")], ids=["skipped", "void"])
def test_who_did_not_type_the_text_hurries_nobody(wpm_and_verdict: tuple[float, str]) -> None:
    """To be through in three seconds by one key a word, or by a program, does not end it for the others."""
    wpm, verdict = wpm_and_verdict
    play = running(ANN, BOB, CY)
    until_ms = play.until()
    play.finish(ANN, ms=3_000, wpm=wpm, verdict=verdict)
    assert (play.phase, play.until()) == ("running", until_ms)
    play.now_ms += 40_000
    play.finish(BOB, ms=40_000)
    assert (play.phase, play.until()) == ("closing", play.now_ms + 20_000)
    play.finish(CY, ms=41_000)
    assert play.places() == [None if verdict == "void" else 3, 1, 2]


def test_a_verdict_that_takes_the_first_one_s_result_gives_the_time_back() -> None:
    play = running(ANN, BOB, CY)
    until_ms = play.until()
    play.finish(ANN, ms=3_000)
    assert play.phase == "closing"
    play.do(Judged(0, "void"), after_ms=50)
    assert (play.phase, play.until()) == ("closing", until_ms)
    play.now_ms += 40_000
    play.finish(BOB, ms=40_000)
    assert play.until() == play.now_ms + 20_000
    play.do(Judged(1, "review"))
    assert play.until() == play.now_ms + 20_000


# --- settled ---


def test_places_are_provisional_until_the_last_verdict_or_for_ten_seconds() -> None:
    play = running(ANN, BOB)
    play.finish(ANN, ms=20_000)
    play.finish(BOB, ms=20_500)
    assert (play.final(), play.until()) == (False, play.now_ms + 10_000)
    play.do(Judged(1, "ok"))
    assert not play.final()
    play.do(Judged(0, "void"))
    assert play.final()
    assert play.places() == [None, 1]
    play.ignored(Judged(0, "ok"))

    play = running(ANN, BOB)
    play.finish(ANN, ms=20_000)
    play.do(Judged(0, "ok"))
    play.finish(BOB, ms=20_500)
    play.due()
    assert (play.final(), play.places()) == (True, [1, 2])
    play.ignored(Judged(1, "void"))
    assert due_ms(play.race, RULES) is None


def test_the_first_who_asks_for_another_race_names_it() -> None:
    play = running(ANN, BOB)
    assert play.refused(Next(ANN, "a" * 13)) == "not_racing"
    play.due()
    play.do(Next(ANN, "a" * 13))
    play.ignored(Next(BOB, "b" * 13))
    assert play.race.next == "a" * 13
    play.do(Next(BOB, "b" * 13, instead_of="a" * 13))
    play.ignored(Next(ANN, "c" * 13, instead_of="a" * 13))
    assert play.race.next == "b" * 13
    assert play.refused(Next(CY, "c" * 13)) == "not_racing"


@pytest.mark.parametrize("what", [Ready(CY), Start(CY), Leave(CY), Back(CY, "n1"), Next(CY, "a" * 13)])
def test_who_is_not_in_it_can_do_nothing(what: object) -> None:
    play = Play()
    play.join(ANN)
    assert play.refused(what) == "not_racing"  # type: ignore[arg-type]  # all are inputs


# --- time ---


def test_what_was_due_happens_first_whoever_comes() -> None:
    """Nodes that slept through it all find the race where it would be; a result after the end comes too late."""
    play = Play()
    play.join(ANN, BOB)
    play.do(Ready(ANN))
    play.do(Ready(BOB))
    play.do(Lost(ANN, "n1"), after_ms=4_000)
    assert (play.phase, play.states()) == ("countdown", ["detached", "racing"])
    play.do(Finished(1, 1.0, 1.0, 1.0, 1.0, "ok", play.now_ms + 10_000_000), after_ms=10_000_000)
    assert (play.phase, play.final(), play.states()) == ("settled", False, ["dnf", "dnf"])
    play.due()
    assert play.final()


def test_what_is_due_at_once_waits_for_no_other_input() -> None:
    """Where the rules leave no time, all happens in one step."""
    play = Play(rules=replace(RULES, ready_ms=0))
    play.join(ANN, BOB)
    play.do(Ready(ANN))
    assert play.do(Ready(BOB)).phase.value == "countdown"


def test_an_error_changes_nothing_not_even_what_was_due() -> None:
    play = Play()
    play.join(ANN, BOB)
    play.do(Start(ANN))
    assert play.refused(Join(CY, "Cy", "n1"), after_ms=60_000) == "race_running"
    assert play.phase == "countdown"


def test_a_change_back_is_none() -> None:
    """An input that comes to what there was writes nothing."""
    play = Play()
    play.join(ANN)
    play.ignored(Back(ANN, "n1"))
    after = change(play.race, Ready(ANN, False), now_ms=play.now_ms, rules=RULES)
    assert after is play.race
    assert isinstance(after, Race)


def test_whose_clock_runs_slow_has_the_time_of_the_race_s_clock() -> None:
    """Time and speed are by it; what was typed right is as it was."""
    play = running(ANN, BOB)
    play.do(Finished(0, 20_000.0, 150.0, 156.0, 97.0, "review", play.now_ms, late_ms=10_000.0))
    play.finish(BOB, ms=25_000)
    ann = play.racer(ANN)
    assert (ann.ms, ann.wpm, ann.raw) == (30_000, 100, 104)
    assert play.places() == [2, 1]
