"""A result's way from the session that finished to the place that confirms it: spool, drain, sink.

`Spool` makes a result durable (`accepted`); `Drain` (a `Stream`) hands spooled results to a `Sink`, which brings them
to the place that confirms them, and reports each as `stored`. The embedded sink writes them to the result store.
"""

from persistence.stream.drain import Drain
from persistence.stream.port import Sink, SinkFacts, Stream, StreamFacts, StreamOptions
from persistence.stream.spool import Spool, Spooled, SpoolFacts, SpoolOptions
from persistence.stream.store import StoreSink

__all__ = [
    "Drain",
    "Sink",
    "SinkFacts",
    "Spool",
    "SpoolFacts",
    "SpoolOptions",
    "Spooled",
    "StoreSink",
    "Stream",
    "StreamFacts",
    "StreamOptions",
]
