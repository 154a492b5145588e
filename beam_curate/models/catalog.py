"""The models that the program supports: their sources, their needs, and their folders in the workspace.

Ids and revisions are those that cosmos-curate 1.4 pins, so that both programs can share a workspace.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

BYTES_PER_PARAMETER = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "float8": 1.0}
ENCODER_COPY = "encoder.safetensors"
"""File with the part of T5-11B that is used; see `beam_curate.weights.t5_encoder`."""

_CONFIG = ("config.json",)
_CAPTIONER = (*_CONFIG, "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
_CAPTIONER_FILES = ("*.json", "*.jinja", "*.txt", "*.safetensors")
_SAFETENSORS = ("model.safetensors",)
# NVIDIA's own examples. Cosmos-Reason1: README.md of nvidia-cosmos/cosmos-reason1 and the model's card (system message,
# 4 frames/s); configs/vision_config.yaml (12,845,056 pixels of a window for two frames each, which is 16,384 tokens).
# Cosmos-Reason2: cosmos_reason2_utils/text.py of nvidia-cosmos/cosmos-reason2 and the model's card (system message, and
# the format of an answer with reasoning after the prompt), scripts/inference_sample.py (4 frames/s; video before text).
_ASSISTANT = "You are a helpful assistant."
_REASON1_FORMAT = (
    "Answer the question in the following format: <think>\nyour reasoning\n</think>\n\n"
    "<answer>\nyour answer\n</answer>."
)
_REASON2_FORMAT = (
    "Answer the question using the following format:\n\n<think>\nYour reasoning.\n</think>\n\n"
    "Write your final answer immediately after the </think> tag."
)
# ``longest_edge`` in video_preprocessor_config.json of Qwen3-VL and Cosmos-Reason2: 25,165,824 pixels of all frames, of
# which a token covers 32 x 32 of two. A server that is sent more makes frames smaller once more.
_QWEN3_TOKENS = 25165824 // (2 * 32 * 32)
_NVIDIA = "NVIDIA Open Model License"
_APACHE = "Apache-2.0"


@dataclasses.dataclass(frozen=True)
class Model:
    """A row of the catalog. Sizes are in decimal GB (10^9 bytes).

    >>> by_name("t5_xxl").page
    'https://huggingface.co/google-t5/t5-11b'

    Attributes:
        name: Name in this program and in cosmos-curate.
        model_id: Id on the Hugging Face hub.
        revision: Pinned commit, with which results were checked.
        files: Patterns of the file names to download, directly in the repository's root.
        required: Names of the files that loading needs, besides the weights.
        weights: Names of weight files, of which one must be present, best first. A name may stand for several files
            (``model-00001-of-00004.safetensors``) with an index.
        precision: Precision of the weights in use: a key of `BYTES_PER_PARAMETER`.
        parameters: Parameters in use, in billions (10^9).
        activations_gb: Least memory needed besides the weights, for one caption window or one caption.
        download_gb: Size of the download.
        disk_gb: Size of the files that are kept.
        licence: Licence of the weights.
        gated: Whether the licence must be accepted on the model's page before the download; None if unknown.
        used: Whether the program uses it today; other models are downloaded only when named.
        patch: For captioners: side of the square that a visual token covers, in pixels, after tokens are merged.
        sampling_fps: For captioners: frames/s in the publisher's examples.
        visual_tokens: For captioners: most visual tokens in the publisher's examples.
        system: For captioners: the publisher's system message; None where the chat template holds it.
        answer_format: For captioners: the publisher's request for reasoning, appended to the prompt, or None.
    """

    name: str
    model_id: str
    revision: str
    files: tuple[str, ...]
    required: tuple[str, ...]
    weights: tuple[str, ...]
    precision: str
    parameters: float
    activations_gb: float
    download_gb: float
    disk_gb: float
    licence: str
    gated: bool | None = False
    used: bool = True
    patch: int = 28
    sampling_fps: float = 2.0
    visual_tokens: int = 24576
    system: str | None = None
    answer_format: str | None = None

    @property
    def page(self) -> str:
        """The model's page, where its licence can be accepted."""
        return f"https://huggingface.co/{self.model_id}"

    @property
    def identity(self) -> str:
        """Which weights it has: id and revision, whatever folder they lie in."""
        return f"{self.model_id}@{self.revision}"

    def folder(self, workspace: str) -> Path:
        """Returns the folder of the model's files.

        >>> by_name("t5_xxl").folder("/workspace").as_posix()
        '/workspace/models/google-t5/t5-11b'
        """
        return Path(workspace) / "models" / self.model_id

    def memory_gb(self, precision: str | None = None) -> float:
        """Returns the device memory that it needs, for weights and activations.

        >>> round(by_name("t5_xxl").memory_gb("bfloat16"), 1)
        10.3

        Args:
            precision: A key of `BYTES_PER_PARAMETER`; the model's own by default.
        """
        return self.parameters * BYTES_PER_PARAMETER[precision or self.precision] + self.activations_gb


def _captioner(name: str, model_id: str, revision: str, parameters: float, **others: object) -> Model:
    facts: dict[str, object] = {
        "files": _CAPTIONER_FILES,
        "required": _CAPTIONER,
        "weights": _SAFETENSORS,
        "precision": "bfloat16",
        "activations_gb": 2.0,  # the cache of about 10,000 tokens, and the pass over the frames of a window
        "download_gb": 2 * parameters,
        "disk_gb": 2 * parameters,
        "licence": _APACHE,
    }
    return Model(name, model_id, revision, parameters=parameters, **(facts | others))  # type: ignore[arg-type]


def _embedder(pixels: int, revision: str) -> Model:
    return Model(
        name=f"cosmos_embed1_{pixels}p",
        model_id=f"nvidia/Cosmos-Embed1-{pixels}p",
        revision=revision,
        files=("*.json", "*.txt", "*.py", "*.safetensors"),
        required=_CONFIG,
        weights=_SAFETENSORS,
        precision="bfloat16",
        parameters=1.2,
        activations_gb=1.0,
        download_gb=4.7,
        disk_gb=4.7,
        licence=_NVIDIA,
        gated=None,
        used=False,
    )


TRANSNETV2 = Model(
    name="transnetv2",
    model_id="Sn4kehead/TransNetV2",
    revision="db6ceabeb692ec71ecc6beb6d00db67ad1412d7f",
    files=("transnetv2-pytorch-weights.pth",),
    required=(),
    weights=("transnetv2-pytorch-weights.pth",),
    precision="float32",
    parameters=0.0076,
    activations_gb=0.5,
    download_gb=0.03,
    disk_gb=0.03,
    licence="see its page",
)
T5_XXL = Model(
    name="t5_xxl",
    model_id="google-t5/t5-11b",
    revision="90f37703b3334dfe9d2b009bfcbfbf1ac9d28ea3",
    files=("config.json", "tokenizer.json", "spiece.model", "pytorch_model.bin"),
    required=("config.json", "tokenizer.json"),
    weights=(ENCODER_COPY, "model.safetensors", "pytorch_model.bin"),
    precision="float32",
    parameters=4.865,  # the encoder: 24 x (4 x 1024 x 16384 + 2 x 1024 x 65536) + 32128 x 1024
    activations_gb=0.6,  # one caption of 512 tokens: 512 x 65536 twice, and 128 x 512 x 512 twice, in float32
    download_gb=45.3,
    disk_gb=19.5,
    licence=_APACHE,
)
CLIP_VIT = Model(
    name="clip_vit",
    model_id="openai/clip-vit-large-patch14",
    revision="32bd64288804d66eefd0ccbe215aa642df71cc41",
    files=("*.json", "merges.txt", "model.safetensors"),
    required=_CONFIG,
    weights=_SAFETENSORS,
    precision="float32",
    parameters=0.304,
    activations_gb=1.0,
    download_gb=1.7,
    disk_gb=1.7,
    licence="MIT",
)
AESTHETIC_SCORER = Model(
    name="aesthetic_scorer",
    model_id="ttj/sac-logos-ava1-l14-linearMSE",
    revision="1e77fa05081323d99725fc40a9bf9f88180490e7",
    files=("model.safetensors",),
    required=(),
    weights=_SAFETENSORS,
    precision="float32",
    parameters=0.001,
    activations_gb=0.1,
    download_gb=0.004,
    disk_gb=0.004,
    licence="see its page",
    gated=None,
)
MODELS = (
    TRANSNETV2,
    _captioner(
        "cosmos_reason1",
        "nvidia/Cosmos-Reason1-7B",
        "0caf724f837efea5e25bf6d5818dcdeec0a36604",
        8.29,
        licence=_NVIDIA,
        sampling_fps=4.0,
        visual_tokens=16384,
        system=f"{_ASSISTANT} {_REASON1_FORMAT}",
    ),
    _captioner(
        "cosmos_reason2",
        "nvidia/Cosmos-Reason2-8B",
        "b9806227bdb6f9dce8d0fb9d832718dd8b5efdf5",
        8.77,
        licence=_NVIDIA,
        gated=True,
        patch=32,
        sampling_fps=4.0,
        visual_tokens=_QWEN3_TOKENS,
        system=_ASSISTANT,
        answer_format=_REASON2_FORMAT,
    ),
    _captioner(
        "qwen2.5_vl",
        "Qwen/Qwen2.5-VL-7B-Instruct",
        "cc594898137f460bfe9f0759e9844b3ce807cfb5",
        8.29,
    ),
    _captioner(
        "qwen3_vl_30b",
        "Qwen/Qwen3-VL-30B-A3B-Instruct",
        "4b184fbdab8886057d8d80c09f35bcfc65fe640e",
        31.1,
        patch=32,
        visual_tokens=_QWEN3_TOKENS,
    ),
    _captioner(
        "qwen3_vl_30b_fp8",
        "Qwen/Qwen3-VL-30B-A3B-Instruct-FP8",
        "d9748a51ae66354c4dad665aab2c71f26cf2c8cd",
        31.1,
        precision="float8",
        activations_gb=4.0,  # embeddings, output layer and vision tower stay in bfloat16
        download_gb=33.0,
        disk_gb=33.0,
        patch=32,
        visual_tokens=_QWEN3_TOKENS,
    ),
    T5_XXL,
    CLIP_VIT,
    AESTHETIC_SCORER,
    _embedder(224, "85f56274be7ce439175b4587fa6e3525556d4832"),
    _embedder(336, "5d8309dd5c9ec8f856b16d589693004c907c9a57"),
    _embedder(448, "9f4ff4d8d3df0968276b2191806344000d6752a9"),
)
CAPTIONERS = {
    "qwen": "qwen2.5_vl",
    "cosmos_r1": "cosmos_reason1",
    "cosmos_r2": "cosmos_reason2",
    "qwen3_vl_30b": "qwen3_vl_30b",
    "qwen3_vl_30b_fp8": "qwen3_vl_30b_fp8",
}
"""Name of the model for each value of ``--captioning-algorithm`` that needs one."""

ON_REQUEST = ("t5_xxl", "qwen3_vl_30b", "clip_vit", "aesthetic_scorer")
"""Models that are downloaded only when they are named: large ones, and those that a flag asks for which few need."""


def by_name(name: str) -> Model:
    """Returns the model with a name in the catalog; raises KeyError for an unknown one.

    >>> by_name("qwen2.5_vl").model_id
    'Qwen/Qwen2.5-VL-7B-Instruct'
    """
    return {model.name: model for model in MODELS}[name]
