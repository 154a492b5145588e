"""How S3 is reached: profiles, connections of a process, and what the errors of boto3 mean for a user."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from beam_curate.buckets.base import DEFAULT_PROFILE, BucketError, ObjectChangedError, missing
from beam_curate.buckets.patience import Patience

PROFILE_PATH = "COSMOS_S3_PROFILE_PATH"
"""Environment variable of cosmos-curate with the path of another credentials file."""

MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
EXISTS = frozenset({"412", "PreconditionFailed"})
NO_CONDITIONS = frozenset({"501", "NotImplemented"})
# The answer to a HEAD has no code but its status: 400 where others say that credentials have expired.
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired", "400"})

_PASSING_STATUS = frozenset({429, 500, 502, 503, 504})
_PASSING_CODES = frozenset({"RequestTimeout", "SlowDown", "Throttling", "RequestLimitExceeded"})
_CONFLICTS = frozenset({"ConditionalRequestConflict", "OperationAborted"})  # another writer is at work on the object

_PATH_OF_URL = re.compile(r"(?<=\w)/[^\s\"]*(?=\")")  # with the key, which messages have already

# Within one request of ours, which may be many of S3's; boto3 allows few for all threads together: see `patience`.
_TRIES = 3
_CHECK_S = 10.0
_CONNECT_S, _READ_S = 10, 60
_CONNECTIONS = 64

_clients: dict[tuple[int, str, int], Any] = {}  # by process, since one that forked cannot share connections
_lock = threading.Lock()


def client(profile: str, *, tries: int = _TRIES) -> Any:
    """Returns boto3's client of a profile, the same for all threads of this process.

    Args:
        profile: Of the user's AWS files.
        tries: How often each request is made while it fails.

    Raises:
        botocore.exceptions.BotoCoreError: There is no such profile, or a file cannot be read.
        BucketError: The address of the store holds a user or password.
    """
    import boto3
    import botocore.session
    from botocore.config import Config

    key = os.getpid(), profile, tries
    with _lock:
        if key not in _clients:
            session = botocore.session.Session(profile=None if profile == DEFAULT_PROFILE else profile)
            if path := os.environ.get(PROFILE_PATH):
                session.set_config_variable("credentials_file", path)
            config = Config(
                retries={"mode": "standard", "total_max_attempts": tries},
                connect_timeout=_CONNECT_S,
                read_timeout=_READ_S,
                max_pool_connections=_CONNECTIONS,
                tcp_keepalive=True,
                # Few stores beside Amazon's know the check sums that boto3 adds by itself; ours are MD5 and SHA-256.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            )
            made = boto3.Session(botocore_session=session).client("s3", config=config)
            if "@" in urlsplit(made.meta.endpoint_url).netloc:  # messages of connections quote the URL
                raise BucketError(
                    f"the endpoint_url of the profile {profile} holds a user or password; remove it, and put keys into "
                    "aws_access_key_id and aws_secret_access_key"
                )
            _clients[key] = made
        return _clients[key]


def forget(used: Any) -> None:
    """Lets the next caller of `client` read the credentials anew, unless another thread did so already."""
    with _lock:
        for key in [key for key, value in _clients.items() if value is used]:
            del _clients[key]


@functools.cache
def patience(profile: str) -> Patience:
    """Returns how long requests with a profile are repeated, the same for all threads of this process."""
    return Patience()


def little_patience() -> Patience:
    """Returns how long a check is repeated."""
    return Patience(_CHECK_S)


def code_of(error: BaseException) -> str:
    """Returns the code of an error that the store answered; "" for any other.

    >>> code_of(ValueError())
    ''
    """
    return str(getattr(_cause(error), "response", {}).get("Error", {}).get("Code", ""))


def is_passing(error: BaseException) -> bool:
    """Whether another try may not meet an error: the store is busy, out of reach, or reports an error of its own.

    >>> from botocore.exceptions import ClientError, EndpointConnectionError
    >>> is_passing(EndpointConnectionError(endpoint_url="http://store"))
    True
    >>> is_passing(ClientError({"ResponseMetadata": {"HTTPStatusCode": 403}}, "GetObject"))
    False
    """
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

    cause = _cause(error)
    if isinstance(cause, ClientError):
        status = cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status in _PASSING_STATUS or code_of(cause) in _PASSING_CODES | _CONFLICTS
    return isinstance(cause, (ConnectionError, HTTPClientError))


def _cause(error: BaseException) -> BaseException:
    """Returns what was answered, or came up on the way, where boto3 hides it: it has its own error for uploads."""
    from boto3.exceptions import Boto3Error

    return error.__context__ if isinstance(error, Boto3Error) and error.__context__ else error


@contextlib.contextmanager
def translated(url: str, profile: str) -> Iterator[None]:
    """Turns boto3's errors into those of `beam_curate.buckets.base.Bucket`.

    >>> with translated("s3://footage/a.mp4", "team"):
    ...     client("no-such-profile")
    Traceback (most recent call last):
        ...
    beam_curate.buckets.base.BucketError: s3://footage/a.mp4: The config profile (no-such-profile) could not be found...

    Args:
        url: Of the object, or of the bucket.
        profile: Whose credentials are used.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, Boto3Error, BotoCoreError) as error:
        cause = _cause(error)
        if isinstance(cause, ClientError):
            raise _answered(url, profile, cause) from error
        raise BucketError(f"{url}: {_unanswered(profile, cause)}") from error
    except ValueError:  # of an address, which may hold a password
        raise BucketError(f"{url}: {_no_address(profile)}") from None


def _answered(url: str, profile: str, error: Any) -> OSError:
    """Returns the error for one that the store answered."""
    code, facts = code_of(error), error.response.get("Error", {})
    if code in MISSING:
        return missing(url)
    if code in EXISTS:
        return ObjectChangedError(f"{url} changed after it was listed; run again when it is complete")
    said = f"{facts.get('Message') or 'no reason given'} ({code})"
    region = facts.get("Region") or error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get(
        "x-amz-bucket-region"
    )
    remedies = {
        "NoSuchBucket": f"there is no such bucket where the profile {profile} looks; correct its name, or the "
        "profile's endpoint_url",
        **dict.fromkeys(
            ("AccessDenied", "403", "AllAccessDisabled", "AccountProblem"),
            f"access denied to the profile {profile}: it needs s3:ListBucket and s3:GetObject for input, and "
            "s3:PutObject and s3:DeleteObject as well for output",
        ),
        **dict.fromkeys(
            ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidTokenId", "UnauthorizedAccess"),
            f"the keys of the profile {profile} are refused ({code}); correct them",
        ),
        **dict.fromkeys(EXPIRED, f"the credentials of the profile {profile} have expired; renew them"),
        "400": f"refused without a reason, as where the credentials of the profile {profile} have expired; renew them",
        **dict.fromkeys(
            ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
            f"the bucket is in another region{f', {region}' if region else ''}: set region in the profile {profile}",
        ),
        "RequestTimeTooSkewed": "the clock of this computer differs from the store's by too much; set it",
    }
    return BucketError(f"{url}: {remedies.get(code, said)}")


def _unanswered(profile: str, error: BaseException) -> str:
    """Returns what an error means that came up before the store answered, or on the way."""
    from botocore import exceptions

    text = " ".join(str(error).split())
    where = os.environ.get(PROFILE_PATH) or os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    if isinstance(error, exceptions.ProfileNotFound):
        return f"{text}; add it to {where}, or name another one with --input-s3-profile-name, --output-s3-profile-name"
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return f"{text} for the profile {profile}; add keys to {where}, or set AWS_ACCESS_KEY_ID and its like"
    if isinstance(error, exceptions.EndpointProviderError):
        return _no_address(profile)
    if isinstance(error, exceptions.ParamValidationError) and "Invalid bucket name" in text:
        return "this cannot be the name of a bucket; correct it"
    if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
        text = _PATH_OF_URL.sub("", text)
        return f"{text}; is the store up, and the endpoint_url of the profile {profile} right?"
    return text


def _no_address(profile: str) -> str:
    return f"the endpoint_url of the profile {profile} is no address such as https://HOST:PORT; correct it"
