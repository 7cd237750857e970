"""Bans: who may not come in, users and networks, for how long and why. Kept where all processes look.

Never: a connection closed or refused; that is the gateway's.
"""

from persistence.bans.copy import BanCopy, CopiedBans
from persistence.bans.entries import REASON_LETTERS, Ban, Who, read_who, who_text
from persistence.bans.index import BanIndex
from persistence.bans.port import BanChanges, BanOptions, BanStore
from persistence.bans.sqlite import SqliteBans

__all__ = [
    "REASON_LETTERS",
    "Ban",
    "BanChanges",
    "BanCopy",
    "BanIndex",
    "BanOptions",
    "BanStore",
    "CopiedBans",
    "SqliteBans",
    "Who",
    "read_who",
    "who_text",
]
