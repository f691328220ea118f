"""What ingest refuses, and within which limits."""
