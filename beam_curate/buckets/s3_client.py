"""How S3 is reached: profiles, connections of a process, and what the errors of boto3 mean for a user."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from beam_curate.buckets.base import DEFAULT_PROFILE, BucketError, ObjectChangedError, missing

PROFILE_PATH = "COSMOS_S3_PROFILE_PATH"
"""Environment variable of cosmos-curate with the path of another credentials file."""

MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
EXISTS = frozenset({"412", "PreconditionFailed"})
NO_CONDITIONS = frozenset({"501", "NotImplemented"})
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})

_TRIES = 10  # with pauses of up to 20 s: a store that restarts is waited for
_FEW_TRIES = 2
_CONNECT_S, _READ_S = 10, 60
_CONNECTIONS = 64

_clients: dict[tuple[int, str, int], Any] = {}  # by process, since one that forked cannot share connections
_lock = threading.Lock()


def client(profile: str, *, patient: bool = True) -> Any:
    """Returns boto3's client of a profile, the same for all threads of this process.

    Args:
        profile: Of the user's AWS files.
        patient: Whether a store that does not answer is asked many times, for about two minutes.

    Raises:
        botocore.exceptions.BotoCoreError: There is no such profile, or a file cannot be read.
        BucketError: The address of the store holds a user or password.
    """
    import boto3
    import botocore.session
    from botocore.config import Config

    tries = _TRIES if patient else _FEW_TRIES
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


def code_of(error: Any) -> str:
    """Returns the code of an error that the store answered; "" for any other.

    >>> code_of(ValueError())
    ''
    """
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


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
    except ClientError as error:
        raise _answered(url, profile, error) from error
    except Boto3Error as error:  # of an upload in parts
        if isinstance(error.__context__, ClientError):
            raise _answered(url, profile, error.__context__) from error
        raise BucketError(f"{url}: {error}") from error
    except BotoCoreError as error:
        raise BucketError(f"{url}: {_unanswered(profile, error)}") from error
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
        **dict.fromkeys(
            ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
            f"the bucket is in another region{f', {region}' if region else ''}: set region in the profile {profile}",
        ),
        "RequestTimeTooSkewed": "the clock of this computer differs from the store's by too much; set it",
    }
    return BucketError(f"{url}: {remedies.get(code, said)}")


def _unanswered(profile: str, error: Any) -> str:
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
        return f"{text}; is the store up, and the endpoint_url of the profile {profile} right?"
    return text


def _no_address(profile: str) -> str:
    return f"the endpoint_url of the profile {profile} is no address such as https://HOST:PORT; correct it"
