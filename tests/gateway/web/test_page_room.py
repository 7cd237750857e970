"""The parts of pages that keep a race and a connection: what they say to what they are told, without a server."""

import pytest

from tests.gateway.web.conftest import Visit

ROOM = """
  const { Room } = await import("/assets/room.js");
  const said = [], refused = [];
  const send = (message) => said.push(message.t) > 0;
  const listener = { state() {}, progress() {}, ghost() {}, refused: ({ code }, lost) => refused.push([code, lost]) };
  const room = new Room({ send, who: () => ({}), listener });
  const state = (phase, version) =>
    room.heard({ t: "race.state", race: "a", version, phase, lane: 0, racers: [{ lane: 0 }] });
  const error = (code, retry = null) => room.heard({ t: "error", code, message: code, retry });
  const several = async (many) => {
    for (let i = 0; i < 3000 && said.length < many; i++) await new Promise((soon) => setTimeout(soon, 10));
  };
  room.join("a");
"""

ANSWERS = {
    "back while races stand still": (
        "state('running', 1); room.opened(false); error('away', 1); await several(3); return said;",
        ["race.join", "race.join", "race.join"],
    ),
    "back in a lobby that has begun without them": (
        "state('lobby', 1); room.opened(false); error('race_running'); return refused;",
        [["race_running", True]],
    ),
    "a test that waits for the races' time, which is its own to ask for again": (
        "state('running', 1); room.opened(true);"
        "return [room.heard({ t: 'error', code: 'away', message: '', retry: 1, ref: 1 }), ...refused];",
        [False],
    ),
    "another race, from a server that is full": (
        "state('settled', 1); room.again(); const dealt = error('full', 1); await several(3); return [dealt, ...said];",
        [False, "race.join", "race.again", "race.again"],
    ),
    "another race, asked for while the test was brought in": (
        "state('settled', 1); room.again(); room.opened(true); state('settled', 2); return said;",
        ["race.join", "race.again", "race.again"],
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_nobody_is_left_waiting_for_a_race(visit: Visit, case: str) -> None:
    """What is not answered yet is asked for again, and who is not in a race any more learns it."""
    visitor = await visit()
    does, wanted = ANSWERS[case]
    assert await visitor.page.evaluate(f"async () => {{ {ROOM} {does} }}") == wanted


async def test_who_types_on_over_a_dead_connection_notices_it(visit: Visit) -> None:
    """However often something is said meanwhile: what counts is since when nothing of it is answered."""
    visitor = await visit()
    lost_ms = await visitor.page.evaluate(
        """async () => {
          const { Connection } = await import("/assets/connection.js");
          let now = 0, lost = null;
          performance.now = () => now;
          const connection = new Connection({ url: "", token: () => null, listener: { lost: () => (lost = now) } });
          connection.open = () => {};
          connection.socket = { readyState: WebSocket.OPEN, send() {}, close() {} };
          connection.introduced = true;
          for (now = 1_000; now < 120_000 && lost === null; now += 1_000) {
            connection.send({ t: "keys" });
            if (now % 10_000 === 0) connection.beat();
          }
          connection.close();
          return lost;
        }"""
    )
    assert lost_ms == 60_000


async def test_a_finished_race_that_is_not_saved_is_brought_in_after_a_reload(visit: Visit) -> None:
    """By the page that it was typed in: else the race would begin anew under the same name."""
    visitor = await visit()
    kept = await visitor.page.evaluate(
        """async () => {
          const { Client } = await import("/assets/client.js");
          const { TestLog } = await import("/assets/log.js");
          const log = new TestLog({ session: "s", race: "a", mode: "words", text: "x" }, performance.now());
          log.add("x", performance.now());
          log.finished = 1;
          log.save();
          sessionStorage.setItem("typegate.current", "s");
          const said = [];
          const client = new Client({ url: "", listener: {} });
          client.connection.send = (message) => said.push(message.t) > 0;
          const taken = await client.takeUp(({ started }) => started.race === "a");
          client.onOpened();
          return [taken && taken.finished, ...said];
        }"""
    )
    assert kept == [1, "resume"]
