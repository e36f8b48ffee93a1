"""Logins: whose they are, and whether they last as long as the work takes."""

import time
from datetime import datetime
from typing import Any

from migrate.cluster import Cluster, ClusterError
from migrate.credentials import Login
from migrate.credentials.life import ENDLESS, believable, jwt_end, oauth_token_name
from migrate.kinds import OWN_TOKEN
from migrate.preflight.checks import Check, ok, warning
from migrate.quantities import format_duration

_DEFAULT_SECONDS = 24 * 3600.0
_MARGIN_SECONDS = 300.0
_ESTIMATE_FACTOR = 1.5
"""An estimate may be so much too small."""


def check_life(
    name: str, subject: str, login: Login, cluster: Cluster | None, seconds: float, scope: str = ""
) -> Check:
    """For whom a login that is taken is, and whether it lasts.

    Args:
        name: of the check.
        subject: whose login it is: a registry's host, an API's address.
        login: of a token, or of a user and a password.
        cluster: the API that knows the token; None where there is none.
        seconds: how long the work is thought to take.
        scope: the repositories that it is for, where some have one of their own.
    """
    credential = login.credential(scope)
    if credential is None:
        return ok(name, subject, "without a login")
    asked = cluster.seen_by(Login(login.origin, lambda: credential)) if cluster else None
    try:
        user = _user(asked) or (credential.username if credential.username != "unused" else "")
        who = f"{user or 'it is taken'} ({login.origin})"
        ends = _end(credential.secret, asked)
    finally:
        if asked:
            asked.close()
    again = login.how_anew() if login.how_anew else f"a new login in {login.origin}"
    needed = seconds * _ESTIMATE_FACTOR + _MARGIN_SECONDS
    if ends is None:
        if not oauth_token_name(credential.secret) and cluster is None:
            return ok(name, subject, f"{who}; it does not say when it ends")
        words = f"{who}; it does not say when it ends (OpenShift's default: 24 h after `oc login`)"
        if needed > _DEFAULT_SECONDS / 2:
            words += f", and the copying takes about {format_duration(seconds)}: it will wait for a new login then"
            return warning(name, subject, words, f"log in again just before: {again}")
        return ok(name, subject, words)
    if ends == ENDLESS:
        return ok(name, subject, f"{who}; it does not end")
    left = ends - time.time()
    words = f"{who}; until {datetime.fromtimestamp(ends):%Y-%m-%d %H:%M} (for {format_duration(max(left, 0))})"
    if left < needed:
        words += f", and the copying takes about {format_duration(seconds)}: it will wait for a new login then"
        return warning(name, subject, words, f"log in again first: {again}")
    return ok(name, subject, words)


def _user(cluster: Cluster | None) -> str:
    try:
        return cluster.whoami() if cluster else ""
    except ClusterError:
        return ""


def _end(token: str, cluster: Cluster | None) -> float | None:
    """When a token ends, in seconds since 1970; ENDLESS for never, None where nothing tells."""
    told = jwt_end(token)
    hashed = oauth_token_name(token)
    if told is not None or cluster is None or not hashed:
        return told
    try:
        found = cluster.get(OWN_TOKEN, hashed)
    except ClusterError:
        return None
    return _end_of(found) if found else None


def _end_of(document: dict[str, Any]) -> float | None:
    """`creationTimestamp` and `expiresIn` (seconds; 0 for never) of an OAuth token (oauth.openshift.io/v1)."""
    metadata = document.get("metadata")
    made = str(metadata.get("creationTimestamp")) if isinstance(metadata, dict) else ""
    seconds = document.get("expiresIn", 0)
    if not isinstance(seconds, int):
        return None
    try:
        return believable(datetime.fromisoformat(made).timestamp() + seconds) if seconds else ENDLESS
    except (ValueError, OverflowError):
        return None
