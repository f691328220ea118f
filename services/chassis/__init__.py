"""What all five services share: the log, the fenced worker, followers, servers and settings."""
