"""How long a token is good, as far as it tells itself. Nothing of a token is kept or shown."""

import base64
import hashlib
import json
from math import inf

ENDLESS = inf
_HASHED = "sha256~"
_YEAR_9999 = 253_370_764_800.0


def jwt_end(token: str) -> float | None:
    """When a JSON Web Token ends, in seconds since 1970 (RFC 7519, `exp`).

    Returns:
        ENDLESS for one without an end (3.11's service accounts), None for what is no such token.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
        if not isinstance(header, dict) or "alg" not in header or not isinstance(claims, dict):
            return None
        return believable(float(claims["exp"])) if "exp" in claims else ENDLESS
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def believable(instant: float) -> float | None:
    """Seconds since 1970, where they are a time that a calendar has; else None."""
    return instant if 0 <= instant < _YEAR_9999 else None


def oauth_token_name(token: str) -> str:
    """The name under which OKD 4.6 and newer keeps a token of `oc login`: a hash of it, no secret; else empty."""
    secret = token.removeprefix(_HASHED)
    if secret == token or not secret:
        return ""
    digest = hashlib.sha256(secret.encode()).digest()
    return _HASHED + base64.urlsafe_b64encode(digest).decode().rstrip("=")
