"""The command line of Muster: `./muster`."""
