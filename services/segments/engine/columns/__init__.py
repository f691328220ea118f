"""The log by type in order of time: runs, cells, and what a selection takes of them."""
