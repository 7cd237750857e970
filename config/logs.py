"""Logging: one line an event, for people on a terminal and as JSON elsewhere, to standard error.

Events are short sentences with key-value facts. Never logged: tokens, typed text, keystrokes, addresses of users.
Nothing is logged per frame or per tick; what is frequent is a metric.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from config.gateway import LogOptions

__all__ = ["set_up"]

PRIVATE = frozenset({"token", "authorization", "text", "key", "keys", "secret", "address", "client", "ip", "cookie"})
"""Names whose values never reach a log line, whoever passes them."""


def set_up(options: LogOptions, stream: TextIO | None = None) -> None:
    """Configure structlog, and route the standard library's loggers (uvicorn, asyncio, ...) into the same lines."""
    stream = sys.stderr if stream is None else stream
    human = options.format == "human" or (options.format == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human),
        _without_private,
    ]
    # both would show local variables of every frame: keystrokes, tokens
    frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    last: list[structlog.typing.Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
            )
        ]
        if human
        else [structlog.processors.ExceptionRenderer(frames), structlog.processors.JSONRenderer()]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    output = logging.StreamHandler(stream)
    output.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(options.level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
    # requests bear addresses; counts of them are in the metrics
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, root.level))
    # it says on every try what our own lines say once
    logging.getLogger("aiokafka").setLevel(logging.DEBUG if root.level <= logging.DEBUG else logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _without_private(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank what must not be logged; a last net below the rule that nobody passes it."""
    for name in PRIVATE & event.keys():
        event[name] = "(private)"
    return event
