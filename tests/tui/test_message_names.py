"""Textual calls a message's handler by name: a message of ours must not take the name of one of Textual's."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import textual.events
import textual.messages
import textual.widgets  # noqa: F401  (widgets define messages of their own)
from textual.message import Message

import vlmscope.tui


def subclasses(kind: type[Message]) -> Iterator[type[Message]]:
    for one in kind.__subclasses__():
        yield one
        yield from subclasses(one)


def test_no_message_of_ours_has_the_handler_of_one_of_textual() -> None:
    for module in pkgutil.walk_packages(vlmscope.tui.__path__, "vlmscope.tui."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = {one for one in subclasses(Message) if inspect.getmodule(one) is not None}
    ours = {one.handler_name: one.__qualname__ for one in found if one.__module__.startswith("vlmscope.")}
    theirs = {one.handler_name for one in found if one.__module__.startswith("textual.")}
    assert {"on_leave", "on_key"} <= theirs
    assert ours
    assert not [f"{ours[name]}: {name}" for name in ours.keys() & theirs]
