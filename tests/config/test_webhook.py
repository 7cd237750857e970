"""The webhook's options: which address may be posted to."""

from pathlib import Path

import pytest

from config.webhook import WebhookOptions


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "https://",
        "example.com",
        "https://user:pass@x/",
        "https://x/a b",
        "https://x/\u00e9",
        "https://x/\r\nHost: y",
        "https://x:99999/",
        "https://x:0/",
        "https://x:y/",
    ],
)
def test_a_url_that_cannot_be_posted_to(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url is "):
        WebhookOptions(url=url, secret_file=Path("x"))


@pytest.mark.parametrize("url", ["https://us:word-of-ours@x/", "https://:word-of-ours@x/", "x://us:word-of-ours@x:0/"])
def test_a_password_in_a_url_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="without a password") as refused:
        WebhookOptions(url=url, secret_file=Path("x"))
    assert "word-of-ours" not in str(refused.value)


def test_options_are_checked() -> None:
    assert not WebhookOptions().enabled
    assert WebhookOptions(url="https://example.com/hook?from=us", secret_file=Path("x")).enabled
    with pytest.raises(ValueError, match="url needs a secret_file"):
        WebhookOptions(url="https://x/")
    with pytest.raises(ValueError, match="at_once is 0; allowed is 1 to 1000"):
        WebhookOptions(at_once=0)
    with pytest.raises(ValueError, match="group is empty"):
        WebhookOptions(group="")
