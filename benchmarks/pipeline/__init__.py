"""Publisher to transition through the real processes, fsync on, everything on one machine."""
