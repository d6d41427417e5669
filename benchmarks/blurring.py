"""What blurring people costs, and a sheet on which to count by eye whom it missed.

    python -m benchmarks.blurring SHEET.png VIDEO...

Of each video 1.2 s from 0.5 s on are cut, as they are and with people blurred. Printed are the
processor's seconds for a second of film of either; on the sheet are two frames of each video, above
as they are, below as they were blurred. Whether a head is covered only a person can say.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vidsift.media.cut import cut_clip
from vidsift.media.probe import probe
from vidsift.media.still import read_frame
from vidsift.types import Span

SPAN = Span(0.5, 1.7)
LOOKS = (0.1, 0.9)  # seconds into the cut
CELL = (236, 168)
COLUMNS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("videos", type=Path, nargs="+")
    options = parser.parse_args()
    cells, costs = [], []
    with tempfile.TemporaryDirectory() as folder:
        for path in options.videos:
            video = probe(path)
            span = Span(SPAN.start, min(SPAN.end, video.duration_seconds))
            cuts = []
            for blur_people in (False, True):
                out = Path(folder) / f"{path.name}-{blur_people}.mp4"
                before = _cpu_seconds()
                cut_clip(video, span, out, blur_people=blur_people)
                cuts.append((out, (_cpu_seconds() - before) / span.duration))
            costs.append([cost for _, cost in cuts])
            print(f"{path.name}: {costs[-1][0]:.2f} as it is, {costs[-1][1]:.2f} blurred")
            cells += [_cell([out for out, _ in cuts], look, path.stem) for look in LOOKS]
    plain, blurred = np.mean(costs, axis=0)
    print(
        f"{len(costs)} videos, processor's seconds for a second of film: {plain:.2f} as it is,"
        f" {blurred:.2f} blurred, {blurred - plain:.2f} for blurring"
    )
    rows = -(-len(cells) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * CELL[0], rows * 2 * CELL[1]))
    for place, cell in enumerate(cells):
        sheet.paste(cell, (place % COLUMNS * CELL[0], place // COLUMNS * 2 * CELL[1]))
    sheet.save(options.sheet)
    print(f"{len(cells)} frames on {options.sheet}")


def _cell(films: list[Path], seconds: float, name: str) -> Image.Image:
    cell = Image.new("RGB", (CELL[0], 2 * CELL[1]))
    for row, film in enumerate(films):
        made = probe(film)
        frame = read_frame(made, seconds, short_side=min(made.width, made.height))
        picture = Image.fromarray(frame)
        picture.thumbnail(CELL)
        cell.paste(picture, (0, row * CELL[1]))
    ImageDraw.Draw(cell).text((3, CELL[1] - 14), f"{name} {seconds}", (255, 255, 0))
    return cell


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
