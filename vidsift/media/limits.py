"""What one run of ffmpeg may take."""

from __future__ import annotations

from dataclasses import dataclass

from vidsift.config import Settings

__all__ = ["DEFAULT_LIMITS", "MediaLimits"]


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """The settings `media_*` of a library; see there for what each one bounds."""

    time_limit: float
    stall_seconds: float
    memory_mb: int
    output_mb: int
    max_pixels: int
    max_hours: float

    @classmethod
    def of(cls, settings: Settings) -> MediaLimits:
        return cls(
            time_limit=settings.media_time_limit,
            stall_seconds=settings.media_stall_seconds,
            memory_mb=settings.media_memory_mb,
            output_mb=settings.media_output_mb,
            max_pixels=settings.media_max_pixels,
            max_hours=settings.media_max_hours,
        )

    @property
    def max_seconds(self) -> float:
        """The longest that a video may last."""
        return self.max_hours * 3600

    def seconds_for(self, video_seconds: float) -> float:
        """Seconds that a run over so much video may take: what is set, else 60 plus 4 a second."""
        return self.time_limit or 60.0 + 4.0 * min(video_seconds, self.max_seconds)


DEFAULT_LIMITS = MediaLimits.of(Settings.model_validate({}))
"""Those of a library without settings of its own."""
