"""The REST interface of a Flink cluster: its slots, and cancelling a job."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

_ANSWER_S = 5.0
_CANCEL_ANSWER_S = 2.0  # of each of two calls: the driver leaves within seconds, also where all cores are busy
_FINAL_STATES = {"FINISHED": "finished", "CANCELED": "cancelled", "FAILED": "failed"}
_NOT_YET = ("INITIALIZING",)  # until then its client may still be needed


def endpoint(master: str) -> str:
    """Returns ``host:port`` of a value of ``--flink_master``.

    >>> endpoint("https://flink.example/"), endpoint("localhost:8081")
    ('flink.example:443', 'localhost:8081')
    """
    url = urllib.parse.urlsplit(_url(master))
    return f"{url.hostname}:{url.port or (443 if url.scheme == 'https' else 80)}"


def slots(master: str) -> int:
    """Returns how many slots a cluster has; 0 where that is not known, as when it starts TaskManagers on demand.

    >>> slots("localhost:1")  # where no cluster answers
    0
    """
    with contextlib.suppress(OSError, ValueError, KeyError):
        return int(_ask(master, "overview", _ANSWER_S)["slots-total"])
    return 0


def version(master: str) -> str | None:
    """Returns the version of a cluster without its last number, such as ``1.20``; None where it does not tell.

    >>> version("localhost:1") is None  # where no cluster answers
    True
    """
    with contextlib.suppress(OSError, ValueError, KeyError):
        return ".".join(_ask(master, "config", _ANSWER_S)["flink-version"].split(".")[:2])
    return None


def page(master: str) -> str:
    """Returns the URL of Flink's page, without what else a URL can hold.

    >>> page("localhost:8081/"), page("https://team:key@flink.example")
    ('http://localhost:8081', 'https://flink.example:443')
    """
    return f"{urllib.parse.urlsplit(_url(master)).scheme}://{endpoint(master)}"


def state(master: str, job_name: str) -> str | None:
    """Returns ``running``, ``finished``, ``failed`` or ``cancelled``; None if the cluster does not know the job.

    Of several jobs of that name, the one that began last counts.

    >>> state("localhost:1", "curate") is None  # where no cluster answers
    True
    """
    with contextlib.suppress(OSError, ValueError, KeyError):
        jobs = [job for job in _ask(master, "jobs/overview", _ANSWER_S)["jobs"] if job["name"] == job_name]
        latest = max(jobs, key=lambda job: job["start-time"], default=None)
        if latest is not None and latest["state"] not in _NOT_YET:
            return _FINAL_STATES.get(latest["state"], "running")
    return None


def cancel(master: str, job_name: str) -> bool:
    """Cancels the jobs of a name; returns whether the cluster accepted it for all of them.

    Beam's job server forgets a job that it is told to cancel, while the cluster keeps running it.

    >>> cancel("localhost:1", "curate")  # where no cluster answers
    False
    """
    try:
        jobs = _ask(master, "jobs/overview", _CANCEL_ANSWER_S)["jobs"]
        for job in jobs:
            if job["name"] == job_name and job["state"] not in _FINAL_STATES:
                _ask(master, f"jobs/{job['jid']}?mode=cancel", _CANCEL_ANSWER_S, method="PATCH")
    except (OSError, ValueError, KeyError):
        return False
    return True


def _ask(master: str, path: str, timeout_s: float, method: str = "GET") -> Any:
    request = urllib.request.Request(f"{_url(master)}/{path}", method=method)
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        return json.load(answer)


def _url(master: str) -> str:
    master = master.strip().rstrip("/")
    return master if "://" in master else f"http://{master}"
