"""Whether a server is vLLM, and what it is told of a video that others do not know."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import Any

KEEP_ALL_FRAMES = {"mm_processor_kwargs": {"do_sample_frames": False}}
"""A field of a request: the frames of its video were sampled already.

Without it vLLM has the processor of Qwen3-VL sample a video again, at 2 frames/s
(https://docs.vllm.ai, OpenAI-compatible server, ``mm_processor_kwargs``; README of QwenLM/Qwen3-VL).
"""


class ServerKind:
    """Asks a server once what it is; several threads may ask.

    Args:
        client: An `openai.OpenAI`.
        url: The base URL.
        is_vllm: Whether it is vLLM, where that is known; None to ask it.
    """

    def __init__(self, client: Any, url: str, is_vllm: bool | None) -> None:
        self._client = client
        self._version_page = url.rstrip("/").removesuffix("/v1") + "/version"
        self._known = is_vllm
        self._asking = threading.Lock()

    def is_vllm(self, model: str | None) -> bool:
        """Whether it is vLLM; a server that cannot be asked now counts as none, and is asked the next time.

        Args:
            model: Name of the model that is asked for; None for the only one.
        """
        import openai

        with self._asking:
            if self._known is None:
                with contextlib.suppress(openai.APIConnectionError, openai.APIStatusError):
                    self._known = self._says_so(model)
            return bool(self._known)

    def _says_so(self, model: str | None) -> bool:
        page = self._page("/models")
        listed = page.get("data") if isinstance(page, dict) else None
        models = [one for one in (listed if isinstance(listed, list) else []) if isinstance(one, dict)]
        owners = [one.get("owned_by") for one in models if model is None or one.get("id") == model]
        if any(owners):
            return "vllm" in owners
        version = self._page(self._version_page)
        return isinstance(version, dict) and list(version) == ["version"]

    def _page(self, path: str) -> Any:
        """Returns the JSON of a page; None where it has none. Raises what may pass."""
        import httpx2
        import openai

        try:
            return json.loads(self._client.get(path, cast_to=httpx2.Response).text)
        except ValueError:
            return None
        except openai.APIStatusError as error:
            if error.status_code in (408, 409, 429) or error.status_code >= 500:
                raise
            return None
