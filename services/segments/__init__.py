"""segments: decides who is in which segment, at every instant, and says so the moment it changes.

Consumes   PROFILES of its partition (profiles, identifiers, events, attributes, moves, definitions
           as identity ordered them) and HISTORY (pasts of profiles from other partitions).
Publishes  TRANSITIONS (memberships that changed, activity of members, sizes) and HISTORY; the relay
           publishes TRIGGERS.
Serves     muster.segments.v1.SegmentsService: define, preview, check, list, count, explain, watch.
"""
