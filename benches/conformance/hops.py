"""What a proxy passes on of the headers that are for the next hop only, or that say who a user is; in both directions.

Each check is a raw request (or a raw answer of the backend) and what must be true of the bytes on the other side. RFC 9110 section 7.6.1,
RFC 9112 section 9.6; names of users as a proxy at the edge is expected to treat them: what a stranger says is not believed.
"""
import re, socket, threading, time

BASE = b"GET /t HTTP/1.1\r\nHost: a.test\r\n"
POST = b"POST /t HTTP/1.1\r\nHost: a.test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


def value(head, name):
    found = re.search(rb"(?im)^" + re.escape(name) + rb"\s*:\s*(.*?)\r?$", head)
    return found and found[1]


def without(name, word=b""):
    return lambda head: word not in value(head, name) if word and value(head, name) else value(head, name) is None


def framed(raw):
    """A body that can be read to its end."""
    head, _, body = raw.partition(b"\r\n\r\n")
    length = value(head, b"Content-Length")
    return (length == b"5" and body == b"hello") or (b"chunked" in (value(head, b"Transfer-Encoding") or b"") and body.endswith(b"0\r\n\r\n"))


REQUESTS = [
    ("what Connection names is removed", BASE + b"Connection: X-Foo\r\nX-Foo: 1\r\n\r\n", without(b"X-Foo")),
    ("Connection: Authorization takes no credentials away", BASE + b"Connection: Authorization\r\nAuthorization: Bearer t\r\n\r\n", lambda h: value(h, b"Authorization")),
    ("Connection: X-Forwarded-For hides nobody", BASE + b"Connection: close, X-Forwarded-For\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n", lambda h: value(h, b"X-Forwarded-For")),
    ("Connection: Cookie takes no cookie away", BASE + b"Connection: Cookie\r\nCookie: a=b\r\n\r\n", lambda h: value(h, b"Cookie")),
    ("Connection: Host", BASE + b"Connection: Host\r\n\r\n", lambda h: value(h, b"Host")),
    ("Connection: Content-Length", POST + b"Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello", framed),
    ("Connection: Transfer-Encoding", POST + b"Connection: Transfer-Encoding\r\n" + CHUNKED, framed),
    ("Keep-Alive", BASE + b"Keep-Alive: timeout=5\r\n\r\n", without(b"Keep-Alive")),
    ("Proxy-Connection", BASE + b"Proxy-Connection: keep-alive\r\n\r\n", without(b"Proxy-Connection")),
    ("Proxy-Authorization", BASE + b"Proxy-Authorization: Basic Zm9v\r\n\r\n", without(b"Proxy-Authorization")),
    ("TE but for trailers", BASE + b"TE: gzip, deflate\r\nConnection: TE\r\n\r\n", without(b"TE")),
    ("Upgrade that Connection does not name", BASE + b"Upgrade: foo/1\r\n\r\n", without(b"Upgrade")),
    ("an upgrade to h2c", BASE + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
     lambda h: value(h, b"HTTP2-Settings") is None and b"h2c" not in (value(h, b"Upgrade") or b"")),
    ("Proxy (httpoxy)", BASE + b"Proxy: http://evil\r\n\r\n", without(b"Proxy")),
    ("a stranger's X-Forwarded-For", BASE + b"X-Forwarded-For: 9.9.9.9\r\n\r\n", lambda h: not (value(h, b"X-Forwarded-For") or b"").startswith(b"9.9.9.9")),
    ("a stranger's X-Forwarded-Proto and -Host", BASE + b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\r\n",
     lambda h: without(b"X-Forwarded-Proto", b"https")(h) and without(b"X-Forwarded-Host", b"evil")(h)),
    ("a stranger's Forwarded", BASE + b"Forwarded: for=9.9.9.9\r\n\r\n", without(b"Forwarded", b"9.9.9.9")),
    ("X-Forwarded-For is added", BASE + b"\r\n", lambda h: value(h, b"X-Forwarded-For")),
    ("X_Forwarded_For, the same to many programs", BASE + b"X_Forwarded_For: 9.9.9.9\r\n\r\n", without(b"X_Forwarded_For")),
]
# Closed after each answer, and said so: no proxy is to ask on a connection that is gone.
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
OK = HEAD + b"Connection: close\r\n"
ANSWERS = [
    ("answer: Keep-Alive", OK + b"Keep-Alive: timeout=5\r\n\r\nok", without(b"Keep-Alive", b"timeout=5")),
    ("answer: Proxy-Authenticate", OK + b"Proxy-Authenticate: Basic\r\n\r\nok", without(b"Proxy-Authenticate")),
    ("answer: what Connection names", HEAD + b"Connection: close, X-Foo\r\nX-Foo: 1\r\n\r\nok", without(b"X-Foo")),
    ("answer: a 101 that nobody asked for", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n", lambda h: not h.startswith(b"HTTP/1.1 101")),
]


class Backend:
    """Keeps what comes, and answers what it was told to."""

    def __init__(self, port):
        self.seen, self.answer = [], OK + b"\r\nok"
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        raw = read(stream)
        if raw:
            self.seen.append(raw)
            stream.sendall(self.answer)
        stream.close()


def read(stream):
    """A message, as long as its framing says, or until nothing more comes."""
    raw = b""
    stream.settimeout(3)
    try:
        while True:
            head, end, body = raw.partition(b"\r\n\r\n")
            length = value(head, b"Content-Length")
            chunked = value(head, b"Transfer-Encoding") is not None
            if end and (body.endswith(b"0\r\n\r\n") if chunked else len(body) >= int(length or 0)):
                return raw
            more = stream.recv(65536)
            if not more:
                return raw
            raw += more
    except OSError:
        return raw


def ask(port, raw):
    with socket.create_connection(("127.0.0.1", port), 2) as stream:
        stream.sendall(raw)
        return read(stream)


def status(answer):
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.") else 0


def forwards(port):
    """Waits until a plain request comes through: a proxy that answers by itself would pass most checks."""
    end = time.monotonic() + 15
    while status(ask(port, BASE + b"\r\n")) != 200:
        if time.monotonic() > end:
            raise SystemExit(f"nothing comes through port {port}")
        time.sleep(0.2)


def run(backend, port):
    """Passed of all, and the names of those that are not. Refused with a 4xx is passed too; nothing at all is not."""
    forwards(port)
    failed = []
    for name, raw, holds in REQUESTS:
        backend.seen.clear()
        answer = ask(port, raw)
        passed = holds(backend.seen[0]) if backend.seen else 400 <= status(answer) < 500
        if not passed:
            failed.append(name if backend.seen else f"{name} (status {status(answer)}, not forwarded)")
    for name, raw, holds in ANSWERS:
        backend.answer = raw
        backend.seen.clear()
        answer = ask(port, BASE + b"\r\n")
        if not (backend.seen and status(answer) and holds(answer)):
            failed.append(f"{name} (status {status(answer)})")
    backend.answer = OK + b"\r\nok"
    total = len(REQUESTS) + len(ANSWERS)
    return f"{total - len(failed)} of {total}", failed
