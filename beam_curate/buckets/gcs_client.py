"""How Google Cloud Storage is reached: the connections of a process, and what its errors mean for a user."""

from __future__ import annotations

import contextlib
import functools
import os
import re

import google.auth
import requests
import requests.adapters
import urllib3.exceptions
from google.api_core.exceptions import Forbidden, GoogleAPIError, RetryError, Unauthorized
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

FAILURES = (
    GoogleAPIError,
    GoogleAuthError,
    DataCorruption,
    InvalidResponse,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    ConnectionError,
)
"""What the client raises where a request fails."""

_EMULATOR = "STORAGE_EMULATOR_HOST"  # the variable by which Google's clients find a server for tests
_LOGIN = (
    "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to the file with the key of a "
    "service account"
)
_ROLES = "roles/storage.objectViewer to read the bucket, or roles/storage.objectUser to write to it as well"
_UPLOAD_ID = re.compile(r"upload_id=[^&\s'\")]*")
_TEXT_CHARACTERS = 500
_CONNECTIONS = 64


def client() -> storage.Client:
    """Returns the client of this process, the same for all threads.

    Raises:
        google.auth.exceptions.GoogleAuthError: There are no credentials.
    """
    return _connected()[0]


def forget_client() -> None:
    """Lets the next caller of `client` read the credentials anew."""
    _connect.cache_clear()


def _connected() -> tuple[storage.Client, Credentials]:
    """Returns client and credentials of this process: one that forked cannot share connections with its children."""
    return _connect(os.getpid(), os.environ.get(_EMULATOR, ""))


@functools.lru_cache(maxsize=4)
def _connect(pid: int, emulator: str) -> tuple[storage.Client, Credentials]:
    # The client would ask for the project of a bucket, for traces, after each answer that an object does not exist.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    credentials: Credentials = AnonymousCredentials()
    if not emulator:
        credentials, _ = google.auth.default(scopes=storage.Client.SCOPE)
    made = storage.Client(project=None, credentials=credentials)
    if not made._http.is_mtls:  # which has an adapter of its own
        # By default ten connections are kept, and others are closed after each request, with a warning.
        for scheme in ("https://", "http://"):
            made._http.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS))
    return made, credentials


def _account() -> str:
    """Returns whose credentials are used, as far as they say so."""
    try:
        _, credentials = _connected()
    except GoogleAuthError:
        return "nobody"
    names = (getattr(credentials, name, None) for name in ("service_account_email", "account"))
    return next((name for name in names if isinstance(name, str) and name), "the application default credentials")


def explanation(error: Exception) -> str:
    """Says what one of `FAILURES` means and what to do, in one line."""
    if isinstance(error, RetryError) and isinstance(error.cause, Exception):
        return f"after several tries, {explanation(error.cause)}"
    text = _text(error)
    match error:
        case DefaultCredentialsError():
            return f"there are no credentials for Google Cloud: {text}; {_LOGIN}"
        case RefreshError() | Unauthorized():
            return f"the credentials of {_account()} were refused: {text}; {_LOGIN}"
        case Forbidden():
            return f"{_account()} has no permission: {text}; grant {_ROLES}"
        case GoogleAPIError() | DataCorruption() | InvalidResponse():
            return f"{text} (with the credentials of {_account()})"
    return f"no answer from Google Cloud Storage: {text}; check the network"


def _text(error: Exception) -> str:
    """Returns the message of an error in one line, without the address by which anyone can continue an upload.

    >>> _text(ConnectionError("no route to https://storage?upload_id=ABPtcPo-x&part=1"))
    'no route to https://storage?upload_id=...&part=1'
    """
    text = str(getattr(error, "message", "") or (error.args[0] if error.args else "") or type(error).__name__)
    with contextlib.suppress(AttributeError, LookupError, TypeError, ValueError):  # unless the store says it in JSON
        text = str(error.response.json()["error"]["message"])  # type: ignore[attr-defined]
    return _UPLOAD_ID.sub("upload_id=...", " ".join(text.split()))[:_TEXT_CHARACTERS]
