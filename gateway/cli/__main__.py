"""`python -m gateway.cli` is `typegate`."""

from gateway.cli import main

if __name__ == "__main__":
    main(prog_name="typegate")
