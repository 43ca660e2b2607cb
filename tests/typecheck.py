"""The run-time type checker of the test session: beartype, with integers accepted for floats as everywhere in Python."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
