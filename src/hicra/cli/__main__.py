"""``python -m hicra.cli``: the command line without its installed script."""

from hicra.cli import main

main()
