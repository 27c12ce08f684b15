"""What many tests stand on: databases, a world with a virtual clock."""
