"""An explanation as a picture: the best frame and its heat map, the curve, and what it rests on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ui.explanation_text import looked_sentence, said_sentences, term_sentences
from vidsift.times import clock

if TYPE_CHECKING:
    from search.explain import Explanation, LookedAt, TermExplanation

__all__ = ["draw_explanation", "draw_heat", "picture_bytes", "stacked"]

_WIDTH, _MARGIN = 1080, 24
_INNER = _WIDTH - 2 * _MARGIN
_PICTURE_HEIGHT = 290
_PLOT_HEIGHT = 230
_FINE = 2  # the plot is drawn so many times larger and made smaller: smooth lines

_Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

_INK, _FAINT, _GRID = (32, 36, 44), (110, 118, 130), (226, 229, 234)
_CURVE, _MOMENT, _LOST = (24, 92, 180), (255, 238, 206), (200, 70, 20)
_ATTENTION, _BACKGROUND = (244, 162, 60), (120, 126, 138)
_WARM, _COLD = np.array([255, 60, 0.0]), np.array([40, 90, 255.0])


def draw_explanation(explanation: Explanation, looked: Sequence[LookedAt | None]) -> Image.Image:
    """The picture of an explanation, a block for each term; `looked` has one entry a term."""
    title = f"{explanation.video.path.name}   {clock(explanation.moment.start)} -"
    title += f" {clock(explanation.moment.end)}"
    blocks = [_lines([title], 22)]
    for term, seen in zip(explanation.terms, looked, strict=True):
        blocks.append(_lines([f"\u201c{term.query.text}\u201d"], 26, top=14))
        sentences = term_sentences(term)
        if seen is not None:
            blocks.append(_frames(seen))
            sentences.append(looked_sentence(seen))
        blocks.append(_plot(explanation, term))
        blocks.append(_lines(sentences, 17))
    if explanation.said:
        blocks.append(_lines(said_sentences(explanation), 17))
    inner = stacked(blocks, gap=10)
    picture = Image.new("RGB", (_WIDTH, inner.height + 2 * _MARGIN), "white")
    picture.paste(inner, (_MARGIN, _MARGIN))
    return picture


def picture_bytes(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def draw_heat(looked: LookedAt) -> Image.Image:
    """The frame under its heat map: warm speaks for the question, cold against it.

    The frame is grey beneath, so that only the map has colours; what the encoder does not look at
    is dimmed. Shares (`exact`) are warm or cold from 0 on; cosines from their own middle.
    """
    height, width = looked.image.shape[:2]
    heat = looked.heat.over(height, width)
    seen = np.isfinite(heat)
    zero = 0.0 if looked.heat.exact else float(np.median(heat[seen]))
    heat = np.where(seen, heat - zero, 0.0)
    strength = np.abs(heat) / max(float(np.abs(heat).max()), 1e-9)
    alpha = (0.75 * np.sqrt(strength))[..., np.newaxis]
    colour = np.where(heat[..., np.newaxis] > 0, _WARM, _COLD)
    grey = np.repeat(np.asarray(Image.fromarray(looked.image).convert("L"))[..., np.newaxis], 3, 2)
    lit = np.where(seen[..., np.newaxis], grey * 0.85 + 20, grey * 0.35)
    return Image.fromarray((lit * (1 - alpha) + colour * alpha).astype(np.uint8))


def _frames(looked: LookedAt) -> Image.Image:
    """The frame and beside it the frame under its heat map."""
    pair = [_fitted(Image.fromarray(looked.image)), _fitted(draw_heat(looked))]
    block = Image.new("RGB", (_INNER, pair[0].height + 26), "white")
    captions = (
        f"the frame at {clock(looked.seconds)}",
        "orange speaks for it, blue against it; the encoder does not see what is dark"
        if np.isnan(looked.heat.over(*looked.image.shape[:2])).any()
        else "orange speaks for it, blue against it",
    )
    draw = ImageDraw.Draw(block)
    for place, (picture, caption) in enumerate(zip(pair, captions, strict=True)):
        left = place * (_INNER + _MARGIN) // 2
        block.paste(picture, (left, 0))
        draw.text((left, picture.height + 4), caption, _FAINT, _font(14))
    return block


def _fitted(picture: Image.Image) -> Image.Image:
    scale = min(((_INNER - _MARGIN) // 2) / picture.width, _PICTURE_HEIGHT / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _plot(explanation: Explanation, term: TermExplanation) -> Image.Image:
    """The curve over the video's time, the moment, the attention in it and the background."""
    width, height = _INNER * _FINE, _PLOT_HEIGHT * _FINE
    left, right, top, bottom = 48 * _FINE, width - 10 * _FINE, 26 * _FINE, height - 28 * _FINE
    end = float(explanation.ends[-1])
    lowest, highest = _value_range(term)
    plot = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(plot)
    small = _font(13 * _FINE)

    def x(seconds: float) -> float:
        return left + (right - left) * seconds / end

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - lowest) / (highest - lowest)

    moment = explanation.moment
    draw.rectangle((x(moment.start), top, max(x(moment.end), x(moment.start) + 2), bottom), _MOMENT)
    heaviest = max(float(term.weights.max()), 1e-9)
    for start, stop, weight in zip(explanation.starts, explanation.ends, term.weights, strict=True):
        if weight > 0:
            rise = (bottom - top) * 0.3 * float(weight) / heaviest
            draw.rectangle(
                (x(start), bottom - rise, max(x(stop), x(start) + 1), bottom), _ATTENTION
            )
    for value in _ticks(lowest, highest, 6):
        draw.line((left, y(value), right, y(value)), _GRID, _FINE)
        draw.text((left - 6 * _FINE, y(value)), f"{value:.2f}", _FAINT, small, anchor="rm")
    for seconds in _ticks(0.0, end, 8):
        draw.line((x(seconds), bottom, x(seconds), bottom + 4 * _FINE), _FAINT, _FINE)
        _within(draw, x(seconds), bottom + 20 * _FINE, clock(seconds), small, _FAINT, width)
    _dashed(draw, left, right, y(term.background))
    middles = (explanation.starts + explanation.ends) / 2
    points = [
        (x(float(at)), y(float(value)))
        for at, value in zip(middles, term.similarities, strict=True)
    ]
    if len(points) > 1:
        draw.line(points, _CURVE, 2 * _FINE, joint="curve")
    best = int(np.argmax(np.where(term.weights > 0, term.similarities, -np.inf)))
    _dot(draw, points[best], 5 * _FINE)
    for part in term.without[:1]:  # the stretch that is missed most, as a bracket above
        if part.score is not None and f"{part.score:.2f}" == f"{term.score:.2f}":
            break  # no stretch alone carries it
        line = top - 6 * _FINE
        edges = (x(part.span.start), line, x(part.span.end), line)
        draw.line(edges, _LOST, 2 * _FINE)
        for edge in (part.span.start, part.span.end):
            draw.line((x(edge), line, x(edge), line + 5 * _FINE), _LOST, 2 * _FINE)
        text = (
            "nothing is left without it" if part.score is None else f"without it {part.score:.2f}"
        )
        _within(draw, (edges[0] + edges[2]) / 2, line - 3 * _FINE, text, small, _LOST, width)
    plot = plot.resize((_INNER, _PLOT_HEIGHT), Image.Resampling.LANCZOS)
    return _with_legend(plot)


def _with_legend(plot: Image.Image) -> Image.Image:
    block = Image.new("RGB", (_INNER, plot.height + 30), "white")
    block.paste(plot, (0, 8))
    draw, font = ImageDraw.Draw(block), _font(13)
    left = 48
    for colour, name in (
        (_CURVE, "similarity"),
        (_ATTENTION, "attention in the moment"),
        (_MOMENT, "the moment"),
        (_BACKGROUND, "usual in the library"),
    ):
        draw.rectangle((left, plot.height + 14, left + 12, plot.height + 24), colour, _GRID)
        draw.text((left + 18, plot.height + 19), name, _FAINT, font, anchor="lm")
        left += 18 + round(font.getlength(name)) + 24
    return block


def _value_range(term: TermExplanation) -> tuple[float, float]:
    values = [*term.similarities.tolist(), term.background]
    lowest, highest = min(values), max(values)
    room = max(0.05, 0.08 * (highest - lowest))
    return lowest - room, highest + room


def _ticks(lowest: float, highest: float, most: int) -> list[float]:
    """At most `most` round values in a range: steps of 1, 2 or 5 times a power of ten."""
    step = 10.0 ** np.floor(np.log10((highest - lowest) / most))
    step = next(
        step * times for times in (1, 2, 5, 10) if (highest - lowest) / (step * times) < most
    )
    first = np.ceil(lowest / step)
    return [float(step * place) + 0.0 for place in np.arange(first, np.floor(highest / step) + 1)]


def _dashed(draw: ImageDraw.ImageDraw, left: float, right: float, height: float) -> None:
    for start in np.arange(left, right, 12 * _FINE):
        end = min(start + 6 * _FINE, right)
        draw.line((start, height, end, height), _BACKGROUND, 2 * _FINE)


def _dot(draw: ImageDraw.ImageDraw, at: tuple[float, float], radius: float) -> None:
    box = (at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius)
    draw.ellipse(box, _CURVE, "white", _FINE)


def _within(
    draw: ImageDraw.ImageDraw,
    middle: float,
    bottom: float,
    text: str,
    font: _Font,
    colour: tuple[int, int, int],
    width: int,
) -> None:
    """A text about `middle`, moved so that it stays inside the picture."""
    half = font.getlength(text) / 2
    middle = min(max(middle, half), width - half)
    draw.text((middle, bottom), text, colour, font, anchor="mb")


def _lines(lines: Sequence[str], size: int, top: int = 0) -> Image.Image:
    """Lines of text one below the other; those that are too long go on in the next."""
    font = _font(size)
    wrapped = [part for line in lines for part in _wrap(line, font)]
    step = round(size * 1.45)
    block = Image.new("RGB", (_INNER, top + step * len(wrapped)), "white")
    draw = ImageDraw.Draw(block)
    for place, line in enumerate(wrapped):
        draw.text((0, top + place * step), line, _INK, font)
    return block


def _wrap(line: str, font: _Font) -> list[str]:
    lines = [""]
    for word in line.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > _INNER:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _font(size: int) -> _Font:
    return ImageFont.load_default(size)


def stacked(pictures: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Pictures of the same width, one below the other."""
    height = sum(picture.height for picture in pictures) + gap * (len(pictures) - 1)
    whole = Image.new("RGB", (pictures[0].width, height), "white")
    top = 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height + gap
    return whole
