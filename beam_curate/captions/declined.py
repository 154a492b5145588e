"""Detects texts that are not captions: refusals, statements that there is no video, greetings, placeholders.

A refusal is of the whole request ("I cannot describe this video"); a statement that something in the video cannot be
seen ("I cannot see the driver, but ...") is a caption.
"""

from __future__ import annotations

import re

_LONGEST = 700  # characters; longer texts say something about the video as well

_LEAD = (
    r"\A(?:hello|hi)?[!,.\s]*"
    r"(?:unfortunately|regrettably|however|it (?:seems|looks|appears)(?: that| like| as if)?)?,?\s*"
    r"(?:as an? [^,.]{0,60}(?:ai|model|assistant)[^,.]{0,40},?\s*)?"
)
_CANNOT = (
    r"i(?:'m| am)? ?(?:currently |really |simply )?"
    r"(?:cannot|can't|can not|could not|couldn't|won't|will not|unable to|not able to|don't|do not"
    r"|not (?:allowed|permitted) to) ?"
    r"(?:currently |actually |directly |be able to )*"
)
_VIDEO = (
    r"(?:video|image|picture|photo|frame|clip|footage|media|file|content|material|description|caption|attachment|link"
    r"|url|visual|request|conversation|information|detail|explicit|sexual|graphic)s?"
)
_VERBS = (
    r"(?:provide|see|view|watch|access|analy[sz]e|describe|process|open|generate|create|write|give|offer|caption"
    r"|interpret|discuss|answer|load|play|perceive|engage with|respond to|fulfil?l|complete|do|share|help with)"
)
_PATTERNS = (
    r"\A(?:(?:i'm|i am) (?:so |very |really |truly )?(?:sorry|afraid)|i apologi[sz]e|my apologies)"
    r"(?:[,.;:!]|\Z| (?:but|that|for|about|to)\b)|\Ai regret (?:to|that)\b",
    r"\A(?:sorry|apologies)(?:[,.!]\s*(?:but )?| but )(?:i|no|this|there)\b|\Asorry[.!]?\Z",
    rf"{_LEAD}{_CANNOT}(?:help|assist|comply|continue|proceed)\b(?! but)",
    rf"{_LEAD}{_CANNOT}{_VERBS}(?: or \w+)? "
    rf"(?:(?:any|the|this|that|these|such|your|an?|actual|attached|provided|detailed|accurate"
    rf"|of|about|with|to|for) )*(?:{_VIDEO}\b|(?:it|this|that|these)(?=[.,;!]|\Z| (?:for|because|as|here)\b))"
    r"(?!'|\s+(?:screen|camera|recorder|frame))",
    rf"{_LEAD}{_CANNOT}have (?:the (?:ability|capability|video)|access|any (?:video|image|visual)|visual|a video"
    r"|enough (?:information|context))",
    rf"{_LEAD}{_CANNOT}identify (?:people|individuals|persons|anyone|real|who)\b",
    rf"{_LEAD}{_CANNOT}[.!]?\Z",
    r"\A(?:i|we) (?:must|have to|need to|will have to|respectfully)? ?(?:decline|refuse)\b",
    rf"{_LEAD}no (?:video|image|picture|file|content|frame|attachment)s? (?:was|were|is|are|has been|have been) "
    r"(?:provided|attached|uploaded|included|shared|given|found|available)",
    rf"{_LEAD}there (?:is|are|was) no (?:video|image|picture|file|attachment)s?(?: file)?(?: here)?"
    r"(?: (?:attached|provided|uploaded|included|to (?:describe|view|analy[sz]e|watch)|in (?:your|this) )|[.!]?\Z)",
    rf"{_LEAD}you (?:haven't|have not|didn't|did not|forgot to) (?:attach|provide|upload|include|share|sen[dt])",
    rf"{_LEAD}(?:please|could you(?: please)?|can you(?: please)?|kindly) (?:provide|upload|share|attach|send|paste)\b",
    rf"{_LEAD}the (?:video|image|file|content|attachment) (?:did not|didn't|failed to|could not|couldn't|cannot|can't) "
    r"(?:be )?(?:upload|load|process|describ|view|access|play|open|display)",
    r"\A(?:this|the|your) (?:content|request|prompt|message|video|input) (?:violates|may violate|goes against"
    r"|(?:was|is|has been) (?:flagged|blocked|rejected|against|not allowed))",
    # Single sentences that nothing follows.
    r"\A(?:hello|hi|hey)?[!,.\s]*how (?:can|may) i (?:help|assist)(?: you)?(?: today| with [^.!?]{0,40})?[?!.]?\Z",
    r"\A(?:i(?:'ll| will| can|'d be happy to| would be happy to|'m ready to| am ready to)|let me|allow me to) "
    r"(?:describe|provide|analy[sz]e|help|assist|improve|know|start|watch)[^.!?:]{0,80}[.!?:]?\Z",
    r"\Athank(?:s| you) for (?:sharing|providing|uploading|(?:the|your) (?:video|frames|images|message|question))"
    r"[^.!?]{0,80}[.!?]?\Z",
    r"\Athe pictures are frames of a video\b[^:]{0,80}:[\d., ]*\Z",
    r"\A(?:i need|please give me) more (?:information|context|details)\b",
    # Chinese, Japanese, Korean, Spanish, French, German, Italian, Portuguese, Russian.
    r"\A(?:非常|很|真的)?(?:抱歉|对不起|對不起)|\A我(?:无法|無法|不能|没有办法)"
    r"(?:描述|查看|看到|提供|观看|處理|处理|识别|分析|协助|帮助|回答)",
    r"\A(?:大変|誠に)?申し訳|\A죄송",
    r"\A(?:lo siento|je suis désolé|désolé,|je ne peux pas|es tut mir leid|leider kann ich"
    r"|ich kann (?:dieses|das) video"
    r"|mi dispiace|desculpe|sinto muito|извините|к сожалению, я)",
)
_DECLINED = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS), re.IGNORECASE)
_NOTHING = {
    *("n/a", "na", "n.a", "null", "none", "nil", "nan", "undefined", "unknown", "true", "false", "yes", "no", "ok"),
    *("okay", "sure", "certainly", "caption", "description", "answer", "response", "output", "assistant", "model"),
    *("error", "timeout", "todo", "tbd", "empty", "blank", "object object", "not available", "not applicable"),
    *("no caption", "no description", "no caption available", "no description available", "no answer", "no response"),
    "unknown caption",  # the fallback of cosmos-curate's captioners
}
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|&#?\w{1,10};")
_INVISIBLE = " \t\n\u3000\u200b\u2060\ufeff"
_AROUND = _INVISIBLE + ".,;:!?()[]{}<>\"'*_`-\u2013\u2014"


def says_nothing(text: str) -> bool:
    """Whether a text is empty, only markup, or a placeholder.

    >>> says_nothing("<p>N/A</p>"), says_nothing("A car.")
    (True, False)
    """
    if not text.strip(_INVISIBLE):
        return True
    if len(text) > _LONGEST or not any(letter.isalnum() for letter in text):
        return False
    shown = _TAG.sub("", text).strip(_AROUND)
    return not shown or shown.lower() in _NOTHING


def is_declined(text: str) -> bool:
    """Whether a model declines to caption, or talks to the user instead.

    >>> is_declined("I cannot describe this video."), is_declined("I cannot see the driver, but the car turns.")
    (True, False)
    """
    return len(text) <= _LONGEST and _DECLINED.match(text.strip().replace("\u2019", "'")) is not None
