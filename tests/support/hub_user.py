"""Downloading from a hub on this computer, by the command as its user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save

from beam_curate.models.catalog import Model, by_name
from tests.support.hub_server import TOKEN, Hub, Repository

QWEN = by_name("qwen2.5_vl")
WANTED = {"config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
SHARDS = [f"model-{number:05}-of-00002.safetensors" for number in (1, 2)]
INDEX = "model.safetensors.index.json"


def captioner() -> Repository:
    """A captioner's repository: small files, two shards, and what is not wanted."""
    files = {name: json.dumps({"name": name}).encode() for name in WANTED}
    for number, name in enumerate(SHARDS):
        files[name] = save({f"weight.{number}": torch.full((2 << 20,), number + 1.0)})  # 8 MB
    files[INDEX] = json.dumps({"weight_map": {f"weight.{number}": name for number, name in enumerate(SHARDS)}}).encode()
    files |= {"README.md": b"read me", ".gitattributes": b"", "tf_model.bin": b"not wanted"}
    return Repository(QWEN.revision, files)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "beam_curate.cli.main", "models", *arguments]


def download(
    hub: Hub, workspace: Path, model: Model, *flags: str, expect: int = 0, environment: dict[str, str] | None = None
) -> str:
    """Runs the command and returns what it printed; nobody ever sees the token."""
    done = subprocess.run(
        command("download", "--models", model.name, "--workspace", str(workspace), *flags),
        env=os.environ | hub.environment | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )
    assert done.returncode == expect, done.stdout
    assert TOKEN not in done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout
