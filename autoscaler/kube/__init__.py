"""The only code that knows Kubernetes objects."""
