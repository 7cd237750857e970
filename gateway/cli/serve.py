"""`typegate serve`: the server."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.options import Failed, Unstartable, examples, read_settings, servable, settings_flags

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.app import Gateway as Server

__all__ = ["serve"]


@click.command(
    epilog=examples(
        "typegate serve",
        "typegate serve --host 0.0.0.0 --port 443 --tls-cert chain.pem --tls-key key.pem",
        "typegate serve --data /var/lib/typegate --log-format json",
        "typegate serve --workers 4               four processes on one port; they need a Redis",
        "TYPEGATE_AUTH_GUESTS=false typegate serve --config typegate.toml",
    )
)
@settings_flags
@click.option("--host", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 for all [127.0.0.1].")
@click.option("--port", type=int, metavar="PORT", help="Port of page, API and WebSocket; 0: a free one [8080].")
@click.option("--admin-port", type=int, metavar="PORT", help="Port of /metrics and /readyz; 0: a free one [9080].")
@click.option("--admin/--no-admin", default=None, help="Whether there is an admin port [--admin].")
@click.option("--node", metavar="NAME", help="This node's name in results and metrics [the host's].")
@click.option("--tls-cert", type=click.Path(path_type=Path), metavar="FILE", help="Certificate chain, PEM.")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="Its private key, PEM.")
@click.option("--workers", type=int, metavar="N", help="Processes that serve, one for each core [1].")
@click.option(
    "--own-ports/--shared-port", default=None, help="Each at a port of its own, PORT + 0, 1 ...; or all at one."
)
@click.option("--roles", metavar="ROLES", help="What is served: ws, api or both [ws,api].")
@click.option("--guests/--no-guests", default=None, help="Whether one may type without an account [--guests].")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error [info].")
@click.option("--log-format", metavar="FORM", help="human, json or auto [auto].")
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
@click.option("--process", hidden=True, help="Our number, and our line to the parent: what --workers starts.")
def serve(
    config: Path | None,
    data: Path | None,
    host: str | None,
    port: int | None,
    admin_port: int | None,
    admin: bool | None,
    node: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    workers: int | None,
    own_ports: bool | None,
    roles: str | None,
    guests: bool | None,
    log_level: str | None,
    log_format: str | None,
    open_page: bool,
    process: str | None,
) -> None:
    """Serve the page, the API and the WebSocket on one port.

    Every flag is a setting too: see config/typegate.toml. Stop with Ctrl-C: running tests may finish; again: at once.
    With --workers, SIGHUP starts the processes anew one after the other, each with the settings as they are then.
    """
    flags: dict[str, tuple[str, object]] = {
        "server.host": ("--host", host),
        "server.port": ("--port", port),
        "admin.port": ("--admin-port", admin_port),
        "admin.enabled": ("--admin", admin),
        "node.data": ("--data", data),
        "node.name": ("--node", node),
        "node.roles": ("--roles", None if roles is None else tuple(role.strip() for role in roles.split(","))),
        "processes.count": ("--workers", workers),
        "processes.own_ports": ("--own-ports" if own_ports else "--shared-port", own_ports),
        "tls.cert": ("--tls-cert", tls_cert),
        "tls.key": ("--tls-key", tls_key),
        "auth.guests": ("--guests", guests),
        "log.level": ("--log-level", log_level),
        "log.format": ("--log-format", log_format),
    }
    settings = servable(read_settings(config, flags))
    from config.logs import set_up

    set_up(settings.log)
    if process is not None:
        _as_one_of_several(settings, process)
        return
    import structlog

    log = structlog.get_logger("gateway")
    for note in settings.notes():
        log.warning(note)

    def ready(url: str) -> None:
        click.echo(f"Typegate is ready: open {url}  (Ctrl-C stops it)")
        if open_page:
            click.launch(url)

    if settings.processes.count > 1:

        def reread() -> "Settings":
            try:
                return servable(read_settings(config, flags))
            except Unstartable as fault:
                raise ValueError(fault.message) from None

        _as_several(settings, reread, ready)
        return
    from gateway.app import Gateway
    from gateway.opening import CannotStart
    from gateway.process import allow_connections, run

    def announce(gateway: "Server") -> None:
        ready(gateway.url)
        log.info("serving", url=gateway.url, admin=gateway.admin_url, data=str(settings.node.data.absolute()))

    try:
        allow_connections(settings.server.connections)
        run(lambda: Gateway(settings), announce=announce, grace_s=settings.stop.grace_s + settings.stop.flush_s)
    except CannotStart as fault:
        raise Unstartable(f"Cannot start: {fault}") from None


def _as_several(settings: "Settings", reread: Callable[[], "Settings"], ready: Callable[[str], None]) -> None:
    """Be the parent of several processes."""
    import structlog

    from gateway.opening import CannotStart
    from gateway.process import CLOSING_S, run
    from gateway.supervisor import Supervisor

    log = structlog.get_logger("gateway")
    supervisor = Supervisor(settings, arguments=sys.argv[1:], reread=reread)

    def announce(parent: Supervisor) -> None:
        ready(parent.url)
        log.info("serving", urls=parent.urls, admin=parent.admin_url, data=str(settings.node.data.absolute()))

    try:
        run(lambda: supervisor, announce=announce, grace_s=supervisor.grace_s + CLOSING_S)
    except CannotStart as fault:
        raise Unstartable(f"Cannot start: {fault}") from None
    if supervisor.failure is not None:
        raise Failed(f"Stopped: {supervisor.failure}")


def _as_one_of_several(settings: "Settings", process: str) -> None:
    """Be one of them: `process` is our number and the open file of our line to the parent."""
    import structlog

    from gateway.app import Gateway
    from gateway.opening import CannotStart
    from gateway.process import allow_connections, run
    from gateway.supervisor import Line, share_of

    number, descriptor = map(int, process.split(":"))
    structlog.contextvars.bind_contextvars(process=number)
    line = Line(descriptor, end=lambda: os.kill(os.getpid(), signal.SIGTERM))
    mine = share_of(settings, number)
    try:
        allow_connections(mine.server.connections)
        run(
            lambda: Gateway(mine, process=number),
            announce=lambda gateway: line.ready(url=gateway.url, admin_url=gateway.admin_url),
            grace_s=mine.stop.grace_s + mine.stop.flush_s,
            one_of_several=True,
            alive=line.alive,
        )
    except CannotStart as fault:
        line.cannot_start(str(fault))
        raise Unstartable(f"Cannot start: {fault}") from None
