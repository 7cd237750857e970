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
from typing import Any

from config.edge import EdgeOptions
from config.gateway import ConnectionOptions
from persistence.redis import RedisOptions
from persistence.stream.spool import Told
from session.race_record import RaceRecord
from session.settling import Finished
from tests.gateway.races.racers import node


async def main(folder: Path, url: str, prefix: str) -> None:
    redis = RedisOptions(url=url, prefix=prefix, call_ms=30_000)
    patient: dict[str, Any] = {  # its clients are in another process
        "server": EdgeOptions(port=0, head_limit_s=120),
        "connection": ConnectionOptions(starts_burst=1_000, auth_deadline_s=60),
    }
    async with node(folder, "b", redis=redis, **patient) as gateway:
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
