"""What identity costs, from the door of ingest to an answer about a person."""
