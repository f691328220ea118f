"""Decides who may take members out of a segment: whoever shows a key that was given the right."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from services.chassis.errors import NotAllowed, Unauthenticated
from services.segments.settings import SegmentsSettings


class ExportRight:
    """Keys by the name of their holder. Without any, whoever reaches the port may (a laptop)."""

    def __init__(self, settings: SegmentsSettings) -> None:
        self._hashes = dict(named.split(":") for named in settings.export_keys.split())

    def holder_of(self, context: Any) -> str:
        """The name whose key a call shows; empty while there are no keys.

        Raises Unauthenticated without a key, NotAllowed for one without the right.
        """
        if not self._hashes:
            return ""
        key = _key_of(context)
        if not key:
            raise Unauthenticated(
                "an export needs a key with that right; send it as `authorization: Bearer <key>`"
            )
        shown = hashlib.sha256(key.encode()).hexdigest()
        for name, kept in self._hashes.items():
            if hmac.compare_digest(shown, kept.lower()):
                return name
        raise NotAllowed(
            "this key has no right to export; MUSTER_EXPORT_KEYS names those that have"
        )


def _key_of(context: Any) -> str:
    """The key in the call's metadata; empty without one."""
    for name, value in context.invocation_metadata() or ():
        scheme, _, key = str(value).partition(" ")
        if name == "authorization" and scheme.lower() == "bearer":
            return key.strip()
    return ""
