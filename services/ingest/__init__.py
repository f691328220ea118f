"""Ingest takes in what customers do, and says of each event once: accepted.

Decides: whether an event is well-formed, whether it was taken before, and its accept time; brings
identifiers into their normal form and prints them; turns rows into columns.
Consumes: INTAKE (`muster.intake.v1.<tenant>.<publisher>`), written by publishers and by its doors.
Publishes: EVENTS (`EventColumns`), RECEIPTS (`ReceiptBatch`, exceptions only), PARKED; ticks on
INTAKE when it is silent.
Serves: `muster.ingest.v1.IngestService/SubmitEvents` on gRPC, and the same by request/reply on
`muster.submit.v1.<tenant>.<publisher>`.
Two roles: `doors` are stateless and stay up while the `worker` restarts.
"""
