"""Files that are loaded run nothing, weights are those that they should be, packages are pinned."""

from __future__ import annotations

import ast
import io
import pickle
import re
import shutil
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from search.annotations import read_captions
from search.bank import bank_vectors
from search.trust import prepare
from summarizer.annotated import read_annotated, read_scores
from vidsift.errors import EncoderError, VidsiftError
from vidsift.library import Library
from vidsift.models.builtin_encoder import FRAME_WEIGHTS, TEXT_WEIGHTS
from vidsift.models.encoder import open_encoder
from vidsift.models.learned_saliency import open_saliency
from vidsift.models.pooler_checkpoint import open_pooler
from vidsift.models.projection import read_projection
from vidsift.store.vectors import open_index
from vidsift.types import EncoderStamp

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("vidsift", "indexer", "search", "summarizer", "ui", "migrations", "benchmarks")
STAMP = EncoderStamp("builtin", "0" * 64, 3, "none")


class Bomb:
    """What makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path) -> Iterator[Path]:
    """The file that none of the loaders may make."""
    path = tmp_path / "pwned"
    yield path
    assert not path.exists()


def pickled(marker: Path) -> bytes:
    return pickle.dumps(Bomb(marker))


def torch_zip(marker: Path) -> bytes:
    """As torch.save writes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(marker))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return content.getvalue()


def objects_npy(marker: Path) -> bytes:
    content = io.BytesIO()
    np.save(content, np.array([Bomb(marker)], dtype=object), allow_pickle=True)
    return content.getvalue()


def objects_npz(marker: Path) -> bytes:
    content = io.BytesIO()
    np.savez(content, stamp=np.array([Bomb(marker)], dtype=object))
    return content.getvalue()


FORMS: list[Callable[[Path], bytes]] = [pickled, torch_zip, objects_npy, objects_npz]


def test_the_bombs_go_off_where_somebody_unpickles(tmp_path):
    import torch

    for number, form in enumerate(FORMS):
        marker = tmp_path / str(number)
        content = io.BytesIO(form(marker))
        if form is pickled:
            pickle.load(content)
        elif form is torch_zip:
            torch.load(content, weights_only=False)
        else:
            loaded = np.load(content, allow_pickle=True)
            _ = loaded["stamp"] if form is objects_npz else loaded
        assert marker.exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "load",
    [
        lambda file: open_pooler(str(file), 0.1, STAMP),
        lambda file: open_saliency(str(file), STAMP),
        lambda file: read_projection(file, "0" * 64, (1000, 384)),
        read_annotated,
        read_scores,
        read_captions,
    ],
    ids=["pooler", "saliency", "projection", "annotated", "scores", "captions"],
)
def test_a_pickle_in_place_of_a_file_is_refused(tmp_path, marker, load, form):
    for suffix in (".safetensors", ".h5", ".json", ".csv", ".npz", ".pt"):
        file = tmp_path / f"planted{suffix}"
        file.write_bytes(form(marker))
        with pytest.raises(VidsiftError):
            load(file)


@pytest.mark.parametrize("form", FORMS)
def test_a_pickle_among_the_caches_is_not_run(axes_library, marker, tmp_path, form):
    index = axes_library.root / "index"
    index.mkdir(exist_ok=True)
    before = bank_vectors(axes_library.encoder)
    open_index(index, axes_library.catalog, axes_library.encoder.stamp, write=True)
    planted = [index / "null.npz", *index.iterdir(), *(tmp_path / "cache").rglob("*.npy")]
    assert len(planted) >= 3
    for file in planted:
        file.write_bytes(form(marker))
    assert (bank_vectors(axes_library.encoder) == before).all()
    prepare(axes_library)
    stamp = axes_library.encoder.stamp
    assert len(open_index(index, axes_library.catalog, stamp, write=False)) == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_pickle_in_place_of_features_is_damage(colour_library, make_film, tmp_path, marker, form):
    from indexer import index_videos

    make_film(tmp_path / "films" / "a.mp4", [("red", 2)])
    index_videos(colour_library, [tmp_path / "films"])
    video = colour_library.catalog.videos()[0]
    colour_library.features.close()
    (colour_library.root / "features" / video.feature_file).write_bytes(form(marker))
    with Library.open(colour_library.root) as opened:
        assert opened.damage(opened.catalog.videos()[0])


@pytest.mark.slow
@pytest.mark.parametrize("form", [pickled, torch_zip])
@pytest.mark.parametrize("suffix", [".pt", ".bin", ".pth", ".safetensors"])
def test_a_checkpoint_of_open_clip_runs_nothing(tmp_path, marker, monkeypatch, form, suffix):
    monkeypatch.setenv("VIDSIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0")
    file = tmp_path / f"planted{suffix}"
    file.write_bytes(form(marker))
    with pytest.raises(EncoderError):
        open_encoder(f"open_clip:ViT-B-32/{file}", device="cpu").close()


@pytest.mark.slow
@pytest.mark.parametrize("weights", [FRAME_WEIGHTS, TEXT_WEIGHTS], ids=["frames", "texts"])
def test_a_flipped_bit_in_packaged_weights_is_refused(tmp_path, monkeypatch, weights):
    from vidsift.models import builtin_encoder, builtin_network

    folder = tmp_path / "package"
    shutil.copytree(weights.find().parent, folder)
    file = folder / weights.find().name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    monkeypatch.setattr(builtin_encoder.Weights, "find", lambda self: file)
    with pytest.raises(EncoderError, match="is not the weight file"):
        builtin_network._checked(weights)
    file.write_bytes(weights_of(content))
    assert builtin_network._checked(weights) == file


def weights_of(flipped: bytearray) -> bytes:
    flipped[len(flipped) // 2] ^= 1
    return bytes(flipped)


# What the source says.


def sources() -> Iterator[tuple[Path, ast.AST]]:
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            yield file.relative_to(ROOT), ast.parse(file.read_text())


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def option(node: ast.Call, name: str) -> object:
    for each in node.keywords:
        if each.arg == name:
            return each.value.value if isinstance(each.value, ast.Constant) else ...
    return None


def is_made_up(node: ast.AST) -> bool:
    """Whether a text is put together of others when the program runs."""
    if isinstance(node, ast.JoinedStr):
        values = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        return not {ast.unparse(value) for value in values} <= _OUR_OWN
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, (ast.Add, ast.Mod)) and not isinstance(node.right, ast.Constant)
    return isinstance(node, ast.Call) and called(node).endswith((".format", ".join"))


_RUNS = {"eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "shelve.open"}
_SQL = ("text", "exec_driver_sql", "executescript", "execute")
# What is put into SQL as text: tables, settings and limits that the program itself names (looked at
# one by one), never what a person or a file says.
_OUR_OWN = {"name", "setting", "value", "limit", "self._select"}
_OUR_OWN |= {"_PATIENCE_MS", "_MOST", "_ROWS", "_ADVISORY", "'ON' if foreign_keys else 'OFF'"}


def complaints(where: str, tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            for name in names:
                if name.split(".")[0] in ("joblib", "dill", "cloudpickle", "marshal", "shelve"):
                    yield f"{where}:{node.lineno}: imports {name}"
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        if name in _RUNS or re.fullmatch(r"c?pickle\.(load|loads|Unpickler)", name):
            yield f"{where}:{node.lineno}: {name}"
        if option(node, "shell") not in (None, False):
            yield f"{where}:{node.lineno}: shell"
        if name.endswith("torch.load") and option(node, "weights_only") is not True:
            yield f"{where}:{node.lineno}: torch.load without weights_only"
        if name in ("np.load", "numpy.load") and option(node, "allow_pickle"):
            yield f"{where}:{node.lineno}: np.load with allow_pickle"
        if option(node, "trust_remote_code") not in (None, False):
            yield f"{where}:{node.lineno}: trust_remote_code"
        is_sql = name.split(".")[-1] in _SQL and not where.startswith("benchmarks/")
        if is_sql and node.args and is_made_up(node.args[0]):
            yield f"{where}:{node.lineno}: SQL put together"
        if name.startswith("st.") and option(node, "unsafe_allow_html") not in (None, False):
            yield f"{where}:{node.lineno}: unsafe_allow_html"
        if name.startswith("st.") and option(node, "unsafe_allow_javascript") not in (None, False):
            yield f"{where}:{node.lineno}: unsafe_allow_javascript"


def test_no_code_of_ours_runs_what_it_reads():
    assert [said for where, tree in sources() for said in complaints(str(where), tree)] == []


def test_the_search_for_such_code_finds_it():
    for code in (
        "import joblib",
        "pickle.load(f)",
        "eval(x)",
        "subprocess.run(x, shell=True)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f, allow_pickle=True)",
        "connection.execute(sa.text(f'DELETE FROM {x}'))",
        "connection.exec_driver_sql('PRAGMA ' + x)",
        "connection.execute('SELECT %s' % x)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "st.markdown(x, unsafe_allow_html=True)",
    ):
        assert list(complaints("x", ast.parse(code))), code


# What it is built of.


def _named(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def test_every_requirement_is_pinned_and_nothing_else_is_left_open():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        required += extra
    pins: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        line = line.split("#")[0].strip()
        if line:
            assert re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.+!-]+(\s*;.+)?", line), line
            pins[_named(line)] = line
    open_ = {_named(each) for each in required} - {"vidsift", *pins}
    # Of the two builds of FAISS one machine installs one.
    assert open_ <= {"faiss-cpu"}


def test_what_is_imported_is_required():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "starlette" in {_named(each) for each in project["dependencies"]}
