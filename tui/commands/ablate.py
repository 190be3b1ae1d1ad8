"""``vlmscope ablate``: what removing or changing neurons, all at once, does to a description and to the caption."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from vlmscope.core.base.config import load_config
from vlmscope.core.base.errors import StoreError, UsageError
from vlmscope.core.base.intervention import Intervention, Positions
from vlmscope.core.causal.ablation import Ablation
from vlmscope.core.causal.ablation import ablate as ablate_on
from vlmscope.core.causal.ablation_words import notes_on
from vlmscope.core.causal.check import DEFAULTS, check, check_settings
from vlmscope.core.causal.edits import peaks_sought
from vlmscope.core.causal.pictures import Described, of_answer, pick
from vlmscope.core.causal.sets import NeuronSet, of_addresses, of_concept, of_kept, of_tag
from vlmscope.core.causal.trained import check_trained
from vlmscope.core.causal.words import check_present
from vlmscope.core.notebook.check import CausalCheck, CheckSettings
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks
from vlmscope.core.worker.messages import DescribeRequest, ModelSpec
from vlmscope.core.worker.process import ModelProcess
from vlmscope.tui.commands.ablate_output import ablation_json, ablation_lines
from vlmscope.tui.commands.check_output import check_lines, set_json
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
from vlmscope.tui.commands.shared.neuron_options import WHICH
from vlmscope.tui.commands.shared.neuron_run import RunBar, agree_to_download, trust_images
from vlmscope.tui.commands.shared.notes import Notes
from vlmscope.tui.commands.shared.open_arg import kept_notebook, open_notebook, opened
from vlmscope.tui.commands.shared.options import JsonOption, ScanArgument, ScannedModelOptions, TrustImagesOption


@dataclass(frozen=True)
class SetOptions:
    """The ways of naming neurons that are changed together."""

    addresses: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ADDRESS]...", help="Layer and neuron, from 0, such as L3/N17.", show_default=False),
    ] = None
    concept: Annotated[
        str | None,
        typer.Option("--concept", metavar="WORD", help="All that have it among their concepts.", rich_help_panel=WHICH),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, help="Of the concept's those so many for which it stands out most.", rich_help_panel=WHICH
        ),
    ] = None
    kept: Annotated[
        bool, typer.Option("--kept", help="All with the verdict keep in the notebook.", rich_help_panel=WHICH)
    ] = False
    tag: Annotated[
        str | None, typer.Option("--tag", metavar="TAG", help="All with this tag.", rich_help_panel=WHICH)
    ] = None

    def pick(self, store: ScanStore) -> NeuronSet:
        """The neurons that were named.

        Raises:
            UsageError: if none or several ways of naming them were used, or the set is empty.
        """
        ways = [bool(self.addresses), self.concept is not None, self.kept, self.tag is not None]
        if sum(ways) != 1:
            what = "Neurons are named in more than one way." if any(ways) else "No neuron is named."
            raise UsageError(what, "Give addresses such as L3/N17, or --concept apple, or --kept, or --tag TAG.")
        if self.limit is not None and self.concept is None:
            raise UsageError("--limit is for --concept.", "Write --concept apple --limit 20.")
        if self.concept is not None:
            return of_concept(store, self.concept, self.limit)
        if self.addresses:
            named = [store.numbering.parse(address) for address in self.addresses]
            return of_addresses(named)
        with kept_notebook(store) as notebook:
            return of_kept(store, notebook) if self.tag is None else of_tag(store, notebook, self.tag)


@dataclass(frozen=True)
class _Asked:
    """What is to be done."""

    store: ScanStore
    chosen: NeuronSet
    word: str
    has_word: bool  # it was typed
    samples: int
    image: str | None
    settings: CheckSettings | None  # of a check; None for an ablation alone
    intervention: Intervention
    at: Positions
    caption: bool


def ablate(
    *,
    scan: ScanArgument,
    which: SetOptions,
    to: ToOption = "zero",
    at: AtOption = Positions.ALL,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            min=1,
            help="The first so many top samples, with the word if there is one; default 1, of a check 10.",
            show_default=False,
        ),
    ] = None,
    image: Annotated[
        Path | None, typer.Option("--image", metavar="FILE", help="A picture of your own, which the model describes.")
    ] = None,
    word: WordOption = None,
    caption: Annotated[bool, typer.Option("--caption", help="Let the model describe the picture, too.")] = False,
    controls: Annotated[
        int | None,
        typer.Option(
            "--controls", min=1, max=MOST_CONTROLS, help=CONTROLS_HELP, rich_help_panel=CONTROL, show_default=False
        ),
    ] = None,
    control: ControlOption = "neurons",
    seed: SeedOption = 0,
    trust: TrustImagesOption = False,
    json: JsonOption = False,
    scanned_model: ScannedModelOptions,
) -> None:
    """Remove or change neurons, all at once, and read what becomes of each word.

    The model reads the description of a top sample, or of a picture of your
    own, without and with the change. For every token the change of its
    log-odds is written, with p and the KL divergence. With --controls it is
    compared with matched neurons, or sets of them, and kept in the notebook:
    vlmscope check does this for many neurons, each by itself.
    """
    config = load_config()
    store = opened(scan)
    chosen = which.pick(store)
    intervention = Intervention.parse(to)
    if image is not None and samples is not None:
        raise UsageError("--image and --samples are both given.", "A picture of your own is one; leave one out.")
    if image is not None and not image.is_file():
        raise UsageError(f"{image} is not a file.", "Name a picture with --image.")
    if controls is None and (control, seed) != ("neurons", 0):
        raise UsageError("--control and --seed are for --controls.", "Write --controls 39.")
    wanted = samples or (1 if controls is None else DEFAULTS.pictures)
    settings = None
    if controls is not None:
        settings = CheckSettings(str(intervention), at, control, wanted, controls, seed)
        check_settings(store, settings)
    check_trained(store)
    asked = chosen.word if word is None and chosen.word else asked_word(store, word, chosen.neurons)
    if settings is not None and not asked:
        raise UsageError("No concept word leads these neurons.", "Name a word: --word train.")
    spec = scanned_model.spec(store.manifest, config)
    notes = Notes()
    trust_images(store, chosen.neurons, trust, notes)
    agree_to_download(spec, scanned_model.download, notes)
    path = None if image is None else str(image.resolve())
    job = _Asked(store, chosen, asked, word is not None, wanted, path, settings, intervention, at, caption)
    ablation, found = asyncio.run(_run(job, spec, notes))
    if found is not None:
        with open_notebook(store) as notebook:
            notebook.add_check(found)
    _report(ablation, found, json, notes)


async def _run(job: _Asked, spec: ModelSpec, notes: Notes) -> tuple[Ablation | None, CausalCheck | None]:
    checks = job.settings is not None
    bar = RunBar(notes, "steps" if checks or peaks_sought(job.intervention, job.chosen.neurons) else "pictures", 0)
    model = ModelProcess(spec, bar.show_model, idle_unload_s=0)
    neurons, name = job.chosen.neurons, job.chosen.name
    try:
        with bar.bars:
            pictures = await _pictures(job, model)
            ablation, found = None, None
            if job.settings is not None:
                found = await check(
                    job.store, model, neurons, job.word, job.settings, name=name, pictures=pictures, on_step=bar.show
                )
            if not checks or job.caption:
                ablation = await ablate_on(
                    job.store,
                    model,
                    neurons,
                    pictures,
                    intervention=job.intervention,
                    at=job.at,
                    word=job.word,
                    name=name,
                    caption=job.caption,
                    on_step=bar.show,
                )
            return ablation, found
    finally:
        await model.close()


async def _pictures(job: _Asked, model: Asks) -> Sequence[Described]:
    """The picture that the user named, or top samples that have the word.

    Raises:
        UsageError: if a word was typed, or a check needs one, and no description has it.
        StoreError: if no picture is at hand.
    """
    needs_word = job.has_word or job.settings is not None
    store, neurons = job.store, job.chosen.neurons
    if job.image is not None:
        answer = await model.ask(DescribeRequest(job.image, store.manifest.question))
        if not answer.tokens:
            raise UsageError(f"The model has nothing to say of {job.image}.", "Name another picture.")
        found = [of_answer(answer)]
        if needs_word:
            check_present(job.word, [found[0].tokens])
        return found
    picked = pick(store, neurons, job.word, job.samples)
    if not picked.pictures and not picked.problems:
        picked = pick(store, neurons, "", job.samples)
        if needs_word and picked.pictures:
            check_present(job.word, [picture.tokens for picture in picked.pictures])
    if not picked.pictures:
        problem = picked.problems[0] if picked.problems else "there are no top samples"
        raise StoreError(f"No picture is at hand: {problem}.", "An ablation runs the model on them.")
    return picked.pictures


def _report(ablation: Ablation | None, found: CausalCheck | None, as_json: bool, notes: Notes) -> None:
    if as_json and found is not None:
        entry = set_json(found)
        output.write_json([entry if ablation is None else {**entry, "ablation": ablation_json(ablation)}])
    elif as_json and ablation is not None:
        output.write_json(ablation_json(ablation))
    else:
        lines = [] if found is None else check_lines(found)
        output.write_lines([*lines, *([] if ablation is None else ablation_lines(ablation))])
    if ablation is not None:
        _note_ablation(ablation, notes)


def _note_ablation(ablation: Ablation, notes: Notes) -> None:
    """What stderr adds: that nothing changes, what a clamp is, a word of several tokens or of none."""
    for text in notes_on(ablation, ablation.pictures):
        notes.write(text)
    if ablation.word and all(picture.word is None for picture in ablation.pictures):
        notes.write(f"{ablation.word} is in none of these descriptions: no word is marked")
    for picture in ablation.pictures:
        if picture.word is not None and picture.word_tokens > 1:
            token = picture.word.token.strip()
            notes.write(f"{ablation.word} takes {picture.word_tokens} tokens: the first, {token!r}, counts")
            break
