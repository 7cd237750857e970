"""The version, as the package says it."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

__all__ = ["version"]


def version() -> str:
    """The installed package's version; `unknown` in a checkout that was never installed."""
    try:
        return installed("typegate")
    except PackageNotFoundError:
        return "unknown"
