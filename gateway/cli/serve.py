"""`typegate serve`: the server."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.options import Unstartable, examples, read_settings, servable, settings_flags

if TYPE_CHECKING:
    from gateway.app import Gateway as Server

__all__ = ["serve"]


@click.command(
    epilog=examples(
        "typegate serve",
        "typegate serve --host 0.0.0.0 --port 443 --tls-cert chain.pem --tls-key key.pem",
        "typegate serve --data /var/lib/typegate --log-format json",
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
@click.option("--guests/--no-guests", default=None, help="Whether one may type without an account [--guests].")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error [info].")
@click.option("--log-format", metavar="FORM", help="human, json or auto [auto].")
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
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
    guests: bool | None,
    log_level: str | None,
    log_format: str | None,
    open_page: bool,
) -> None:
    """Serve the page, the API and the WebSocket on one port.

    Every flag is a setting too: see config/typegate.toml. Stop with Ctrl-C: running tests may finish; again: at once.
    """
    settings = read_settings(
        config,
        {
            "server.host": ("--host", host),
            "server.port": ("--port", port),
            "admin.port": ("--admin-port", admin_port),
            "admin.enabled": ("--admin", admin),
            "node.data": ("--data", data),
            "node.name": ("--node", node),
            "tls.cert": ("--tls-cert", tls_cert),
            "tls.key": ("--tls-key", tls_key),
            "auth.guests": ("--guests", guests),
            "log.level": ("--log-level", log_level),
            "log.format": ("--log-format", log_format),
        },
    )
    servable(settings)
    import structlog

    from config.logs import set_up
    from gateway.app import Gateway
    from gateway.opening import CannotStart
    from gateway.process import allow_connections, run

    set_up(settings.log)
    log = structlog.get_logger("gateway")
    for note in settings.notes():
        log.warning(note)

    def announce(gateway: "Server") -> None:
        click.echo(f"Typegate is ready: open {gateway.url}  (Ctrl-C stops it)")
        log.info("serving", url=gateway.url, admin=gateway.admin_url, data=str(settings.node.data.absolute()))
        if open_page:
            click.launch(gateway.url)

    try:
        allow_connections(settings.server.connections)
        run(lambda: Gateway(settings), announce=announce, grace_s=settings.stop.grace_s + settings.stop.flush_s)
    except CannotStart as fault:
        raise Unstartable(f"Cannot start: {fault}") from None
