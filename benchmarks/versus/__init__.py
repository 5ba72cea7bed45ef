"""The same calls at the same moments, through aiclient and through what people use today.

    pip install '.[simulation,plots]' -r benchmarks/versus/peers.txt     nginx and haproxy: your system's
    python -m benchmarks.versus                          about 35 minutes; writes docs/benchmarks.md
    python -m benchmarks.versus --contenders aiclient nginx --trials hang kill
    python -m benchmarks.versus --quick                  seconds: only whether it runs

Every contender gets a fleet of its own: eight node processes with four slots each, which take as
long for a call as the call says. All calls are drawn once and made when they are due, whatever
became of those before them. Peers that are not installed are left out, and it is said.
"""  # noqa: E501 - commands are lines
