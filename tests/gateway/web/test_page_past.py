"""Who signs in is offered what was typed in this browser before, and nothing of it is lost on the way."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.gateway.issuer import public_pem, token
from tests.gateway.web.conftest import Server, Visit, Visitor
from tests.gateway.web.test_page_access import CONTRASTS, MARKS

KEY = Ed25519PrivateKey.generate()
TEN = {"mode": "words", "count": 10}
OFFER = ".offer[role=group]"
SETTLED = """
async () => {
  const kept = () => Object.keys(localStorage).some((name) => name.startsWith("typegate.log."));
  while (kept()) await new Promise((again) => setTimeout(again, 20));
}
"""
CONFIG = """
[auth]
algorithm = "EdDSA"
issuer = "https://site.example"
audience = "typegate"
key_file = "{}"
"""


@pytest.fixture(name="accounts", scope="module")
def _accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that knows accounts."""
    folder = tmp_path_factory.mktemp("accounts")
    (folder / "key.pem").write_bytes(public_pem(KEY))
    (folder / "typegate.toml").write_text(CONFIG.format(folder / "key.pem"))
    server = Server(folder / "data", "--config", str(folder / "typegate.toml"))
    server.start()
    yield server
    server.stop()


def signed(user: int, **claims: Any) -> str:
    return token(KEY, "EdDSA", **({"uid": user, "exp": 4_000_000_000} | claims))


async def sign_in(visitor: Visitor, user: int, **claims: Any) -> None:
    """As a site does it: its token takes the place of the guest's, and the page is opened again."""
    await visitor.page.evaluate("token => localStorage.setItem('typegate.token', token)", signed(user, **claims))
    await visitor.page.evaluate("history.replaceState(null, '', '/')")
    await visitor.page.reload()


async def typed(visitor: Visitor) -> str:
    """A test from its first key to "Saved"; its session."""
    await visitor.type(await visitor.typed_text())
    await visitor.state("stored")
    session: str = visitor.got("stored")[-1]["session"]
    return session


async def kept_guest(visitor: Visitor) -> Any:
    return json.loads(await visitor.page.evaluate("localStorage.getItem('typegate.guest')") or "null")


async def rows(visitor: Visitor, count: int) -> None:
    """Wait until the history has so many."""
    await visitor.page.wait_for_selector(f"#history .results tbody tr:nth-child({count}):last-child")


@pytest.mark.parametrize(
    ("user", "look"),
    [
        (1, {"color_scheme": "light"}),
        (2, {"color_scheme": "dark"}),
        (3, {"viewport": {"width": 320, "height": 640}}),
    ],
    ids=["light", "dark", "narrow"],
)
async def test_it_is_offered_in_the_history_and_taken_along_by_keyboard(
    visit: Visit, accounts: Server, user: int, look: dict[str, Any]
) -> None:
    visitor = await visit(settings=TEN, server=accounts, **look)
    page = visitor.page
    await typed(visitor)
    await sign_in(visitor, user)
    await visitor.notice("your history can take those tests along")
    await page.click("#nav-history")
    await page.wait_for_selector(f"{OFFER}:has-text('You typed here before you signed in')")
    assert await page.evaluate(CONTRASTS.replace("product", str([list(pair) for pair in MARKS]))) == []
    for part in ("html", OFFER):
        assert await page.evaluate(
            "part => { const { scrollWidth, clientWidth } = document.querySelector(part); "
            "return scrollWidth <= clientWidth }",
            part,
        )
    assert await page.locator("#history .results").count() == 0
    for name in ("Not now", "Take them along"):
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == name
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#history [role=status]:has-text('is in your history now')")
    await rows(visitor, 1)
    assert await page.evaluate("document.activeElement.tagName") == "H1"
    assert await kept_guest(visitor) is None
    await page.reload()
    await rows(visitor, 1)
    assert await page.locator(OFFER).count() == 0
    await page.click("#history tbody a")
    await visitor.state("stored")


async def test_who_does_not_want_it_now_is_not_asked_again_before_the_next_look(visit: Visit, accounts: Server) -> None:
    visitor = await visit(settings=TEN, server=accounts)
    page = visitor.page
    await typed(visitor)
    await sign_in(visitor, 11)
    await visitor.notice("your history can take those tests along")
    await page.click("#nav-history")
    await page.click(f"{OFFER} >> text=Not now")
    assert await page.locator(OFFER).count() == 0
    assert await page.evaluate("document.activeElement.tagName") == "H1"
    await page.click("#nav-test")
    await page.click("#nav-history")
    await page.wait_for_selector(OFFER)
    await page.evaluate("localStorage.removeItem('typegate.token')")
    await page.reload()
    await rows(visitor, 1)
    await visitor.until(lambda: len(visitor.got("ready")) == 3)  # the history does not wait for it
    assert visitor.got("ready")[-1]["guest"], "who signs out is the guest of before"
    assert visitor.got("ready")[-1]["user"] == visitor.got("ready")[0]["user"]


async def test_a_guest_who_typed_nothing_is_nothing_to_speak_of(visit: Visit, accounts: Server) -> None:
    visitor = await visit(settings=TEN, server=accounts)
    await sign_in(visitor, 12)
    await visitor.ready()
    await visitor.page.click("#nav-history")
    await visitor.page.wait_for_selector("#history:has-text('Nothing here yet')")
    assert await visitor.page.locator(OFFER).count() == 0
    assert await visitor.page.inner_text("#notice") == ""


async def test_what_another_account_has_is_offered_no_more(visit: Visit, accounts: Server) -> None:
    visitor = await visit(settings=TEN, server=accounts)
    page = visitor.page
    await typed(visitor)
    guest = await kept_guest(visitor)
    async with httpx.AsyncClient(base_url=accounts.url, trust_env=False) as http:
        headers = {"authorization": f"Bearer {signed(13)}"}
        claimed = await http.post("/v1/claims", json={"token": guest["token"]}, headers=headers)
        assert claimed.status_code == 201
    await sign_in(visitor, 14)
    await page.click("#nav-history")
    await page.click(f"{OFFER} >> text=Take them along")
    await page.wait_for_selector(f"{OFFER}:has-text('could not be taken along. this guest')")
    assert await page.evaluate("document.activeElement.textContent") == "Not now"
    assert await kept_guest(visitor) is None
    visitor.complaints = [text for text in visitor.complaints if "409" not in text]


async def test_a_result_that_was_not_sent_before_signing_in_comes_in_as_the_guest_s(
    visit: Visit, accounts: Server
) -> None:
    """It was typed while the server was away, and only the guest may bring it in; then it is taken along, too."""
    visitor = await visit(settings=TEN, server=accounts, may_lose_server=True)
    text = await visitor.typed_text()
    await visitor.type(text[:9])
    await visitor.until(lambda: bool(visitor.got("tick")))
    accounts.kill()
    await visitor.type(text[9:])
    await visitor.state("unsent")
    await visitor.page.evaluate("token => localStorage.setItem('typegate.token', token)", signed(15))
    await visitor.page.close()
    await asyncio.to_thread(accounts.start)
    again = await visit(server=accounts, context=visitor.page.context, ready=False)
    await again.page.evaluate(SETTLED)
    assert {ready["user"] for ready in again.got("ready")} == {"15", visitor.got("ready")[0]["user"]}
    await again.page.click("#nav-history")
    await again.page.click(f"{OFFER} >> text=Take them along")
    await rows(again, 1)
    assert await kept_guest(again) is None


async def test_a_tab_that_goes_on_as_the_guest_is_in_the_account_s_history(visit: Visit, accounts: Server) -> None:
    old = await visit(settings=TEN, server=accounts)
    await typed(old)
    await old.page.evaluate("token => localStorage.setItem('typegate.token', token)", signed(16))
    new = await visit(settings=TEN, server=accounts, context=old.page.context, path="#/history", ready=False)
    await new.page.click(f"{OFFER} >> text=Take them along")
    await rows(new, 1)
    assert await kept_guest(new) is None
    await old.page.bring_to_front()
    await old.page.keyboard.press("Tab")
    await old.ready()
    await old.type((await old.typed_text())[:9])
    guest = await kept_guest(old)
    assert (guest["user"], guest["spent"]) == (old.got("ready")[0]["user"], True), "kept for the log that was begun"
    await old.type((await old.typed_text())[9:])
    await old.state("stored")
    assert await kept_guest(old) is None
    await new.page.reload()
    await rows(new, 2)
    assert await new.page.locator(OFFER).count() == 0


async def test_an_account_whose_token_has_ended_is_the_guest_of_before(visit: Visit, accounts: Server) -> None:
    visitor = await visit(settings=TEN, server=accounts)
    await typed(visitor)
    await sign_in(visitor, 17, exp=1)
    await visitor.ready()
    assert visitor.got("ready")[-1]["user"] == visitor.got("ready")[0]["user"]
    await visitor.page.click("#nav-history")
    await rows(visitor, 1)


async def test_a_tab_that_is_still_the_guest_does_not_make_the_browser_it_again(visit: Visit, accounts: Server) -> None:
    """Else who comes after the account has signed out would type into its history, and read what the guest typed."""
    old = await visit(settings=TEN, server=accounts, may_lose_server=True)
    await typed(old)
    guest = old.got("ready")[0]["user"]
    await old.page.evaluate("token => localStorage.setItem('typegate.token', token)", signed(18))
    new = await visit(server=accounts, context=old.page.context, path="#/history", ready=False)
    await new.page.click(f"{OFFER} >> text=Take them along")
    await rows(new, 1)
    await new.page.evaluate("localStorage.removeItem('typegate.token')")
    await new.page.close()

    before = len(old.got("ready"))
    accounts.kill()
    await asyncio.to_thread(accounts.start)
    await old.until(lambda: len(old.got("ready")) > before)
    assert old.got("ready")[-1]["user"] == guest
    await old.page.bring_to_front()
    await old.page.keyboard.press("Tab")
    await old.ready()
    await typed(old)
    fresh = await visit(server=accounts, context=old.page.context)
    assert fresh.got("ready")[-1]["guest"]
    assert fresh.got("ready")[-1]["user"] != guest


async def test_the_history_does_not_wait_to_hear_who_is_there(visit: Visit, accounts: Server) -> None:
    """HTTP answers and the WebSocket does not, as where a server takes no more connections."""
    visitor = await visit(settings=TEN, server=accounts)
    await typed(visitor)
    await visitor.page.context.route_web_socket("**/ws", lambda _: None)
    again = await visit(server=accounts, context=visitor.page.context, path="#/history", ready=False)
    await rows(again, 1)
    assert again.frames == []
