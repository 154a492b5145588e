"""Client of the Hugging Face hub or a mirror: file lists, downloads of a file, and errors with remedies."""

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
_MAX_BYTES_IN_GIT = 10 << 20  # the hub stores larger files outside Git


@dataclasses.dataclass(frozen=True)
class HubFile:
    """A file as the hub lists it; a mirror may leave out all but the name.

    >>> HubFile("config.json", size=2, blob_id=None, sha256=None).partial
    '.config.json.unchecked.partial'

    Attributes:
        name: File name.
        size: Size in bytes.
        blob_id: Git's SHA-1 of the file, or of its Git LFS pointer where the file is large.
        sha256: Hex SHA-256, for large files.
    """

    name: str
    size: int | None
    blob_id: str | None
    sha256: str | None

    @property
    def has_hash(self) -> bool:
        """Whether a download of it can be checked for damage."""
        return self.sha256 is not None or self.blob_id is not None

    @property
    def partial(self) -> str:
        """Name of its partial download; another content has another name."""
        return f".{self.name}.{(self.sha256 or self.blob_id or 'unchecked')[:16]}.partial"

    def matches(self, path: Path) -> bool:
        """Whether a file has the listed size and hash, where the hub lists them.

        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "config.json")
        >>> _ = path.write_text("{}")
        >>> HubFile("config.json", size=2, blob_id=None, sha256=None).matches(path)
        True
        """
        if self.size is not None and path.stat().st_size != self.size:
            return False
        if self.sha256 is not None:
            return sha256_of(path) == self.sha256
        if self.blob_id is None:
            return True
        size = path.stat().st_size
        pointer = _POINTER % (sha256_of(path).encode(), size)  # Git holds this of a file that is stored by its SHA-256
        contents = [pointer] if size > _MAX_BYTES_IN_GIT else [pointer, path.read_bytes()]
        return self.blob_id in [
            hashlib.sha1(b"blob %d\0" % len(one) + one, usedforsecurity=False).hexdigest() for one in contents
        ]


def endpoint() -> str:
    """Returns the URL of the hub, or of the mirror that HF_ENDPOINT names."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def list_files(model: Model) -> list[HubFile]:
    """Returns the files to download, as the hub lists them at the pinned revision.

    Raises:
        ModelFilesError: It does not list the required files, or its response is not a file list.
    """
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    # The request of HfApi.model_info, which refuses a mirror's list that lacks fields of a large file.
    url = f"{endpoint()}/api/models/{model.model_id}/revision/{quote(model.revision, safe='')}"
    response = get_session().get(url, params={"blobs": "true"}, headers=build_hf_headers(), timeout=_LIST_TIMEOUT_S)
    hf_raise_for_status(response)
    try:
        files = [_hub_file(entry) for entry in response.json()["siblings"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # such as a login page with status 200
        raise ModelFilesError(
            f"{endpoint()} did not return a list of the files of {model.model_id} "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}): check HF_ENDPOINT, and whether a "
            "firewall requires you to log in"
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
    """Downloads a file into a folder, resuming an earlier partial download.

    Raises:
        ModelFilesError: The downloaded file differs from what the hub lists.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get  # not public: hf_hub_download cannot resume in another process
    from huggingface_hub.utils import build_hf_headers, disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    partial = folder / file.partial
    if partial.is_file() and (file.size is None or partial.stat().st_size > file.size):
        partial.unlink()  # without a listed size, a complete file looks like a partial one
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
    if not file.matches(partial):
        partial.unlink()
        raise ModelFilesError(
            f"{file.name} was damaged on the way from {endpoint()}/{model.model_id}: its hash differs from the hub's. "
            "It was removed; run the same command again"
        )
    partial.replace(folder / file.name)


@contextlib.contextmanager
def errors_explained(model: Model, folder: Path) -> Iterator[None]:
    """Connects through the environment's proxies, and turns every error into one that says what to do."""
    from huggingface_hub import errors
    from huggingface_hub.utils import set_client_factory

    offline = (
        f"where there is no network, run the same command on another computer and copy {folder} from its workspace"
    )
    access = (
        f"accept its licence at {model.page} and provide your token: set HF_TOKEN in the environment, or run "
        "hf auth login"
    )
    what = f"{model.name} ({model.model_id})"
    set_client_factory(_client)
    try:
        yield
    except SetupError as error:
        raise ModelFilesError(f"{what} cannot be downloaded: {error}") from error
    except errors.GatedRepoError as error:
        raise ModelFilesError(f"{what} is gated: {access}") from error
    except errors.RevisionNotFoundError as error:
        raise ModelFilesError(f"the hub has no revision {model.revision} of {what}: see {model.page}") from error
    except errors.OfflineModeIsEnabled as error:
        raise ModelFilesError(f"{what} is incomplete and HF_HUB_OFFLINE forbids network access: {offline}") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise ModelFilesError(f"the hub refuses {what} ({status}): {access}") from error
        reason = "not found" if status == 404 else "try again later"
        raise ModelFilesError(f"the hub answered {status} for {what}: {reason}; see {model.page}") from error
    except errors.HTTPError as error:
        raise ModelFilesError(f"{what} cannot be downloaded {_connection_failure(error, offline)}") from error
    except (ValueError, KeyError) as error:
        raise ModelFilesError(f"{what} in {folder}: {error}") from error
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:200]
        remedy = "free some of its disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else offline
        raise ModelFilesError(f"{what} cannot be downloaded into {folder} ({reason}): {remedy}") from error


def _client() -> httpx2.Client:
    """Returns a client like huggingface_hub's own, with our choice of proxies."""
    import httpx2
    from huggingface_hub.utils._http import hf_request_event_hook

    return httpx2.Client(
        transport=connection.proxied_transport(),
        event_hooks={"request": [hf_request_event_hook]},
        follow_redirects=True,
        timeout=None,
    )


def _connection_failure(error: httpx2.HTTPError, offline: str) -> str:
    """Returns why a connection failed and what to do."""
    url = connection.url_of(error) or endpoint()
    host = urlsplit(url).netloc.rpartition("@")[2] or url
    if problem := connection.certificate_problem(error):
        return (
            f"(the certificate of {host} is not trusted: {problem}): where a firewall inspects TLS, save its "
            "certificate (PEM) to a file and set SSL_CERT_FILE=FILE in the environment"
        )
    reason = f"({host}: {type(error).__name__}: {' '.join(str(error).split())[:200]})"
    if variable := connection.proxy_variable(url):
        return f"{reason}: the connection went through the proxy in {variable}; correct it, or add {host} to NO_PROXY"
    if urlsplit(url).scheme not in ("http", "https"):
        return f"{reason}: HF_ENDPOINT must have the form https://HOST"
    return f"{reason}: {offline}"
