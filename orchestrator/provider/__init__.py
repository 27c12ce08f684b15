"""The remote Batch API: port, wire, client, profiles."""
