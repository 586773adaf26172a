"""A mail server that keeps what it is sent: each mail in a file of its own.

Arguments: folder, mode (starttls, tls, none), certificate, key, user, password, answer to DATA (empty for 250).
"""

import ssl
import sys
import threading
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

folder, mode, certificate, key, user, password, answer = sys.argv[1:8]


class Keeper:
    number = 0

    async def handle_DATA(self, server, session, envelope):
        if answer:
            return answer
        self.number += 1
        recipients = ",".join(envelope.rcpt_tos)
        content = f"X-Envelope-From: {envelope.mail_from}\r\nX-Envelope-To: {recipients}\r\n".encode()
        whole = Path(folder, f"{self.number:03}.tmp")
        whole.write_bytes(content + envelope.content)
        whole.rename(whole.with_suffix(".eml"))
        return "250 kept"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (user.encode(), password.encode())
    return AuthResult(success=good)


context = None
if mode != "none":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)


class Server(Controller):
    def factory(self):
        options = {"hostname": "mail.test"}
        if mode == "starttls":
            options.update(tls_context=context, require_starttls=True)
        if user:
            options.update(authenticator=authenticate, auth_required=True, auth_require_tls=mode == "starttls")
        return SMTP(self.handler, **options)

    def _trigger_server(self):
        # The port is known only now.
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


options = {"ssl_context": context} if mode == "tls" else {}
server = Server(Keeper(), hostname="127.0.0.1", port=0, **options)
server.start()
print("port", server.port, flush=True)
threading.Event().wait()
