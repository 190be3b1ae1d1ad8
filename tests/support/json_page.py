"""docs/json.md as schemas, and whether what a command wrote keeps to them."""

import io
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
KINDS: dict[str, Callable[[object], bool]] = {
    "text": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "number?": lambda value: value is None or (isinstance(value, int | float) and not isinstance(value, bool)),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "any": lambda _value: True,
}


@dataclass
class Node:
    """What a value may be: any of ``types``, which are kinds, or names of parts, or ``list of`` one of these.

    Attributes:
        fields: of an object, by key; ``*`` stands for any key. optional: it need not be there.
    """

    types: tuple[str, ...] = ()
    fields: "dict[str, Node]" = field(default_factory=dict)
    optional: bool = False


@cache
def page() -> tuple[dict[str, Node], dict[str, Node]]:
    """The schemas of commands, by their words, and the parts that they name."""
    commands, _, parts = PAGE.read_text(encoding="utf-8").partition("\n## Parts\n")
    return _schemas(commands, "## `"), _schemas(parts, "### `")


def _schemas(text: str, mark: str) -> dict[str, Node]:
    found = {}
    for section in text.split(f"\n{mark}")[1:]:
        name, _, body = section.partition("`")
        whole = re.search(r"^(A list of )?`([^`]+)`", body, re.MULTILINE)  # of a part
        kind = "object" if whole is None else whole[2]
        kinds = (f"list of {kind}",) if re.search("^A list of", body, re.MULTILINE) else (kind,)
        root = Node((*kinds, "object") if ", or an object" in body else kinds)
        for line in body.splitlines():
            cells = re.fullmatch(r"\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|", line)
            if cells is not None:
                assert cells[3].strip(), line
                _add(root, cells[1], cells[2].strip())
        found[name] = root
    return found


def _add(root: Node, path: str, types: str) -> None:
    node = root
    *above, key = path.split(".")
    for name in above:
        assert name.removesuffix("[]") in node.fields, f"{path}: {name} has no row of its own above"
        node = node.fields[name.removesuffix("[]")]
    assert key not in node.fields, f"{path} is there twice"
    kinds = types.removesuffix(", optional")
    node.fields[key] = Node(tuple(kinds.split(" or ")), optional=kinds != types)


def differences(value: object, node: Node, path: str = "") -> list[str]:
    """What is not as the page has it; empty if nothing is."""
    told = [_against(value, kind, node, path) for kind in node.types]
    return [] if any(not found for found in told) else min(told, key=len)


def _against(value: object, kind: str, node: Node, path: str) -> list[str]:
    if kind.startswith("list of "):
        if not isinstance(value, list):
            return [f"{path} is not a list"]
        inner = Node((kind.removeprefix("list of "),), node.fields)
        return [one for item in value for one in differences(item, inner, f"{path}[]")]
    if kind in KINDS:
        return [] if KINDS[kind](value) else [f"{path} is {value!s:.40}, not {kind}"]
    fields = node.fields if kind == "object" else page()[1][kind].fields
    if not isinstance(value, dict):
        return [f"{path} is {value!s:.40}, not an object"]
    found = []
    for key, inner in value.items():
        own = fields.get(key) or fields.get("*")
        at = f"{path}.{key}".lstrip(".")
        found += [f"docs/json.md lacks {at}"] if own is None else differences(inner, own, at)
    lacking = [key for key, one in fields.items() if key != "*" and not one.optional and key not in value]
    return [*found, *(f"{path}.{key} is missing".lstrip(".") for key in lacking)]


def command_of(args: Sequence[str]) -> str:
    """The section that is about these arguments: that with the most words of them."""
    known = [name for name in page()[0] if set(name.split()) <= set(args)]
    fitting = [name for name in known if name.split()[0] == args[0]]
    assert fitting, f"docs/json.md has no section on vlmscope {args[0]}"
    return max(fitting, key=lambda name: len(name.split()))


def keeping_to_the_page(run: Callable[[list[str]], int]) -> Callable[[list[str]], int]:
    """``run``, which parses and runs arguments; what it writes with ``--json`` is compared with the page."""

    def checked(args: list[str]) -> int:
        if "--json" not in args:
            return run(args)
        before, seen = sys.stdout, _Tee(sys.stdout)
        sys.stdout = seen
        try:
            code = run(args)
        finally:
            sys.stdout = before
        text = seen.text.getvalue()
        if text.strip() and not {"--help", "-h"} & set(args):
            name = command_of(args)
            found = differences(json.loads(text), page()[0][name])
            assert not found, f"vlmscope {name} --json does not keep to docs/json.md: {found[:5]}"
        return code

    return checked


class _Tee:
    """stdout, of which a copy is kept."""

    def __init__(self, stream: Any) -> None:
        self.text = io.StringIO()
        self._stream = stream

    def write(self, text: str) -> int:
        self.text.write(text)
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
