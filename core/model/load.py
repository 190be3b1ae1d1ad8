"""Loads models: a ``Vlm`` by its name, with its own weights or random ones, or from a configuration; and the parts of
Grounded SAM 2."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import PIL
import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, PreTrainedConfig
from transformers.utils import logging as transformers_logging

from vlmscope.core.base.callbacks import OnLoading
from vlmscope.core.base.demo import model_source
from vlmscope.core.base.errors import ModelError, VlmscopeError
from vlmscope.core.base.options import read_options
from vlmscope.core.base.text import first_line, plain
from vlmscope.core.model.checkpoint import check_weights, try_out
from vlmscope.core.model.devices import free_memory, resolve_device, resolve_dtype
from vlmscope.core.model.ffn import Ffn, decoder_layers, named_ffns
from vlmscope.core.model.parts import read_config, read_processor
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.store.weights import weights_fingerprint
from vlmscope.core.worker.messages import ModelSpec

_AUTO: Any = AutoModelForImageTextToText  # untyped in transformers
_HINT = "Name a hub model or a folder with config.json, the processor's files and *.safetensors."


def load(spec: ModelSpec, on_loading: OnLoading | None = None, *, seed: int | None = None) -> Vlm:
    """Load the model that ``spec`` names. On a GPU the weights go to it straight from the file.

    Args:
        on_loading: called with the progress of loading; None leaves transformers its own progress bar.
        seed: of random weights, drawn as in ``random_vlm``; None reads the model's own weights.

    Raises:
        ModelError: if there is no such model or device; if its weights are not whole, or not ``spec.weights``; if its
            processor makes other inputs than ``spec.processor``; if it does not fit into memory; if it cannot be
            scanned; if its parts do not fit together; if a library fails.
    """
    where = resolve_device(spec.device)
    kind = resolve_dtype(spec.dtype, where)
    options: dict[str, Any] = {"revision": spec.revision, "trust_remote_code": spec.trust_remote_code}
    if on_loading is not None:
        on_loading("opening the model; a new one is downloaded first")
        _report_weights(on_loading)
    name = spec.name
    weights = None if spec.weights is None else weights_fingerprint(name)
    if weights is not None and weights != spec.weights:
        raise ModelError(
            f"{name} is not the model that was scanned: its weights have changed since.",
            "Put the scanned weights back, or scan the present ones into another folder.",
        )
    texts = (("--image-option", spec.image_options), ("--chat-option", spec.chat_options))
    given = [read_options(option, written) for option, written in texts]
    with loading(name, where):
        config = read_config(name, options)
        if seed is None:
            kind = _stored_dtype(config) if spec.dtype == "auto" and _quantisation(config) else kind
            check_shape(name, config, kind, where)
            processor = read_processor(name, config, options)
            with _quantised(name, config):
                model, info = _AUTO.from_pretrained(
                    model_source(name),
                    config=config,
                    dtype=kind,
                    device_map=spec.device_map or {"": where},
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # they are refused below, by name
                    **options,
                )
                check_weights(name, info)
                vlm = Vlm(model, processor, name, *given)
                _check_processor(vlm, spec)
            try_out(vlm)
        else:
            processor = read_processor(name, config, options)
            title = f"{name}, random weights (seed {seed})"
            vlm = random_vlm(config, processor, title, seed, *given, device=spec.device, dtype=spec.dtype)
            try_out(vlm)
    return vlm


def _check_processor(vlm: Vlm, spec: ModelSpec) -> None:
    """Check that the processor makes what it made for the scan: otherwise maps would be of other inputs.

    Raises:
        ModelError: if it does not.
    """
    if spec.processor is None or vlm.processor_digest == spec.processor:
        return
    raise ModelError(
        f"{vlm.name}: its processor makes other inputs of a picture now than when it was scanned: its files, its "
        f"options or the libraries are others (here: transformers {transformers.__version__}, pillow "
        f"{PIL.__version__}).",
        'Put the files back, or install the versions that the scan\'s manifest.json names under "versions"; or scan '
        "with the present ones into another folder.",
    )


def random_vlm(
    config: PreTrainedConfig,
    processor: Any,
    name: str,
    seed: int,
    image_options: Mapping[str, Any] | None = None,
    chat_options: Mapping[str, Any] | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
) -> Vlm:
    """A model of this configuration called ``name``, with random weights as transformers initialises it.

    The weights are drawn on the device, in the dtype: they depend on both, on the seed, and on the versions of torch
    and transformers. The program's own random generator is not changed.

    Args:
        image_options, chat_options: as ``Vlm`` takes them. device, dtype: as in ``ModelSpec``.

    Raises:
        ModelError: if it does not fit into the device's memory, or cannot be scanned.
    """
    where = resolve_device(device)
    kind = resolve_dtype(dtype, where)
    with loading(name, where), torch.random.fork_rng([where] if where.type == "cuda" else []):
        check_shape(name, config, kind, where)
        torch.manual_seed(seed)
        with where:
            model = _AUTO.from_config(config, dtype=kind)
        return Vlm(model.to(where), processor, name, image_options, chat_options)


def load_part(role: Literal["detector", "segmenter"], name: str, device: torch.device) -> tuple[Any, Any]:
    """Grounding DINO with its processor, or SAM 2 with None, in evaluation mode.

    Both run in float32: together they are small (0.5 billion parameters), and deformable attention loses much in half
    precision. Code from a model's repository is never run.

    Args:
        name: on the hub, or a folder.

    Raises:
        ModelError: if there is no such model, weights are missing, or it is of another kind: transformers would give it
            random weights.
    """
    from transformers import GroundingDinoForObjectDetection, Sam2Model  # late: a scan needs neither

    is_detector = role == "detector"
    kind: Any = GroundingDinoForObjectDetection if is_detector else Sam2Model
    types = ("grounding-dino",) if is_detector else ("sam2", "sam2_video")
    source = str(Path(name).expanduser()) if name.startswith("~") else name
    hint = (
        f"Download it, or name another model of the hub or a folder as '{role}' under [simulate] in the settings. "
        "--backend lens needs neither."
    )
    with _readable_errors(f"{name} cannot be loaded as the {role}", hint):
        found = AutoConfig.from_pretrained(source, trust_remote_code=False).model_type
        if found not in types:
            raise ModelError(f"{name} cannot be the {role}: it is of type {found!r}, not {types[0]!r}.", hint)
        weights = {"dtype": torch.float32, "device_map": {"": device}, "output_loading_info": True}
        model, info = kind.from_pretrained(source, **weights, trust_remote_code=False)
        auto: Any = AutoProcessor  # untyped in transformers
        processor = auto.from_pretrained(source, trust_remote_code=False) if is_detector else None
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(f"{name} cannot be the {role}: {len(missing)} weights are missing: {missing[0]}.", hint)
    return model.train(False), processor


@contextmanager
def _readable_errors(refusal: str, hint: str) -> Iterator[None]:
    """What transformers raises while a model is loaded, as ``ModelError``: a ``refusal``, the reason, the hint."""
    # Its hints (no torchvision, generation flags) are for its own callers, not for ours.
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    except (VlmscopeError, torch.OutOfMemoryError, MemoryError):
        raise
    except ImportError as error:
        raise ModelError(
            f"{refusal}: {_reason(error)}.", f"Install what is missing, or use another model. {hint}"
        ) from error
    except Exception as error:
        # For a missing folder, file or weights, for broken ones, and where the hub cannot be reached. The libraries
        # raise many other types for old, quantised or mismatched parts, and document none.
        raise ModelError(f"{refusal}: {_reason(error)}.", hint) from error


def _reason(error: Exception) -> str:
    """The error in one line, after its type where that is not told by the words alone."""
    words = plain(first_line(error), 300).rstrip(".")
    if isinstance(error, OSError | ValueError | ImportError | SafetensorError) and words:
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


@contextmanager
def loading(name: str, where: torch.device) -> Iterator[None]:
    """What transformers and torch raise while a VLM is loaded, as ``ModelError``."""
    try:
        with _readable_errors(f"{name} cannot be loaded", _HINT):
            yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ModelError(
            f"{name} does not fit into the memory of {where}.",
            "Free the GPU, choose another with --device, or use --dtype float16 or --device cpu.",
        ) from error


@contextmanager
def _quantised(name: str, config: PreTrainedConfig) -> Iterator[None]:
    """What is raised while a quantised checkpoint is loaded, with its method and a hint about that."""
    method = _quantisation(config)
    if method is None:
        yield
        return
    hint = "Name the checkpoint that it was made from, in float16 or bfloat16; or leave out --dtype."
    refusal = f"{name} is quantised ({method}) and cannot be"
    try:
        with _readable_errors(f"{refusal} loaded", hint):
            yield
    except ModelError as error:
        if error.message.startswith(refusal):
            raise
        raise ModelError(f"{refusal} scanned: {error.message}", hint) from error


def _stored_dtype(config: Any) -> torch.dtype:
    """The dtype of a quantised checkpoint's other weights, which transformers does not convert to another."""
    found = config.dtype or getattr(config.get_text_config(), "dtype", None)
    return found if isinstance(found, torch.dtype) else torch.float16


def _quantisation(config: PreTrainedConfig) -> str | None:
    """The method of a quantised checkpoint; None for one that is not."""
    quantisation: Any = getattr(config, "quantization_config", None)
    if quantisation is None:
        return None
    found = quantisation if isinstance(quantisation, dict) else vars(quantisation)
    return plain(str(found.get("quant_method", "in an unknown way")), 40)


def check_shape(name: str, config: PreTrainedConfig, kind: torch.dtype, where: torch.device) -> list[Ffn]:
    """Check before any weights are read that the model's layers can be scanned and fit into the host's memory, from
    shapes alone. Otherwise gigabytes would be downloaded in vain, or the system would kill this process.

    A GPU that is too small needs no check: loading raises an error. The size of a quantised model is not known here.

    Returns:
        The FFN of each layer, without weights.

    Raises:
        ModelError: if it is not so.
    """
    model = without_weights(config, kind)
    ffns = named_ffns(decoder_layers(model, name), name)
    free = free_memory()
    if where.type == "cpu" and free is not None and _quantisation(config) is None:
        needed = sum(weight.numel() * weight.element_size() for weight in model.parameters())
        if needed > free:
            raise ModelError(
                f"{name} needs {needed / 1e9:.1f} GB of memory as {str(kind).removeprefix('torch.')}; "
                f"{free / 1e9:.1f} GB are free.",
                "Use --dtype bfloat16 or float16, a GPU, or a machine with more memory.",
            )
    return ffns


def without_weights(config: PreTrainedConfig, kind: torch.dtype) -> Any:
    """A model of this configuration on the device "meta": shapes alone."""
    with torch.device("meta"):
        return _AUTO.from_config(config, dtype=kind)


def _report_weights(report: OnLoading) -> None:
    """Report the progress bar that transformers draws over the weights, where its version has a hook for that."""

    def counted(items: Any) -> Iterator[Any]:
        last = -1.0
        for done, item in enumerate(items):
            if done / len(items) >= last + 0.01:
                last = done / len(items)
                report("reading weights", last)
            yield item
        report("preparing")

    def hook(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args and kwargs.get("desc") == "Loading weights" and hasattr(args[0], "__len__"):
            return counted(args[0])
        return factory(*args, **kwargs)

    set_hook = getattr(transformers_logging, "set_tqdm_hook", None)
    if set_hook is not None:
        set_hook(hook)
