"""The scan: one pass over the data, from which every label follows (method.md).

A scan in progress is a store that can be browsed, as checkpoints are written along the way. A stopped scan, whatever
stopped it, continues from its last checkpoint.
"""

import contextlib
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vlmscope.core.base.callbacks import OnProgress, Stopped, check, not_cancelled
from vlmscope.core.base.clock import now
from vlmscope.core.base.config import Api
from vlmscope.core.base.errors import ModelError, SamplesError, StoreError
from vlmscope.core.base.fields import Fields, value_text
from vlmscope.core.base.text import plain
from vlmscope.core.data.describing import described_by
from vlmscope.core.data.description_cache import DescriptionCache
from vlmscope.core.data.images import image_size, load_image
from vlmscope.core.data.samples import Data
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.model.vlm import DESCRIPTION_TOKENS, Encoded, Vlm
from vlmscope.core.scan.batches import BATCH, THREADS, Size, usual_batch
from vlmscope.core.scan.descriptions import describe_missing
from vlmscope.core.scan.prefetch import prefetch
from vlmscope.core.scan.run import Prepared, ScanRun
from vlmscope.core.scan.served import describe_by_server
from vlmscope.core.store.checkpoints import ScanFolder, is_begun
from vlmscope.core.store.layouts import check_layout, largest_map, sized
from vlmscope.core.store.manifest import (
    LAYOUTS,
    MANIFEST,
    DescribedBy,
    Manifest,
    Progress,
    ThresholdsInfo,
    make_scan_id,
    read_manifest,
)
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions, check_resumable, settings_of
from vlmscope.core.store.writer import check_out, check_space


def scan(
    vlm: Vlm,
    data: Data,
    out: Path,
    options: ScanOptions,
    progress: OnProgress,
    *,
    resume: bool = False,
    stopped: Stopped = not_cancelled,
    cache: DescriptionCache | None = None,
    server: Api | None = None,
    announce: Callable[[Manifest], None] = lambda _planned: None,
) -> Manifest:
    """Scan ``data`` with ``vlm`` into the folder ``out``, and return its manifest.

    A sample whose image cannot be read, whose description is empty or too long, or with a non-finite activation is
    skipped and named in the manifest. After an error or a stop by the user, what was scanned is saved; if that is
    nothing, nothing is left behind.

    Args:
        resume: continue from what is saved in ``out``; a finished scan is returned as it is.
        stopped: read after every batch.
        cache: where descriptions that are written are kept; None for the user's own.
        server: writes the descriptions that the data lack; None to let ``vlm`` write them.
        announce: called before the work of a new scan with its manifest as planned; the longest description is not
            known yet, so that its arrays may become smaller.

    Raises:
        StoreError: if ``out`` exists and is not to be resumed, was made with other settings, or cannot be written.
        SamplesError: if no sample is left.
        ModelError: if not even one sample fits into the memory.
        Cancelled: if ``stopped`` turned true.
        ApiError: if the server gives no descriptions.
    """
    if vlm.device.type == "mps":
        raise ModelError("A scan adds up in float64, which MPS does not have.", "Use --device cpu, or a CUDA GPU.")
    prompt = vlm.prompt(options.question, options.prompt_template)
    saved = read_manifest(out) if resume and (out / MANIFEST).exists() else None
    mine = [i for i in range(len(data.sources)) if options.shard is None or options.shard.has(i)]
    header = _header(vlm, data, len(mine), prompt, options, saved, described_by(server, data))
    if saved is None:
        if not (resume and is_begun(out)):
            check_out(out)
        planned = sized(header, _layouts_of_sizes(vlm, data, mine, prompt, progress, stopped))
        check_space(out, planned)
        announce(planned)
    elif check_resumable(out, saved, settings_of(header)):
        return saved
    run = None
    with contextlib.closing(ScanFolder(out)) as folder:  # locked before the descriptions, which may take hours
        try:
            if saved is None:
                folder.begin(len(data.sources))
                store = None
            else:  # samples that were scanned keep their description
                store = folder.resume()
                data = _as_scanned(data, store, [i for i in mine if store.processed(i)])
            batch = options.batch or usual_batch(vlm)
            if server is None:
                data = describe_missing(vlm, data, prompt, batch, progress, stopped, cache, mine)
            else:
                data = describe_by_server(server, data, options.question, progress, stopped, cache, mine).data
            run = ScanRun(vlm, _prepare(vlm, data, mine, prompt, store), options, folder, header, store, progress)
            if store is None:
                run.begin()
            run.go(stopped)
            return run.finish()
        except BaseException as error:
            if not (out / MANIFEST).exists():
                folder.discard()
            elif run is not None and isinstance(error, Exception) and not isinstance(error, StoreError):
                run.keep()  # but after a disk error or a second Ctrl-C the last checkpoint stays
            raise


def _as_scanned(data: Data, store: ScanStore, processed: list[int]) -> Data:
    """The data with the descriptions of the samples that a scan in progress has processed.

    A scan that was begun without fields continues without them.

    Raises:
        StoreError: if the listing's fields are now others.
    """
    if store.manifest.fields is None:
        data = data.without_fields()
    for index in processed:
        before, now_ = store.record(index).fields, data.sources[index].fields
        if before != now_:
            name = next(name for name in (*before, *now_) if before.get(name) != now_.get(name))
            raise StoreError(
                f"{store.folder} was begun with other fields: {plain(name)} of {plain(data.sources[index].image)} was "
                f"{_field_words(before, name)}, now {_field_words(now_, name)}.",
                "Give the listing it was begun with, or name another folder with --out.",
            )
    return data.described({index: store.record(index).description for index in processed})


def _field_words(fields: Fields, name: str) -> str:
    return plain(value_text(fields[name])) if name in fields else "missing"


def _prepare(vlm: Vlm, data: Data, mine: list[int], prompt: str, store: ScanStore | None) -> Prepared:
    """Tokenise the samples."""
    encoded: dict[int, Encoded] = {}
    sizes: dict[int, Size] = {}
    unusable: dict[int, str] = {}
    saved = None if store is None else store.manifest
    for index in mine:
        source = data.sources[index]
        if source.trouble:
            unusable[index] = source.trouble
            continue
        try:
            path = data.root / source.image
            if source.description is None:  # this and the next "encode" raise why the model could not describe it
                load_image(path)
            size = image_size(path)
            if source.description is None:
                vlm.encode(prompt, "a", size)
            one = vlm.encode(prompt, source.description or "", size)
            check_layout(one.layout)
            if saved is not None and len(one.tokens) > saved.text_tokens_max:
                raise SamplesError(f"its description has grown since the scan was begun, to {len(one.tokens)} tokens")
            if saved is not None and largest_map([one.layout], saved.map_cells) > saved.visual_tokens_max:
                raise SamplesError(f"its picture has grown since the scan was begun, to {len(one.visual)} tokens")
            small = None if saved is None else saved.small
            if small is not None and largest_map([one.layout], small.cells) > small.values:
                raise SamplesError("the shape of its picture has changed since the scan was begun")
            encoded[index], sizes[index] = one, size
        except SamplesError as error:
            unusable[index] = error.message
    if (found := len({one.layout for one in encoded.values()})) > LAYOUTS:
        raise SamplesError(
            f"The pictures of {data.name} have {found:,} different layouts of visual tokens; at most {LAYOUTS:,} fit.",
            "Scan fewer samples.",
        )
    return Prepared(data, mine, encoded, sizes, unusable)


def _header(
    vlm: Vlm,
    data: Data,
    of: int,
    prompt: str,
    options: ScanOptions,
    saved: Manifest | None,
    described: DescribedBy | None,
) -> Manifest:
    """The manifest of a scan before its first sample; its layouts and its longest description are not known yet."""
    info = vlm.info
    batch = options.batch or (BATCH if saved is None else saved.batch)
    created = now()
    return Manifest(
        scan_id=make_scan_id(info, options.hook, prompt, options.top_n, data.identity, options.poles, described),
        created=created,
        model=info,
        hook=options.hook,
        poles=options.poles,
        question=options.question,
        prompt=prompt,
        data=data.name,
        image_root=data.image_root,
        data_id=data.identity,
        data_sha256="",
        batch=batch,
        samples=len(data.sources),
        scanned=0,
        top_n=options.top_n,
        maps=options.maps_kept,
        visual_tokens_max=0,
        layouts=(),
        map_cells=options.map_cells,
        text_tokens_max=DESCRIPTION_TOKENS,
        fields=data.fields,
        panel=options.panel,
        small=options.small(0),
        visual_tokens=0,
        text_tokens=0,
        thresholds=ThresholdsInfo.of(options.thresholds),
        arrays="arrays-0",
        versions=_versions(),
        described=described,
        control=options.control,
        progress=Progress(
            done=0,
            of=of,
            batch=batch,
            shard=options.shard,
            samples_bytes=0,
            crops_bytes=0,
            updated=created,
        ),
    )


def _layouts_of_sizes(
    vlm: Vlm, data: Data, mine: list[int], prompt: str, progress: OnProgress, stopped: Stopped
) -> set[VisualLayout]:
    """The layouts of these samples' pictures, as far as they can be read; each size is measured once.

    Raises:
        Cancelled: if ``stopped`` turned true.
    """

    def layout_of(at: int) -> VisualLayout | None:
        with contextlib.suppress(SamplesError):
            layout = vlm.encode(prompt, "a", sizes[at]).layout
            check_layout(layout)
            return layout
        return None

    found = set()
    for index in mine:
        with contextlib.suppress(SamplesError):
            found.add(image_size(data.root / data.sources[index].image))
    sizes = sorted(found)
    layouts = set()
    with contextlib.closing(prefetch(layout_of, range(len(sizes)), 2 * THREADS, THREADS)) as measured:
        for at, layout in measured:
            if at + 1 < len(sizes):
                check(stopped, "Stopped before there was a sample that counts; nothing is saved.")
            if layout is not None:
                layouts.add(layout)
            progress("measuring pictures", at + 1, len(sizes))
    return layouts


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("vlmscope", "torch", "transformers", "numpy", "pillow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
