"""`python -m sigdca`: the same as the `sigdca` command."""

from sigdca.cli import main

main()
