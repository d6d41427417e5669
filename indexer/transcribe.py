"""Writing down what is said in videos that have no subtitles: sound -> lines -> cues.

What is heard is kept as cues of tracks of their own (see `vidsift.store.records.SPEECH_TRACK`)
beside those of subtitles. Subtitles that appear, change or vanish later leave it alone, and so does
indexing the same content again; new content drops it, as it drops all that was computed. Subtitles
that are a transcript of it, as `write_transcripts` makes them, stand in place of it once they lie
beside the video and are indexed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from indexer.scan import check_unchanged
from indexer.video import encode_cues
from search.trust import prepare
from summarizer.skim_subtitles import as_srt
from vidsift.errors import MediaError, MediaToolError
from vidsift.library import Library
from vidsift.media.limits import MediaLimits
from vidsift.media.probe import probe
from vidsift.media.sound import read_sound
from vidsift.media.subtitles import Subtitles
from vidsift.models.speech import SpeechModel
from vidsift.store.files import write_atomically
from vidsift.store.records import SPEECH_TRACK, is_speech
from vidsift.types import Cue, Span, VideoRecord

__all__ = [
    "TranscribeProgress",
    "TranscribeReport",
    "TranscribedVideo",
    "transcribe_videos",
    "write_transcripts",
]

# As long a commit waits for another writer: what took minutes to hear is worth it.
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class TranscribeProgress:
    """How far a run is: seconds of video dealt with, of all that there are to hear."""

    done_seconds: float
    total_seconds: float
    done_videos: int
    total_videos: int
    path: Path


@dataclass(frozen=True, slots=True)
class TranscribedVideo:
    """What came of one video. `language` is empty where nothing was said."""

    video: VideoRecord
    num_lines: int
    language: str


@dataclass
class TranscribeReport:
    """What became of every video of a run. What was skipped needed nothing, and says why."""

    transcribed: list[TranscribedVideo] = field(default_factory=list)
    skipped: list[tuple[VideoRecord, str]] = field(default_factory=list)
    failed: list[tuple[VideoRecord, str]] = field(default_factory=list)
    seconds: float = 0.0
    video_seconds: float = 0.0


def transcribe_videos(
    library: Library,
    videos: Sequence[VideoRecord],
    *,
    model: SpeechModel,
    language: str | None = None,
    again: bool = False,
    on_progress: Callable[[TranscribeProgress], None] | None = None,
) -> TranscribeReport:
    """Transcribe videos of the library; what is said in them can then be searched.

    Videos that have subtitles, or were transcribed before, are skipped unless `again`; what was
    heard before then gives way, subtitles stay. Without `language` (as ISO 639 has it) each video's
    is told from what is first said in it. A video that cannot be used is named in the report with
    its reason. Each is committed when it is done, so an interruption loses only the one at hand;
    the library is locked for that moment alone.

    Raises:
        SpeechError: the model does not know the language, or cannot run.
        LibraryBusyError: another process went on writing to the library for a minute.
        StorageError, EncoderError, EncoderMismatchError: as they say.
    """
    began = time.monotonic()
    if language is not None:
        model.check_language(language)
    report = TranscribeReport()
    run = _Run(library, model, language, report, on_progress)
    due = [video for video in videos if run.is_due(video, again)]
    run.transcribe(due)
    if report.transcribed:
        _locked(library, lambda: _catch_up(library))
    report.seconds = time.monotonic() - began
    return report


def write_transcripts(library: Library, videos: Sequence[VideoRecord], folder: Path) -> list[Path]:
    """Write what was heard in each video as `NAME.LANGUAGE.srt` into `folder`.

    Videos in which nothing was heard have no file; of namesakes the later ones' ids are added.

    Raises:
        StorageError: the folder cannot be written.
    """
    written: list[Path] = []
    for video in videos:
        cues = [record.cue for record in library.catalog.cues_of_video(video.id)]
        heard = [cue for cue in cues if is_speech(cue.track)]
        for track in dict.fromkeys(cue.track for cue in heard):
            ending = f".{track.removeprefix(SPEECH_TRACK).strip()}.srt"
            path = folder / f"{video.path.stem}{ending}"
            if path in written:
                path = folder / f"{video.path.stem}-{video.id}{ending}"
            text = as_srt([cue for cue in heard if cue.track == track])
            write_atomically(path, [text.encode()])
            written.append(path)
    return written


class _Run:
    def __init__(
        self,
        library: Library,
        model: SpeechModel,
        language: str | None,
        report: TranscribeReport,
        on_progress: Callable[[TranscribeProgress], None] | None,
    ) -> None:
        self._library = library
        self._model = model
        self._language = language
        self._report = report
        self._on_progress = on_progress
        self._transcribed_by = library.catalog.speech_models()
        self._done_seconds = 0.0
        self._done_videos = 0
        self._total_seconds = 0.0
        self._total_videos = 0

    def is_due(self, video: VideoRecord, again: bool) -> bool:
        """Whether the video is to be heard; else the report says why not."""
        reason = ""
        if video.status != "searchable":
            reason = f"is not searchable: {video.reason}"
        elif not video.has_audio:
            reason = "has no sound"
        elif not again and (by := self._transcribed_by.get(video.id)):
            reason = f"was transcribed by {by} before (--again does it anew)"
        elif not again and self._library.catalog.cues_of_video(video.id):
            reason = "has subtitles (--again transcribes it beside them)"
        if reason:
            self._report.skipped.append((video, reason))
        return not reason

    def transcribe(self, due: Sequence[VideoRecord]) -> None:
        self._total_seconds = sum(video.duration_seconds for video in due)
        self._total_videos = len(due)
        for video in due:
            self._tell(video, 0.0)
            try:
                cues, language = self._hear(video)
                self._save(video, cues)
            except MediaToolError:
                raise
            except MediaError as error:
                self._report.failed.append((video, error.reason))
            else:
                self._report.transcribed.append(TranscribedVideo(video, len(cues), language))
                self._report.video_seconds += video.duration_seconds
            self._done_seconds += video.duration_seconds
            self._done_videos += 1
            self._tell(video, 0.0)

    def _hear(self, video: VideoRecord) -> tuple[list[Cue], str]:
        """The cues of what is said, in order of time, and the language."""
        check_unchanged(video)
        cues: list[Cue] = []
        language = self._language
        limits = MediaLimits.of(self._library.settings)
        duration = video.duration_seconds
        for piece in read_sound(probe(video.path, limits=limits), duration, limits=limits):
            for line in self._model.transcribe(piece.samples, language):
                # One language a video: a short piece alone is easily mistaken.
                language = line.language
                start = piece.start_seconds + line.span.start
                end = min(duration, piece.start_seconds + line.span.end)
                if start < end:
                    cues.append(Cue(Span(start, end), line.text, f"{SPEECH_TRACK} {language}"))
                self._tell(video, end)
            self._tell(video, piece.end_seconds)
        return cues, cues[0].track.removeprefix(SPEECH_TRACK).strip() if cues else ""

    def _save(self, video: VideoRecord, cues: Sequence[Cue]) -> None:
        library = self._library

        def commit() -> None:
            now = library.catalog.video(video.id)
            if now is None or now.fingerprint.sha256 != video.fingerprint.sha256:
                raise MediaError(video.path, "was indexed anew meanwhile; transcribe it once more")
            # Under the lock: only now is it certain with which encoder the library is searched.
            heard = Subtitles(tuple(cues), stamp="")
            vectors = encode_cues(heard, library.encoder, library.settings.batch_size)
            library.catalog.save_speech(video.id, cues, vectors, model=self._model.name)

        _locked(library, commit)

    def _tell(self, video: VideoRecord, seconds: float) -> None:
        if self._on_progress is not None:
            self._on_progress(
                TranscribeProgress(
                    self._done_seconds + min(seconds, video.duration_seconds),
                    self._total_seconds,
                    self._done_videos,
                    self._total_videos,
                    video.path,
                )
            )


def _catch_up(library: Library) -> None:
    """What a search would otherwise have to make again first."""
    library.index(write=True)
    prepare(library)


def _locked(library: Library, write: Callable[[], None]) -> None:
    """Write under the library's lock, waiting for another writer for a while."""
    with library.writing(_PATIENCE_SECONDS):
        write()
