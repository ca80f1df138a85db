"""Solvers that know nothing of images, and say how sure they are: a bound, a gap, exactness."""
