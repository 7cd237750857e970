"""A result's way from the session that finished to the place that confirms it: the spool, then a stream.

`Spool` makes a result durable (`accepted`); a `Stream` carries spooled results on and reports each as `stored`. The
in-process stream writes them to the result store. Neither decides anything about a result.
"""

from persistence.stream.inprocess import InProcessStream
from persistence.stream.port import Stream, StreamFacts, StreamOptions
from persistence.stream.spool import Spool, Spooled, SpoolFacts, SpoolOptions

__all__ = [
    "InProcessStream",
    "Spool",
    "SpoolFacts",
    "SpoolOptions",
    "Spooled",
    "Stream",
    "StreamFacts",
    "StreamOptions",
]
