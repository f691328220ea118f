"""What is kept up: streams, cursors, memberships, and the walk of time that turns them."""
