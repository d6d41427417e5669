"""`make audit` tells what is vulnerable, and that it could not be told, which is not a pass."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).resolve().parent.parent / ".ci" / "audit.py"
GOOD = {"name": "numpy", "version": "2.0", "vulns": []}
BAD = {"name": "x", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
SKIPPED = {"name": "y", "skip_reason": "not found"}


def audit(folder: Path, says: str) -> tuple[int, str]:
    """What comes of it where pip-audit says this; the real one needs the network."""
    tool = folder / "pip-audit"
    tool.write_text(f"#!{sys.executable}\nprint({says!r})\n")
    tool.chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(AUDIT)],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([GOOD], 0, "none of 1 packages is known"),
        ([GOOD, BAD], 1, "x 1: PYSEC-1, fixed in 2"),
        ([BAD, SKIPPED], 1, "x 1: PYSEC-1"),
        ([GOOD, SKIPPED], 3, "1 of 2 packages could not be looked up"),
        ([], 3, "0 of 0"),
    ],
)
def test_what_is_not_looked_up_does_not_pass(tmp_path, packages, code, said):
    found, told = audit(tmp_path, json.dumps({"dependencies": packages}))
    assert (found, said in told) == (code, True)


@pytest.mark.parametrize("says", ["", "[]", "no json", '{"a": 1}'])
def test_a_tool_that_fails_does_not_pass(tmp_path, says):
    assert audit(tmp_path, says)[0] == 3
