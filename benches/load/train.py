#!/usr/bin/env python3
"""What a profile-guided build watches: `train.py SHIFTER` puts that program under the loads of a day.

Small answers on kept-alive connections with both pools, bodies both ways, a connection for each
request, TLS and HTTP/2. About a minute; the program ends by SIGTERM and writes
what it counted.
"""

import shutil
import subprocess
import sys
import tempfile
import types

import servers
import shapes

POST = 'wrk.method = "POST"\nwrk.body = string.rep("x", 2048)\nwrk.headers["content-type"] = "application/json"\n'
BROWSER = """wrk.headers["user-agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
wrk.headers["accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
wrk.headers["accept-language"] = "en-US,en;q=0.5"
wrk.headers["accept-encoding"] = "gzip, deflate, br"
wrk.headers["cookie"] = "session=0123456789abcdef; theme=dark"
"""


def load(url, seconds, connections, folder, script=None, *more):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *more]
    if script:
        command += ["-s", servers.write(folder, "load.lua", script)]
    subprocess.run([*command, url], check=True, stdout=subprocess.DEVNULL)


def plain(url, folder):
    load(url, 20, 64, folder)
    load(url, 10, 16, folder, BROWSER)
    load(url, 5, 16, folder, POST)
    load(url, 5, 8, folder, None, "-H", "Connection: close")


def by_tls(url, folder):
    load(url, 8, 64, folder)
    load(url, 4, 8, folder, None, "-H", "Connection: close")
    if shutil.which("h2load"):
        subprocess.run(["h2load", "-t1", "-c4", "-m16", "-D8", url], check=True, stdout=subprocess.DEVNULL)


def main(program):
    for shape, train in [("plain", plain), ("tls", by_tls)]:
        with tempfile.TemporaryDirectory(prefix="shifter-train-") as folder:
            watched(program, shapes.SHAPES[shape], train, folder)


def watched(program, shape, train, folder):
    options = types.SimpleNamespace(
        profile="release", shape=shape, shifter_bin=program, shifter_config=None, shifter_weight="set-weight 50")
    _, running, ports = servers.backends(folder, "release")
    try:
        for server in running:
            server.wait()
        command, port, env = servers.shifter(folder, ports, options)
        shifter = servers.Server("shifter", command, port, folder, env, shape.tls)
        running.append(shifter)
        shifter.wait()
        refused = servers.shifter_weight(folder, options)
        if refused:
            sys.exit(refused)
        train(shifter.url, folder)
    finally:
        for server in reversed(running):
            server.stop()


main(sys.argv[1])
