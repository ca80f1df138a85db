"""The Receptive fields page's parts: the seed, what is found of it, and what is taken along."""
