#!/usr/bin/env python3
"""Failed requests while a proxy is changed under load: reloads, replaced processes, cutovers.

    benches/changes/run.py                          shifter, nginx, HAProxy; 20 changes of each kind
    benches/changes/run.py --seconds 300             for more requests

Users are examples/users.rs: keep-alive HTTP/1.1, HTTP/2 without TLS and WebSockets at once. A request
fails when it gets no whole answer with status 200; one that HTTP/2 says was not looked at is asked again.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "load"))
import servers  # noqa: E402


def say(text):
    print(text, file=sys.stderr, flush=True)


class Shifter:
    """Changed by SIGHUP, by SIGUSR2 (a successor takes its place), or by a rollout without steps."""

    kinds = ["reload", "successor", "cutover"]

    def __init__(self, options, folder, backends, echo):
        self.bin, self.folder = options.shifter_bin, folder
        self.port = self.http2 = servers.free_port()
        self.admin, self.backends, self.echo = servers.free_port(), backends, echo
        os.makedirs(os.path.join(folder, "state"), mode=0o700)
        self.config = os.path.join(folder, "shifter.toml")
        self.write(0)
        self.process = subprocess.Popen([self.bin, "serve", "--config", self.config], stderr=open(os.path.join(folder, "log"), "wb"))

    def write(self, n):
        blue, green = self.backends
        servers.write(self.folder, "shifter.toml", f"""state = "{self.folder}/state"
[proxy]
listen = "127.0.0.1:{self.port}"
keepalive_requests = {1_000_000_000 - n}
[admin]
listen = "127.0.0.1:{self.admin}"
[log]
level = "warn"
[service.app]
hosts = ["app"]
blue = "127.0.0.1:{blue}"
green = "127.0.0.1:{green}"
strategy = "blue-green"
monitor = "1s"
keep_blue = "1s"
latency_margin = "1000% + 10s"
latency_grace = "0s"
holdback = 0
[service.ws]
hosts = ["ws"]
blue = "127.0.0.1:{self.echo}"
""")

    def ask(self, *words):
        return subprocess.run([self.bin, *words, "--config", self.config], capture_output=True, text=True, timeout=120)

    def pid(self):
        # Who has the state folder now: a successor has another id than the process that was started.
        with open(os.path.join(self.folder, "state", "lock")) as f:
            return int(f.read().strip())

    def change(self, kind, n):
        if kind == "reload":
            self.write(n + 1)
            done = self.ask("reload")
            return done.returncode == 0 or done.stderr
        if kind == "successor":
            before = self.pid()
            os.kill(before, signal.SIGUSR2)
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                try:
                    if self.pid() != before and not os.path.exists(f"/proc/{before}/fd/0"):
                        return True
                except (OSError, ValueError):
                    pass
                time.sleep(0.05)
            return "the successor did not come"
        done = self.ask("run", "app", "--strategy", "blue-green")
        return done.returncode == 0 or f"exit {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}"

    def stop(self):
        os.kill(self.pid(), signal.SIGTERM)


class Peer:
    """nginx or HAProxy: a cutover is a reload that names the other backend."""

    kinds = ["cutover by reload"]

    def __init__(self, options, folder, backends, echo):
        self.folder, self.backends, self.echo = folder, backends, echo
        self.port, self.http2 = servers.free_port(), servers.free_port()
        self.write(0)
        self.process = subprocess.Popen(self.command(), cwd=folder, stderr=open(os.path.join(folder, "log"), "wb"))

    def change(self, kind, n):
        self.write(n + 1)
        os.kill(self.process.pid, self.signal)
        time.sleep(1)
        return True

    def stop(self):
        self.process.terminate()


class Nginx(Peer):
    """`nginx -s reload`."""

    signal = signal.SIGHUP

    def command(self):
        return ["nginx", "-p", self.folder, "-c", os.path.join(self.folder, "nginx.conf")]

    def write(self, n):
        head = servers.NGINX_HEAD.format(name="nginx", connections=20_000).replace("worker_processes 1", "worker_processes 2")
        proxy = 'proxy_pass http://pool; proxy_http_version 1.1; proxy_set_header Connection "";'
        servers.write(self.folder, "nginx.conf", head + f"""
  upstream pool {{ server 127.0.0.1:{self.backends[n % 2]}; keepalive 64; }}
  server {{ listen 127.0.0.1:{self.port}; server_name app; location / {{ {proxy} }} }}
  server {{ listen 127.0.0.1:{self.port}; server_name ws; location / {{
    proxy_pass http://127.0.0.1:{self.echo}; proxy_http_version 1.1; proxy_read_timeout 600s;
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection Upgrade; }} }}
  server {{ listen 127.0.0.1:{self.http2} http2; location / {{ {proxy} }} }}
}}
""")


class Haproxy(Peer):
    """SIGUSR2 to the master, which hands the sockets over (`-x`, `expose-fd listeners`)."""

    signal = signal.SIGUSR2

    def command(self):
        return ["haproxy", "-W", "-db", "-S", os.path.join(self.folder, "master.sock"), "-f", os.path.join(self.folder, "haproxy.cfg")]

    def write(self, n):
        servers.write(self.folder, "haproxy.cfg", f"""global
  nbthread 2
  maxconn 9000
  stats socket {self.folder}/admin.sock mode 600 level admin expose-fd listeners
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 60s
  timeout tunnel 600s
  timeout http-keep-alive 600s
frontend f
  bind 127.0.0.1:{self.port}
  bind 127.0.0.1:{self.http2} proto h2
  use_backend ws if {{ req.hdr(host) -i ws }}
  default_backend app
backend app
  server s 127.0.0.1:{self.backends[n % 2]}
backend ws
  server s 127.0.0.1:{self.echo}
""")


PROXIES = {"shifter": Shifter, "nginx": Nginx, "haproxy": Haproxy}


def wait(port):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: app", f"http://127.0.0.1:{port}/"], capture_output=True, text=True)
        if done.stdout == "200":
            return
        time.sleep(0.1)
    raise SystemExit(f"nobody serves on port {port}")


def measure(name, kind, options, backends, echo):
    folder = tempfile.mkdtemp(prefix="changes-")
    proxy = PROXIES[name](options, folder, backends, echo)
    try:
        wait(proxy.port)
        users = subprocess.Popen(
            [options.users, "--http1", f"127.0.0.1:{proxy.port}", "--http2", f"127.0.0.1:{proxy.http2}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = []
        reader = threading.Thread(target=lambda: said.append(users.stdout.read()))
        reader.start()
        began, done, problems = time.monotonic(), 0, []
        pause = options.seconds / options.changes
        for n in range(options.changes):
            time.sleep(pause)
            outcome = proxy.change(kind, n)
            done += outcome is True
            if outcome is not True:
                problems.append(str(outcome)[:300])
        time.sleep(2)
        users.stdin.close()
        reader.join(60)
        seen = json.loads(said[0])
        seen.update(proxy=name, kind=kind, changes=done, problems=problems[:3], seconds=round(time.monotonic() - began, 1))
        return seen
    finally:
        proxy.stop()
        time.sleep(1)
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", default="shifter,nginx,haproxy")
    p.add_argument("--kinds", default="", help="of shifter: reload,successor,cutover")
    p.add_argument("--changes", type=int, default=20)
    p.add_argument("--seconds", type=float, default=60, help="over which they are spread")
    p.add_argument("--profile", default="release")
    p.add_argument("--shifter-bin")
    p.add_argument("--users")
    p.add_argument("--keep", action="store_true", help="leave configuration and logs where they are")
    options = p.parse_args()
    options.shifter_bin = os.path.abspath(options.shifter_bin or servers.binary(options.profile, "shifter"))
    options.users = os.path.abspath(options.users or servers.binary(options.profile, "examples", "users"))
    folder = tempfile.mkdtemp(prefix="changes-backends-")
    _, running, backends = servers.backends(folder, options.profile)
    echo = servers.free_port()
    running_echo = subprocess.Popen([sys.executable, "-c", servers.ECHO, str(echo)])
    try:
        for server in running:
            server.wait()
        print("| proxy | change | changes | HTTP/1.1 answered, failed | HTTP/2 | WebSocket words, failed, opened |\n|---|---|---|---|---|---|")
        for name in options.only.split(","):
            kinds = options.kinds.split(",") if name == "shifter" and options.kinds else PROXIES[name].kinds
            for kind in kinds:
                seen = measure(name, kind, options, backends, echo)
                say(json.dumps(seen))
                cell = lambda one: f"{one['answered']:,}, {one['failed']}"
                print(f"| {name} | {kind} | {seen['changes']} | {cell(seen['http1'])} | {cell(seen['http2'])} | {cell(seen['sockets'])}, {seen['sockets']['connects']} |", flush=True)
    finally:
        running_echo.terminate()
        for server in running:
            server.stop()


if __name__ == "__main__":
    main()
