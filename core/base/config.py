"""The user's settings, and the folders of vlmscope's own files.

Settings are in ``config.toml`` in the user's config folder; ``VLMSCOPE_CONFIG`` names another file. A missing file
means the defaults.
"""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_cache_path, user_config_path, user_data_path, user_log_path
from pydantic import BaseModel, Field, ValidationError

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.files import user_path
from vlmscope.core.base.validation import Frozen, first_problem

APP = "vlmscope"


def config_file() -> Path:
    """The settings file, whether it exists or not. Raises UsageError as ``user_path``."""
    named = os.environ.get("VLMSCOPE_CONFIG")
    return user_path(named) if named else user_config_path(APP) / "config.toml"


def data_folder() -> Path:
    """The folder of files worth keeping: notebooks, and controls without a place beside their scan."""
    return user_data_path(APP)


def cache_folder() -> Path:
    """The folder of files that can be made again."""
    return user_cache_path(APP)


def log_folder() -> Path:
    """The folder of the model process's own output."""
    return user_log_path(APP)


class Price(Frozen):
    """What a model costs, in US dollars for a million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class Api(Frozen):
    """The server that explains neurons. The key is not a setting: it is only read from ``OPENAI_API_KEY``."""

    model: str = Field(default="gpt-4o", min_length=1)
    base_url: str = ""  #: of any Chat Completions server; ``OPENAI_BASE_URL`` overrides it; empty: OpenAI's
    budget_usd: float = Field(default=5.0, ge=0)  #: for one session; 0: no limit
    requests_at_once: int = Field(default=4, ge=1, le=64)
    timeout_s: float = Field(default=90.0, gt=0)
    max_output_tokens: int = Field(default=0, ge=0, le=1_000_000)  #: where an answer is cut; 0: by the model's name
    contrast: bool = False  #: an explanation also sees panel samples on which its neuron stays silent
    contrast_samples: int = Field(default=5, ge=1, le=20)  #: of these, at most
    prices: dict[str, Price] = Field(default={})  #: by model; they go before the list of genai-prices


class GivenServer(Api):
    """A server that the command line names: the environment does not put another in its place."""


class Simulate(Frozen):
    """The models of the backend ``grounded-sam2``: hub names or folders. The thresholds are Grounding DINO's own."""

    detector: str = Field(default="IDEA-Research/grounding-dino-base", min_length=1)
    segmenter: str = Field(default="facebook/sam2.1-hiera-large", min_length=1)
    device: str = Field(default="auto", min_length=1)  #: auto: the inspected model's
    box_threshold: float = Field(default=0.35, ge=0, lt=1)
    text_threshold: float = Field(default=0.25, ge=0, lt=1)


class Config(Frozen):
    """All settings with their defaults."""

    device: str = "auto"  #: where the model runs: auto, cpu, cuda, cuda:1, mps
    device_map: Literal["", "auto", "balanced", "sequential"] = ""  #: spreads the model over several GPUs
    dtype: str = "auto"  #: auto, float32, bfloat16, float16
    idle_unload_minutes: float = Field(default=15.0, ge=0)  #: 0 keeps the model loaded
    theme: str = "textual-dark"  #: any Textual theme
    after_verdict: Literal["stay", "next", "untriaged"] = "stay"  #: where a verdict leads; :after changes it
    colour_map: str = "auto"  #: of heatmaps: dim, fade, viridis, grey; auto: dim on a dark theme, fade on a light one
    #: what pictures are drawn with; auto: sextants where the terminal is known to draw them, else quadrants; graphics:
    #: pixels for zoom and contact sheet, where terminal and ``vlmscope[graphics]`` can
    pictures: Literal["auto", "half", "quadrant", "sextant", "octant", "graphics"] = "auto"
    #: The simulator, or judge's method, whose score leads where it has one; empty: by the rule of docs/method.md.
    leading_score: Literal["", "lens", "grounded-sam2", "api-text", "oracle", "detection", "fuzzing"] = ""
    notebooks: str = "data"  #: where notebooks go: data (the user's data folder), beside (the scan), or a folder
    api: Api = Api()
    simulate: Simulate = Simulate()
    keys: dict[str, str] = Field(default={})  #: action id to key, to remap


def settings_of(config: BaseModel, before: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every setting: its name, such as ``api.model``, its value and its default, as JSON can hold them."""
    for name, field in type(config).model_fields.items():
        value, default = getattr(config, name), field.default
        if isinstance(value, BaseModel):
            yield from settings_of(value, f"{before}{name}.")
        else:
            kept = type(config).model_construct(**{name: value}).model_dump(mode="json", include={name})
            yield f"{before}{name}", kept[name], default


def load_config() -> Config:
    """Read the settings file.

    Raises:
        UsageError: if the file is not TOML, or a setting is unknown or of the wrong kind.
    """
    path = config_file()
    try:
        return Config.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", "Correct or remove the file.") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {first_problem(error)}.", "Correct or remove that line.") from error
