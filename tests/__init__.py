"""Tests. `check` is the run-time type checker of the session: beartype, with integers accepted for floats as in Python."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
