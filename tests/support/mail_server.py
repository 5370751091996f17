"""A mail server on loopback that keeps what it gets: enough of SMTP (RFC 5321, AUTH PLAIN) for the standard client."""

import base64
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class MailServer:
    """``password``: what AUTH must bring, "" for none. ``busy``: so many next messages are put off with 451."""

    password: str = ""
    refused: tuple[str, ...] = ()  # recipients
    busy: int = 0
    host: str = "127.0.0.1"
    port: int = 0
    messages: list[EmailMessage] = field(default_factory=list)


class _Session(socketserver.StreamRequestHandler):
    server: "_Server"

    def handle(self) -> None:
        self._say("220 ready")
        while line := self.rfile.readline().decode().strip():
            verb, _, rest = line.partition(" ")
            if verb == "QUIT":
                self._say("221 bye")
                return
            self._answer(verb.upper(), rest)

    def _answer(self, verb: str, rest: str) -> None:
        mail = self.server.mail
        if verb == "EHLO":
            self._say("250-here\r\n250 AUTH PLAIN" if mail.password else "250 here")
        elif verb == "AUTH":
            given = base64.b64decode(rest.partition(" ")[2]).decode().split("\0")[-1]
            self._say("235 welcome" if given == mail.password else f"535 no: {given} is wrong")
        elif verb == "RCPT":
            address = rest.partition("<")[2].partition(">")[0]
            self._say("550 unknown" if address in mail.refused else "250 yes")
        elif verb == "DATA":
            self._say("354 go on")
            self._keep()
        else:
            self._say("250 yes")

    def _keep(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        mail = self.server.mail
        if mail.busy:
            mail.busy -= 1
            self._say("451 later")
            return
        found = message_from_bytes(b"".join(lines), policy=policy.default)
        assert isinstance(found, EmailMessage)
        mail.messages.append(found)
        self._say("250 kept")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads = True, False

    def __init__(self, mail: MailServer) -> None:
        super().__init__((mail.host, 0), _Session)
        self.mail = mail


@contextmanager
def serving_mail(mail: MailServer) -> Iterator[MailServer]:
    with _Server(mail) as server:
        mail.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield mail
        finally:
            server.shutdown()
            thread.join()
