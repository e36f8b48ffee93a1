"""Plans and results as JSON documents; docs/output.md describes every key. Pure."""

from typing import Any

from migrate.images.graph import Blob
from migrate.images.plan import Action, Copy, Plan
from migrate.images.transfer import CopyResult
from migrate.images.verdicts import Verdict
from migrate.images.verify import Verification, Verified

VERSION = 1


def plan_document(plan: Plan) -> dict[str, Any]:
    """What `plan --format json` prints."""
    graph = plan.graph
    return {
        "version": VERSION,
        "kind": "plan",
        "counts": {str(action): plan.count(action) for action in Action},
        "bytes": {"unique": graph.crossing_bytes, "total": graph.total_bytes, "saved": graph.saved_bytes},
        "notes": list(plan.notes),
        "copies": [copy_document(copy) for copy in plan.copies],
        "blobs": [_blob_document(digest, blob) for digest, blob in graph.blobs.items()],
    }


def _blob_document(digest: str, blob: Blob) -> dict[str, Any]:
    needed_by = [target.short for target in blob.needed_by]
    return {"digest": digest, "bytes": blob.size or None, "neededBy": needed_by, "heldIn": sorted(blob.held_in)}


def copy_document(copy: Copy) -> dict[str, Any]:
    """One planned tag."""
    top = copy.delivery.top if copy.delivery else None
    return {
        "source": str(copy.source),
        "target": str(copy.target),
        "action": str(copy.action),
        "reason": copy.reason,
        "class": str(copy.failure) if copy.failure else None,
        "bytes": copy.size,
        "mediaType": copy.media_type or None,
        "method": str(copy.delivery.method) if copy.delivery else None,
        "targetDigest": copy.present or None,
        "expectedDigest": top.digest if top else None,
        "warnings": list(copy.warnings),
    }


def result_document(result: CopyResult) -> dict[str, Any]:
    """One copied tag."""
    return {
        "source": str(result.copy.source),
        "target": str(result.copy.target),
        "targetDigest": result.target_digest or None,
        "attempt": result.attempt,
        "bytes": result.bytes,
        "seconds": round(result.ended - result.started, 3),
        "class": str(result.failure.kind) if result.failure else None,
        "error": str(result.failure) if result.failure else None,
        "advice": result.failure.advice if result.failure else None,
        "note": result.note or None,
    }


def verified_document(item: Verified) -> dict[str, Any]:
    """One verified tag."""
    return {
        "source": str(item.copy.source),
        "target": str(item.copy.target),
        "targetDigest": item.target_digest or None,
        "verdict": str(item.verdict),
        "class": str(item.failure) if item.failure else None,
        "words": item.words or None,
    }


def verification_document(found: Verification) -> dict[str, Any]:
    """What `verify --format json` prints."""
    return {
        "version": VERSION,
        "kind": "verification",
        "counts": {**{str(verdict): found.count(verdict) for verdict in Verdict}, "refused": len(found.refused)},
        "tags": [verified_document(item) for item in found.tags],
        "refused": [copy_document(copy) for copy in found.refused],
    }
