"""`python -m aiclient.cli`: the same as the script `aiclient`."""

from . import main

if __name__ == "__main__":
    main()
