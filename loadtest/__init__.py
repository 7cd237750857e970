"""Load, and what to hold against figures: the seeded typist, programs that pretend to be typists, and their rates.

Never imported by the server.
"""
