"""Typed settings, logging, and `typegate.toml` with every default.

`Settings` nests the option classes of the packages below it and the gateway's own; `load` assembles them from
file, environment and flags, and reports every fault at once. Never: logic, connections, files other than its own.
"""

from config.logs import set_up
from config.settings import Fault, Flag, Settings, SettingsError, load

__all__ = ["Fault", "Flag", "Settings", "SettingsError", "load", "set_up"]
