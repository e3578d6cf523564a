#!/usr/bin/env python3
"""What a profile-guided build watches: `train.py SHIFTER` puts that program under the loads of a day.

Small answers on kept-alive connections with both pools, bodies both ways, a connection for each
request, sticky users, requests that fail. About a minute; the program ends by SIGTERM and writes
what it counted.
"""

import subprocess
import sys
import tempfile
import types

import servers

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


def main(program):
    with tempfile.TemporaryDirectory(prefix="shifter-train-") as folder:
        options = types.SimpleNamespace(profile="release", shifter_bin=program, shifter_config=None, shifter_weight="set-weight 50")
        _, running, ports = servers.backends(folder, "release")
        try:
            for server in running:
                server.wait()
            command, port, env = servers.shifter(folder, ports, options)
            shifter = servers.Server("shifter", command, port, folder, env)
            running.append(shifter)
            shifter.wait()
            refused = servers.shifter_weight(folder, options)
            if refused:
                sys.exit(refused)
            load(shifter.url, 20, 64, folder)
            load(shifter.url, 10, 16, folder, BROWSER)
            load(shifter.url, 5, 16, folder, POST)
            load(shifter.url, 5, 8, folder, None, "-H", "Connection: close")
        finally:
            for server in reversed(running):
                server.stop()


main(sys.argv[1])
