"""A command with a model of its own: what it loads, and Ctrl-C while it works."""

import contextlib
from collections.abc import Iterator

import typer

from vlmscope.core.base.callbacks import OnProgress, Stopped
from vlmscope.core.base.errors import Cancelled
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.base.signals import Ending, exit_code
from vlmscope.core.data.description_cache import DescriptionCache
from vlmscope.core.worker.messages import ModelSpec
from vlmscope.tui.commands.scan_options import ModelOptions
from vlmscope.tui.commands.shared.notes import Notes, note, progress


def spec_of(model: ModelOptions, hook: HookPoint) -> ModelSpec:
    """What is to be loaded. Raises UsageError as the properties of ``ModelOptions``."""
    return ModelSpec(
        model.name,
        model.revision,
        model.device,
        model.dtype,
        hook,
        model.trust_remote_code,
        device_map=model.device_map,
        image_options=model.images_given,
        chat_options=model.chat_given,
    )


@contextlib.contextmanager
def stoppable(
    notes: Notes, cache: DescriptionCache, continues: str, who: str = ""
) -> Iterator[tuple[OnProgress, Stopped]]:
    """Bars for the work, and whether it was stopped: the first signal asks it to end, the next ends the program.

    Args:
        cache: its trouble is written in the end.
        continues: how a stopped work continues.
        who: which of several processes this is, put before its messages.

    Raises:
        typer.Exit: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP, where the work ended by ``Cancelled``.
    """
    stop = Ending(Ending.release)
    try:
        with stop, progress(notes, who=who) as report:
            yield report, stop.is_asked
    except Cancelled as stopped:
        if who:
            note(f"{who}{stopped.message}")
        else:
            notes.write(stopped.message)
        notes.write(continues)
        raise typer.Exit(exit_code(stop.number)) from None
    finally:
        if cache.trouble is not None:
            notes.write(cache.trouble)
