"""The three ways in which keeping something fails; what a caller does next is in `retriable`, not in the class.

StoreError            the store's fault: disk, lock, schema, file
├── SpoolFull         the spool has no room: refuse new tests, try again later
└── FolderError       the data folder is missing, unsafe or in use
CursorError           the caller's fault: a cursor that no page of this list gave
"""


class StoreError(Exception):
    """A store could not do what it was asked; nothing of the request has been kept.

    `retriable` says whether the same call may succeed later without anybody changing the request or the code.
    """

    def __init__(self, message: str, *, retriable: bool) -> None:
        super().__init__(message)
        self.retriable = retriable


class SpoolFull(StoreError):
    """The spool is at its hard limit of rows or bytes: this result was not taken (its client still has its log)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retriable=True)


class FolderError(StoreError):
    """The data folder cannot be used: the message says which file, what is wrong and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retriable=False)


class CursorError(ValueError):
    """A page cursor that this list never gave out."""
