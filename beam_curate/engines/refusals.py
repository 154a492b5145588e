"""Interprets the errors of model servers: retry later, change the request, fail this window, or stop the stage.

The messages and codes are those of OpenAI, Azure, Gemini, Anthropic, Mistral, Groq, OpenRouter, DeepSeek, xAI,
DashScope, Zhipu, Moonshot, vLLM, SGLang, llama.cpp, TGI, LM Studio and Ollama.
"""

from __future__ import annotations

import contextlib
import dataclasses
import email.utils
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from beam_curate.engines.secrets import masked

_MESSAGE_CHARACTERS = 400
_LOOKED_AT = 4000  # characters of each text in an error that are searched
_ECHOED = {"input", "request", "messages", "failed_generation"}  # fields in which FastAPI and others repeat the request
_LONGEST_PASSING_S = 3600.0  # a longer wait counts as an exhausted quota


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


# Codes of permanent errors, which some gateways send with status 500.
_NO_MONEY_CODES = _words(
    r"insufficient_quota|exceeded_current_quota|billing_(hard_limit|not_active)|budget_exceeded|account_deactivated"
)
_NO_MONEY = _words(
    r"budget has been exceeded|key limit exceeded|call volume quota",
    r"insufficient[ _](quota|balance|credits?|funds)",
    r"billing[ _](hard[ _]limit|not[ _]active)|billing_error|billing account.{0,40}(disabled|closed|not active)",
    r"(credit|account) balance is too low|(out of|no|more|insufficient|enough) (available )?credits|credit limit",
    r"requires more credits|purchase (more )?credits|spending[ _-]limit|monthly spend",
    r"account.{0,60}(not active|flagged|suspended|deactivated|terminated|banned|disabled)|access.{0,20}terminated",
    r"account_deactivated|arrearage|余额不足|欠费",
    r"exceeded_current_quota|payment required|free (tier|quota).{0,30}(exhausted|ended|used up)|limit: 0\b",
)
_LONG_LIMIT = _words(
    r"per[ _-]?(day|month|week)\b",
    r"per(day|month)(per|-|\b)",
    r"\b[rt]p[dm]onth\b|\b[rt]pd\b",
    r"(daily|weekly|monthly) ",
)
_BLOCKED = _words(
    r"content[ _-]?(filter|polic|management|moderation)|contentfilter|responsible[ _]?ai",
    r"moderation[ _]?(blocked|flagged)|requires moderation|data_?inspection_?failed",
    r"safety[ _](system|polic|filter|reasons)",
    r"\bflagged\b|violat\w+ .{0,40}(polic|guideline|terms)|usage polic|content exists risk|sensitive ?content",
    r"blocked.{0,40}safety|safety.{0,40}blocked",
    r"inappropriate content|prohibited_content|blockreason|risk control|敏感|prohibited content",
)
_TOO_LONG = _words(
    r"context[ _]?(length|window|size)|exceed_context|maximum model length|max_model_len|n_ctx|too long",
    r"too many tokens|must be at least 1, got -",
    r"(prompt|input|request)[^.]{0,60}(longer than|exceeds?|too large|too big)|string_above_max_length",
    r"reduce the length|(inputs?|prompt) tokens? .{0,40}max|payload too large|entity too large",
    r"max_new_tokens. must be <=",
    r"too many (images|pictures|videos|parts)|at most \d+ (image|video)",
    r"(up to|maximum of|most) \d+ images?|image.{0,30}limit",
    r"range of input length|image.{0,20} exceeds? \d|image dimensions exceed",
)
_CONTEXT_FULL = _words(r"context size has been exceeded")  # llama.cpp, with status 500
_CONTEXT_LENGTH = re.compile(r"context (?:length|window|size)(?: of| is|:)? (?:of )?(\d[\d,]{0,12})", re.IGNORECASE)
_TOKEN_LIMIT = _words(
    r"max(_completion|_new|_output)?_tokens\W{0,3} (is )?(too large|too high|must be|exceeds|cannot exceed|should be)",
    r"supports at most \d+ (completion|output) tokens|valid range of max_tokens|invalid max_tokens|range of max_tokens",
    r"max_tokens: \d+ > \d+|maximum (allowed )?number of output tokens",
)
_UNSUPPORTED = _words(
    r"un(supported|known|recognized|recognised|expected)|not (supported|allowed|permitted|available|valid|recognized)",
    r"(does|do|did) not (support|accept|exist|know)|extra[ _](inputs|fields|forbidden)|extraneous|deprecated|no longer",
    r"only (the default|1|\d)|cannot (both )?be (both )?(specified|used|set)",
    r"cannot find field|additional propert|invalid",
    r"must be (strictly )?(positive|>|greater|in|1)",
    r"(should|must) (not )?be (omitted|removed|set)|isn't (supported|allowed)",
)
_KEY = _words(
    r"api[ _-]?key|unauthori[sz]ed|authenticat|invalid[ _](token|credentials)|access[ _]token|permission[ _]?denied"
)
_MODEL = _words(
    r"model_?not_?found|invalid_?model|deploymentnotfound|model_not_available|unknown model",
    r"no such model|no models? loaded",
    r"model\W.{0,120}(does not exist|not found|not loaded|no access|is not available|not a valid)",
    r"model\W.{0,120}(has been deprecated|decommissioned)",
    r"(not a valid|invalid) model|no endpoints found|not found.{0,20}model|unsupported model|models? .{0,40}unloaded",
)
_NO_IMAGES = _words(
    r"(does not|doesn't|do not|not|no) support\w* .{0,40}(image|vision|picture|multimodal|multi-modal)|mmproj",
    r"(image|vision|picture|multi-?modal)\w*( input| data| content)?s? (is |are )?(not|un)[ -]?(supported|enabled)",
    r"(is )?not a (multimodal|multi-modal|vision) model|unknown variant .?image_url",
    r"image_url.{0,40}only supported by certain",
    r"content (must be|should be) a (valid )?string|loc: content \| msg: input should be a valid string",
    r"unsupported (content|part)[ _]?(part )?type\W{0,3}image",
)
_LOADING = _words(r"(currently|still|being) (being )?load(ing|ed)|loading model|model is loading")
_NO_VIDEO = _words(r"video_url")
_WAIT = (
    re.compile(r"retry[ _-]?delay\W{1,8}(?P<s>\d+(\.\d+)?)s", re.IGNORECASE),
    re.compile(
        r"(?:retry|try again) (?:in|after) (?:(?P<h>\d+)h)?(?:(?P<m>\d+)m(?!s))?"
        r"(?:(?P<s>\d+(?:\.\d+)?) ?(?:s|sec)\w*)?",
        re.IGNORECASE,
    ),
)


@dataclasses.dataclass(frozen=True)
class Refusal:
    """An error response.

    Attributes:
        status: HTTP status, or the one that the body names.
        said: The message on one line, of bounded length and without the API key.
        text: The whole text of the error, including codes; it may contain the API key.
        param: The field that the server complains about, or None.
        wait_s: How long the server asks to wait, in s.
    """

    status: int
    said: str
    text: str
    param: str | None
    wait_s: float

    @classmethod
    def of(cls, status: int, body: Any, headers: Mapping[str, str], key: str | None) -> Refusal:
        """Parses an error response.

        >>> refusal = Refusal.of(429, '{"error": {"message": "slow down, retry after 20s"}}', {}, key=None)
        >>> refusal.passes, refusal.wait_s, refusal.said
        (True, 20.0, 'slow down, retry after 20s')

        Args:
            status: HTTP status.
            body: Body, parsed or not.
            headers: Response headers.
            key: API key, which is masked in the message.
        """
        with contextlib.suppress(ValueError, RecursionError):
            body = json.loads(body) if isinstance(body, str) else body
        text = " | ".join(_texts(body))
        wait_s = max(_retry_after_s(headers), _wait_in_words_s(text))
        return cls(status, shortened(error_text(body), key), text, _param(body), wait_s)

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed later."""
        later = self.status in (408, 409, 425, 429) or self.status >= 500 or bool(_LOADING.search(self.text))
        return later and not self.is_exhausted and not _CONTEXT_FULL.search(self.text)

    @property
    def is_exhausted(self) -> bool:
        """Whether credit or a quota is used up and will not recover during the run."""
        if self.status == 402 or _NO_MONEY_CODES.search(self.text):
            return True
        if not 400 <= self.status < 500:
            return False
        if _NO_MONEY.search(self.text):
            return True
        return self.status == 429 and bool(self.wait_s > _LONGEST_PASSING_S or _LONG_LIMIT.search(self.text))

    @property
    def is_blocked(self) -> bool:
        """Whether a content filter blocks this window."""
        return self.status == 451 or (self.status in (400, 403, 422) and bool(_BLOCKED.search(self.text)))

    @property
    def is_too_long(self) -> bool:
        """Whether prompt and frames exceed what the server accepts."""
        return self.status == 413 or bool(_TOO_LONG.search(self.text))

    @property
    def context_length(self) -> int | None:
        """Context length in tokens, if the server states it."""
        match = _CONTEXT_LENGTH.search(self.text)
        return int(match[1].replace(",", "")) if match else None

    @property
    def is_token_limit(self) -> bool:
        """Whether the requested maximum of output tokens exceeds the model's."""
        return bool(_TOKEN_LIMIT.search(self.text))

    @property
    def is_about_key(self) -> bool:
        """Whether the API key is wrong, missing or lacks a permission."""
        return self.status in (401, 403) or bool(_KEY.search(self.text))

    @property
    def is_about_model(self) -> bool:
        """Whether the model or the page does not exist."""
        return self.status in (404, 405, 410) or bool(_MODEL.search(self.text))

    @property
    def takes_no_images(self) -> bool:
        """Whether the model does not accept images; some servers say so with status 500."""
        return bool(_NO_IMAGES.search(self.text))

    @property
    def takes_no_video(self) -> bool:
        """Whether the server does not accept videos."""
        return bool(_NO_VIDEO.search(self.text))

    def unwanted(self, fields: Iterable[str]) -> str | None:
        """Returns the field that the server does not accept, or not with this value; None if none is named.

        >>> Refusal.of(400, "top_k is not supported", {}, key=None).unwanted(["top_k", "min_p"])
        'top_k'
        """
        named = [name for name in fields if self._names(name)]
        if (
            not named
            or self.status not in (400, 404, 422)
            or not (self.param in named or _UNSUPPORTED.search(self.text))
        ):
            return None
        if self.param in named:
            return self.param
        if "top_p" in named and re.search(r"\bboth\b", self.text):
            return "top_p"
        return min(named, key=lambda name: min(self._places(name)))

    def _names(self, field: str) -> bool:
        return field == self.param or any(self._places(field))

    def _places(self, field: str) -> list[int]:
        """Returns the positions at which a field is named, from 1; xAI writes presencePenalty."""
        camel = re.sub(r"_(\w)", lambda match: match[1].upper(), field)
        pattern = rf"(?<![A-Za-z_])(?:{field}|{camel})(?![A-Za-z_])"
        return [match.start() + 1 for match in re.finditer(pattern, self.text)]


def error_text(body: Any) -> str:
    """Returns the message in the body of an error, in the forms of OpenAI, vLLM, FastAPI and Gemini.

    >>> error_text({"error": {"message": "no such model"}})
    'no such model'
    """
    if isinstance(body, list) and body and isinstance(body[0], dict) and "error" in body[0]:
        body = body[0]
    if isinstance(body, dict):
        for name in ("error", "message", "detail"):
            if body.get(name):
                said = error_text(body[name])
                upstream = body["metadata"].get("raw") if isinstance(body.get("metadata"), dict) else None
                return f"{said}: {error_text(upstream)}" if upstream else said
    return body if isinstance(body, str) else json.dumps(body)


def shortened(text: str, key: str | None) -> str:
    """Returns a server's message as one line of bounded length, with the API key masked.

    >>> shortened("the key  example-key  is wrong", key="example-key")
    'the key *** is wrong'
    """
    line = " ".join(masked(text, key).split())
    return line if len(line) <= _MESSAGE_CHARACTERS else f"{line[:_MESSAGE_CHARACTERS]}..."


def _texts(body: Any, name: str = "", depth: int = 0) -> Iterator[str]:
    """Yields all texts and numbers of a body with their names, except a repeated request."""
    if isinstance(body, dict) and depth < 8:
        for inner, value in list(body.items())[:100]:
            if inner not in _ECHOED:
                yield from _texts(value, f"{inner}: ", depth + 1)
    elif isinstance(body, list) and depth < 8:
        for value in body[:100]:
            yield from _texts(value, name, depth + 1)
    elif isinstance(body, (str, int, float)):
        yield f"{name}{body}"[:_LOOKED_AT]


def _param(body: Any) -> str | None:
    """Returns the field named in OpenAI's and FastAPI's errors."""
    error = body.get("error", body) if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return None
    if isinstance(error.get("param"), str):
        return str(error["param"])
    details = error.get("detail")
    first = details[0] if isinstance(details, list) and details and isinstance(details[0], dict) else {}
    place = first.get("loc")
    return str(place[-1]) if isinstance(place, list) and place else None


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Returns the wait that a Retry-After header asks for, in s: a number or a date (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after", "")
    with contextlib.suppress(ValueError):
        return max(0.0, min(float(value), 1e9))
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return 0.0


def _wait_in_words_s(text: str) -> float:
    waits = [0.0]
    for pattern in _WAIT:
        for match in pattern.finditer(text):
            parts = match.groupdict()
            waits.append(sum(float(parts.get(name) or 0) * unit for name, unit in (("h", 3600), ("m", 60), ("s", 1))))
    return max(waits)
