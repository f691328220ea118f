"""identity: who is who, and in which order each partition learns what happened.

decides: which identifiers are one person (a fold over evidence in canonical order), the dense
number and the public id of every profile, and the one order of events and definitions that a
partition of segments sees.
consumes: EVENTS (rows with printed identifiers), CONTROL (copied; of its records only those about
identity are interpreted: links taken back or asserted by hand, rules).
publishes: PROFILES, one subject a partition: profiles created, identifiers linked, atoms moved,
rows with profile and atom, attributes, records of CONTROL; CONTROL, what people decide about
identity; PARKED for what could not be read.
serves: muster.identity.v1.IdentityService (who is who, the links and events behind it, what became
of profiles, decisions by hand, rules).
"""
