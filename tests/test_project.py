"""The project as a whole: what the documents say is so, and our names are ours."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ui.cli import app
from vidsift.config import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]


def test_the_readmes_python_runs(tmp_path, make_film):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    make_film(tmp_path / "videos" / "flag.mp4", [("red", 6), ("blue", 6)], sound=True)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("flag.mp4 ")
    assert lines[-1] == str(tmp_path / "my-library" / "out" / "flag.a-red-flag.mp4")
    assert Path(lines[-1]).is_file()


def test_the_readmes_commands_and_options_exist():
    (block,) = re.findall(r"```\n(vidsift index.*?)```", README, re.S)
    for line in block.splitlines():
        words = line.split("#")[0].split()
        command = words[1:3] if words[1] in ("db", "evaluate", "train") else words[1:2]
        shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"})
        assert shown.exit_code == 0, line
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.output)
        for option in (word for word in words if word.startswith("--")):
            assert option in plain, line


def test_the_readmes_settings_are_the_defaults():
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.S)
    shown = tomllib.loads(block)
    fields = Settings.model_fields
    assert shown.pop("encoder") == "builtin"  # the default, empty, means the library's own
    assert {key: fields[key].default for key in shown} == shown


def test_the_documents_links_lead_somewhere():
    for document in ROOT.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_our_top_level_names_belong_to_this_distribution_alone():
    owners = metadata.packages_distributions()
    for name in {package.partition(".")[0] for package in PACKAGES}:
        if name in owners:  # an editable install may not list its packages
            assert set(owners[name]) == {"vidsift"}, name
        module = importlib.import_module(name)
        assert module.__file__ is not None
        assert Path(module.__file__).is_relative_to(ROOT), module.__file__


def test_every_package_is_shipped():
    found = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for top in ("vidsift", "indexer", "search", "summarizer", "ui", "migrations")
        for file in (ROOT / top).rglob("__init__.py")
    }
    assert found == set(PACKAGES)


def _modules() -> list[str]:
    names = []
    for package in ("vidsift", "indexer", "search", "summarizer", "ui"):
        path = [str(ROOT / package)]
        names += [info.name for info in pkgutil.walk_packages(path, package + ".")]
    return [name for name in names if not name.startswith(("ui.view_", "ui.app"))]


@pytest.mark.parametrize("name", _modules())
def test_a_module_says_what_it_exports(name):
    module = importlib.import_module(name)
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text())
    defined = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    exported = getattr(module, "__all__", None)
    assert exported is not None or not defined
    assert all(hasattr(module, member) for member in exported or ())


def test_no_module_of_the_page_is_named_like_a_package():
    tops = {package.partition(".")[0] for package in PACKAGES}
    assert not {path.stem for path in (ROOT / "ui").glob("*.py")} & tops


def test_a_search_imports_no_framework():
    """A cold search must answer before the user looks away: none of these is needed for it."""
    heavy = ("torch", "transformers", "timm", "open_clip", "streamlit", "alembic", "cv2", "pandas")
    code = (
        "import sys, ui.cli, search, vidsift.library, vidsift.models.builtin_encoder;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
