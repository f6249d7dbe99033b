"""Would kube-scheduler place it there? Pure."""
