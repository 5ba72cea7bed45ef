"""Name servers on real sockets: one in this process that can misbehave, and the real dnsmasq."""

from __future__ import annotations

import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from .following import PATIENCE

_KINDS = ("A", "AAAA", "SRV")
DNSMASQ = shutil.which("dnsmasq") or shutil.which("/usr/sbin/dnsmasq")


class NameServer(Protocol):
    """What both can do."""

    port: int

    def put(self, name: str, kind: str, *values: str, ttl: int = 1) -> None:
        """From now on these are all the records of that name and kind; none of either: NXDOMAIN."""

    def stop(self) -> None: ...
    def start(self) -> None: ...


class OwnServer:
    """Answers over UDP and TCP from a thread; `mode` says how.

    "answer"; "silent"; "garbage"; "truncated" (over UDP); the name of a response code; or
    "repeated": every record stands in the answer twice.
    """

    def __init__(self) -> None:
        self.mode = "answer"
        # Kinds of records it does not like to be asked for.
        self.refused: set[str] = set()
        # The name, the kind, the transport and the payload offered by EDNS (-1: none).
        self.queries: list[tuple[str, str, str, int]] = []
        self.port = 0
        self._records: dict[tuple[str, str], tuple[Sequence[str], int]] = {}
        self.start()

    def put(self, name: str, kind: str, *values: str, ttl: int = 1) -> None:
        if values:
            self._records[name, kind] = (values, ttl)
        else:
            self._records.pop((name, kind), None)

    def asked(self, kind: str = "A") -> int:
        """How often for records of that kind."""
        return sum(1 for query in self.queries if query[1] == kind)

    def start(self) -> None:
        self._tcp = socket.create_server(("127.0.0.1", self.port))
        self.port = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self._ours, self._theirs = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._ours.close()
        self._thread.join(PATIENCE)

    def _serve(self) -> None:
        with self._udp, self._tcp, self._theirs:
            while True:
                ready, _, _ = select.select([self._udp, self._tcp, self._theirs], [], [])
                if self._theirs in ready:
                    return
                if self._udp in ready:
                    data, peer = self._udp.recvfrom(65536)
                    if answer := self._answer(data, "udp"):
                        self._udp.sendto(answer, peer)
                if self._tcp in ready:
                    self._serve_stream()

    def _serve_stream(self) -> None:
        stream, _ = self._tcp.accept()
        with stream:
            stream.settimeout(PATIENCE)
            size = int.from_bytes(stream.recv(2, socket.MSG_WAITALL), "big")
            if answer := self._answer(stream.recv(size, socket.MSG_WAITALL), "tcp"):
                stream.sendall(len(answer).to_bytes(2, "big") + answer)

    def _answer(self, data: bytes, transport: str) -> bytes:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.queries.append((name, kind, transport, int(query.payload) if query.edns >= 0 else -1))
        if self.mode == "silent":
            return b""
        if self.mode == "garbage":
            return data[:2] + b"\xff" * 40
        answer = dns.message.make_response(query, our_payload=4096)
        if kind in self.refused:
            answer.set_rcode(dns.rcode.REFUSED)
            return answer.to_wire()
        if self.mode in dns.rcode.Rcode.__members__:
            answer.set_rcode(dns.rcode.from_text(self.mode))
            return answer.to_wire()
        if self.mode == "truncated" and transport == "udp":
            answer.flags |= dns.flags.TC
            return answer.to_wire()
        values, ttl = self._records.get((name.rstrip("."), kind), ((), 0))
        if values:
            answer.answer.append(dns.rrset.from_text(question.name, ttl, "IN", kind, *values))
        elif not any(self._records.get((name.rstrip("."), other)) for other in _KINDS):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        if self.mode == "repeated":
            answer.answer *= 2
        # By UDP too large an answer is cut off, and says so.
        most = 1232 if transport == "udp" else 65535
        return answer.to_wire(max_size=most, prefer_truncation=True)

    def close(self) -> None:
        if self._ours.fileno() >= 0:
            self.stop()


class Dnsmasq:
    """The real one, as a process of its own."""

    def __init__(self, place: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self._place = place
        self._records: dict[tuple[str, str], tuple[str, ...]] = {}
        self._ttl = 1
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def put(self, name: str, kind: str, *values: str, ttl: int = 1) -> None:
        self._records[name, kind] = values
        changed = ttl != self._ttl or kind == "SRV"
        self._ttl = ttl
        if changed:
            self.stop()
            self.start()  # it reads such things once only
        else:
            self._write()
            assert self._process is not None
            self._process.send_signal(signal.SIGHUP)
            self._until_it_answers()

    def _write(self) -> None:
        lines = [
            f"{value} {name}"
            for (name, kind), values in self._records.items()
            if kind in ("A", "AAAA")
            for value in values
        ]
        self._place.joinpath("hosts").write_text("\n".join([*lines, ""]), encoding="utf-8")

    def start(self) -> None:
        self._write()
        options = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"]
        options += ["--listen-address=127.0.0.1", "--bind-interfaces", f"--port={self.port}"]
        options += [f"--addn-hosts={self._place / 'hosts'}", "--local=/test/", "--pid-file="]
        options += [f"--local-ttl={self._ttl}", "--user=", "--group=", "--host-record=up.test,::1"]
        for (name, kind), values in self._records.items():
            for value in values if kind == "SRV" else ():
                priority, weight, port, host = value.split()
                options.append(f"--srv-host={name},{host},{port},{priority},{weight}")
        assert DNSMASQ is not None
        self._process = subprocess.Popen([DNSMASQ, *options], stderr=subprocess.PIPE)
        self._until_it_answers()

    def _until_it_answers(self) -> None:
        give_up_at = time.monotonic() + PATIENCE
        query = dns.message.make_query("up.test", "AAAA")
        while True:
            try:
                dns.query.udp(query, "127.0.0.1", port=self.port, timeout=0.2)
                return
            except (OSError, dns.exception.DNSException):
                assert time.monotonic() < give_up_at, "dnsmasq does not answer"
                time.sleep(0.01)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    close = stop
