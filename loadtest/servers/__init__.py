"""Real servers as plain processes on 127.0.0.1, for tests, benchmarks and development: no containers, no root.

- `process`: one server program: its port, folder, log, ready check, end; kill -9, pause and restart for fault tests.
- `kinds`: what a kind of server is, and which there are; a kind is a file of its own.
- `asking`: one HTTP request to any of them.
- `addresses`: how one process tells others where its servers are (TYPEGATE_TEST_SERVERS).
- `install`: a shell script that installs the packages that are missing.

`python -m loadtest.servers --help` runs them by hand. Nothing here is part of a running Typegate.
"""
