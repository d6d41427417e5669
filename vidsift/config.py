"""Settings: flags over environment over `vidsift.toml` over defaults; unknown keys are refused.

The library folder comes from `--library`, else VIDSIFT_LIBRARY, else the user's data folder. Its
`vidsift.toml`, if there is one, and the variables `VIDSIFT_<KEY>` set the rest.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from vidsift.errors import ConfigError

__all__ = ["CONFIG_FILE", "Settings", "cache_dir", "default_library", "load_settings"]

CONFIG_FILE = "vidsift.toml"
_PREFIX = "VIDSIFT_"
# Variables of this prefix that are no settings of a library.
_NOT_SETTINGS = {"VIDSIFT_LIBRARY", "VIDSIFT_CACHE", "VIDSIFT_UI_TOKEN", "VIDSIFT_UI_LOGIN"}
_NOT_SETTINGS_PREFIX = "VIDSIFT_TEST_"


class Settings(BaseSettings):
    """All that can be set, with its unit, bounds and default."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix=_PREFIX)

    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite in the library folder")
    encoder: str = Field(
        "",
        description="`builtin`, `builtin:PROJECTION` or `open_clip:MODEL/PRETRAINED`; "
        "empty: the library's own",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto, cpu or cuda")
    batch_size: int = Field(32, ge=1, le=4096, description="frames a batch of the encoder")
    workers: int = Field(2, ge=1, le=64, description="videos that are indexed at the same time")

    sample_rate: float = Field(2.0, gt=0, le=60, description="frames a second that are encoded")
    max_frames_per_clip: int = Field(16, ge=1, le=1024, description="cap of frames a clip")
    min_clip_seconds: float = Field(2.0, gt=0, description="shorter pieces of a shot are not cut")
    max_clip_seconds: float = Field(8.0, gt=0, description="longer shots are cut into pieces")
    min_shot_seconds: float = Field(0.6, gt=0, description="cuts closer than this are one cut")
    shot_threshold: float = Field(3.0, gt=0, description="PySceneDetect's adaptive threshold")

    vectors_per_clip: int = Field(3, ge=1, le=8, description="most distinct vectors a clip (K)")
    pooler: str = Field(
        "softmax",
        description="pooling at query time: mean, max, softmax, or a trained one: its path, or its"
        " name in the library's folder `poolers`",
    )
    temperature: float = Field(0.1, gt=0, description="of softmax pooling over frames")
    candidates: int = Field(100, ge=1, le=100_000, description="vectors the index gives to rerank")
    exact_clips: int = Field(
        10_000, ge=0, description="up to so many clips every one is scored, without the index"
    )
    false_alarm_rate: float = Field(
        0.05, gt=0, lt=1, description="above it the answer is: nothing here matches"
    )
    moments_per_video: int = Field(1, ge=1, description="before other videos have had their turn")

    summary_ratio: float = Field(0.15, gt=0, le=1, description="default budget of a summary")
    summary_selection: Literal["knapsack", "greedy"] = Field(
        "greedy", description="how segments are chosen under the budget: knapsack or greedy"
    )
    min_segment_seconds: float = Field(
        1.0, gt=0, description="shortest segment of a summary whose budget has room for several"
    )
    saliency: str = Field(
        "",
        description="a trained saliency as a further term: its path, or its name in the library's"
        " folder `saliency`; empty: none",
    )
    crossfade_seconds: float = Field(
        0.25, ge=0, le=2, description="of two segments that do not touch; 0: hard cuts"
    )
    speech_model: str = Field(
        "small", description="of `vidsift transcribe`: a folder of a CTranslate2 Whisper, or a name"
    )

    alert_webhook: str = Field(
        "", description="http(s) URL that an alert is posted to as JSON; empty: none"
    )
    alert_command: str = Field(
        "", description="command that gets an alert as JSON on its standard input; empty: none"
    )

    media_time_limit: float = Field(
        0.0, ge=0, description="seconds an ffmpeg run may take; 0: 60 plus 4 for a second of video"
    )
    media_stall_seconds: float = Field(
        60.0,
        gt=0,
        description="seconds an ffmpeg run may go on without reading or writing anything",
    )
    media_memory_mb: int = Field(
        4096, ge=256, description="address space an ffmpeg run may take, where the system limits it"
    )
    media_output_mb: int = Field(
        65536, ge=1, description="size of the largest file that an ffmpeg run may write"
    )
    media_max_pixels: int = Field(
        67_108_864, ge=16, description="pixels of a frame; a video of larger frames is skipped"
    )
    media_max_hours: float = Field(24.0, gt=0, description="length of a video; longer are skipped")

    question_history: bool = Field(
        True, description="keep the questions that were asked, for the comparison of encoders"
    )
    gpu_memory_mb: int = Field(
        0,
        ge=0,
        description="memory of the GPU that this program may take, half for networks and half for"
        " the index; 0: no limit",
    )
    idle_minutes: float = Field(
        10.0, gt=0, description="after so long without a question the page lets go of the encoder"
    )

    @model_validator(mode="after")
    def _clip_bounds(self) -> Settings:
        if self.min_clip_seconds * 2 > self.max_clip_seconds:
            raise ValueError("max_clip_seconds must be at least twice min_clip_seconds")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The file and the flags are merged by load_settings, so that each bad key names its source.
        return (init_settings,)


def default_library() -> Path:
    """The library folder where none is named: VIDSIFT_LIBRARY, else the user's data folder."""
    named = os.environ.get("VIDSIFT_LIBRARY")
    return Path(named) if named else platformdirs.user_data_path("vidsift") / "library"


def cache_dir() -> Path:
    """Where converted models lie: VIDSIFT_CACHE, else the user's cache folder."""
    named = os.environ.get("VIDSIFT_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("vidsift")


def load_settings(library: Path, **flags: Any) -> Settings:
    """Merge defaults, `library/vidsift.toml`, the environment and `flags` (None: not given).

    Raises:
        ConfigError: with every unknown key and bad value at once, each with where it stands.
    """
    origin: dict[str, str] = {}
    values: dict[str, Any] = {}

    def merge(source: str, given: dict[str, Any]) -> None:
        for key, value in given.items():
            values[key] = value
            origin[key] = source

    file = library / CONFIG_FILE
    try:
        if file.is_file():
            merge(str(file), tomllib.loads(file.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not readable as TOML: {error}; correct the file") from error
    except OSError as error:
        raise ConfigError(
            f"{file}: {error.strerror}; make the file and its folder readable, "
            "or name another library"
        ) from error
    for name, value in os.environ.items():
        if not name.startswith(_PREFIX) or name in _NOT_SETTINGS:
            continue
        if not name.startswith(_NOT_SETTINGS_PREFIX):
            merge(f"environment variable {name}", {name.removeprefix(_PREFIX).lower(): value})
    merge("command line", {key: value for key, value in flags.items() if value is not None})

    try:
        return Settings(**values)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = str(problem["loc"][0]) if problem["loc"] else "settings"
            known = ", ".join(sorted(Settings.model_fields))
            what = problem["msg"]
            if problem["type"] == "extra_forbidden":
                what = f"unknown key (known: {known})"
            elif problem["type"] == "literal_error":
                what = "must be " + problem["ctx"]["expected"].replace("'", "")
            lines.append(f"{origin.get(key, 'settings')}: {key}: {what}")
        raise ConfigError("\n".join(lines)) from error
