"""Ask the advisory database about every version that constraints.txt pins; needs pip-audit.

Exit 0: all were looked up, none is known to be vulnerable. 1: some are, each is named. 3: it could
not be told, and why (no pip-audit, no network). pip-audit itself calls a package that it cannot
look up "skipped" and ends with 0; here that is not a pass.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
_OPTIONS = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
_NOT_TOLD = 3


def main() -> int:
    """Run pip-audit and say what came of it."""
    tool = shutil.which("pip-audit") or shutil.which("pip-audit", path=Path(sys.executable).parent)
    if tool is None:
        return _not_told("pip-audit is not here; `pipx install pip-audit` gets it")
    command = [tool, "-r", str(CONSTRAINTS), *_OPTIONS, "--timeout", "15"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return _not_told("pip-audit was not done after 10 minutes")
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return _not_told(f"pip-audit could not look anything up: {last}")
    found = [(package, each) for package in packages for each in package.get("vulns", [])]
    for package, each in found:
        fixed = ", ".join(each.get("fix_versions", [])) or "no version yet"
        print(f"{package['name']} {package['version']}: {each['id']}, fixed in {fixed}")
    if found:
        return 1
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if unknown or not packages:
        return _not_told(
            f"{len(unknown)} of {len(packages)} packages could not be looked up"
            " (is there a way to pypi.org?); the versions stay those of constraints.txt"
        )
    print(f"audit: none of {len(packages)} packages is known to be vulnerable")
    return 0


def _not_told(why: str) -> int:
    print(f"audit: not told: {why}", file=sys.stderr)
    return _NOT_TOLD


if __name__ == "__main__":
    sys.exit(main())
