"""A voice made of formants that says three words, and a small Whisper that understands it.

    python -m benchmarks.spoken FOLDER

No published weights are needed to try `transcribe`: the network is Whisper's own (two layers, 64
dimensions), trained here in a minute, and converted for CTranslate2 as a published one is. What
the tests listen with, `tests/speech_model`, was made by this. The voice is real enough for the
detector of voice activity, and the token of the language decides which word is written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from scipy.signal import lfilter

__all__ = ["LANGUAGES", "WORDS", "make_speech_model", "say", "speech"]

RATE = 16_000
LANGUAGES = ("en", "de")
WORDS = {"red": "rot", "blue": "blau", "green": "gruen"}
"""What the model writes in English, and in German."""

# The first three formants in Hz of the vowel that stands for each word (Peterson and Barney 1952).
_FORMANTS = {"red": (730, 1090, 2440), "blue": (270, 2290, 3010), "green": (300, 870, 2240)}
_BANDWIDTHS = (80, 100, 140)

_SPECIAL = (
    *["<|endoftext|>", "<|startoftranscript|>", *(f"<|{each}|>" for each in LANGUAGES)],
    *["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"],
    "<|notimestamps|>",
)
# The empty token is what CTranslate2 knows a model of several languages by.
_TEXT = ("<unk>", *(word for pair in WORDS.items() for word in pair), "")
_TOKENS = (*_TEXT, *_SPECIAL)
_ID = {token: number for number, token in enumerate(_TOKENS)}
_TIMES = len(_TOKENS)  # the id of the time 0.00; one more each 0.02 s up to 30
_NUM_TIMES = 1501
_FRAMES = 3000  # of 0.01 s in a window of 30 s
_SIZE = 64


def say(word: str, *, pitch: float = 120.0, seed: int = 0) -> Float32[np.ndarray, "n"]:
    """One word of WORDS, spoken: three syllables, about 0.7 s at 16 kHz."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(3):
        breath = 0.05 * rng.standard_normal(960) * np.hanning(960)
        n = int((0.16 + 0.04 * rng.random()) * RATE)
        t = np.arange(n) / n
        glide = pitch * (1 + 0.15 * np.sin(np.pi * t) + 0.02 * rng.standard_normal())
        pulses = np.diff(np.floor(np.cumsum(glide / RATE)), prepend=0.0)
        voice = lfilter([1], [1, -0.96], pulses) + 0.01 * rng.standard_normal(n)
        for formant, bandwidth in zip(_FORMANTS[word], _BANDWIDTHS, strict=True):
            r = np.exp(-np.pi * bandwidth / RATE)
            c = 2 * r * np.cos(2 * np.pi * formant / RATE)
            voice = lfilter([1 - c + r * r], [1, -c, r * r], voice)
        voice *= np.clip(np.minimum(t, 1 - t) * n / (0.04 * RATE), 0, 1)
        parts += [breath, voice / np.abs(voice).max()]
    return (0.4 * np.concatenate(parts)).astype(np.float32)


def speech(seconds: float, words: Iterable[tuple[float, str]]) -> Float32[np.ndarray, "n"]:
    """Sound of 16 kHz in which each word begins at its time, over a little noise."""
    samples = 0.0003 * np.random.default_rng(1).standard_normal(round(seconds * RATE))
    for number, (at, word) in enumerate(words):
        said = say(word, pitch=110.0 + 17 * (number % 5), seed=1000 + number)
        first = round(at * RATE)
        samples[first : first + len(said)] += said[: len(samples) - first]
    return samples.astype(np.float32)


def make_speech_model(folder: Path) -> None:
    """Train the network and write it to `folder`, which must not be there yet."""
    _save(_train(), folder)


def _train(steps: int = 260, batch_size: int = 16) -> Any:
    """The network, trained on windows that are put together from spectra of the voice."""
    import torch

    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    model = _network(encoder_layers=0)
    positions = model.model.encoder.embed_positions.weight
    tokens = model.model.decoder.embed_tokens.weight
    with torch.no_grad():
        # A time is written as its place in the sound is known, which is most of what is to learn.
        tokens[:_TIMES] = 0.5 * torch.randn(_TIMES, _SIZE)
        tokens[_TIMES:] = torch.cat([positions, positions[-1:]])
    bank = {
        word: [_spectrum(say(word, pitch=rng.uniform(100, 220), seed=n)) for n in range(24)]
        for word in WORDS
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, total_steps=steps, pct_start=0.2
    )
    ids = torch.arange(_TIMES + _NUM_TIMES)
    for step in range(steps):
        examples = [_example(bank, rng) for _ in range(batch_size)]
        spectra, inputs, wanted = (
            torch.from_numpy(np.stack(each)) for each in zip(*examples, strict=True)
        )
        logits = model(input_features=spectra, decoder_input_ids=inputs).logits
        counted = wanted >= 0
        scores, wanted = logits[counted].log_softmax(-1), wanted[counted][:, None]
        # A time next to the right one is nearly right, and at first as good.
        spread = 1.5 if step < steps / 2 else 0.5
        near = torch.exp(-(((ids - wanted) / spread) ** 2) / 2)
        is_time = (ids >= _TIMES) & (wanted >= _TIMES)
        target = torch.where(is_time, near, (ids == wanted).float())
        loss = -(target / target.sum(1, keepdim=True) * scores).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model


def _network(encoder_layers: int) -> Any:
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    end, start = _ID["<|endoftext|>"], _ID["<|startoftranscript|>"]
    return WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=_TIMES + _NUM_TIMES,
            d_model=_SIZE,
            encoder_layers=encoder_layers,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=_SIZE,
            decoder_ffn_dim=2 * _SIZE,
            dropout=0.0,
            init_std=0.1,  # the default is for hundreds of dimensions
            pad_token_id=end,
            bos_token_id=end,
            eos_token_id=end,
            decoder_start_token_id=start,
            suppress_tokens=None,
            begin_suppress_tokens=None,
        )
    )


def _spectrum(samples: Float32[np.ndarray, "n"]) -> Float32[np.ndarray, "80 f"]:
    from faster_whisper.feature_extractor import FeatureExtractor

    apart = np.zeros(RATE // 5, np.float32)
    found = FeatureExtractor()(np.concatenate([apart, samples, apart]))
    return np.asarray(found[:, 20 : 20 + len(samples) // 160], np.float32)


def _example(
    bank: dict[str, list[Float32[np.ndarray, "80 f"]]], rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "80 3000"], Int64[np.ndarray, "8"], Int64[np.ndarray, "8"]]:
    """A window of sound, what the network is told of its text, and what it is to say (-1: any).

    The text is the first word alone, between its times; faster-whisper goes on behind it.
    """
    longest = (100, 900, _FRAMES)[rng.choice(3, p=(0.3, 0.5, 0.2))]
    content = int(rng.integers(5, longest))
    spectrum = np.zeros((80, _FRAMES), np.float32)
    noise = 0.03 * rng.standard_normal((80, content)).astype(np.float32)
    spectrum[:, :content] = rng.uniform(-1.1, -0.6) + noise
    first: tuple[str, int, int] | None = None
    at = int(rng.integers(0, 85))
    while rng.random() < 0.85:
        word = list(WORDS)[rng.integers(3)]
        sound = bank[word][rng.integers(len(bank[word]))]
        end = at + sound.shape[1]
        if end > content:
            break
        spectrum[:, at:end] = np.maximum(spectrum[:, at:end], sound)
        first = first or (word, at, end)
        at = end + int(rng.integers(50, 200))
    language = int(rng.integers(len(LANGUAGES)))
    prompt = [_ID["<|startoftranscript|>"], _ID[f"<|{LANGUAGES[language]}|>"]]
    prompt.append(_ID["<|transcribe|>"])
    over = _ID["<|endoftext|>"]
    if first is None:
        return (
            spectrum,
            np.array([*prompt, _TIMES, over, over, over, over]),
            np.array([_ID["<|nospeech|>"], -1, _TIMES, over, -1, -1, -1, -1]),
        )
    word, start, end = first
    text = _ID[(word, WORDS[word])[language]]
    told = [_TIMES + round(start / 2), text, _TIMES + round(end / 2), _TIMES + round(end / 2)]
    return (
        spectrum,
        np.array([*prompt, *told, over]),
        np.array([_ID[f"<|{LANGUAGES[0]}|>"], -1, *told, over, -1]),
    )


def _save(model: Any, folder: Path) -> None:
    """Write the network as CTranslate2 and faster-whisper read it."""
    import torch
    from ctranslate2.converters.transformers import WhisperLoader
    from tokenizers import Tokenizer, models, pre_tokenizers

    # CTranslate2 wants a layer in the encoder: one that adds nothing.
    whole = _network(encoder_layers=1)
    whole.load_state_dict(model.state_dict(), strict=False)
    layer = whole.model.encoder.layers[0]
    with torch.no_grad():
        for last in (layer.self_attn.out_proj, layer.fc2):
            last.weight.zero_()
            last.bias.zero_()
    spec = WhisperLoader().get_model_spec(whole)
    spec.register_vocabulary([*_TOKENS, *(f"<|{n * 0.02:.2f}|>" for n in range(_NUM_TIMES))])
    spec.config.suppress_ids = spec.config.suppress_ids_begin = []
    spec.config.lang_ids = [_ID[f"<|{each}|>"] for each in LANGUAGES]
    spec.config.alignment_heads = [[1, 0]]
    spec.validate()
    spec.optimize(quantization="float16")
    folder.mkdir(parents=True)
    spec.save(str(folder))
    tokenizer = Tokenizer(models.WordLevel(_ID, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))


if __name__ == "__main__":
    make_speech_model(Path(sys.argv[1]))
