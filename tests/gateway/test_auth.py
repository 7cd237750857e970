"""Guests and accounts are told apart by their tokens, and every other token is refused with its reason."""

import asyncio
import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from config.gateway import AuthOptions
from gateway.auth import Authenticator, Identity, Unauthorised
from gateway.jwks import Renewed, SubjectsFile, Unreadable
from session.receipt import KeyRing, Purpose
from tests.gateway.issuer import NOW_MS, Issuer, issuing, jwk, private_pem, public_pem, rsa, token
from tests.listening import listening

RING = KeyRing([(1, b"k" * 32)])
SECRET = b"a secret of thirty-two bytes, ok!"
DAY_MS = 86_400_000
RSA = rsa()
ED = Ed25519PrivateKey.generate()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        yield running


def guests(**options: Any) -> Authenticator:
    return Authenticator(AuthOptions(**options), RING)


def refusal(authenticator: Authenticator, text: str | None, *, now_ms: int = NOW_MS) -> str:
    with pytest.raises(Unauthorised) as caught:
        authenticator.identify(text, now_ms=now_ms)
    assert caught.value.message
    return caught.value.code


def accounts(folder: Path, algorithm: str, content: bytes, **options: Any) -> Authenticator:
    """An authenticator with a key file, opened."""
    path = folder / "key"
    path.write_bytes(content)
    authenticator = Authenticator(
        AuthOptions(
            algorithm=algorithm,  # type: ignore[arg-type]  # the tests' tables hold plain strings
            issuer="https://site.example",
            audience="typegate",
            key_file=path,
            **options,
        ),
        RING,
    )
    authenticator.load()
    return authenticator


def hs256(folder: Path, **options: Any) -> Authenticator:
    return accounts(folder, "HS256", SECRET, **options)


# --- guests ---


def test_a_guest_comes_back_with_the_token() -> None:
    first = guests().identify(None, now_ms=NOW_MS)
    assert first is not None
    assert first.guest
    assert first.token is not None
    assert -(2**53 - 1) <= first.user <= -1
    again = guests().identify(first.token, now_ms=NOW_MS + 1)
    assert again == Identity(first.user, True, first.token)


def test_guests_ids_come_from_chance() -> None:
    drawn = iter([5, 2**64 - 1])
    authenticator = Authenticator(AuthOptions(), RING, chance=lambda bits: next(drawn))
    ids = {authenticator.guest(now_ms=NOW_MS).user for _ in range(2)}
    assert len(ids) == 2
    assert min(ids) < -5


def test_a_token_is_renewed_once_a_day_and_keeps_its_guest() -> None:
    authenticator = guests()
    first = authenticator.guest(now_ms=NOW_MS)
    assert first.token is not None
    renewed = authenticator.identify(first.token, now_ms=NOW_MS + DAY_MS + 1)
    assert renewed is not None
    assert renewed.user == first.user
    assert renewed.token != first.token


def test_a_token_ends_after_its_days() -> None:
    first = guests(guest_days=2).guest(now_ms=NOW_MS)
    assert guests(guest_days=2).identify(first.token, now_ms=NOW_MS + 2 * DAY_MS - 1) is not None
    assert refusal(guests(guest_days=2), first.token, now_ms=NOW_MS + 2 * DAY_MS) == "expired"


def test_where_guests_are_off_neither_new_nor_old_ones_come_in(tmp_path: Path) -> None:
    old = guests().guest(now_ms=NOW_MS)
    closed = hs256(tmp_path, guests=False)
    assert refusal(closed, None) == "guests_off"
    assert refusal(closed, old.token) == "guests_off"


def test_another_cluster_s_token_is_refused() -> None:
    foreign = Authenticator(AuthOptions(), KeyRing([(1, b"x" * 32)])).guest(now_ms=NOW_MS)
    assert refusal(guests(), foreign.token) == "forged"


def test_what_was_sealed_for_another_purpose_is_refused() -> None:
    sealed = RING.seal(Purpose.TICKET, b"\x01" + bytes(16))
    assert refusal(guests(), base64.urlsafe_b64encode(sealed).decode().rstrip("=")) == "forged"


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x02" + bytes(16), b"\x01" + bytes(15) + b"\x09"])
def test_a_sealed_token_of_another_layout_is_refused(payload: bytes) -> None:
    sealed = RING.seal(Purpose.GUEST, payload)
    assert refusal(guests(), base64.urlsafe_b64encode(sealed).decode().rstrip("=")) in ("malformed", "forged")


def test_every_changed_byte_of_a_token_is_seen() -> None:
    good = guests().guest(now_ms=NOW_MS).token
    assert good is not None
    raw = base64.urlsafe_b64decode(good + "=" * (-len(good) % 4))
    for place in range(len(raw)):
        bad = bytearray(raw)
        bad[place] ^= 1
        assert refusal(guests(), base64.urlsafe_b64encode(bad).decode().rstrip("=")) == "forged"


@given(st.text(max_size=300))
def test_no_text_whatever_breaks_it(text: str) -> None:
    """Anything is an identity or a refusal, with guests and with accounts."""
    if text:
        assert refusal(guests(), text) in ("forged", "accounts_off", "malformed")
    else:
        assert guests().identify(text, now_ms=NOW_MS) is not None


# --- accounts ---


@pytest.mark.parametrize(
    ("algorithm", "file", "key"),
    [("HS256", SECRET + b"\n", SECRET), ("RS256", public_pem(RSA), RSA), ("EdDSA", public_pem(ED), ED)],
    ids=["HS256", "RS256", "EdDSA"],
)
def test_each_algorithm_by_key_file(tmp_path: Path, algorithm: str, file: bytes, key: Any) -> None:
    authenticator = accounts(tmp_path, algorithm, file)
    found = authenticator.identify(token(key, algorithm), now_ms=NOW_MS)
    assert found == Identity(7, False, None, NOW_MS + 600_000, "")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"exp": NOW_MS // 1000 - 31}, "expired"),
        ({"exp": None}, "claims"),
        ({"exp": "soon"}, "claims"),
        ({"exp": 1e300}, "claims"),
        ({"exp": True}, "claims"),
        ({"nbf": NOW_MS // 1000 + 31}, "not_yet"),
        ({"nbf": "x"}, "claims"),
        ({"iss": "https://other.example"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "other"}, "audience"),
        ({"aud": None}, "audience"),
        ({"uid": None}, "user"),
        ({"uid": 0}, "user"),
        ({"uid": -7}, "user"),
        ({"uid": 2**53}, "user"),
        ({"uid": True}, "user"),
        ({"uid": 7.0}, "user"),
        ({"uid": "seven"}, "user"),
        ({"uid": "-7"}, "user"),
        ({"uid": [7]}, "user"),
    ],
)
def test_a_token_with_a_bad_claim_is_refused_with_its_reason(
    tmp_path: Path, changed: dict[str, Any], code: str
) -> None:
    assert refusal(hs256(tmp_path), token(SECRET, "HS256", **changed)) == code


@pytest.mark.parametrize(
    "changed",
    [
        {"uid": "7"},
        {"exp": NOW_MS // 1000 - 29},
        {"nbf": NOW_MS // 1000 + 29},
        {"aud": ["other", "typegate"]},
        {"iat": "nonsense"},
        {"sub": 5},
    ],
)
def test_what_is_within_bounds_is_taken(tmp_path: Path, changed: dict[str, Any]) -> None:
    found = hs256(tmp_path).identify(token(SECRET, "HS256", **changed), now_ms=NOW_MS)
    assert found is not None
    assert found.user == 7


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({}, ""),
        ({"nickname": "Ada"}, "Ada"),
        ({"nickname": "  Ada \u00a0 Lovelace "}, "Ada Lovelace"),
        ({"nickname": "Ada\u202e"}, ""),
        ({"nickname": "Typist 1234"}, ""),
        ({"nickname": "a name of far too many letters"}, ""),
        ({"nickname": ""}, ""),
        ({"nickname": ["Ada"]}, ""),
        ({"nickname": 7}, ""),
        ({"nickname": "ada@example.org"}, ""),
        ({"name": "Ada"}, ""),
    ],
)
def test_an_account_is_called_what_its_token_says(tmp_path: Path, claims: dict[str, Any], name: str) -> None:
    """As others may see it, else by nothing; the same the second time, when the token is known."""
    known = hs256(tmp_path)
    for _ in range(2):
        identity = known.identify(token(SECRET, "HS256", **claims), now_ms=NOW_MS)
        assert identity is not None
        assert identity.name == name


def test_the_claim_with_the_name_can_be_chosen(tmp_path: Path) -> None:
    """Another one, none, or one that says who it is: that is not changed by it."""
    called = {"preferred_username": "Ada", "nickname": "Countess", "uid": "17"}
    for claim, name in (("preferred_username", "Ada"), ("", None), ("uid", "17")):
        identity = hs256(tmp_path, name_claim=claim).identify(token(SECRET, "HS256", **called), now_ms=NOW_MS)
        assert identity is not None
        assert (identity.name, identity.user) == (name, 17)


def test_the_token_does_not_choose_how_it_is_checked(tmp_path: Path) -> None:
    """RFC 8725, 3.1: no `none`, no public key taken as a secret, no other algorithm of the same key."""
    authenticator = accounts(tmp_path, "RS256", public_pem(RSA))
    unsigned = jwt.encode({"uid": 7}, "", algorithm="none")
    head, body, _ = token(RSA, "RS256").split(".")
    forged = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()).decode().rstrip("=")
    assert refusal(authenticator, unsigned) == "algorithm"
    assert refusal(authenticator, f"{forged}.{body}.AAAA") == "algorithm"
    assert refusal(authenticator, token(RSA, "RS512")) == "algorithm"
    assert refusal(authenticator, f"{head}.{body}.AAAA") == "signature"
    assert refusal(authenticator, token(rsa(), "RS256")) == "signature"


@pytest.mark.parametrize("text", ["a.b.c", "..", "a.b", "é.é.é", "." * 5000, "a" * 9000])
def test_what_is_no_token_is_malformed(tmp_path: Path, text: str) -> None:
    assert refusal(hs256(tmp_path), text) == "malformed"


def test_without_an_algorithm_there_are_no_accounts() -> None:
    assert refusal(guests(), token(SECRET, "HS256")) == "accounts_off"


@pytest.mark.parametrize(
    ("algorithm", "content", "told"),
    [
        ("HS256", b"short", "32 or more"),
        ("HS256", public_pem(RSA), "PEM key"),
        ("RS256", b"nothing", "no PEM public key"),
        ("RS256", private_pem(RSA), "private key"),
        ("RS256", public_pem(ED), "no PEM public key"),
        ("RS256", public_pem(rsa(1024)), "under 2048 bits"),
        ("EdDSA", public_pem(RSA), "no PEM public key"),
        ("EdDSA", bytes(70_000), "over 64 KiB"),
    ],
)
def test_a_key_file_that_is_no_fit_is_told(tmp_path: Path, algorithm: str, content: bytes, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        accounts(tmp_path, algorithm, content)


def test_a_missing_key_file_is_told(tmp_path: Path) -> None:
    options = AuthOptions(algorithm="HS256", issuer="i", audience="a", key_file=tmp_path / "none")
    with pytest.raises(Unreadable, match=r"auth\.key_file .* No such file"):
        Authenticator(options, RING).load()


# --- tokens that were checked before ---


def test_a_token_is_checked_once_and_its_times_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    decode = jwt.decode

    def counting(text: str, *rest: Any, **options: Any) -> Any:
        checked.append(text)
        return decode(text, *rest, **options)

    monkeypatch.setattr("gateway.auth.jwt.decode", counting)
    authenticator = hs256(tmp_path)
    good = token(SECRET, "HS256", nbf=NOW_MS // 1000 - 5)
    first = authenticator.identify(good, now_ms=NOW_MS)
    assert authenticator.identify(good, now_ms=NOW_MS + 1) == first
    assert checked == [good]
    assert refusal(authenticator, good, now_ms=NOW_MS + 631_000) == "expired"
    assert refusal(authenticator, good, now_ms=NOW_MS - 40_000) == "not_yet"
    other = token(SECRET, "HS256", uid=8)
    forged = good.rpartition(".")[0] + "." + other.rpartition(".")[2]
    assert refusal(authenticator, forged) == "signature", "only the whole token is the token"


def test_what_was_refused_is_not_remembered(tmp_path: Path) -> None:
    authenticator = hs256(tmp_path)
    for changed in ({"uid": 0}, {"exp": 1}, {"aud": "other"}):
        bad = token(SECRET, "HS256", **changed)
        assert refusal(authenticator, bad) == refusal(authenticator, bad)
    assert not authenticator._checked


def test_another_key_ends_what_the_old_one_signed(tmp_path: Path) -> None:
    authenticator = hs256(tmp_path)
    old = token(SECRET, "HS256")
    assert authenticator.identify(old, now_ms=NOW_MS) is not None
    (tmp_path / "key").write_bytes(b"another secret of over 32 bytes .")
    authenticator.load()
    assert refusal(authenticator, old) == "signature"


def test_only_so_many_tokens_are_remembered_and_the_latest_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.auth.CHECKED_TOKENS", 3)
    authenticator = hs256(tmp_path)
    tokens = [token(SECRET, "HS256", uid=uid) for uid in range(1, 6)]
    for text in (*tokens[:3], tokens[0], tokens[3]):  # the first comes again, so the second is the oldest
        authenticator.identify(text, now_ms=NOW_MS)
    assert [claims["uid"] for claims in authenticator._checked.values()] == [3, 1, 4]


# --- a key set at an address ---


def at_issuer(issuer: Issuer, algorithm: str = "RS256", **options: Any) -> Authenticator:
    return Authenticator(
        AuthOptions(
            algorithm=algorithm,  # type: ignore[arg-type]  # as above
            issuer="https://site.example",
            audience="typegate",
            jwks_url=issuer.url,
            **options,
        ),
        RING,
    )


@pytest.mark.parametrize(("algorithm", "key"), [("RS256", RSA), ("EdDSA", ED)], ids=["RS256", "EdDSA"])
async def test_keys_come_from_the_issuer(issuer: Issuer, algorithm: str, key: Any) -> None:
    issuer.keys = [jwk(rsa(), "old"), jwk(key, "new"), {"kty": "oct", "k": "AAAA", "kid": "odd"}]
    async with at_issuer(issuer, algorithm) as authenticator:
        found = await authenticator.identify_later(token(key, algorithm, kid="new"), now_ms=NOW_MS)
        assert found.user == 7
        at_once = authenticator.identify(token(key, algorithm, kid="new"), now_ms=NOW_MS)
        assert at_once == found
        await authenticator.ping()
    assert issuer.asked == 1


async def test_a_withdrawn_key_ends_what_it_signed_and_an_unchanged_set_does_not(issuer: Issuer) -> None:
    issuer.keys = [jwk(RSA, "a")]
    text = token(RSA, "RS256", kid="a")
    async with at_issuer(issuer, jwks_retry_s=0) as authenticator:
        jwks = authenticator._jwks
        assert jwks is not None
        await authenticator.identify_later(text, now_ms=NOW_MS)
        await jwks.read()
        assert authenticator.identify(text, now_ms=NOW_MS) is not None
        assert len(authenticator._checked) == 1
        issuer.keys = [jwk(rsa(), "b")]
        await jwks.read()
        with pytest.raises(Unauthorised) as caught:
            await authenticator.identify_later(text, now_ms=NOW_MS)
    assert caught.value.code == "key_unknown"


async def test_a_token_without_kid_takes_the_only_key(issuer: Issuer) -> None:
    issuer.keys = [jwk(RSA, "one")]
    async with at_issuer(issuer) as authenticator:
        assert (await authenticator.identify_later(token(RSA, "RS256"), now_ms=NOW_MS)).user == 7


async def test_a_new_key_is_fetched_when_a_token_names_it(issuer: Issuer) -> None:
    issuer.keys = [jwk(rsa(), "old")]
    async with at_issuer(issuer, jwks_retry_s=0) as authenticator:
        with pytest.raises(Unauthorised):
            await authenticator.identify_later(token(RSA, "RS256", kid="new"), now_ms=NOW_MS)
        issuer.keys.append(jwk(RSA, "new"))
        assert authenticator.identify(token(RSA, "RS256", kid="new"), now_ms=NOW_MS) is None
        assert (await authenticator.identify_later(token(RSA, "RS256", kid="new"), now_ms=NOW_MS)).user == 7


async def test_unknown_keys_do_not_make_us_ask_again_and_again(issuer: Issuer) -> None:
    issuer.keys = [jwk(rsa(), "old")]
    async with at_issuer(issuer, jwks_retry_s=3600) as authenticator:
        for number in range(20):
            with pytest.raises(Unauthorised) as caught:
                await authenticator.identify_later(token(RSA, "RS256", kid=f"k{number}"), now_ms=NOW_MS)
            assert caught.value.code == "key_unknown"
        assert refusal(authenticator, token(RSA, "RS256", kid="at once")) == "key_unknown"
    assert issuer.asked == 1


async def test_those_who_ask_at_once_share_one_fetch(issuer: Issuer) -> None:
    issuer.keys = [jwk(RSA, "new")]
    async with at_issuer(issuer) as authenticator:
        asking = (authenticator.identify_later(token(RSA, "RS256", kid="new"), now_ms=NOW_MS) for _ in range(50))
        assert {found.user for found in await asyncio.gather(*asking)} == {7}
    assert issuer.asked == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((500, b""), "answered 500"),
        ((302, b""), "answered 302"),
        ((200, b"<html>"), "is not JSON"),
        ((200, b"[]"), "is not JSON"),
        ((200, b'{"keys": 3}'), "no list"),
        ((200, b'{"keys": [3, {"kty": "RSA"}]}'), "no key for RS256"),
        ((200, b'{"keys": [' + b" " * 2000 + b"]}"), "over 1000 bytes"),
        ((200, json.dumps({"keys": [jwk(rsa(1024), "weak")]}).encode()), "no key for RS256"),
        ((200, json.dumps({"keys": [jwk(RSA, "enc", use="enc")]}).encode()), "no key for RS256"),
    ],
)
async def test_an_issuer_that_answers_nonsense_keeps_accounts_out_and_says_why(
    issuer: Issuer, answer: tuple[int, bytes], told: str
) -> None:
    issuer.answer = lambda: answer
    async with at_issuer(issuer, jwks_bytes=1000, guests=False) as authenticator:
        with pytest.raises(Unauthorised):
            await authenticator.identify_later(token(RSA, "RS256", kid="new"), now_ms=NOW_MS)
        with pytest.raises(Unreadable, match=told):
            await authenticator.ping()


async def test_guests_do_not_need_the_issuer(issuer: Issuer) -> None:
    issuer.answer = lambda: (500, b"")
    async with at_issuer(issuer) as authenticator:
        assert authenticator.identify(None, now_ms=NOW_MS) is not None
        await authenticator.ping()


async def test_an_issuer_that_is_away_keeps_the_keys_that_we_have(issuer: Issuer) -> None:
    issuer.keys = [jwk(RSA, "new")]
    async with at_issuer(issuer, jwks_retry_s=0) as authenticator:
        await authenticator.identify_later(token(RSA, "RS256", kid="new"), now_ms=NOW_MS)
        issuer.answer = lambda: (503, b"")
        with pytest.raises(Unauthorised):
            await authenticator.identify_later(token(RSA, "RS256", kid="other"), now_ms=NOW_MS)
        assert authenticator.identify(token(RSA, "RS256", kid="new"), now_ms=NOW_MS) is not None
        await authenticator.ping()


async def test_an_issuer_that_never_answers_costs_its_time_and_no_more() -> None:
    issuer = Issuer()
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        issuer.url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        async with at_issuer(issuer, jwks_timeout_s=0.2) as authenticator:
            with pytest.raises(Unauthorised) as caught:
                await authenticator.identify_later(token(RSA, "RS256", kid="new"), now_ms=NOW_MS)
    assert caught.value.code == "key_unknown"


@pytest.mark.parametrize(
    ("nonsense", "told"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "answered what is no HTTP: BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 101 + b"\r\n", "answered what is no HTTP: HTTPException"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b'{"keys": ' + b"[" * 100_000, "is not JSON"),
    ],
    ids=["no HTTP", "too many headers", "too deep"],
)
async def test_an_issuer_that_speaks_nonsense_is_asked_again(nonsense: bytes, told: str) -> None:
    """Whatever a reading comes to, it is over: keys that the issuer has later are found."""
    body = json.dumps({"keys": [jwk(RSA, "new")]}).encode()
    answers = [nonsense, b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        await writer.drain()

    issuer = Issuer()
    async with listening(answer) as port:
        issuer.url = f"http://127.0.0.1:{port}/"
        async with at_issuer(issuer, guests=False, jwks_retry_s=0, jwks_timeout_s=60) as authenticator:
            jwks = authenticator._jwks
            assert jwks is not None
            await jwks.read()
            with pytest.raises(Unreadable, match=told):
                await authenticator.ping()
            assert (await authenticator.identify_later(token(RSA, "RS256", kid="new"), now_ms=NOW_MS)).user == 7


async def test_a_fault_of_ours_in_a_reading_is_told_and_another_reading_follows() -> None:
    readings: Iterator[AttributeError | int] = iter((AttributeError("a mistake"), 7))

    def read() -> int:
        found = next(readings)
        if isinstance(found, AttributeError):
            raise found
        return found

    renewed = Renewed("something", read, ttl_s=60, retry_s=0, timeout_s=60)
    await renewed.read()
    assert (renewed.value, renewed.fault) == (None, "AttributeError: a mistake")
    await renewed.read()
    assert (renewed.value, renewed.fault) == (7, None)


# --- subjects, and the admin's token ---


def with_subjects(folder: Path, table: object, **options: Any) -> Authenticator:
    (folder / "subjects").write_text(json.dumps(table))
    return hs256(folder, subjects_file=folder / "subjects", jwks_retry_s=0, **options)


def by_subject(subject: object) -> str:
    return token(SECRET, "HS256", uid=None, sub=subject)


async def test_a_subject_is_looked_up_and_the_claim_wins(tmp_path: Path) -> None:
    async with with_subjects(tmp_path, {"auth0|5f7c": 17}) as authenticator:
        assert (await authenticator.identify_later(by_subject("auth0|5f7c"), now_ms=NOW_MS)).user == 17
        both = token(SECRET, "HS256", uid=9, sub="auth0|5f7c")
        assert (await authenticator.identify_later(both, now_ms=NOW_MS)).user == 9
        with pytest.raises(Unauthorised) as caught:
            await authenticator.identify_later(by_subject("other"), now_ms=NOW_MS)
        assert caught.value.code == "user"


async def test_a_new_subject_is_found_when_it_comes(tmp_path: Path) -> None:
    async with with_subjects(tmp_path, {"a": 1}) as authenticator:
        await authenticator.identify_later(by_subject("a"), now_ms=NOW_MS)
        (tmp_path / "subjects").write_text('{"a": 1, "b": 2}')
        assert (await authenticator.identify_later(by_subject("b"), now_ms=NOW_MS)).user == 2


def test_a_table_of_subjects_is_parsed_again_only_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "subjects"
    path.write_text('{"a": 1}')
    file = SubjectsFile(path)
    first = file.read()
    assert file.read() is first
    path.write_text('{"a": 1, "b": 2}')
    assert file.read() == {"a": 1, "b": 2}


@pytest.mark.parametrize("table", [[], {"a": 0}, {"a": "1"}, {"a": True}, {"a": 1, "b": 1}, {"a": 2**53}])
async def test_a_table_of_subjects_that_is_wrong_is_not_taken(tmp_path: Path, table: object) -> None:
    async with with_subjects(tmp_path, table, guests=False) as authenticator:
        with pytest.raises(Unauthorised):
            await authenticator.identify_later(by_subject("a"), now_ms=NOW_MS)
        with pytest.raises(Unreadable):
            await authenticator.ping()


def test_the_admin_s_token_is_itself_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "admin").write_text("s" * 40 + "\n")
    authenticator = guests(admin_token_file=tmp_path / "admin")
    authenticator.load()
    assert authenticator.is_admin("s" * 40)
    assert not any(map(authenticator.is_admin, ["", "s" * 39, "s" * 41, "é" * 40, "\udcff" * 40]))
    assert not guests().is_admin("")


def test_a_short_admin_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "admin").write_text("secret")
    with pytest.raises(Unreadable, match="32 or more"):
        guests(admin_token_file=tmp_path / "admin").load()
