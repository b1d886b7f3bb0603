"""``python -m perdure``: the command line, for where no script is on the path."""

from perdure.cli import main

if __name__ == "__main__":
    main()
