"""Tiny `transformers` models with random weights, on disk: what they answer is noise, but real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WINDOW_S = 2  # of the speech model; Whisper's is 30
_BOX_TOKENS = 5


def write_detector(folder: Path) -> None:
    """Write a YOLOS with two classes, which sees a little of both everywhere."""
    import torch
    from transformers import YolosConfig, YolosForObjectDetection

    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=[64, 96],
        patch_size=16,
        num_detection_tokens=_BOX_TOKENS,
        id2label={0: "cat", 1: "dog"},
        label2id={"cat": 0, "dog": 1},
    )
    YolosForObjectDetection(config).save_pretrained(folder)
    image_processor()(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)


def image_processor() -> Any:
    """Return the image processor of YOLOS that needs no torchvision."""
    import transformers

    # its name from version 5 on, where the plain name is that of the one with torchvision
    return getattr(transformers, "YolosImageProcessorPil", transformers.YolosImageProcessor)


def write_speech(folder: Path) -> None:
    """Write a multilingual Whisper with a byte-level tokenizer and a window of two seconds."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = WhisperTokenizer(vocab={c: i for i, c in enumerate(alphabet)}, merges=[])
    # in the order that Whisper's ids have
    named = ("startoftranscript", "en", "translate", "transcribe", "startofprev", "nospeech")
    special = [f"<|{name}|>" for name in (*named, "notimestamps")]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.add_tokens([f"<|{i * 0.02:.2f}|>" for i in range(WINDOW_S * 50 + 1)])
    extractor = WhisperFeatureExtractor(feature_size=8, chunk_length=WINDOW_S)
    WhisperProcessor(extractor, tokenizer).save_pretrained(folder)

    number = {token: tokenizer.convert_tokens_to_ids(token) for token in special}
    end = tokenizer.eos_token_id
    tokens = {
        "pad_token_id": end,
        "bos_token_id": end,
        "eos_token_id": end,
        "decoder_start_token_id": number["<|startoftranscript|>"],
    }
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer),
            num_mel_bins=8,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            max_source_positions=WINDOW_S * 50,
            max_target_positions=64,
            begin_suppress_tokens=None,
            **tokens,
        )
    )
    # bytes that make no text are kept out, so that what comes back is ASCII
    printable = {i for i, c in enumerate(alphabet) if c.isascii() and c.isalpha()}
    model.generation_config = GenerationConfig(
        no_timestamps_token_id=number["<|notimestamps|>"],
        prev_sot_token_id=number["<|startofprev|>"],
        is_multilingual=True,
        lang_to_id={"<|en|>": number["<|en|>"]},
        task_to_id={name: number[f"<|{name}|>"] for name in ("transcribe", "translate")},
        suppress_tokens=[i for i in range(len(alphabet)) if i not in printable],
        max_initial_timestamp_index=50,
        max_length=24,
        **tokens,
    )
    model.save_pretrained(folder)


def write_encoder(folder: Path) -> None:
    """Write a BERT with a byte-level tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    tokenizer = _byte_tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)


def write_captioner(folder: Path) -> None:
    """Write a BLIP with a byte-level tokenizer."""
    import torch
    import transformers
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipProcessor

    processor = getattr(transformers, "BlipImageProcessorPil", transformers.BlipImageProcessor)
    tokenizer = _byte_tokenizer()
    BlipProcessor(processor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    config = BlipConfig(
        text_config={
            **sizes,
            "vocab_size": len(tokenizer),
            "encoder_hidden_size": 16,
            "num_attention_heads": 2,
            "max_position_embeddings": 64,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "sep_token_id": 1,
            "pad_token_id": 2,
        },
        vision_config={**sizes, "num_attention_heads": 2, "image_size": 32, "patch_size": 16},
        projection_dim=16,
        image_text_hidden_size=16,
    )
    BlipForConditionalGeneration(config).save_pretrained(folder)


def _byte_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ("[CLS]", "[SEP]", "[PAD]")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate((*special, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token="[CLS]",
        bos_token="[CLS]",
        sep_token="[SEP]",
        eos_token="[SEP]",
        pad_token="[PAD]",
    )
