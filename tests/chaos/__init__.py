"""Two owners on purpose, kill -9, SIGSTOP and dead servers: nothing lost, nothing twice."""
