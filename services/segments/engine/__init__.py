"""The engine: columns, cursors and kernels that keep memberships exact at every instant."""
