#!/usr/bin/env python3
"""Protocol suites through shifter, nginx and HAProxy, all started here on loopback, beside no proxy at all.

    python3 -m venv v && v/bin/pip install grpcio grpcio-health-checking websockets
    cargo build --release --examples --bin shifter
    v/bin/python benches/conformance/run.py --h2spec PATH --autobahn "python2.7 -m autobahntestsuite.wstest"

h2spec is https://github.com/summerwind/h2spec; Autobahn's suite is autobahntestsuite 0.8.2, which needs
Python 2.7. Without one of them its row is left out. About two minutes.
"""
import argparse, collections, json, os, re, shlex, shutil, socket, subprocess, sys, tempfile, time

import hops

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
APP, GRPC, ECHO, HOPS = 19701, 19702, 19703, 19704  # what is behind the proxies
PROXIES = ["shifter", "nginx", "haproxy"]
PORTS = {name: {"web": 19710 + 10 * i, "grpc": 19711 + 10 * i, "ws": 19712 + 10 * i, "hops": 19713 + 10 * i} for i, name in enumerate(PROXIES)}
PORTS["direct"] = {"grpc": GRPC, "ws": ECHO}

SHIFTER = """state = "{dir}/state"
[proxy]
listen = ["127.0.0.1:{web}", "127.0.0.1:{grpc}", "127.0.0.1:{ws}", "127.0.0.1:{hops}"]
[admin]
listen = "127.0.0.1:19799"
[service.web]
hosts = ["127.0.0.1"]
blue = "127.0.0.1:{app}"
[service.grpc]
hosts = ["127.0.0.1"]
paths = ["/t.T", "/grpc.health.v1.Health"]
blue = "127.0.0.1:{grpc_app}"
protocol = "h2c"
[service.ws]
hosts = ["localhost"]
blue = "127.0.0.1:{echo}"
[service.hops]
hosts = ["a.test"]
blue = "127.0.0.1:{next}"
"""
NGINX = """daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_max_body_size 64m; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server {{ listen 127.0.0.1:{web} http2; location / {{ proxy_pass http://127.0.0.1:{app}; proxy_http_version 1.1; }} }}
  server {{ listen 127.0.0.1:{grpc} http2; location / {{ grpc_pass grpc://127.0.0.1:{grpc_app}; }} }}
  server {{ listen 127.0.0.1:{ws}; location / {{ proxy_pass http://127.0.0.1:{echo}; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_buffering off; }} }}
  server {{ listen 127.0.0.1:{hops}; location / {{ proxy_pass http://127.0.0.1:{next}; proxy_http_version 1.1; proxy_set_header X-Forwarded-For $remote_addr; }} }}
}}
"""
HAPROXY = """defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
frontend web
  bind 127.0.0.1:{web}
  default_backend app
frontend grpc
  bind 127.0.0.1:{grpc} proto h2
  default_backend grpc
frontend ws
  bind 127.0.0.1:{ws}
  default_backend ws
frontend hops
  bind 127.0.0.1:{hops}
  option forwardfor
  default_backend hops
backend app
  server a 127.0.0.1:{app}
backend hops
  server a 127.0.0.1:{next}
backend grpc
  server a 127.0.0.1:{grpc_app} proto h2
backend ws
  server a 127.0.0.1:{echo}
"""
running = []


def start(*command):
    running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


def listening(port):
    end = time.time() + 15
    while time.time() < end:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nobody listens on {port}")


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
    return path


def proxy(name, folder, args):
    ports = PORTS[name]
    values = dict(dir=folder, app=APP, grpc_app=GRPC, echo=ECHO, next=HOPS, **ports)
    if name == "shifter":
        start(args.shifter, "serve", "--config", write(f"{folder}/shifter.toml", SHIFTER.format(**values)))
    elif name == "nginx":
        start("nginx", "-c", write(f"{folder}/nginx.conf", NGINX.format(**values)))
    else:
        start("haproxy", "-db", "-f", write(f"{folder}/haproxy.cfg", HAPROXY.format(**values)))
    for port in ports.values():
        listening(port)


def h2spec(tool, port):
    out = subprocess.run([tool, "-h", "127.0.0.1", "-p", str(port), "-o", "3"], capture_output=True, text=True, timeout=300).stdout
    total, passed = re.search(r"(\d+) tests, (\d+) passed", out).groups()
    return f"{passed} of {total}", re.findall(r"× (\d+: .*)", out.split("Failures:")[-1])


def grpc(port):
    out = subprocess.run([sys.executable, f"{HERE}/grpc_client.py", str(port)], capture_output=True, text=True, timeout=200).stdout
    passed, _, total, rest = out.split(" ", 3)
    return f"{passed} of {total}", [] if rest.strip() == "{}" else [rest.strip()]


def autobahn(tool, name, port, folder):
    host = "localhost" if name == "shifter" else "127.0.0.1"
    spec = {"outdir": f"{folder}/ws-{name}", "servers": [{"agent": name, "url": f"ws://{host}:{port}"}], "cases": ["*"],
            "exclude-cases": ["9.3.*", "9.4.*", "9.5.*", "9.6.*", "9.7.*", "9.8.*", "12.*", "13.*"], "exclude-agent-cases": {}}
    path = write(f"{folder}/{name}.json", json.dumps(spec))
    subprocess.run([*shlex.split(tool), "-m", "fuzzingclient", "-s", path], capture_output=True, timeout=300)
    cases = json.load(open(f"{folder}/ws-{name}/index.json"))[name]
    count = collections.Counter(case["behavior"] for case in cases.values())
    failed = sorted(number for number, case in cases.items() if case["behavior"] == "FAILED")
    return f"{len(cases) - len(failed)} of {len(cases)} ({count['OK']} strict)", failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shifter", default=f"{ROOT}/target/release/shifter")
    parser.add_argument("--app", default=f"{ROOT}/target/release/examples/app")
    parser.add_argument("--h2spec")
    parser.add_argument("--autobahn")
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="conformance-")
    try:
        start(args.app, "--listen", f"127.0.0.1:{APP}")
        start(sys.executable, f"{HERE}/grpc_server.py", str(GRPC))
        start(sys.executable, f"{HERE}/echo.py", str(ECHO))
        for port in (APP, GRPC, ECHO):
            listening(port)
        here = [name for name in PROXIES if name == "shifter" or shutil.which(name)]
        for name in here:
            proxy(name, folder, args)
        print("| suite | " + " | ".join(["no proxy", *here]) + " |\n|---|" + "---|" * (len(here) + 1))
        notes = []

        def row(suite, run, names):
            cells = []
            for name in ["direct", *here]:
                figure, failed = run(name) if name in names else ("–", [])
                cells.append(figure)
                notes.extend(f"- {suite}, {name}: {what}" for what in failed[:25])
            print(f"| {suite} | " + " | ".join(cells) + " |", flush=True)

        if args.h2spec:
            row("h2spec (HTTP/2 without TLS)", lambda name: h2spec(args.h2spec, PORTS[name]["web"]), here)
        row("gRPC with grpcio", lambda name: grpc(PORTS[name]["grpc"]), ["direct", *here])
        backend = hops.Backend(HOPS)
        row("hop-by-hop and identity headers", lambda name: hops.run(backend, PORTS[name]["hops"]), here)
        if args.autobahn:
            row("Autobahn (WebSocket)", lambda name: autobahn(args.autobahn, name, PORTS[name]["ws"], folder), ["direct", *here])
        print("\nNot passed:\n" + "\n".join(notes))
    finally:
        for process in running:
            process.terminate()
        shutil.rmtree(folder, ignore_errors=True)


main()
