"""Options that belong together, as one value: a command's parameter may be a dataclass of options."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from inspect import Parameter
from typing import get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` as typer wants it: each field of a dataclass among its parameters is an option of its own."""
    signature = inspect.signature(command, eval_str=True)
    annotations = {name: one.annotation for name, one in signature.parameters.items()}
    groups = {name: of for name, of in annotations.items() if isinstance(of, type) and is_dataclass(of)}
    parameters: list[Parameter] = []
    for name, one in signature.parameters.items():
        if name not in groups:
            parameters.append(one)
            continue
        hints = get_type_hints(groups[name], include_extras=True)
        for field in fields(groups[name]):
            option = Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])
            parameters.append(option)

    @functools.wraps(command)
    def call(**given: object) -> None:
        made = {name: of(**{field.name: given.pop(field.name) for field in fields(of)}) for name, of in groups.items()}
        command(**given, **made)

    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return call
