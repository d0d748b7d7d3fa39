"""JSON files of a known form, read as if a stranger had written them: size, depth, types and ranges are checked.

It knows no file by name: what a wrong one means to a user, and what to do, the caller says.
"""

import reprlib
import stat
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter, ValidationError

if TYPE_CHECKING:
    from harness.base.storage import Folder

_MOST_BYTES = 256 << 20  # the confusion matrix of 9,000 classes
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 60
Form = TypeVar("Form")


class WrongForm(ValueError):
    """A file that cannot be read or is not of its form; its text says why, as a part of a sentence."""


def read(path: "Folder", form: TypeAdapter[Form]) -> Form:
    """Returns what a JSON file holds, compared with its form.

    Nesting is bounded by pydantic's parser, which works without recursion of Python's.

    Raises:
      WrongForm: it cannot be read, is larger than 256 MiB, is no JSON, or has other types or values than its form.
    """
    return parse(_read_bytes(path), form)


def parse(content: bytes, form: TypeAdapter[Form]) -> Form:
    """Returns what JSON text holds, compared with its form.

    Raises:
      WrongForm: it is no JSON, or has other types or values than its form.
    """
    try:
        return form.validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    where = ".".join(cut(str(part)) for part in first["loc"])
    found = (
        f"{where} is {show(first['input'])}: " if where and first["type"] != "missing" else f"{where}: " * bool(where)
    )
    raise WrongForm(f"{found}{first['msg'][:200]}")


def _read_bytes(path: "Folder") -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise WrongForm("it is no file")
        if status.st_size <= _MOST_BYTES:
            with path.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
            if len(content) <= _MOST_BYTES:
                return content
    except OSError as error:
        raise WrongForm(error.strerror or str(error)) from None
    raise WrongForm(f"it has more than {_MOST_BYTES >> 20} MiB")


def show(value: object) -> str:
    """Returns the value as Python writes it, cut where it is long or deep."""
    return _SHOWN.repr(value)


def cut(text: str) -> str:
    """Returns a text, cut where it is long."""
    return text if len(text) <= _SHOWN.maxstring else f"{text[: _SHOWN.maxstring]}..."
