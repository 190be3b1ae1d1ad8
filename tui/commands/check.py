"""``vlmscope check``: whether removing neurons changes a word more than removing others that write as much."""

from typing import Annotated

import typer

from vlmscope.core.base.batch import BatchEnd
from vlmscope.core.base.config import load_config
from vlmscope.core.base.errors import UsageError, VlmscopeError
from vlmscope.core.base.intervention import Intervention, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.causal.check import DEFAULTS, check_settings
from vlmscope.core.causal.run import CheckResult, CheckStatus, run
from vlmscope.core.causal.trained import check_trained
from vlmscope.core.notebook.check import CheckSettings
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import ModelSpec
from vlmscope.core.worker.process import ModelProcess
from vlmscope.tui.commands.check_output import check_json, check_lines, check_notes, check_table
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.causal_options import (
    CONTROL,
    CONTROLS_HELP,
    MOST_CONTROLS,
    AtOption,
    ControlOption,
    SeedOption,
    ToOption,
    WordOption,
    asked_word,
)
from vlmscope.tui.commands.shared.neuron_options import NeuronOptions
from vlmscope.tui.commands.shared.neuron_run import RunBar, agree_to_download, run_and_keep, trust_images
from vlmscope.tui.commands.shared.notes import Notes
from vlmscope.tui.commands.shared.open_arg import open_notebook, opened
from vlmscope.tui.commands.shared.options import JsonOption, ScanArgument, ScannedModelOptions, TrustImagesOption


def check(
    *,
    scan: ScanArgument,
    which: NeuronOptions,
    word: WordOption = None,
    to: ToOption = "zero",
    at: AtOption = Positions.ALL,
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="The first so many top samples with the word.")
    ] = DEFAULTS.pictures,
    controls: Annotated[
        int, typer.Option("--controls", min=0, max=MOST_CONTROLS, help=CONTROLS_HELP, rich_help_panel=CONTROL)
    ] = DEFAULTS.controls,
    control: ControlOption = "neurons",
    seed: SeedOption = 0,
    again: Annotated[bool, typer.Option("--again", help="Check what has such a check, too.")] = False,
    trust: TrustImagesOption = False,
    json: JsonOption = False,
    scanned_model: ScannedModelOptions,
) -> None:
    """Check whether neurons' removal changes a word, against matched neurons.

    Each neuron is removed by itself from the model while it reads the
    descriptions of its top samples. The change of the word's log-odds is
    compared with that by other neurons of the layer that write as much on
    these pictures. p is the two-sided rank among them, q is over all neurons
    of the command. Checks go into the scan's notebook. A check is not an
    explanation, and "no effect found" is a result.
    """
    config = load_config()
    store = opened(scan)
    neurons = which.pick(store, store.stored_labels())
    settings = CheckSettings(str(Intervention.parse(to)), at, control, samples, controls, seed)
    check_settings(store, settings)
    check_trained(store)
    wanted = asked_word(store, word, neurons)
    spec = scanned_model.spec(store.manifest, config)
    notes = Notes()
    trust_images(store, neurons, trust, notes)
    agree_to_download(spec, scanned_model.download, notes)
    with open_notebook(store) as notebook:
        work = _run(neurons, store, spec, notebook, settings, "" if word is None else wanted, again, notes)
        end = run_and_keep(work, notes, "continues")
    _report(end, word is not None, controls, json, notes)


async def _run(
    neurons: list[Neuron],
    store: ScanStore,
    spec: ModelSpec,
    notebook: Notebook,
    settings: CheckSettings,
    word: str,
    again: bool,
    notes: Notes,
) -> BatchEnd[CheckResult]:
    bar = RunBar(notes, "neurons", len(neurons), parts="steps")
    model = ModelProcess(spec, bar.show_model, idle_unload_s=0)
    try:
        with bar.bars:
            return await run(
                neurons,
                store,
                model,
                notebook,
                settings,
                word=word,
                again=again,
                on_result=bar.step,
                on_step=bar.show_part,
            )
    finally:
        await model.close()


def _report(end: BatchEnd[CheckResult], has_word: bool, controls: int, as_json: bool, notes: Notes) -> None:
    """Write a run's results."""
    results = end.results
    checked = [result.check for result in results if result.check is not None]
    if end.stopped is None and not checked and has_word and all(_lacks_word(result) for result in results):
        raise UsageError(results[0].reason, "Name another word with --word.")
    if as_json:
        output.write_json([check_json(result) for result in results])
    elif len(results) == 1:
        output.write_lines([line for one in checked for line in check_lines(one)])
    else:
        output.write_lines(check_table(results))
    check_notes(results, controls, notes)
    if end.stopped is not None:
        raise end.stopped
    if not checked:
        raise VlmscopeError("No neuron was checked.", "The reasons are listed above.")


def _lacks_word(result: CheckResult) -> bool:
    return result.status is CheckStatus.SKIPPED and bool(result.word)
