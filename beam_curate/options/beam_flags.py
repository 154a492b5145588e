"""The flags of Apache Beam, read without importing it."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path


@functools.lru_cache(maxsize=1)
def beam_flags() -> Mapping[str, str]:
    """Returns how many values each flag of Apache Beam takes: ``"0"``, ``"1"``, ``"?"``, ``"*"`` or ``"+"``.

    Read from the text of Beam's options module, because importing Beam takes seconds.

    >>> beam_flags()["--streaming"], beam_flags()["--project"]
    ('0', '1')
    """
    spec = importlib.util.find_spec("apache_beam")
    if spec is None or spec.origin is None:
        return {}
    source = (Path(spec.origin).parent / "options" / "pipeline_options.py").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        name = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
        if isinstance(node, ast.Call) and name in ("add_argument", "add_value_provider_argument"):
            constants = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
            is_switch = str(constants.get("action", "")).startswith("store_")
            values = "0" if is_switch else str(constants.get("nargs", "1"))
            options = [str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)]
            found.update({option: values for option in options if option.startswith("--")})
    return found
