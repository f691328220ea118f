"""An engine's explanation in the words of the API."""

from __future__ import annotations

from muster.segments.v1 import service_pb2 as api
from services.chassis.parking import timestamp
from services.segments.engine.live.outcome import Evidence, Explanation, LeafExplanation


def explained(explanation: Explanation) -> api.ExplainMembershipResponse:
    """The response but for profile id and position."""
    response = api.ExplainMembershipResponse(
        member=explanation.member,
        segment_version=explanation.segment_version,
        leaves=[_leaf(leaf) for leaf in explanation.leaves],
        flip_unknown=not explanation.flip_known,
    )
    if explanation.flip_time_us is not None:
        response.flip_time.CopyFrom(timestamp(explanation.flip_time_us))
    return response


def _leaf(leaf: LeafExplanation) -> api.LeafExplanation:
    said = api.LeafExplanation(
        path=leaf.path,
        sentence=leaf.sentence,
        holds=leaf.holds,
        found=leaf.found,
        events=[_event(event) for event in leaf.events],
        events_total=leaf.events_total,
        missing=leaf.missing,
    )
    if leaf.window_from_us is not None:
        said.window_from_time.CopyFrom(timestamp(leaf.window_from_us))
    if leaf.window_to_us is not None:
        said.window_to_time.CopyFrom(timestamp(leaf.window_to_us))
    return said


def _event(event: Evidence) -> api.EventEvidence:
    said = api.EventEvidence(
        event_id=event.event_id,
        type=event.type,
        occur_time=timestamp(event.occur_us),
        value=event.value,
    )
    if event.leave_us is not None:
        said.leave_time.CopyFrom(timestamp(event.leave_us))
    return said
