#!/usr/bin/env python3
"""A deployment by hand (Docker, nginx and a script, as guides to blue-green deployment describe it) beside
the same one with shifter, under the same load: requests that failed, time to go back, commands typed.

  benches/by_hand.py [--binary target/release/shifter] [--notice SECONDS]

`--notice` is how long a person takes to see that the new version fails; by default 60 s, which is quick.
It needs nginx, and the engine of the tests, which it starts. It ends by itself within some minutes.
"""

import argparse
import http.client
import os
import subprocess
import tempfile
import threading
import time

ENGINE = "/tmp/shifter-by-hand"
HOST = f"unix://{ENGINE}/docker.sock"
NET = "by-hand"
RATE = 200  # requests in a second, all together


def docker(*arguments):
    done = subprocess.run(["docker", "-H", HOST, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"docker {' '.join(arguments)}: {done.stderr}")
    return done.stdout.strip()


def address(name):
    return docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)


class Load:
    """Users who ask steadily and count what they get."""

    def __init__(self, port, connections=8):
        self.port, self.stop = port, False
        self.answered = self.failed = 0
        self.last_green = 0.0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.user, args=(connections,)) for _ in range(connections)]
        for thread in self.threads:
            thread.start()

    def user(self, connections):
        link, due = None, time.monotonic()
        while not self.stop:
            due += connections / RATE
            time.sleep(max(0.0, due - time.monotonic()))
            sent = time.monotonic()
            try:
                link = link or http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                link.request("GET", "/")
                answer = link.getresponse()
                body = answer.read()
                good = answer.status < 500
                green = answer.getheader("x-app-version") == "green"
                if answer.will_close:
                    link = None
            except (OSError, http.client.HTTPException):
                link, good, green = None, False, False
            with self.lock:
                self.answered += 1
                self.failed += not good
                if green:
                    self.last_green = max(self.last_green, sent)

    def end(self):
        self.stop = True
        for thread in self.threads:
            thread.join()


def clean():
    names = docker("ps", "-aq", "--filter", f"network={NET}").split()
    if names:
        docker("rm", "-f", *names)


def blue():
    clean()
    docker("run", "-d", "--name", "api-blue", "--network", NET, "--restart", "unless-stopped", "app:blue")
    time.sleep(1)


# ---- by hand


def nginx_config(folder, name):
    text = f"""
daemon on; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 2;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  upstream app {{ server {address(name)}:3000; keepalive 16; }}
  server {{ listen 127.0.0.1:18081; location / {{
    proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
}}
"""
    with open(f"{folder}/nginx.conf", "w") as file:
        file.write(text)


def nginx(folder, *arguments):
    subprocess.run(["nginx", "-c", f"{folder}/nginx.conf", *arguments], check=True, capture_output=True)


def by_hand(folder, image, notice):
    """The steps of the guides; each `typed` is a command that a person or a script must know."""
    blue()
    typed = 0
    nginx_config(folder, "api-blue")
    nginx(folder)
    load = Load(18081)
    time.sleep(3)
    docker("run", "-d", "--name", "api-green", "--network", NET, image)
    typed += 1
    while http_status(address("api-green")) != 200:
        time.sleep(0.2)
    typed += 1  # the health of green
    nginx_config(folder, "api-green")
    typed += 1  # the edited file
    nginx(folder, "-t")
    nginx(folder, "-s", "reload")
    typed += 2
    went_back = None
    time.sleep(notice)
    if image == "app:bad":
        begun = time.monotonic()
        nginx_config(folder, "api-blue")
        nginx(folder, "-t")
        nginx(folder, "-s", "reload")
        typed += 3
        time.sleep(3)
        went_back = max(0.0, load.last_green - begun)
    else:
        docker("stop", "api-blue")
        docker("rm", "api-blue")
        typed += 2
        time.sleep(2)
    load.end()
    nginx(folder, "-s", "stop")
    return load, typed, went_back


def http_status(ip):
    try:
        link = http.client.HTTPConnection(ip, 3000, timeout=1)
        link.request("GET", "/health")
        return link.getresponse().status
    except OSError:
        return 0


# ---- with shifter


def with_shifter(folder, binary, image):
    blue()
    state = tempfile.mkdtemp(dir=folder)
    config = f"{state}/shifter.toml"
    with open(config, "w") as file:
        file.write(f"""
state = "{state}"
proxy.listen = "127.0.0.1:18082"
admin.listen = "off"
docker.host = "{HOST}"
[service.api]
blue = {{ container = "api-blue", port = 3000 }}
health = {{ path = "/health", interval = "200ms" }}
steps = [{{ weight = 5, hold = "10s", deadline = "1m" }}, {{ weight = 50, hold = "10s", deadline = "1m" }}, {{ weight = 100, hold = "10s", deadline = "1m" }}]
latency_grace = "5s"
keep_blue = "2s"
""")
    serve = subprocess.Popen([binary, "serve", "--config", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(2)
    load = Load(18082)
    time.sleep(3)
    begun = time.monotonic()
    done = subprocess.run([binary, "run", "api", "--image", image, "--config", config], capture_output=True, text=True)
    took = time.monotonic() - begun
    time.sleep(4)
    load.end()
    serve.terminate()
    serve.wait()
    return load, done.returncode, took


def hold_the_engine():
    """It stops by itself when nobody touches its lease."""
    while True:
        with open(f"{ENGINE}/lease", "w"):
            pass
        time.sleep(20)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default="target/debug/shifter")
    parser.add_argument("--notice", type=float, default=60)
    options = parser.parse_args()
    subprocess.run([os.path.join(os.path.dirname(__file__), "../tests/engine"), "start", ENGINE], check=True)
    if NET not in docker("network", "ls", "--format", "{{.Name}}").split():
        docker("network", "create", NET)
    threading.Thread(target=hold_the_engine, daemon=True).start()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for image, what in [("app:green", "good"), ("app:bad", "20 % errors")]:
            load, typed, back = by_hand(folder, image, options.notice if image == "app:bad" else 5)
            way = f"{back * 1e3:.0f} ms, once a person has seen it (after {options.notice:.0f} s here)" if back is not None else "-"
            rows.append((f"by hand, {what}", load.answered, load.failed, typed, way))
            load, code, took = with_shifter(folder, options.binary, image)
            way = f"by itself, {took:.0f} s after the command (exit code {code})" if code else f"- (promoted after {took:.0f} s)"
            rows.append((f"shifter, {what}", load.answered, load.failed, 1, way))
        clean()
    print(f"| new version | requests | failed | commands | back on blue |\n|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


main()
