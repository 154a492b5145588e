"""The Hugging Face hub or a mirror of it: what it lists, one file of it, and what its errors mean to a user."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fnmatch
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from beam_curate.errors import ModelFilesError, SetupError
from beam_curate.models import connection
from beam_curate.models.catalog import Model
from beam_curate.store.files import sha256_of

if TYPE_CHECKING:
    import httpx2

_LIST_TIMEOUT_S = 30
_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n"  # Git LFS, docs/spec.md
_MOST_IN_GIT = 10 << 20  # bytes; the hub takes no larger file into Git itself


@dataclasses.dataclass(frozen=True)
class HubFile:
    """A file as the hub lists it; a mirror may leave out all but the name.

    Attributes:
        name: Its name.
        size: Bytes.
        blob_id: Git's hash (SHA-1), of large files that of their pointer.
        sha256: Of large files.
    """

    name: str
    size: int | None
    blob_id: str | None
    sha256: str | None

    @property
    def has_hash(self) -> bool:
        """Whether it can be told from a damaged one."""
        return self.sha256 is not None or self.blob_id is not None

    @property
    def partial(self) -> str:
        """Name of what was downloaded of it so far; it differs when the content does."""
        return f".{self.name}.{(self.sha256 or self.blob_id or 'unchecked')[:16]}.partial"

    def is_right(self, path: Path) -> bool:
        """Whether a file has the size and the hash that are listed, as far as they are."""
        if self.size is not None and path.stat().st_size != self.size:
            return False
        if self.sha256 is not None:
            return sha256_of(path) == self.sha256
        if self.blob_id is None:
            return True
        size = path.stat().st_size
        pointer = _POINTER % (sha256_of(path).encode(), size)  # in Git, where the hub keeps a file by its SHA-256
        held = [pointer] if size > _MOST_IN_GIT else [pointer, path.read_bytes()]
        return self.blob_id in [
            hashlib.sha1(b"blob %d\0" % len(one) + one, usedforsecurity=False).hexdigest() for one in held
        ]


def endpoint() -> str:
    """Returns the address of the hub or, by HF_ENDPOINT, of its mirror."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def listed(model: Model) -> list[HubFile]:
    """Returns the files to download, as the hub lists them at the pinned revision.

    Raises:
        ModelFilesError: It lists no such files, or its answer is no list.
    """
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    # As HfApi.model_info asks; but that wants every field of a large file.
    url = f"{endpoint()}/api/models/{model.model_id}/revision/{quote(model.revision, safe='')}"
    response = get_session().get(url, params={"blobs": "true"}, headers=build_hf_headers(), timeout=_LIST_TIMEOUT_S)
    hf_raise_for_status(response)
    try:
        files = [_hub_file(entry) for entry in response.json()["siblings"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # as of a page for logging in, with status 200
        raise ModelFilesError(
            f"{endpoint()} does not answer as a hub does when asked for the files of {model.model_id} "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}): see HF_ENDPOINT, and whether a firewall "
            "wants you to log in"
        ) from error
    files = [
        file
        for file in files
        if "/" not in file.name and any(fnmatch.fnmatch(file.name, pattern) for pattern in model.files)
    ]
    if missing := set(model.required) - {file.name for file in files}:
        raise ModelFilesError(f"{model.page} has no {', '.join(sorted(missing))} at revision {model.revision}")
    return files


def _hub_file(entry: Mapping[str, Any]) -> HubFile:
    lfs = entry.get("lfs") or {}
    return HubFile(
        str(entry["rfilename"]), entry.get("size") or None, entry.get("blobId") or None, lfs.get("sha256") or None
    )


def fetch(model: Model, file: HubFile, folder: Path) -> None:
    """Downloads a file into a folder; goes on with what a download before it left.

    Raises:
        ModelFilesError: What came is not what is listed.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers, disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    partial = folder / file.partial
    if partial.is_file() and (file.size is None or partial.stat().st_size > file.size):
        partial.unlink()  # where its end is not known it cannot be seen whether anything is missing
    with partial.open("ab") as writer:
        http_get(
            hf_hub_url(model.model_id, file.name, revision=model.revision),
            writer,
            resume_size=writer.tell(),
            headers=build_hf_headers() | {"Accept-Encoding": "identity"},
            expected_size=file.size,
            displayed_filename=file.name,
        )
        writer.flush()
        os.fsync(writer.fileno())
    if not file.is_right(partial):
        partial.unlink()
        raise ModelFilesError(
            f"{file.name} came damaged from {endpoint()}/{model.model_id}: its hash is not what the hub says; it was "
            "removed, run the same command again"
        )
    partial.replace(folder / file.name)


@contextlib.contextmanager
def asking(model: Model, folder: Path) -> Iterator[None]:
    """Reaches the hub by the proxies of the environment, and turns all errors into one that says what to do."""
    from huggingface_hub import errors
    from huggingface_hub.utils import set_client_factory

    offline = (
        f"where there is no network, run the same command on another computer and copy {folder} from its workspace"
    )
    access = (
        f"accept its licence at {model.page} and give your token: HF_TOKEN in the environment, or the command "
        "hf auth login"
    )
    what = f"{model.name} ({model.model_id})"
    set_client_factory(_client)
    try:
        yield
    except SetupError as error:
        raise ModelFilesError(f"{what} cannot be downloaded: {error}") from error
    except errors.GatedRepoError as error:
        raise ModelFilesError(f"{what} is only for those who accepted its licence: {access}") from error
    except errors.RevisionNotFoundError as error:
        raise ModelFilesError(f"the hub does not have revision {model.revision} of {what}: see {model.page}") from error
    except errors.OfflineModeIsEnabled as error:
        raise ModelFilesError(f"{what} is not complete and HF_HUB_OFFLINE forbids the network: {offline}") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise ModelFilesError(f"the hub refuses {what} ({status}): {access}") from error
        reason = "it is not there" if status == 404 else "try again later"
        raise ModelFilesError(f"the hub answered {status} for {what}: {reason}; see {model.page}") from error
    except errors.HTTPError as error:
        raise ModelFilesError(f"{what} cannot be downloaded {_unreached(error, offline)}") from error
    except (ValueError, KeyError) as error:
        raise ModelFilesError(f"{what} in {folder}: {error}") from error
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:200]
        remedy = "free some of its disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else offline
        raise ModelFilesError(f"{what} cannot be downloaded into {folder} ({reason}): {remedy}") from error


def _client() -> httpx2.Client:
    """Returns a client as huggingface_hub's own, but for its ways to a server."""
    import httpx2
    from huggingface_hub.utils._http import hf_request_event_hook

    return httpx2.Client(
        transport=connection.routed(),
        event_hooks={"request": [hf_request_event_hook]},
        follow_redirects=True,
        timeout=None,
    )


def _unreached(error: httpx2.HTTPError, offline: str) -> str:
    """Returns why a server was not reached and what to do."""
    url = connection.url_of(error) or endpoint()
    host = urlsplit(url).netloc.rpartition("@")[2] or url
    if fault := connection.certificate_fault(error):
        return (
            f"(the certificate of {host} is not trusted: {fault}): where a firewall inspects TLS, put its certificate "
            "(PEM) into a file and name it in the environment, SSL_CERT_FILE=FILE"
        )
    reason = f"({host}: {type(error).__name__}: {' '.join(str(error).split())[:200]})"
    if variable := connection.proxy_variable(url):
        return f"{reason}: it was asked through the proxy that {variable} names; correct it, or add {host} to NO_PROXY"
    if urlsplit(url).scheme not in ("http", "https"):
        return f"{reason}: HF_ENDPOINT must have the form https://HOST"
    return f"{reason}: {offline}"
