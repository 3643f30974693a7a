"""From Istio resources to xDS. Pure functions, and an index that finds what a change touches."""
