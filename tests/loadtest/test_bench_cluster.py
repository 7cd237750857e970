"""The bench of a cluster: the plan's arithmetic, what it reads, and each measure with a few people."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtest.bench.cluster.__main__ import PARTS, main, wanted_parts
from loadtest.bench.cluster.death import kill_under
from loadtest.bench.cluster.plan import Measured, Wanted, measured, plan, plan_part
from loadtest.bench.cluster.plant import Nodes
from loadtest.bench.cluster.rooms import race_in
from loadtest.bench.cluster.takeover import KEYS, move
from loadtest.bench.cluster.ticks import pushed, race_on
from loadtest.bench.rounds import Bench, Part
from loadtest.servers.haproxy import HAProxy
from loadtest.servers.redis import Redis

FOUND = Measured(
    publishes_per_way_s=100.0,
    in_bytes_per_room_way_s=1_000.0,
    out_bytes_per_in_byte=1.2,
    redis_us_per_publish=20.0,
    racer_us_per_s=600.0,
    racer_alone_us_per_s=400.0,
    typist_us_per_s=80.0,
    takeover_redis_us=200.0,
    takeover_nodes_ms=3.0,
)


def without_redis() -> str | None:
    missing = Redis.missing()
    return None if missing is None else f"{missing}; loadtest/servers/install installs it"


@pytest.fixture
def redis_there() -> None:
    if (why := without_redis()) is not None:
        pytest.skip(why)


def test_the_plan_is_its_formulas() -> None:
    """Two nodes: a room of five is on both but for one time in sixteen, by halves, and so on from there."""
    one = plan(FOUND, Wanted(nodes=2, tests=1_000, racing=0.5, back_s=10.0, network_bytes_per_s=1e6))
    assert one.rooms == 100
    assert one.spread == pytest.approx(1.9375)
    shared = 100 * 1.9375 * 0.9375 / 2
    assert one.publishes_per_s == pytest.approx(2 * 100)  # the rooms' ten times a second would be more
    assert one.in_bytes_per_s == pytest.approx(2 * shared * 1_000)
    assert one.takeovers_per_s == pytest.approx(50)
    assert one.shares["Redis, its one core"] == pytest.approx((200 * 20 + 50 * 200) / 1e6)
    assert one.shares["Redis' network"] == pytest.approx(2 * shared * 1_000 * 1.2 / 1e6)
    racing = 500 * 400 * (1 + 0.9375 * 0.5)
    assert one.shares["a node's core"] == pytest.approx((racing + 500 * 80 + 50 * 3_000) / 1e6 / 2)


def test_few_rooms_say_no_more_than_ten_times_a_second() -> None:
    """However often a node would say something to another if they shared more."""
    one = plan(FOUND, Wanted(nodes=2, tests=10, racing=1.0))
    assert one.publishes_per_s == pytest.approx(2 * 1.9375 * 0.9375 * 10)


def test_what_has_the_greatest_share_saturates_first() -> None:
    """And at so many times the load as its share goes into one."""
    one = plan(replace(FOUND, redis_us_per_publish=60.0), Wanted(racing=1.0))
    assert one.first == "Redis, its one core"
    assert one.publishes_per_s == 30 * 29 * 100
    assert one.times == pytest.approx(1 / one.shares[one.first])
    assert plan(FOUND, Wanted(racing=0.0)).publishes_per_s == 0
    assert plan(FOUND, Wanted(racing=0.0)).first == "a node's core"


def test_one_node_needs_no_bus() -> None:
    one = plan(FOUND, Wanted(nodes=1, tests=1_000))
    assert one.spread == pytest.approx(1.0)
    assert (one.publishes_per_s, one.takeovers_per_s) == (0.0, 0.0)
    assert one.first == "a node's core"


@pytest.mark.parametrize(
    "wrong", [{"nodes": 0}, {"tests": 0}, {"racing": 1.5}, {"back_s": 0.0}, {"network_bytes_per_s": 0.0}]
)
def test_no_plan_without_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="more"):
        Wanted(**wrong)  # type: ignore[arg-type]


def test_the_plan_says_what_was_not_measured() -> None:
    """It goes by (c), and what the others would add is named."""
    names = ("publishes_per_way_s", "in_bytes_per_room_way_s", "out_bytes_per_in_byte", "redis_us_per_publish")
    ticks = Part("", (), [], {**dict.fromkeys(names, 10.0), "node_us_per_racer_s": 500.0})
    with pytest.raises(RuntimeError, match="needs the figures of"):
        measured({})
    assert measured({"c": ticks}).racer_us_per_s == 500.0
    assert "left out: (d)" in plan_part({"c": ticks}).notes[-1]
    others = {
        "d": Part("", (), [], {"node_us_per_racer_s": 400.0}),
        "e": Part("", (), [], {"node_us_per_typist_s": 80.0}),
        "a": Part("", (), [], {"redis_us": 200.0, "node_ms": 3.0}),
    }
    assert "left out" not in plan_part({"c": ticks, **others}).notes[-1]


def test_parts_come_in_order_the_plan_last() -> None:
    assert wanted_parts("f, c,a") == ["a", "c", "f"]
    for wrong in ("x", "", "a,f"):
        with pytest.raises(ValueError, match=r"parts are|reckoned from"):
            wanted_parts(wrong)


def test_what_was_measured_is_written_and_what_failed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that fails costs no other, and the command says so by its exit code."""
    ticks = Part("ticks", ("what", "ms"), [["a tick", 25.0]], dict.fromkeys(Measured.__dataclass_fields__, 10.0))
    ticks.facts["node_us_per_racer_s"] = 500.0

    def fails(bench: Bench) -> Part:
        raise RuntimeError("Redis is not there")

    monkeypatch.setitem(PARTS, "a", fails)
    monkeypatch.setitem(PARTS, "c", lambda bench: ticks)
    answer = CliRunner().invoke(main, ["--quick", "--only", "a,c,f", "--out", str(tmp_path)])
    assert answer.exit_code == 1
    assert "part a failed: Redis is not there" in answer.output
    written = json.loads((tmp_path / "cluster.json").read_text())
    assert written["failed"] == {"a": "Redis is not there"}
    assert list(written["parts"]) == ["c", "f"]
    assert written["parts"]["f"]["plans"]["20% racing"]["first"] in (tmp_path / "cluster.md").read_text()


def test_an_unknown_part_is_refused() -> None:
    answer = CliRunner().invoke(main, ["--only", "a,z"])
    assert answer.exit_code == 2
    assert "parts are a, b, c, d, e, f" in answer.output


def test_what_redis_pushes_is_read_whole_or_not_at_all() -> None:
    """Whatever is cut off waits for the rest."""
    whole = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$4\r\na\r\nb\r\n"
    found = pushed(whole)
    assert found is not None
    assert found[0] == (b"subscribe", b"x", b"1")
    message = found[1]
    assert pushed(message) == ((b"message", b"x", b"a\r\nb"), b"")
    for end in range(len(message)):
        assert pushed(message[:end]) is None
    with pytest.raises(RuntimeError, match="NOAUTH"):
        pushed(b"-NOAUTH Authentication required.\r\n")


@pytest.mark.usefixtures("redis_there")
def test_takeovers_are_measured() -> None:
    """Each has its log at the second node in the end, however its former connection went."""
    with Nodes.running(2) as nodes:
        for standing in (False, True):
            moves = move(nodes, 3, 20.0, standing=standing)
            assert [times.n for times in (moves.to_ready, moves.to_resumed, moves.to_caught_up, moves.to_tick)] == [
                3
            ] * 4
            assert moves.resent == 3 * KEYS
            assert moves.to_ready.most_ms <= moves.to_resumed.most_ms <= moves.to_tick.most_ms


@pytest.mark.usefixtures("redis_there")
def test_races_are_measured_on_two_nodes_and_on_one() -> None:
    """All that is typed on the first node is seen on the second, and what is posted is heard."""
    with Nodes.running(2) as nodes:
        raced = race_on(nodes, 2, 2.0)
        alone = race_in(nodes, 2, 1.0)
    assert raced.missing == 0
    assert all(times.n > 0 for times in raced.times.values())
    assert raced.spent.publishes > 0
    assert raced.spent.out_bytes > raced.spent.in_bytes
    assert alone["racers"] == 10
    assert alone["told_per_racer_s"] > 0
    assert alone["cpu_percent"] > 0


@pytest.mark.usefixtures("redis_there")
def test_a_death_is_measured(tmp_path: Path) -> None:
    """Those of the node that dies are back at the other, and every result is as it was typed."""
    if (why := HAProxy.missing()) is not None:
        pytest.skip(f"{why}; loadtest/servers/install installs it")
    with Nodes.running(2) as nodes:
        killed = kill_under(nodes, tmp_path, 6, 12)
    assert killed.lost > 0
    assert killed.to_resumed.n >= killed.lost
    assert (killed.stored, killed.mismatched, killed.keys_lost) == (6, 0, 0), killed.notes
