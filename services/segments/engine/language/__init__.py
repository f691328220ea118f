"""From the contract to leaves: a condition is read, refused or expressed."""
