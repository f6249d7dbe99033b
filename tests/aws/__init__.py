"""AWS for tests: moto's server, and in front of it what moto does not do."""
