"""Where identity meets the wire: facts on PROFILES, answers over gRPC."""
