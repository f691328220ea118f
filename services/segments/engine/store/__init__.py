"""What is known: events, people, attributes, lists, items, and what stood before."""
