"""`python -m hub.cli` is `hub`: how `hub serve` starts its worker."""

from hub.cli import main

main()
