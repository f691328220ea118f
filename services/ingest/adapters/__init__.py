"""What reaches out or down: the wire, its kernels, the doors."""
