"""Results as they show themselves."""
