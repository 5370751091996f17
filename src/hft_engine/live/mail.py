"""E-mail by SMTP: one message, sent or refused with the remedy."""

import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage

from hft_engine.live.settings import Email

TIMEOUT_S = 10.0
TLS_PORT = 465  # where TLS begins at once; elsewhere by STARTTLS
_LOCAL = ("localhost", "127.0.0.1", "::1")


class MailError(Exception):
    """The message was not sent; the text says why and what to do, and holds no password."""


class Mailer:
    """Sends from ``email.from_email`` to ``recipients`` over ``email``'s server. A password goes over TLS only."""

    def __init__(self, email: Email, recipients: Sequence[str]) -> None:
        self._email = email
        self._recipients = tuple(recipients)

    def send(self, subject: str, body: str) -> None:
        """Raises MailError."""
        message = EmailMessage()
        message["Subject"], message["From"] = subject, self._email.from_email
        message["To"] = ", ".join(self._recipients)
        message.set_content(body)
        try:
            with self._connected() as server:
                refused = server.send_message(message)
        except smtplib.SMTPAuthenticationError as error:
            raise MailError(
                f"{self._place} does not accept the password ({error.smtp_code}): set SMTP_PASSWORD; Gmail and others "
                "want an app password"
            ) from None
        except smtplib.SMTPRecipientsRefused as error:
            raise MailError(self._refused(error.recipients)) from None
        except (OSError, smtplib.SMTPException) as error:
            what = type(error).__name__ if isinstance(error, smtplib.SMTPException) else error
            raise MailError(f"{self._place}: {what}; check notifications.email, the network") from None
        if refused:
            raise MailError(self._refused(refused))

    def _refused(self, recipients: dict[str, tuple[int, bytes]]) -> str:
        return f"{self._place} does not take mail for {', '.join(recipients)}: check notification_recipients"

    @property
    def _place(self) -> str:
        return f"{self._email.smtp_server}:{self._email.smtp_port}"

    def _connected(self) -> smtplib.SMTP:
        """Ready to send; whoever called closes it."""
        email, tls = self._email, ssl.create_default_context()
        if email.smtp_port == TLS_PORT:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                email.smtp_server, email.smtp_port, timeout=TIMEOUT_S, context=tls
            )
        else:
            server = smtplib.SMTP(email.smtp_server, email.smtp_port, timeout=TIMEOUT_S)
        try:
            self._prepare(server, tls)
        except BaseException:
            server.close()
            raise
        return server

    def _prepare(self, server: smtplib.SMTP, tls: ssl.SSLContext) -> None:
        email = self._email
        server.ehlo()
        secure = email.smtp_port == TLS_PORT
        if not secure and server.has_extn("starttls"):
            server.starttls(context=tls)
            server.ehlo()
            secure = True
        if not email.username:
            return
        if not secure and email.smtp_server not in _LOCAL:
            raise MailError(f"{self._place} offers no TLS: the password would be readable on the way")
        server.login(email.username, email.password)
