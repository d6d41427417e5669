"""A short soak: nothing fails, nothing stays open, nothing is left of what was deleted.

Growth of memory is a matter of thousands of videos: `python -m benchmarks.soak` measures it.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_twenty_seconds_of_everything_lose_nothing(tmp_path):
    out = tmp_path / "soak.jsonl"
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", "0.3", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text().splitlines()[-1])
    assert result["failures"] == result["inconsistencies"] == []
    assert result["descriptors_leaked"] == result["children_left"] == 0
    assert result["threads"][2] <= result["threads"][0] + 4  # those that decode are used again
    assert {"asked", "asked by the page", "deleted", "indexed", "looked at", "rendered"} <= set(
        result["operations"]
    )
