"""What every Envoy of the lab has in common: bootstrap, command line, access log, admin client."""
