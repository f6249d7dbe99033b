"""What is shipped to clusters: how it is rendered, for the tests and for `make render`."""
