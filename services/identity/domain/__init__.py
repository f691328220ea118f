"""What identity decides, without arrays, servers or clocks."""
