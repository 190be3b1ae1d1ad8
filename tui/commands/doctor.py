"""``vlmscope doctor``: what this installation has, what it lacks, and how to correct that."""

import importlib.util
import json as json_text
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer
from rich.text import Text

from vlmscope.core.base.config import APP, cache_folder, config_file, data_folder, load_config, log_folder
from vlmscope.core.base.demo import demo_folder, scan_folder
from vlmscope.core.base.errors import VlmscopeError
from vlmscope.core.llm.access import api_key, key_problem, shown_url
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.interventions import CLEAN_BYTES
from vlmscope.tui.commands.doctor_model import AskedModel, examine_model
from vlmscope.tui.commands.doctor_pictures import pictures
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.findings import Finding, Severity
from vlmscope.tui.commands.shared.options import JsonOption

TORCH_SECONDS = 120  #: a first import of torch from a slow disk takes long

# Runs in a process of its own: the screen's side never imports torch, and a broken one can crash only that.
_ASK_TORCH = """
import json, torch
devices = []
if torch.cuda.is_available():
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        devices.append([torch.cuda.get_device_name(index), free, total])
mps = bool(getattr(torch.backends, "mps", None) and torch.backends.mps.is_available())
print(json.dumps([torch.__version__, torch.version.cuda, devices, mps]))
"""

# A compiler or a driver that crashes must not take the answer about torch with it.
_ASK_KERNELS = """
import torch
from vlmscope.core.scan.kernels import fused_works
print(fused_works(torch.device("cuda:0")))
"""


def doctor(*, model: AskedModel, json: JsonOption = False) -> None:
    """Show what works here, what is missing, and how to correct it; with --model what a model offers a scan."""
    offered: dict[str, object] = {}
    if model.name is None:
        findings = examine()
    else:
        described, offered["model"] = examine_model(model)
        findings = [replace(found, area="Model") for found in described]
    if json:
        names = ("area", "name", "value", "state", "hint")
        # A public format, whose name for the hint is ``mend``.
        entries = [{"mend" if name == "hint" else name: getattr(one, name) for name in names} for one in findings]
        output.write_json({"json_version": output.JSON_VERSION, "findings": entries, **offered})
    else:
        output.write_lines(as_lines(findings))
    if any(found.state is Severity.BROKEN for found in findings):
        raise typer.Exit(1)


def examine() -> list[Finding]:
    """Look at everything; a failure is a finding, never an exception."""
    areas = {
        "Versions": _versions,
        "Devices": _devices,
        "Terminal": _terminal,
        "Pictures": pictures,
        "Files": _places,
        "Demo": _demo,
    }
    areas["Explanations"] = _api
    return [replace(found, area=area) for area, look in areas.items() for found in look()]


def as_lines(findings: list[Finding]) -> list[Text]:
    width = max(len(found.name) for found in findings)
    lines, area = [], ""
    for found in findings:
        if found.area != area:
            area = found.area
            lines.append(Text(area, style="bold", no_wrap=True))
        mark = {Severity.OK: " ", Severity.LIMIT: "!", Severity.BROKEN: "✗"}[found.state]
        lines.append(output.row(f"{mark} {found.name:<{width}}  {found.value}"))
        if found.hint:
            lines.append(output.row(f"  {'':{width}}  -> {found.hint}"))
    broken = sum(found.state is Severity.BROKEN for found in findings)
    limits = sum(found.state is Severity.LIMIT for found in findings)
    lines += [output.row(), output.row(f"{broken} broken (✗), {limits} limited (!)")]
    return lines


def _versions() -> list[Finding]:
    found = [Finding(APP, _version(APP) or "not installed"), Finding("Python", sys.version.split()[0])]
    for package, purpose in (
        ("textual", "the screen"),
        ("numpy", "everything"),
        ("transformers", "models"),
        ("accelerate", "models on a GPU"),
        ("openai", "explanations"),
    ):
        here = _version(package)
        hint = "" if here else f"For {purpose}: pip install {package}"
        found.append(Finding(package, here or "missing", hint))
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _answer(code: str) -> str:
    """What a Python of its own prints."""
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(  # noqa: S603 - our own interpreter, our own text
        command, capture_output=True, text=True, timeout=TORCH_SECONDS, check=True
    )
    return done.stdout


def _devices() -> list[Finding]:
    hint = "Browsing a scan works without it. For models: pip install torch"
    if importlib.util.find_spec("torch") is None:
        return [Finding("torch", "missing", hint)]
    try:
        torch_version, cuda, devices, mps = json_text.loads(_answer(_ASK_TORCH).strip().splitlines()[-1])
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [f"exit {error.returncode}"])[-1]
        return [Finding("torch", f"does not load: {last}", hint)]
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        return [Finding("torch", f"does not answer: {error}", hint)]
    build = f"built for CUDA {cuda}" if cuda else "built without CUDA"
    found = [Finding("torch", f"{torch_version}, {build}")]
    for index, (name, free, total) in enumerate(devices):
        found.append(Finding(f"cuda:{index}", f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"))
    if devices:
        found.append(_kernels())
    if mps:
        found.append(Finding("mps", "available"))
    if not devices and shutil.which("nvidia-smi"):
        what = "the driver is too old for it" if cuda else "this torch is the CPU build"
        hint = "Install a torch for your driver: https://pytorch.org/get-started/locally/"
        found.append(Finding("cuda", f"nvidia-smi is here, but torch sees no GPU: {what}", hint))
    elif not devices and not mps:
        found.append(Finding("cuda", "none: the model runs on the CPU"))
    kept = f"of the last pictures, up to {CLEAN_BYTES / 2**30:.0f} GiB on the model's device"
    return [*found, Finding("clean passes", kept)]


def _kernels() -> Finding:
    name, slower = "scan kernels", "plain torch serves, slower"
    if importlib.util.find_spec("triton") is None:
        return Finding(name, f"no Triton: {slower}", "pip install triton")
    hint = (
        "Triton compiles them at first: it needs a C compiler and a GPU that it supports. A scan reports why it cannot."
    )
    try:
        works = _answer(_ASK_KERNELS).split()[-1:] == ["True"]
    except (OSError, subprocess.SubprocessError):
        works = False
    if works:
        return Finding(name, "Triton runs them")
    return Finding(name, f"Triton cannot run them: {slower}", hint)


def _terminal() -> list[Finding]:
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    columns, rows = shutil.get_terminal_size()
    found = [Finding("stdout", "a terminal" if is_terminal else "no terminal")]
    small = is_terminal and (columns < 80 or rows < 24)
    hint = "The screen is meant for 80 x 24 at least: enlarge the window." if small else ""
    found.append(Finding("size", f"{columns} x {rows}", hint))
    dumb = is_terminal and os.environ.get("TERM") == "dumb"
    hint = "Set TERM to your terminal's name, such as xterm-256color." if dumb else ""
    found.append(Finding("TERM", os.environ.get("TERM", "not set"), hint, dumb))
    found += [Finding(name, os.environ.get(name, "not set")) for name in ("COLORTERM", "NO_COLOR")]
    colours = output.console().color_system or "none"
    found.append(Finding("colours", {"truecolor": "16 million", "256": "256"}.get(colours, colours)))
    inside = [
        name for name, key in (("tmux", "TMUX"), ("screen", "STY"), ("ssh", "SSH_CONNECTION")) if key in os.environ
    ]
    found.append(Finding("inside", ", ".join(inside) or "neither tmux, screen nor ssh"))
    if "utf" not in (getattr(sys.stdout, "encoding", None) or "").lower():
        found.append(Finding("encoding", str(sys.stdout.encoding), "Set LANG to a UTF-8 locale: C.UTF-8."))
    return found


def _places() -> list[Finding]:
    path = config_file()
    try:
        load_config()
        found = [Finding("config", f"{path}{'' if path.exists() else ' (none: defaults)'}")]
    except VlmscopeError as error:
        found = [Finding("config", error.message, error.hint, is_broken=True)]
    places: tuple[tuple[str, Callable[[], Path], str], ...] = (
        ("data", data_folder, "XDG_DATA_HOME"),
        ("cache", cache_folder, "XDG_CACHE_HOME"),
        ("logs", log_folder, "XDG_STATE_HOME"),
    )
    for name, folder, variable in places:
        path = folder()
        if _can_be_written(path):
            found.append(Finding(name, str(path)))
        else:
            hint = f"Make it writable, or name another place in {variable}."
            found.append(Finding(name, f"{path} cannot be written", hint, is_broken=True))
    return found


def _can_be_written(path: Path) -> bool:
    """Whether ``path`` is a folder to write into, or could be made: nothing is made."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def _demo() -> list[Finding]:
    try:
        found = [Finding("folder", str(demo_folder()))]
        manifest = ScanStore(scan_folder("demo")).manifest
        size = f"{manifest.model.layers} layers of {manifest.model.neurons} neurons, {manifest.scanned} samples"
        return [*found, Finding("scan", size)]
    except VlmscopeError as error:
        return [Finding("scan", error.message, "Install vlmscope again.", is_broken=True)]


def _api() -> list[Finding]:
    # Only whether: a key's value is not shown, and a URL may hold a password.
    found = [Finding("OPENAI_API_KEY", "set" if api_key() else "not set")]
    try:
        settings = load_config().api
        server = shown_url(settings)
    except VlmscopeError as error:
        return [*found, Finding("server", error.message, error.hint)]
    found.append(Finding("server", server))
    problem = key_problem(settings)
    if problem:
        found.append(Finding("requests", "cannot be sent", problem))
    return [*found, Finding("model", settings.model)]
