"""The checker that compares arguments with annotations, shapes included, while tests run."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for any type checker
