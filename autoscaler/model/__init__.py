"""The values that pass between observing, deciding and acting. All are frozen."""
