"""What pydantic models have in common, and its errors in one line."""

from pydantic import BaseModel, ConfigDict, ValidationError

from vlmscope.core.base.text import plain

PROBLEM_LENGTH = 300  #: characters: a name in a file from elsewhere may be megabytes long


class Frozen(BaseModel):
    """A value that cannot be changed and has no other fields than its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def first_problem(error: ValidationError, whole: str = "") -> str:
    """The first thing that is wrong, as ``field.field: what``; ``whole`` stands for the field where all of it is."""
    first = error.errors(include_url=False, include_input=False)[0]  # the input may be megabytes long
    where = plain(".".join(str(part) for part in first["loc"]), PROBLEM_LENGTH) or whole
    message = plain(first["msg"], PROBLEM_LENGTH)
    return f"{where}: {message}" if where else message
