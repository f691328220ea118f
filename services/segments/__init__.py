"""segments: decides who is in which segment, at every instant, and says so the moment it changes.

Consumes   PROFILES of its partition (profiles, identifiers, events, attributes, moves, definitions
           as identity ordered them) and HISTORY (pasts of profiles from other partitions).
Publishes  TRANSITIONS (memberships that changed, activity of members, sizes) and HISTORY; the relay
           publishes TRIGGERS; the doors publish definitions, variant sets, changes of lists and an
           audit of exports on CONTROL.
Serves     muster.segments.v1.SegmentsService: define, preview, check, list, count, explain, watch,
           and the life of a segment; VariantsService; ListsService;
           ExploreService (the past, back-tests, overlap, next flips),
           JoinsService (memberships after a merge or split, tried before).
"""
