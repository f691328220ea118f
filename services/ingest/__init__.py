"""Ingest takes in what customers do, and says of each event once: accepted.

Decides: whether an event is well-formed, allowed and new, and its accept time; who may publish what
and how much; what an order counts for; brings identifiers into their normal form and prints them;
turns rows into columns.
Consumes: INTAKE (`muster.intake.v1.<tenant>.<publisher>`), written by publishers and by its doors;
CONTROL: the registry, and for its doors the definitions of segments.
Publishes: EVENTS (`EventColumns`), RECEIPTS (`ReceiptBatch`, exceptions only), PARKED; ticks on
INTAKE when it is silent; on CONTROL the registry and items of the catalogue.
Serves: `muster.ingest.v1.IngestService` and `RegistryService` on gRPC, batches by request/reply on
`muster.submit.v1.<tenant>.<publisher>`, and Segment's API over HTTP.
Two roles: `doors` are stateless and stay up while the `worker` restarts.
"""
