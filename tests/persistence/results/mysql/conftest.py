from tests.persistence.mysql.conftest import database

__all__ = ["database"]
