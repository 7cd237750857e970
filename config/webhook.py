"""The webhook's options: another site that is told of personal bests and ranks."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["WebhookOptions"]


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """Another site that is told of personal bests and ranks, by signed POSTs of the workers."""

    url: str = ""
    """Where to post to, https:// (or http:// within your own network); empty: nowhere."""
    secret_file: Path | None = None
    """File with the secret that signs each post; at least 16 bytes, a line feed at its end is not part of it."""
    group: str = "typegate-webhook"
    """The group of Kafka whose members share the posting out among them."""
    limit_s: float = 5.0
    """How long one post may take in all."""
    at_once: int = 8
    """Posts under way at a time, each of another user."""
    give_up_s: float = 3600.0
    """Age at which a notice that could not be posted is no news any more, and goes to the dead letters."""

    def __post_init__(self) -> None:
        if self.url:
            if not _can_be_posted_to(self.url):
                scheme, separator, rest = self.url.rpartition("://")
                shown = f"{scheme}{separator}{rest.rpartition('@')[2]}"  # what is before an @ may be a password
                raise ValueError(
                    f"url is {shown[:100]!r}; allowed is https://host/path, in ASCII and without a password"
                )
            if self.secret_file is None:
                raise ValueError("url needs a secret_file: the other site must know that a post is ours")
        if not self.group:
            raise ValueError("group is empty; give the group a name")
        for name, least, most in (("limit_s", 0.1, 60), ("at_once", 1, 1_000), ("give_up_s", 1, 7 * 86_400)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {least} to {most}")

    @property
    def enabled(self) -> bool:
        """Whether there is anybody to be told."""
        return bool(self.url)


def _can_be_posted_to(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and port != 0
        and parts.username is None
        and url.isascii()
        and url.isprintable()
        and " " not in url
    )
