"""Where the segments service meets the wire, the log, other partitions and its callers."""
