"""The Reconstruction page's parts: what is computed and drawn, what is looked at closer, and what is taken along."""
