#!/usr/bin/env python3
"""What slow, giant and fleeting users do to shifter, nginx and HAProxy.

    benches/attacks/run.py --shifter-bin target/pgo/release/shifter [--only slow,giant,churn] [--proxies shifter,nginx,haproxy]

slow:  slowhttptest's four attacks on 500 connections: how many are still open after 12 s and at the end,
       12 requests of others meanwhile, memory.
giant: 200 requests each that are too large in one way: what is answered, how soon, memory.
churn: 50,000 connections that end early in one of four ways: memory and open files before and after.

The servers are those of benches/load, each as it is configured there; the load stays on this machine and ends by itself.
"""

import argparse
import collections
import os
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "load"))
import measure  # noqa: E402
import servers  # noqa: E402
import shapes  # noqa: E402

MB = 1e6
SLOW = 500
SECONDS = 65
ATTACKS = {
    "slow headers": ["-H", "-i", "5"],
    "slow body": ["-B", "-i", "5", "-s", "8192", "-t", "POST"],
    "slow reader": ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"],
    "ranges": ["-R", "-a", "5", "-b", "3000"],
}
GIANT = {
    "one field of 1 MiB": b"GET / HTTP/1.1\r\nHost: bench\r\nx: " + b"a" * (1 << 20) + b"\r\n\r\n",
    "10,000 fields": b"GET / HTTP/1.1\r\nHost: bench\r\n" + b"".join(b"x%d: y\r\n" % i for i in range(10_000)) + b"\r\n",
    "a target of 64 KiB": b"GET /" + b"a" * (1 << 16) + b" HTTP/1.1\r\nHost: bench\r\n\r\n",
    "1 MiB without a line": b"a" * (1 << 20),
}
EARLY = {
    "nothing said": b"",
    "half a request line": b"GET / HT",
    "one request": b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n",
    "reset": None,
}
CHURN = 50_000
RESET = struct.pack("ii", 1, 0)


def say(text):
    print(text, file=sys.stderr, flush=True)


def pss(server):
    return measure.memory(server.process.pid)["pss"] / MB


def files(server):
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in servers.descendants(server.process.pid))


def established(port):
    """Connections that the kernel has for this local port."""
    wanted, count = f":{port:04X}", 0
    with open("/proc/net/tcp") as table:
        for line in table:
            words = line.split()
            count += words[1].endswith(wanted) and words[3] == "01"
    return count


def others(server, stop, took):
    """Somebody who asks all the while."""
    while not stop.wait(5):
        begun = time.monotonic()
        try:
            with server.ask() as answer:
                ok = answer.status == 200
        except OSError:
            ok = False
        took.append((ok, (time.monotonic() - begun) * 1e3))


def slow(server):
    for name, words in ATTACKS.items():
        before, most, stop, took = pss(server), 0.0, threading.Event(), []
        asking = threading.Thread(target=others, args=(server, stop, took))
        asking.start()
        command = ["slowhttptest", *words, "-c", str(SLOW), "-r", "250", "-l", str(SECONDS), "-p", "3", "-u", server.url]
        attack = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begun, opened, open_at = time.monotonic(), 0, {}
        closed_after = None
        while attack.poll() is None and time.monotonic() - begun < SECONDS + 10:
            now, count = time.monotonic() - begun, established(server.port)
            opened, most = max(opened, count), max(most, pss(server))
            open_at.setdefault(int(now), count)
            if closed_after is None and opened > SLOW / 2 and count <= SLOW / 50:
                closed_after = now
            time.sleep(0.5)
        if attack.poll() is None:
            attack.kill()
        attack.wait()
        stop.set()
        asking.join()
        well = [ms for ok, ms in took if ok]
        last = [open_at[s] for s in sorted(open_at) if s <= 60]
        yield [server.name, name, opened, open_at.get(14, 0), last[-1] if last else 0,
               f"{closed_after:.0f} s" if closed_after else "-", f"{len(well)} of {len(took)}",
               f"{max(well, default=0):.0f}", f"{before:.1f}", f"{most:.1f}"]
        say(f"{server.name}: {name} done")


def send(port, request):
    """The status of the answer and the milliseconds until it."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        begun = time.monotonic()
        try:
            s.sendall(request)
        except OSError:
            pass  # it was answered, and closed, before all was sent
        try:
            answer = s.recv(4096)
        except ConnectionResetError:
            answer = b""
        except TimeoutError:
            return "waits", 20e3
        took = (time.monotonic() - begun) * 1e3
    return (answer[9:12].decode("latin1") if answer.startswith(b"HTTP/1") else "closed"), took


def giant(server):
    for name, request in GIANT.items():
        before, seen, took = pss(server), collections.Counter(), []
        with measure.Peak(server.process.pid) as peak:
            for _ in range(200):
                status, ms = send(server.port, request)
                seen[status] += 1
                took.append(ms)
                if status == "waits":
                    break
        took.sort()
        answers = ", ".join(f"{status} ({n})" for status, n in seen.most_common())
        yield [server.name, name, answers, f"{took[len(took) // 2]:.1f}", f"{took[-1]:.1f}", f"{before:.1f}", f"{max(peak.pss / MB, pss(server)):.1f}"]


def churn(server):
    for name, words in EARLY.items():
        before, had, failed = pss(server), files(server), 0
        begun = time.monotonic()
        for _ in range(CHURN):
            try:
                with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s:
                    # No waiting state that would use up the ports of this machine.
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    if words:
                        s.sendall(words)
                    if words and words.endswith(b"\r\n\r\n"):
                        failed += not s.recv(4096).startswith(b"HTTP/1.1 200")
                    elif words is not None:
                        s.shutdown(socket.SHUT_WR)
            except OSError:
                failed += 1
        seconds = time.monotonic() - begun
        time.sleep(3)
        with server.ask() as answer:
            fresh = answer.status
        yield [server.name, name, f"{CHURN / seconds:,.0f}", failed, fresh, f"{before:.1f}", f"{pss(server):.1f}", had, files(server)]
        say(f"{server.name}: {name} done")


PARTS = {
    "slow": (slow, ["proxy", "attack", "opened", "open at 14 s", "open at 60 s", "all closed after", "others answered", "longest ms", "MB before", "MB most"]),
    "giant": (giant, ["proxy", "request", "answers", "ms median", "ms longest", "MB before", "MB most"]),
    "churn": (churn, ["proxy", "connections that end with", "per second", "failed", "then", "MB before", "MB after", "files before", "files after"]),
}


def patient(folder):
    """HAProxy waits for a header as long as for all else unless it is told, as its manual advises."""
    path = os.path.join(folder, "haproxy.cfg")
    if os.path.exists(path):
        with open(path) as f:
            text = f.read()
        servers.write(folder, "haproxy.cfg", text.replace("timeout client 600s", "timeout client 60s\n  timeout http-request 10s"))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", default=",".join(PARTS))
    p.add_argument("--proxies", default="shifter,nginx,haproxy")
    p.add_argument("--profile", default="release")
    p.add_argument("--shifter-bin")
    options = p.parse_args()
    options.shifter_bin = os.path.abspath(options.shifter_bin or servers.binary(options.profile, "shifter"))
    options.shifter_config, options.shape = None, shapes.SHAPES["plain"]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    for part in options.only.split(","):
        measured, head = PARTS[part]
        print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|", flush=True)
        for name in options.proxies.split(","):
            with tempfile.TemporaryDirectory(prefix="attacks-") as folder:
                # Large enough that a slow reader holds it up.
                _, running, ports = servers.backends(folder, options.profile, shapes.KIB * shapes.KIB if part == "slow" else 128)
                command, port, env = servers.PROXIES[name](folder, ports, options)
                patient(folder)
                try:
                    for backend in running:
                        backend.wait()
                    running.append(servers.Server(name, command, port, folder, env))
                    running[-1].wait()
                    for row in measured(running[-1]):
                        print("| " + " | ".join(map(str, row)) + " |", flush=True)
                finally:
                    for server in reversed(running):
                        server.stop()


if __name__ == "__main__":
    main()
