"""The pure rules of frequency: given the history and `now`, they decide; standard library only."""
