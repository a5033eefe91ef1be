"""Azure on the wire for local runs and tests: real clients talk to it over TLS. Never deployed."""
