"""Settings: where they come from, and what is said of those that cannot be used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidsift.config import load_settings
from vidsift.errors import ConfigError


def test_device_is_one_of_three(tmp_path: Path) -> None:
    assert load_settings(tmp_path, device="cpu").device == "cpu"
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path, device="gpu")
    assert str(caught.value) == "command line: device: must be auto, cpu or cuda"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_folder_that_may_not_be_entered(tmp_path: Path) -> None:
    library = tmp_path / "private" / "library"
    library.mkdir(parents=True)
    library.parent.chmod(0)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from vidsift.config import load_settings\n"
        "from vidsift.errors import ConfigError\n"
        "os.setuid(65534)\n"
        "try:\n    load_settings(Path(sys.argv[1]))\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(library)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(library / "vidsift.toml"))
    assert "Permission denied" in done.stdout
    assert done.stdout.count("\n") == 1
