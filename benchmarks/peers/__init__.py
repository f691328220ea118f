"""Our segments engine beside other stream processors, on the same reduced jobs."""
