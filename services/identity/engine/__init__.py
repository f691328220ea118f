"""What identity knows, as arrays, and the kernels that resolve rows against it."""
