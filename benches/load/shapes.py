"""The kinds of load: what users ask for, and how."""

import dataclasses
import os
import subprocess

KIB = 1024


@dataclasses.dataclass(frozen=True)
class Shape:
    """One kind of load, the same for every proxy."""

    what: str
    # Bytes of an answer's body.
    body: int = 128
    tls: bool = False
    http2: bool = False
    access_log: bool = False
    # Users carry the cookie that they were given.
    sticky: bool = False
    # Users carry the headers of a browser.
    browser: bool = False
    new_connections: bool = False
    # Connections become WebSockets; for --idle.
    websocket: bool = False


SHAPES = {
    "plain": Shape("128 bytes, HTTP/1.1 kept alive"),
    "browser": Shape("the headers of a browser", browser=True),
    "sticky": Shape("the headers of a browser, users with a sticky cookie", browser=True, sticky=True),
    "log": Shape("a line of access log for each request", access_log=True),
    "1k": Shape("1 KiB", body=KIB),
    "1m": Shape("1 MiB", body=KIB * KIB),
    "new": Shape("a new connection for each request", new_connections=True),
    "tls": Shape("TLS 1.3, kept alive", tls=True),
    "tls-new": Shape("a new TLS connection for each request", tls=True, new_connections=True),
    "h2": Shape("HTTP/2 without TLS, 16 streams on a connection", http2=True),
    "ws": Shape("WebSockets", websocket=True),
    "h2-tls": Shape("HTTP/2 by TLS, 16 streams on a connection", http2=True, tls=True),
}

STREAMS = 16

BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language": "en-US,en;q=0.5",
    "accept-encoding": "gzip, deflate, br",
}

USERS = 32


def headers(shape):
    """Headers of a request, by name."""
    asked = dict(BROWSER, cookie="session=0123456789abcdef; theme=dark") if shape.browser else {}
    if shape.new_connections:
        asked["connection"] = "close"
    return asked


def script(shape, cookies):
    """What wrk is told: requests of users by turns where they have cookies of their own."""
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in headers(shape).items()]
    if cookies:
        quoted = ", ".join(f'"{cookie}"' for cookie in cookies)
        lines.append(f"""local cookies, asks, turn = {{{quoted}}}, {{}}, 0
init = function()
  for i, cookie in ipairs(cookies) do
    wrk.headers["cookie"] = "session=0123456789abcdef; " .. cookie
    asks[i] = wrk.format()
  end
end
request = function()
  turn = turn % #asks + 1
  return asks[turn]
end""")
    return "\n".join(lines) + "\n"


def certificate(folder):
    """A certificate of 127.0.0.1 (P-256) and its key: two files, and one with both for HAProxy."""
    cert, key, both = (os.path.join(folder, name) for name in ("cert.pem", "key.pem", "both.pem"))
    if not os.path.exists(both):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3",
             "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1,DNS:bench", "-keyout", key, "-out", cert],
            check=True, capture_output=True)
        with open(both, "w") as f:
            for part in (cert, key):
                f.write(open(part).read())
    return cert, key, both
