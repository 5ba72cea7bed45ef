"""A raw TCP service over leases, as an SLB's TCP listener carried it.

An echo service on three ports, one of which dies in the middle of its work: no call is lost.
Any protocol goes this way: the balancer chooses the node, the connection is yours.
"""

import socket
import socketserver
import threading
import time

import aiclient


class EchoService(socketserver.ThreadingTCPServer):
    """Sends each line back, after a moment. `die` breaks off what it has and listens no more."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.url = f"tcp://127.0.0.1:{self.server_address[1]}"
        self.dead = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def die(self) -> None:
        self.dead.set()
        self.shutdown()
        self.server_close()


class Echo(socketserver.StreamRequestHandler):
    server: EchoService

    def handle(self) -> None:
        line = self.rfile.readline()
        if not self.server.dead.wait(0.02):
            self.wfile.write(line)


def echo(balancer: aiclient.Balancer, text: str) -> str:
    """One call: each turn of the loop is another node, until one has done it."""
    answer = b""
    for lease in balancer.leases():
        where = (lease.endpoint.host, lease.endpoint.port)
        with lease, socket.create_connection(where, timeout=2) as connection:
            connection.sendall(text.encode() + b"\n")
            answer = connection.makefile("rb").readline()
            if not answer:
                raise EOFError("closed before it had answered")
            lease.first_byte()
    return answer.decode().rstrip()


services = [EchoService() for _ in range(3)]
balancer = aiclient.Balancer([service.url for service in services])
answers: list[bool] = []


def work(worker: int) -> None:
    for number in range(40):
        text = f"call {number} of worker {worker}"
        answers.append(echo(balancer, text) == text)


crew = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
for thread in crew:
    thread.start()
while len(answers) < 40:
    time.sleep(0.005)
services[0].die()
print(f"{services[0].url} has died, after {len(answers)} calls")
for thread in crew:
    thread.join()

print(f"calls: {len(answers)}  lost: {answers.count(False)}")
for node in balancer.snapshot():
    print(
        f"{node.endpoint} {node.state}: picked {node.picked}, failed {node.failed}, "
        f"in flight {node.in_flight}"
    )
for service in services[1:]:
    service.die()
