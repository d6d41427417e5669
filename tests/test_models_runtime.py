"""Devices, the cache of conversions, and what OpenVINO must not tell anybody."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from vidsift.errors import EncoderError, StorageError
from vidsift.models import runtime
from vidsift.models.conversion import converted_models, use_converted


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDSIFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def write(folder: Path) -> None:
    (folder / "model.xml").write_text("converted")


def test_a_conversion_is_made_once(cache: Path):
    first = converted_models("key", write)
    assert first.parent == cache
    assert converted_models("key", pytest.fail) == first
    assert converted_models("another", write) != first


def test_a_conversion_that_fails_leaves_nothing(cache: Path):
    def fail(folder: Path) -> None:
        write(folder)
        raise EncoderError("no weights")

    with pytest.raises(EncoderError, match="no weights"):
        converted_models("key", fail)
    assert list(cache.iterdir()) == []
    assert (converted_models("key", write) / "model.xml").read_text() == "converted"


def test_conversions_at_once_agree(cache: Path):
    together = threading.Barrier(3)

    def slow(folder: Path) -> None:
        together.wait(timeout=10)
        write(folder)

    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(converted_models("key", slow)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert [entry.name for entry in cache.iterdir()] == [found[0].name]


def test_a_cache_that_cannot_be_written_is_named(cache: Path):
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="VIDSIFT_CACHE"):
        converted_models("key", write)


def test_a_damaged_conversion_says_what_to_delete(tmp_path: Path):
    (tmp_path / "frames.xml").write_text("no model")
    with pytest.raises(EncoderError, match=f"delete the folder {tmp_path}"):
        runtime.OpenVinoTower(tmp_path / "frames.xml", "f32")


def _tiny(folder: Path) -> None:
    import torch

    torch.manual_seed(0)
    network = torch.nn.Linear(64, 8)
    runtime.save_for_openvino(network, [torch.zeros(2, 64)], [(-1, 64)], folder / "tiny.xml")


def _answer() -> np.ndarray:
    def load(folder: Path) -> runtime.Tower:
        return runtime.OpenVinoTower(folder / "tiny.xml", "f32")

    return use_converted("key", _tiny, "tiny", load)(np.ones((1, 64), np.float32))


@pytest.mark.parametrize("what", ["tiny.xml", "tiny.bin", "*.blob", "checksums.json"])
@pytest.mark.parametrize("how", ["cut", "flipped", "random", "gone"])
def test_a_damaged_cache_is_made_again(cache: Path, capfd, what: str, how: str):
    right = _answer()
    (folder,) = cache.iterdir()
    (file, *_) = folder.rglob(what)
    content = bytearray(file.read_bytes())
    # A weight, where the file has it: such damage is no error when a model is read.
    weight = content.find((folder / "tiny.bin").read_bytes()[:16])
    content[weight + 3 if weight >= 0 else len(content) // 2] ^= 0x7F
    if what != "*.blob":
        shutil.rmtree(folder / "compiled")  # it would be read instead
    damage = {
        "cut": content[: len(content) // 3],
        "flipped": content,
        "random": np.random.default_rng(0).bytes(len(content)),
    }
    file.unlink()
    if how in damage:
        file.write_bytes(damage[how])
    capfd.readouterr()
    for _ in range(2):
        np.testing.assert_array_equal(_answer(), right)
    assert "E0000" not in capfd.readouterr().err
    assert [entry.name for entry in cache.iterdir()] == [folder.name]
    assert use_converted("key", pytest.fail, "tiny", lambda folder: folder) == folder


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A cache folder on a disk of 16 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount")
    monkeypatch.setenv("VIDSIFT_CACHE", str(folder))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_while_converting(small_disk: Path):
    def convert(folder: Path) -> None:
        import torch

        network = torch.nn.Linear(640, 80)
        runtime.save_for_openvino(network, [torch.zeros(2, 640)], [(-1, 640)], folder / "m.xml")

    with pytest.raises(StorageError, match=f"^{small_disk}/models: .*VIDSIFT_CACHE"):
        converted_models("key", convert)
    assert list((small_disk / "models").iterdir()) == []


def test_a_disk_without_room_for_the_compiled_form(small_disk: Path):
    right = _answer()
    np.testing.assert_array_equal(_answer(), right)
    assert list(small_disk.rglob("*.blob")) == []


_UNREADABLE = """
import os, sys
from pathlib import Path
from vidsift.errors import StorageError
from vidsift.models.conversion import converted_models, is_converted
os.setuid(65534)
assert not is_converted("key")
try:
    converted_models("key", lambda folder: None)
except StorageError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_cache_that_may_not_be_entered_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "private").mkdir(mode=0)
    monkeypatch.setenv("VIDSIFT_CACHE", str(tmp_path / "private"))
    done = subprocess.run(
        [sys.executable, "-c", _UNREADABLE], capture_output=True, text=True, check=True
    )
    assert "VIDSIFT_CACHE" in done.stdout
    assert done.stdout.count("\n") == 1


def test_a_network_survives_conversion_at_any_batch(tmp_path: Path):
    import torch

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.GELU(), torch.nn.Linear(7, 3))
    runtime.save_for_openvino(network, [torch.zeros(2, 5)], [(-1, 5)], tmp_path / "model.xml")
    tower = runtime.OpenVinoTower(tmp_path / "model.xml", "f32")
    for n in (1, 4):
        inputs = np.random.default_rng(n).standard_normal((n, 5)).astype(np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(inputs)).numpy()
        np.testing.assert_allclose(tower(inputs), expected, atol=1e-5)


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_the_cpu_is_chosen_without_torch(device: str):
    code = (
        "import sys; from vidsift.models import runtime; runtime._CUDA_SIGNS = (); "
        f"assert runtime.pick_device({device!r}) == 'cpu'; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)


def test_cuda_where_there_is_none_says_so():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(EncoderError, match="device cuda: no CUDA device"):
        runtime.pick_device("cuda")


def test_a_missing_package_is_named():
    with (
        pytest.raises(EncoderError, match="builtin: package no_such_package"),
        runtime.packages_of("builtin"),
    ):
        import no_such_package  # noqa: F401


def test_torchvision_of_another_torch_is_named():
    with (
        pytest.raises(EncoderError, match="torchvision does not fit the installed torch"),
        runtime.packages_of("builtin"),
    ):
        raise RuntimeError("operator torchvision::nms does not exist")


def test_openvino_reports_to_nobody():
    """OpenVINO sends its import and each conversion to an analytics server unless stopped."""
    code = (
        "import sys, socket; sent = []; "
        "socket.socket.connect = lambda *a: sent.append(a); socket.getaddrinfo = sent.append; "
        "from vidsift.models import runtime; ov = runtime._openvino(); ov.Core(); "
        "import openvino.tools.ovc.telemetry_utils as t; "
        "assert t.tm.__name__.endswith('telemetry_stub'), t.tm; "
        "assert not sys.modules.get('openvino_telemetry'); assert not sent"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
