"""The real cores of ingest, identity and segments in simulated time, without servers."""
