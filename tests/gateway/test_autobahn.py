"""The Autobahn cases, driven by kosoku against an echo server on the wire; those for compression are left out."""

import kosoku

from tests.gateway.edges import Recorder, on_both_loops, served

CASES = 301
"""Cases there are without 12.* and 13.*: fewer would mean that the driver did not run them."""


@on_both_loops
async def test_every_case_passes() -> None:
    """Every case ends OK (or as Autobahn calls it non-strict or informational), its closing handshake too."""
    wire = {"message_bytes": 17 << 20, "soft_bytes": 1 << 20, "hard_bytes": 64 << 20}
    async with served(peer=lambda: Recorder(echo=True), wire_options=wire) as (edge, peers):
        host, port = edge.addresses[0]
        # raises FailureError, which names the cases, where one does not pass
        results = await kosoku.run_fuzzingclient(
            f"ws://{host}:{port}/ws", exclude_cases=["12.*", "13.*"], concurrency=8
        )
        assert len(results) == CASES
        assert [result.case_id for result in results if not result.passed] == []
        while not peers.empty():
            await peers.get_nowait().until_closed()
