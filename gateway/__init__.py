"""The I/O edge: sockets, HTTP, the clock, chance and signals; what may connect, what it costs, and who is told.

One port carries the page, the HTTP API and the WebSocket. A frame goes `wire` (bytes to frames) → `codec` (frames to
messages) → `session` → `connection` (performs what the session answered) → `link` (what goes to a client) → `wire`.
What comes seldom is for rooms that all connections share: `admitting`, `starting`, `resuming`, `races`, `watching`.
`hub` knows who is here, `wheel` keeps time for all, `app` opens every resource and closes it again. Never: a scoring
rule, SQL, a decision about a test.

`PROTOCOL.md` is the wire's contract; tests hold it to the code.
"""
