"""What the tests of looking on share."""

from tests.gateway.watching.audience import _places as places

__all__ = ["places"]
