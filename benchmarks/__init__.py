"""Measurements: each prints ratios or rates and, as its last line, one JSON object."""
