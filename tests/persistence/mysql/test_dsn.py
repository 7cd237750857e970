from pathlib import Path

import pytest

from persistence.mysql.dsn import Dsn


def test_an_address_is_read_in_all_its_parts() -> None:
    dsn = Dsn.parse("mysql://type%40gate:p%2F%3A%40ss@db-1.internal:3307/results?ca=/etc/db.pem")
    assert dsn == Dsn("db-1.internal", 3307, "type@gate", "p/:@ss", "results", Path("/etc/db.pem"))


def test_port_and_password_may_be_left_out() -> None:
    assert Dsn.parse("mariadb://typegate@[::1]/results") == Dsn("::1", 3306, "typegate", None, "results")


def test_its_text_has_no_password() -> None:
    dsn = Dsn.parse("mysql://typegate:secret@[::1]/results")
    assert str(dsn) == "[::1]:3306/results"
    assert "secret" not in repr(dsn)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("postgres://typegate:secret@db/results", "begins with postgres://"),
        ("typegate:secret@db/results", "scheme|begins"),
        ("mysql://typegate:secret@/results", "no host"),
        ("mysql://db/results", "no user"),
        ("mysql://typegate:secret@db", "no database"),
        ("mysql://typegate:secret@db/", "no database"),
        ("mysql://typegate:secret@db/a/b", "no database"),
        ("mysql://typegate:secret@db:99999/results", "Port|port"),
        ("mysql://typegate:secret@db/results?ssl=1", "ca=FILE alone"),
        ("mysql://typegate:secret@db/results?ca=", "ca=FILE alone"),
        ("mysql://typegate:se#cret@db/results", "no|names|Port|port"),
        ("", "scheme"),
    ],
)
def test_a_faulty_address_is_refused_without_telling_the_password(address: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        Dsn.parse(address)
    assert "mysql://typegate:secret@db-1.internal" in str(raised.value), "the example"
    assert str(raised.value).count("secret") == 1
