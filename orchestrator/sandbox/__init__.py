"""The provider simulator: a pure core and its HTTP face."""
