"""What tests stand on: independent answers, random histories, real servers."""
