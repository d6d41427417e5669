"""The storyboard as a page: one HTML file that needs nothing else, opens anywhere, runs nothing.

Pictures are data: URIs, there is no script, and the page's own policy forbids to load anything.
Names, questions and spoken words are whatever somebody made them: each is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape

from summarizer.skim import Skim, SkimPart
from summarizer.skim_reasons import skim_reasons
from summarizer.storyboard import skim_pictures
from vidsift import __version__
from vidsift.library import Library
from vidsift.times import clock
from vidsift.types import VideoRecord

__all__ = ["storyboard_page"]

_STYLE = """
:root { color-scheme: light dark; --ground: #fbfbfa; --ink: #1d2127; --quiet: #5f6975;
  --card: #fff; --edge: #dfe3e8; --strip: #dde2e8; --mark: #0f8a7a }
@media (prefers-color-scheme: dark) { :root { --ground: #14161a; --ink: #e8eaed; --quiet: #9aa4b1;
  --card: #1c1f25; --edge: #2d323a; --strip: #2f3742; --mark: #4fb3a5 } }
* { box-sizing: border-box }
body { margin: 0; padding: 2rem clamp(1rem, 4vw, 3rem); background: var(--ground);
  color: var(--ink); font: 16px/1.45 system-ui, sans-serif }
main { max-width: 76rem; margin: 0 auto }
h1 { margin: 0; font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere }
h2 { margin: 1.4rem 0 0; font-size: 1rem; overflow-wrap: anywhere }
p { margin: .3rem 0; overflow-wrap: anywhere }
.quiet, footer { color: var(--quiet); font-size: .9rem }
.note { padding: .5rem .8rem; border-left: 3px solid var(--mark); background: var(--card) }
svg { display: block; width: 100%; height: 1.4rem; margin: .5rem 0; border-radius: 4px }
.film { fill: var(--strip) } .segment { fill: var(--mark) }
ol { display: grid; gap: 1rem; margin: 1.4rem 0; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)) }
li { overflow: hidden; border: 1px solid var(--edge); border-radius: 8px; background: var(--card);
  break-inside: avoid }
img { display: block; width: 100%; aspect-ratio: 16 / 9; object-fit: contain; background: #000 }
.text { padding: .55rem .8rem .75rem }
.time { font-weight: 600; font-variant-numeric: tabular-nums }
""".strip()
# The only style that the policy lets the page have.
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; img-src data:; style-src 'sha256-{_STYLE_HASH}';"
    " base-uri 'none'; form-action 'none'"
)


def storyboard_page(library: Library, skim: Skim) -> str:
    """The page, as HTML text: every segment with its picture, times, length and reason.

    Raises:
        DamagedLibraryError: a thumbnail is not there.
    """
    several = len(skim.videos) > 1
    cards = [
        _card(part, start, picture, why, several)
        for part, start, picture, why in zip(
            skim.parts,
            skim.starts,
            skim_pictures(library, skim),
            skim_reasons(library, skim),
            strict=True,
        )
    ]
    strips = "\n".join(_strip(skim, video, several) for video in skim.videos)
    total = sum(video.duration_seconds for video in skim.videos)
    count = f"{len(skim.parts)} segment{'s' if len(skim.parts) > 1 else ''}"
    about = f'<p>About: <q dir="auto">{escape(skim.query)}</q></p>\n' if skim.query else ""
    if skim.query and skim.matched is False:
        about += '<p class="note">Nothing here matches that; these moments come nearest.</p>\n'
    blurred = "; people blurred as far as they were found (best effort)" if skim.blur_people else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Summary of {escape(skim.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1 dir="auto">{escape(skim.title)}</h1>
{about}<p class="quiet">{clock(skim.duration_seconds)} of {clock(total)}, {count}</p>
{strips}
<ol>
{"".join(cards)}</ol>
<footer>vidsift {escape(__version__)}{blurred}</footer>
</main>
</body>
</html>
"""


def _card(part: SkimPart, start: float, picture: bytes, why: str, several: bool) -> str:
    span = part.segment.span
    source = f'<p dir="auto">{escape(part.video.path.name)}</p>' if several else ""
    told = f'<p dir="auto">{escape(why)}</p>' if why else ""
    encoded = base64.b64encode(picture).decode()
    return f"""<li>
<img src="data:image/jpeg;base64,{encoded}" alt="{_times(span.start, span.end)}">
<div class="text">
<p class="time">{_times(span.start, span.end)}</p>
{source}{told}
<p class="quiet">{span.duration:.1f} s, at {clock(start)} of the summary</p>
</div>
</li>
"""


def _strip(skim: Skim, video: VideoRecord, several: bool) -> str:
    """The video as a bar, with its segments marked."""
    length = video.duration_seconds
    marks = []
    for part in skim.parts:
        span = part.segment.span
        if part.video.id == video.id:
            x, width = 1000 * span.start / length, max(1.0, 1000 * span.duration / length)
            marks.append(
                f'<rect class="segment" x="{x:.2f}" width="{width:.2f}" height="10">'
                f"<title>{_times(span.start, span.end)}</title></rect>"
            )
    name = f'<h2 dir="auto">{escape(video.path.name)}</h2>\n' if several else ""
    return (
        f'{name}<svg viewBox="0 0 1000 10" preserveAspectRatio="none" role="img"'
        f' aria-label="{len(marks)} segments on {clock(length)}">'
        f'<rect class="film" width="1000" height="10"/>{"".join(marks)}</svg>'
    )


def _times(start: float, end: float) -> str:
    return f"{clock(start)} - {clock(end)}"
