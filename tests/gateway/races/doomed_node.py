"""A node that kills itself when it is to spool a race's record: the subject of `test_recording`.

    python -m tests.gateway.races.doomed_node FOLDER REDIS PREFIX

It is node `b` of those in FOLDER, and prints its address. So it is gone right after the compare-and-set that made a
race's places final, with nothing written, flushed or said.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from persistence.redis import RedisOptions
from persistence.stream.spool import Told
from session.race_record import RaceRecord
from session.settling import Finished
from tests.gateway.races.racers import node


async def main(folder: Path, url: str, prefix: str) -> None:
    async with node(folder, "b", redis=RedisOptions(url=url, prefix=prefix)) as gateway:
        submit = gateway.hub.spool.submit

        def doomed(result: Finished | RaceRecord, told: Told) -> None:
            if isinstance(result, RaceRecord):
                os.kill(os.getpid(), signal.SIGKILL)
            submit(result, told)

        gateway.hub.spool.submit = doomed  # type: ignore[method-assign]  # that is its fate
        os.write(1, gateway.url.encode() + b"\n")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
