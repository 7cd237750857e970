"""Typed settings, logging, and `typegate.toml` with every default.

`config.settings`: `Settings` nests the option classes of the packages below and the gateway's own; `load` assembles
them from file, environment and flags and reports every fault at once. `config.gateway`, `config.edge`: the gateway's
options. `config.logs`: logging. Nothing is imported here, so that a part can be used with its own options alone.
Never: logic, connections, files other than its own.
"""
