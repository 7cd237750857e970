"""Racers of the load on a real server: race after race, each result as its racer typed it, one end for all."""

from loadtest.chaos.races import told_by
from loadtest.client import ClientOptions
from loadtest.served import Served
from loadtest.share import Share, SwarmOptions

PATIENCE_S = 240.0


def test_racers_race_again_and_again_beside_a_typist() -> None:
    """Their connections are lost now and then: in the lobby, in the countdown, amid a race."""
    options = SwarmOptions(
        typists=11,
        racers=10,
        race_words=4,
        mix="short",
        rest_ms=200.0,
        drop_per_s=1.0,
        client=ClientOptions(retry_ms=(50.0, 400.0), keep=True),
    )
    with Served.in_temporary_folder() as server:
        share = Share(options, server.address)
        meters = share.meters
        try:
            share.begin(share.engine.now_ms)
            share.steady()
            until_ms = share.engine.now_ms + PATIENCE_S * 1000
            while share.engine.now_ms < until_ms and (meters.raced < 25 or not meters.resumed):
                share.turn_steady(share.engine.now_ms + 100)
            share.settle(PATIENCE_S)
            assert all(client.done for client in share.clients)
        finally:
            share.close()
    assert meters.raced >= 25
    ends = [end for told in told_by(share.clients).values() for end in told.values()]
    assert {True} == {end.lane in {row["lane"] for row in end.racers} for end in ends}
    assert sum(end.final for end in ends) > 0
    assert all(len(end.nodes) == 1 and min(end.nodes.values()) >= end.start_ms for end in ends), "one server told them"
    assert meters.resumed > 0
    assert meters.started == meters.stored == meters.checked, meters.notes
    assert (meters.mismatched, meters.errors["another table"], meters.errors["early"]) == (0, 0, 0), meters.notes
