"""Devices, the cache of conversions, and what OpenVINO must not tell anybody."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from vidsift.errors import EncoderError, StorageError
from vidsift.models import runtime


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDSIFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def write(folder: Path) -> None:
    (folder / "model.xml").write_text("converted")


def test_a_conversion_is_made_once(cache: Path):
    first = runtime.converted_models("key", write)
    assert first.parent == cache
    assert runtime.converted_models("key", pytest.fail) == first
    assert runtime.converted_models("another", write) != first


def test_a_conversion_that_fails_leaves_nothing(cache: Path):
    def fail(folder: Path) -> None:
        write(folder)
        raise EncoderError("no weights")

    with pytest.raises(EncoderError, match="no weights"):
        runtime.converted_models("key", fail)
    assert list(cache.iterdir()) == []
    assert (runtime.converted_models("key", write) / "model.xml").read_text() == "converted"


def test_conversions_at_once_agree(cache: Path):
    together = threading.Barrier(3)

    def slow(folder: Path) -> None:
        together.wait(timeout=10)
        write(folder)

    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(runtime.converted_models("key", slow)))
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
        runtime.converted_models("key", write)


def test_a_damaged_conversion_says_what_to_delete(tmp_path: Path):
    (tmp_path / "frames.xml").write_text("no model")
    with pytest.raises(EncoderError, match=f"delete the folder {tmp_path}"):
        runtime.OpenVinoTower(tmp_path / "frames.xml", "f32")


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
