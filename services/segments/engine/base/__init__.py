"""What everything stands on: arrays reached by address, tables, work in pieces, limits."""
