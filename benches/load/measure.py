"""What is measured: a round of wrk, and the CPU time and memory of a process with its children."""

import os
import re
import resource
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import shapes
from servers import descendants

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


def cpu_seconds(pid):
    """User and system time so far, of the process and its living and waited-for children."""
    total = 0
    for each in descendants(pid):
        try:
            with open(f"/proc/{each}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / TICK


def memory(pid):
    """Resident and proportional set in bytes; the latter counts shared pages of children once."""
    rss = pss = 0
    for each in descendants(pid):
        try:
            with open(f"/proc/{each}/statm") as f:
                rss += int(f.read().split()[1]) * PAGE
            with open(f"/proc/{each}/smaps_rollup") as f:
                pss += int(re.search(r"^Pss:\s+(\d+) kB", f.read(), re.M)[1]) * 1024
        except (FileNotFoundError, ProcessLookupError):
            continue
    return {"rss": rss, "pss": pss}


def load(server, options, connections, seconds):
    """One round of the shape of load that is measured."""
    if options.shape.http2:
        return h2load(server.url, max(1, connections // shapes.STREAMS), seconds)
    text = shapes.script(options.shape, getattr(server, "cookies", None))
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(text)
        script.flush()
        return wrk(server.url, connections, seconds, script.name)


def h2load(url, connections, seconds):
    """As `wrk`, by HTTP/2."""
    with tempfile.NamedTemporaryFile("r", suffix=".tsv") as log:
        command = ["h2load", "-t1", f"-c{connections}", f"-m{shapes.STREAMS}", f"-D{seconds}", f"--log-file={log.name}", url]
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True)
        took = sorted(int(line.split("\t")[2]) for line in log)
    text = done.stdout
    counts = re.search(r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", text)
    if done.returncode != 0 or not counts or not took:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr or text}")
    total, _, succeeded, _, _ = map(int, counts.groups())
    return {
        "requests": succeeded, "seconds": time.monotonic() - started, "wrong": total - succeeded,
        "rps": float(re.search(r"finished in .*?, ([\d.]+) req/s", text)[1]),
        "p50_ms": took[len(took) // 2] / 1e3, "p99_ms": took[int(len(took) * 0.99)] / 1e3,
    }


def wrk(url, connections, seconds, script=None):
    """One round; latencies in milliseconds, and the number of answers that were not right."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *(["-s", script] if script else []), url]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    text = done.stdout
    count = re.search(r"(\d+) requests in", text)
    if done.returncode != 0 or not count:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr or text}")
    requests = int(count[1])

    def latency(name):
        value = re.search(rf"^\s+{name}%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.M)
        return float(value[1]) * UNITS[value[2]] if value else None

    wrong = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    socket_errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    wrong += sum(map(int, socket_errors.groups())) if socket_errors else 0
    return {
        "requests": requests, "seconds": time.monotonic() - started, "wrong": wrong,
        "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        "p50_ms": latency(50), "p99_ms": latency(99),
    }


def round_of(server, options, connections, seconds):
    """Load on a server, with the CPU time that the server spent on it."""
    before = cpu_seconds(server.process.pid)
    result = load(server, options, connections, seconds)
    result["cpu_us"] = (cpu_seconds(server.process.pid) - before) / max(1, result["requests"]) * 1e6
    return {**result, **memory(server.process.pid)}


class Peak:
    """The largest memory seen while the block runs."""

    def __init__(self, pid):
        self.pid, self.rss, self.pss, self.over = pid, 0, 0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        while not self.over.wait(0.2):
            now = memory(self.pid)
            self.rss, self.pss = max(self.rss, now["rss"]), max(self.pss, now["pss"])

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def raise_file_limit():
    """As many open files as this user may have, for us and for all that we start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


UPGRADE = (b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


def idle_connections(server, count, websocket=False):
    """Opens `count` connections, one request on each, and leaves them open."""
    request = UPGRADE if websocket else b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
    unverified = ssl._create_unverified_context()
    held = []
    for _ in range(count):
        s = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        if server.tls:
            s = unverified.wrap_socket(s)
        s.sendall(request)
        answer = b""
        while not answer.endswith(b"x" * 128):
            if websocket and answer.startswith(b"HTTP/1.1 101") and answer.endswith(b"\r\n\r\n"):
                break
            part = s.recv(4096)
            if not part:
                raise SystemExit(f"{server.name} closed connection {len(held) + 1} of {count}: {answer[:200]!r}")
            answer += part
            if answer.endswith(b"0\r\n\r\n"):
                break
        held.append(s)
    return held
