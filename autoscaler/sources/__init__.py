"""Where measurements come from: Prometheus and what speaks its API, or the cluster's own metrics APIs."""
