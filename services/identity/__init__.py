"""identity: who is who, and in which order each partition learns what happened.

decides: which identifiers are one person (a fold over evidence in canonical order), the dense
number and the public id of every profile, and the one order of events and definitions that a
partition of segments sees.
consumes: EVENTS (rows with printed identifiers), CONTROL (copied, never interpreted).
publishes: PROFILES, one subject a partition: profiles created, identifiers linked, atoms moved,
rows with profile and atom, attributes, records of CONTROL; PARKED for what could not be read.
serves: muster.identity.v1.IdentityService (ResolveProfile, GetProfile, GetIdentityReport).
"""
