"""A new segment over a million profiles while events flow: its preview, and when it lives."""
