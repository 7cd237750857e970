"""A small server in the test's own process, of which nothing is left when it ends, whoever came last."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""One connection; it ends where its reader is at the end. Who has left early is no fault."""


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """Serve on a free port of 127.0.0.1, which is given. At the end all connections are broken, and waited for.

    Raises what a connection's serving raised.

    `asyncio.Server` waits for none: a balancer's check that came in the last moment would stay open, and be found by
    the garbage collector amid another test.
    """
    loop = asyncio.get_running_loop()
    tasks: dict[asyncio.Task[None], socket.socket] = {}
    faults: list[BaseException] = []

    async def one(connection: socket.socket) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        with suppress(OSError, EOFError):
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection)
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            try:
                await serve(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()

    def came() -> None:
        with suppress(BlockingIOError, ConnectionError):  # it has left again
            connection, _ = door.accept()
            connection.setblocking(False)
            task = loop.create_task(one(connection))
            tasks[task] = connection
            task.add_done_callback(over)

    def over(task: asyncio.Task[None]) -> None:
        del tasks[task]
        if not task.cancelled() and (fault := task.exception()) is not None:
            faults.append(fault)

    with socket.create_server(("127.0.0.1", 0)) as door:
        door.setblocking(False)
        loop.add_reader(door, came)
        try:
            yield door.getsockname()[1]
        finally:
            loop.remove_reader(door)
            for connection in tasks.values():
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            await asyncio.gather(*tasks, return_exceptions=True)
    if faults:
        raise faults[0]
