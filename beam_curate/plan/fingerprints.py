"""Fingerprints: a hash of everything the results of a stage depend on besides the unit it works on.

Each fingerprint holds the one before, so that another option redoes its own stage and those after it, and nothing
that came before.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from beam_curate.stage import Stage


def fingerprint(stage: Stage[Any, Any], before: str) -> str:
    """Returns the fingerprint of a stage.

    >>> from beam_curate.captions.stage import DescribeCaptioner
    >>> from beam_curate.captions.windows import WindowRules
    >>> long, short = (DescribeCaptioner(WindowRules(frames)) for frames in (256, 128))
    >>> fingerprint(long, "") == fingerprint(short, "")
    False

    Args:
        stage: The stage.
        before: The fingerprint of the stage before it; empty for the first.

    Returns:
        16 hexadecimal digits.
    """
    return digest(stage=stage.name, version=stage.version, before=before, identity=stage.identity())


def digest(**parts: Any) -> str:
    """Returns 16 hexadecimal digits of the SHA-256 of JSON values.

    >>> digest(stage="shots", version=2)
    'ae8946a48b3187b1'
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
