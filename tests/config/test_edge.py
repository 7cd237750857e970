"""Options of the edge say what is wrong with a value and what is allowed."""

from typing import Any

import pytest

from config.edge import EdgeOptions, WireOptions


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": 70_000}, ("port", "70000", "65535")),
        ({"path": "ws"}, ("path", "'ws'", "/")),
        ({"path": "/ws?x"}, ("path", "?")),
        ({"origins": ("typing.example",)}, ("origins", "'typing.example'", "scheme://host")),
        ({"origins": ("https://typing.example/",)}, ("origins", "path")),
        ({"origins": ("https://a.*.example",)}, ("origins", "*.")),
        ({"trusted_proxies": ("10.0.0.1/8",)}, ("trusted_proxies", "10.0.0.1/8", "host bits")),
        ({"trusted_proxies": ("proxy",)}, ("trusted_proxies", "'proxy'")),
        ({"proxy_protocol": "required"}, ("proxy_protocol", "trusted_proxies is empty")),
        ({"connections": 0}, ("connections", "0", "at least 1")),
        ({"pending_per_address": 0}, ("pending_per_address",)),
        ({"http_per_address": 0}, ("http_per_address",)),
        ({"backlog": -1}, ("backlog", "-1")),
        ({"head_bytes": 100}, ("head_bytes", "512")),
        ({"head_limit_s": 0}, ("head_limit_s", "more than 0")),
        ({"body_limit_s": 4000}, ("body_limit_s", "3600")),
        ({"keep_alive_s": -1}, ("keep_alive_s",)),
    ],
)
def test_a_wrong_edge_option(options: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=".*".join(map(_literal, words))):
        EdgeOptions(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"message_bytes": 10}, ("message_bytes", "125")),
        ({"soft_bytes": 10}, ("soft_bytes", "1024")),
        ({"soft_bytes": 300_000}, ("soft_bytes", "300000", "hard_bytes")),
        ({"close_limit_s": 0}, ("close_limit_s", "more than 0")),
        ({"stall_limit_s": 0}, ("stall_limit_s",)),
    ],
)
def test_a_wrong_wire_option(options: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=".*".join(map(_literal, words))):
        WireOptions(**options)


def test_good_values() -> None:
    options = EdgeOptions(
        port=0,
        origins=("*", "same-origin", "https://a.example:8443", "https://*.a.example", "http://[::1]:80"),
        trusted_proxies=("10.0.0.0/8", "192.0.2.1", "2001:db8::/32"),
    )
    assert options.wire == WireOptions()


def _literal(word: str) -> str:
    return "".join(f"[{mark}]" if mark in "?*" else mark for mark in word)
