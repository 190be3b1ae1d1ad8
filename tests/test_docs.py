"""README, guide and reference state what is so: keys, commands, options, settings, packages, files and links exist."""

import json
import re
import subprocess
import tomllib
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from tests.support.json_page import KINDS, Node
from tests.support.json_page import page as json_page
from vlmscope.core.base.config import Config
from vlmscope.core.bench.scan import ScanFigures
from vlmscope.core.scoring.simulators.registry import BACKENDS
from vlmscope.core.store.arrays import array_shapes
from vlmscope.core.store.manifest import LayoutInfo, Manifest, Progress, SmallMaps
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.log import worker_log
from vlmscope.tui.__main__ import main
from vlmscope.tui.cli import app
from vlmscope.tui.command_line import VERBS
from vlmscope.tui.keys import ACTIONS, keys_of

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md")))
}
README, GUIDE, COMMANDS, METHOD, SPEED, FILES, CONTRIBUTING = (
    PAGES[name]
    for name in (
        "README.md",
        "docs/guide.md",
        "docs/commands.md",
        "docs/method.md",
        "docs/speed.md",
        "docs/files.md",
        "CONTRIBUTING.md",
    )
)
THRESHOLDS = {"--Tv", "--nv", "--Tt", "--nt"}
SHARED = THRESHOLDS | {
    "--high-confidence",
    "--json",
    "--device",
    "--dtype",
    "--view",
}  # one table has them for all commands


def section(page: str, title: str) -> str:
    """What stands under a heading of the second level, down to the next one."""
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in ``text``, without their heads."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("| ---"):
            found.pop()
        elif line.startswith("| "):
            found.append([cell.strip() for cell in line.strip("| ").split(" | ")])
    return found


def prose(page: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"```.*?```", "", page, flags=re.DOTALL)


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", prose(text)))


def commands() -> dict[str, Any]:
    return dict(get_command(app).commands)  # type: ignore[attr-defined]


def leaves() -> dict[str, Any]:
    """Every command that runs something, those of ``bench`` by both words."""
    found: dict[str, Any] = {}
    for name, command in commands().items():
        inner = getattr(command, "commands", {})
        found |= {f"{name} {word}": one for word, one in inner.items()} or {name: command}
    return found


def options(command: Any) -> set[str]:
    return {option for one in command.params for option in one.opts if option.startswith("-")} - {"--help", "-h"}


def with_option(option: str) -> set[str]:
    """The commands, by their first word, that take it."""
    return {name.split()[0] for name, command in leaves().items() if option in options(command)}


# -- commands and options --------------------------------------------------------------------------------------------


def test_the_first_command_opens_the_demo() -> None:
    block = README.split("<!-- start -->\n```sh\n")[1].split("```")[0]
    assert block.strip().endswith("&& .venv/bin/vlmscope")


def test_ci_runs_the_readmes_test_command() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    extract = re.search(r"^command=\$\((awk .*)\)$", script, re.MULTILINE)
    assert extract is not None
    found = subprocess.run(["bash", "-c", extract[1]], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == README.split("<!-- test -->\n```sh\n")[1].split("```")[0]
    assert found.stdout.endswith("&& .venv/bin/pytest\n")


def test_every_command_is_listed_and_no_other() -> None:
    listed = re.findall(r"^\| `vlmscope ([a-z-]+)", COMMANDS.split("\n## ")[0], re.MULTILINE)
    assert sorted(listed) == sorted(commands())
    inner = re.findall(r"^\| `vlmscope ([a-z]+ [a-z]+)`", section(COMMANDS, "bench"), re.MULTILINE)
    assert sorted(inner) == sorted(name for name in leaves() if " " in name)


@pytest.mark.parametrize("name", sorted({name.split()[0] for name in leaves()} - {"open"}))
def test_every_option_of_a_command_is_listed_and_no_other(name: str) -> None:
    taken = set().union(*(options(command) for leaf, command in leaves().items() if leaf.split()[0] == name))
    heads = re.findall(r"^\| ([^|]*`-[^|]*) \|", section(COMMANDS, name), re.MULTILINE)
    listed = set().union(*map(quoted, heads))
    assert listed == taken - SHARED


def test_options_of_several_commands_name_those_commands() -> None:
    found: set[str] = set()
    for head, names, *_ in rows(section(COMMANDS, "Options of several commands")):
        for option in quoted(head):
            assert quoted(names) == with_option(option), option
            found.add(option)
    assert found == SHARED
    assert options(commands()["open"]) <= SHARED


@pytest.mark.parametrize(
    "line",
    sorted({line for page in PAGES.values() for line in re.findall(r"vlmscope ([a-z-]+ [^`|\n]*--[^`|\n]*)", page)}),
)
def test_every_option_that_is_shown_exists(line: str) -> None:
    name, *words = line.partition("#")[0].split()
    command = commands()[name]
    inner = getattr(command, "commands", {})  # a command of commands, as bench
    command = inner.get(words[0], command)
    assert {word for word in words if word.startswith("--")} <= options(command)


def test_every_simulator_is_listed_and_no_other() -> None:
    listed = [quoted(head).pop() for head, *_ in rows(section(METHOD, "Simulators"))]
    assert set(listed) == set(BACKENDS)
    described = next(cells for cells in rows(section(COMMANDS, "simulate")) if cells[0] == "`--backend`")
    assert quoted(described[1].split(": ")[1]) == set(BACKENDS)


# -- the screen ------------------------------------------------------------------------------------------------------


def test_every_key_is_listed_and_no_other() -> None:
    bound = {key for action in ACTIONS for key in keys_of(action.id, {})}
    listed = set().union(*(quoted(head) for head, *_ in rows(section(GUIDE, "Keys"))))
    assert listed == bound


def test_keys_that_the_text_names_are_bound() -> None:
    bound = {key for action in ACTIONS for key in keys_of(action.id, {})}
    shown = {word for page in (README, GUIDE, METHOD) for word in quoted(page) if len(word) == 1}
    letters_and_marks = set("VTM·✓✗*+!●◆≈<>=")
    assert len(shown) > 30
    assert shown - letters_and_marks <= bound


def test_every_screen_command_is_listed_and_no_other() -> None:
    listed = set().union(*(quoted(head) for head, *_ in rows(section(GUIDE, "Commands after `:`"))))
    assert {word[1:].split()[0] for word in listed if re.match(":[A-Za-z]", word)} == set(VERBS)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_screen_command_that_is_shown_exists(name: str) -> None:
    assert set(re.findall(r"`:([A-Za-z][A-Za-z-]*)", PAGES[name])) <= set(VERBS)


# -- files and settings ----------------------------------------------------------------------------------------------


def test_the_settings_are_all_there_with_their_defaults() -> None:
    shown = tomllib.loads(section(FILES, "Settings").split("```toml\n")[1].split("```")[0])
    assert shown.keys() == Config.model_fields.keys()
    for part in ("api", "simulate"):
        assert shown[part].keys() == type(getattr(Config(), part)).model_fields.keys()
    ids = {action.id for action in ACTIONS}
    assert shown.pop("keys").keys() <= ids
    assert Config.model_validate(shown) == Config()


def test_the_log_lies_where_it_is_said_to(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    if (own_home / ".local").as_posix() in worker_log().as_posix():  # Linux
        assert f"`~/{worker_log().relative_to(own_home)}`" in FILES


def test_every_array_of_a_scan_is_listed_with_its_dtype(scan: Path) -> None:
    manifest: Manifest = ScanStore(scan).manifest
    tables = [cells for cells in rows(section(FILES, "A scan")) if len(cells) == 3]
    listed = {array: dtype for names, dtype, _ in tables for array in quoted(names)}
    tiled = LayoutInfo(id="0" * 16, tokens=2, grid=(1, 1), plain=False)
    unfinished = Progress(done=0, of=0, batch=1, shard=None, samples_bytes=0, crops_bytes=0, updated="")
    small = SmallMaps(samples=1, cells=1, values=1, words=1)
    optional = {"layouts": (tiled,), "progress": unfinished, "panel": 1, "small": small}
    shapes = array_shapes(manifest.model_copy(update=optional))
    assert set(listed) == set(shapes)
    for name, (dtype, _) in shapes.items():
        assert listed[name].startswith(dtype.__name__), name


JSON = (
    ("labels", "demo"),
    ("labels", "demo", "--neurons", "--limit", "1"),
    ("stats", "demo"),
    ("show", "demo", "L3/N96"),
    ("show", "demo", "L3/N96", "--sample", "1"),
    ("search", "demo", "apple", "--limit", "1"),
    ("related", "demo", "L3/N96", "--limit", "1"),
    ("verdict", "demo", "L3/N96", "keep"),
    ("concepts", "demo"),
)


@pytest.mark.parametrize("command", JSON, ids=" ".join)
def test_json_keeps_to_its_page(command: tuple[str, ...]) -> None:
    assert main([*command, "--json"]) == 0  # compared with docs/json.md, as in every test: tests/conftest.py


def test_doctors_json_names_the_version_of_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--json"])  # it ends with 1 where something is missing
    version_here = json.loads(capsys.readouterr().out)["json_version"]
    assert f"\nVersion {version_here}: " in PAGES["docs/json.md"]


def test_every_command_with_json_has_its_section_and_no_other() -> None:
    assert {name.split()[0] for name in json_page()[0]} == with_option("--json")
    for name in json_page()[0]:
        words = name.split()
        taken = set().union(*(options(command) for leaf, command in leaves().items() if leaf.split()[0] == words[0]))
        assert set(words[1:]) <= taken, name


def test_every_part_of_json_is_named_and_no_other() -> None:
    commands, parts = json_page()
    named: set[str] = set()

    def look(node: Node) -> None:
        named.update(re.sub("^(list of )+", "", kind) for kind in node.types)
        for inner in node.fields.values():
            look(inner)

    for node in (*commands.values(), *parts.values()):
        look(node)
    assert named - {"object"} - KINDS.keys() == parts.keys()


def test_the_figures_of_bench_scan_that_are_listed_exist() -> None:
    listed = {word for head, *_ in rows(section(SPEED, "Measure yours")) for word in quoted(head)}
    assert listed
    assert listed <= {field.name for field in fields(ScanFigures)}


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_file_that_is_named_exists(name: str) -> None:
    pattern = r"`((?:tui|core|sample_data|docs|tests|\.ci)/[\w./-]*|LICENSE|pyproject\.toml|CITATION\.cff)`"
    for path in re.findall(pattern, PAGES[name]):
        if "NAME" not in path:  # a recipe's file, which is yet to be written
            assert (ROOT / path).exists(), path


def anchors(page: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    heads = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[name]):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / name).parent / path if path else ROOT / name
        assert found.resolve().is_relative_to(ROOT), target
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.read_text(encoding="utf-8")), target


# -- for those who build ---------------------------------------------------------------------------------------------


def test_the_map_has_every_package_of_the_layers() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layered = {one["containers"][0]: one["layers"] for one in contracts if one["type"] == "layers"}
    named = {name for layers in layered.values() for layer in layers for name in layer.split(" | ")}
    listed = [name for head, *_ in rows(section(CONTRIBUTING, "The map")) for name in quoted(head)]
    assert sorted(name for name in listed if name not in ("core", "tui")) == sorted(named)


def test_the_citation_has_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {version('vlmscope')}\n" in citation
    assert "\nlicense: Apache-2.0\n" in citation
    assert "arXiv:2502.18485" in citation
