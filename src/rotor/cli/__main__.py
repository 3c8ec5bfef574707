"""`python -m rotor.cli` is `rotor`."""

from rotor.cli.main import main

main()
