"""What views compute of a video and want again at every click: kept while the library is as it is.

The keys name the video's content and the catalog's generation, so that nothing outlives a change.
"""

from __future__ import annotations

import numpy as np
import streamlit as st
from jaxtyping import Float64

from summarizer.chapters import Chapter, chapters_of
from summarizer.summary import saliency_curve
from ui import session
from vidsift.library import Library
from vidsift.types import VideoRecord

__all__ = ["chapters", "curve", "forget"]

_MOST = 200


def curve(
    library: Library, video: VideoRecord, query: str
) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """The times of a video's frames and their saliency; raises as `saliency_curve`."""
    return _curve(_state(library), library, video, query)


def chapters(library: Library, video: VideoRecord) -> tuple[Chapter, ...]:
    """The chapters of a video; raises as `chapters_of`."""
    return _chapters(_state(library), library, video)


def forget() -> None:
    """Let go of all that is kept, of whatever video."""
    _curve.clear()
    _chapters.clear()


def _state(library: Library) -> tuple[str, int]:
    return str(library.root), library.catalog.generation().generation


@st.cache_data(max_entries=_MOST, show_spinner=False, hash_funcs={VideoRecord: hash})
def _curve(
    state: tuple[str, int], _library: Library, video: VideoRecord, query: str
) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    library = session.current().library_with_encoder() if query else _library
    return saliency_curve(library, video, query)


@st.cache_data(max_entries=_MOST, show_spinner=False, hash_funcs={VideoRecord: hash})
def _chapters(state: tuple[str, int], _library: Library, video: VideoRecord) -> tuple[Chapter, ...]:
    # Titles compare pictures with words.
    return chapters_of(session.current().library_with_encoder(), video)
