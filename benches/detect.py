#!/usr/bin/env python3
"""How long shifter needs to see a regression, end to end: real processes, real sockets, steady load.

    benches/detect.py                           every fault at 5, 50 and 500 requests/s
    benches/detect.py --rates 500 --faults errors,down --runs 3
    benches/detect.py --users 2000              sticky users
    benches/detect.py --parallel 6              several cells at once (low rates cost little)

For each cell: two `examples/app`, a shifter and a load of its own, on free loopback ports. Blue
serves alone until it has a past, then `shifter run --strategy canary` puts the faulty green at 5 %.
Counted are the seconds and the green requests from its first share to the rollback, from the
journal's narration and the evidence. Beside it stands what `analysis` or the simulation predicts
(median seconds). Ends by itself; every process is ended by its id.
"""

import argparse
import asyncio
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Options of blue and green, and the predicted median seconds at 5, 50 and 500 requests/s
# (benches/results/statistics.md: errors 0.1 -> 5 %, p50 +20 %, 5 % +1 s, 0 -> 100 %).
USUAL = ["--latency", "40", "--spread", "0.5"]
FAULTS = {
    "errors": (["--errors", "0.1", *USUAL], ["--errors", "5", *USUAL], (378, 44, 16)),
    "half": (["--errors", "0.1", *USUAL], ["--errors", "50", *USUAL], ()),
    "median": (USUAL, ["--latency", "48", "--spread", "0.5"], (1503, 644, 130)),
    "tail": (USUAL, [*USUAL, "--tail", "5", "--tail-ms", "1000"], (816, 130, 51)),
    "tail-x2": ([*USUAL, "--tail", "3", "--tail-ms", "160"], [*USUAL, "--tail", "3", "--tail-ms", "320"], (1558, 608, 106)),
    "timeouts": (USUAL, [*USUAL, "--tail", "5", "--tail-ms", "20000"], ()),
    "resets": (USUAL, [*USUAL, "--broken", "5"], ()),
    "cold": (USUAL, [*USUAL, "--cold", "20", "--tail-ms", "400"], ()),
    "replica": (["--errors", "0.1", *USUAL], ["--errors", "50", *USUAL], ()),
    "route": (["--errors", "0.1", *USUAL], ["--errors", "50", "--checkout-only", *USUAL], ()),
    "blue-worse": (["--errors", "5", *USUAL], ["--errors", "0.1", *USUAL], ()),
    "oom": (USUAL, [*USUAL, "--leak", "8"], ()),
    "down": (USUAL, USUAL, (18, 5, 5)),
    "hang": (USUAL, USUAL, (18, 5, 5)),
    "missing": (USUAL, [*USUAL, "--status", "404"], ()),
    "forbidden": (USUAL, [*USUAL, "--status", "401"], ()),
    "redirect": (USUAL, [*USUAL, "--status", "302"], ()),
    "empty": (USUAL, [*USUAL, "--empty"], ()),
    "late-body": (USUAL, [*USUAL, "--body-ms", "300"], ()),
    "impatient": (USUAL, [*USUAL, "--hang"], ()),
}

# Seconds after which clients give up; 10 in all others. There a connection is all that health checks want: the judge has to find it.
PATIENCE = {"impatient": 0.3}

# Green is as good as blue or better, or what it does is told and not judged: the shares are short, and it is to be promoted.
GOOD = ("cold", "blue-worse", "empty")

CONFIG = """state = "{folder}/state"
[proxy]
listen = "127.0.0.1:{listen}"
threads = 1
[admin]
listen = "127.0.0.1:{admin}"
socket = "{folder}/s.sock"
[service.api]
blue = "127.0.0.1:{blue}"
green = [{green}]
health = {{ {path}interval = "1s", timeout = "900ms", rise = 2, fall = 3 }}
timeouts = {{ connect = "1s", first_byte = "3s", read = "3s", write = "3s", idle = "30s" }}
steps = [{{ weight = 5, hold = "{hold}", deadline = "{deadline}" }}, {{ weight = 100, hold = "1m", deadline = "2m" }}]
keep_blue = "1s"
{more}"""


GIVEN = set()


def free_port():
    """A port that is free and that no other cell of this run was given."""
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        if port not in GIVEN:
            GIVEN.add(port)
            return port


class Load:
    """A steady stream over kept-alive connections: one request each 1/rate seconds, whatever the answers do."""

    def __init__(self, port, rate, seed, patience=10, users=0):
        self.port, self.rate, self.failed, self.sent, self.patience = port, rate, 0, 0, patience
        # The cookie that each user was given; without users nobody keeps one.
        self.cookies = [b""] * users
        self.random = random.Random(seed)
        self.idle = []

    async def run(self, stop):
        due = time.monotonic()
        tasks = set()
        while not stop.is_set():
            now = time.monotonic()
            while due <= now:
                due += 1 / self.rate
                self.sent += 1
                task = asyncio.create_task(self.one())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(min(0.005, max(0.0, due - now)) or 0.001)

    async def one(self):
        try:
            # A connection that idled for long may be closed by now: as every client, take a new one.
            now = time.monotonic()
            while self.idle and (now - self.idle[-1][2] > 20 or self.idle[-1][0].at_eof()):
                self.idle.pop()[1].close()
            status = await self.ask()
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, TypeError):
            status = 599
        if status >= 500:
            self.failed += 1

    async def ask(self):
        reader, writer = self.idle.pop()[:2] if self.idle else await asyncio.open_connection("127.0.0.1", self.port)
        # One request in five is for the checkout.
        path = b"/checkout/17" if self.random.random() < 0.2 else b"/"
        user = self.random.randrange(len(self.cookies)) if self.cookies else None
        cookie = self.cookies[user] if self.cookies else b""
        writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: api\r\n" + (b"Cookie: " + cookie + b"\r\n" if cookie else b"") + b"\r\n")
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), self.patience)
        except asyncio.TimeoutError:
            writer.close()
            raise
        given = re.search(rb"set-cookie: (pin=[^;\r]+)", head, re.I)
        if given and self.cookies:
            self.cookies[user] = given[1]
        length = re.search(rb"content-length: (\d+)", head, re.I)
        if length:
            await reader.readexactly(int(length[1]))
        elif re.search(rb"transfer-encoding: chunked", head, re.I):
            while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
        else:
            writer.close()
            return 599
        if b"connection: close" in head.lower():
            writer.close()
        else:
            self.idle.append((reader, writer, time.monotonic()))
        return int(head[9:12])


async def cell(fault, rate, options):
    blue_args, green_args, _ = FAULTS[fault]
    with tempfile.TemporaryDirectory() as folder:
        blue, green, listen, admin = (free_port() for _ in range(4))
        # Of three replicas one is bad.
        others = [free_port(), free_port()] if fault == "replica" else []
        hold, deadline = ("1m", "5m") if fault in GOOD else (options.deadline, options.deadline)
        config = os.path.join(folder, "shifter.toml")
        with open(config, "w") as f:
            greens = ", ".join(f'"127.0.0.1:{port}"' for port in [green, *others])
            more = f'sticky = {{ cookie = "pin" }}\n' if options.users else ""
            path = "" if fault in PATIENCE else 'path = "/health", '
            f.write(CONFIG.format(more=more, path=path, folder=folder, listen=listen, admin=admin, blue=blue, green=greens, hold=hold, deadline=deadline))
        os.makedirs(os.path.join(folder, "state"), mode=0o700)
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        app = [options.app, "--listen"]
        running = [
            subprocess.Popen([*app, f"127.0.0.1:{blue}", "--version", "blue", *blue_args], **quiet),
            subprocess.Popen([*app, f"127.0.0.1:{green}", "--version", "green", *green_args], **quiet,
                             preexec_fn=little_memory if fault == "oom" else None),
            subprocess.Popen([options.shifter, "serve", "--config", config], **quiet),
            *(subprocess.Popen([*app, f"127.0.0.1:{port}", "--version", "green", *blue_args], **quiet) for port in others),
        ]
        stop = asyncio.Event()
        try:
            await answers(admin)
            load = Load(listen, rate, options.seed, PATIENCE.get(fault, 10), options.users)
            loading = asyncio.create_task(load.run(stop))
            await asyncio.sleep(max(10, 250 / rate))
            failed_before = load.failed
            run = await asyncio.create_subprocess_exec(
                options.shifter, "run", "--strategy", "canary", "--config", config,
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
            if fault in ("down", "hang"):
                await share(admin)
                await asyncio.sleep(2)
                if fault == "down":
                    running[1].kill()
                else:
                    import signal
                    running[1].send_signal(signal.SIGSTOP)
                broken = time.time()
            _, said = await asyncio.wait_for(run.communicate(), 45 * 60)
            stop.set()
            await loading
            lines = said.decode()
            began = moment(lines, "weight 0% → 5%")
            ended = moment(lines, "ROLLED BACK") or moment(lines, "promoted: ")
            if fault in ("down", "hang"):
                began = broken
            record = json.load(urllib.request.urlopen(f"http://127.0.0.1:{admin}/v1/rollouts/1", timeout=5))
            finding = (record.get("evidence") or {}).get("findings", [{}])[0]
            return {
                "fault": fault, "rate": rate, "exit": run.returncode,
                "seconds": round(ended - began, 1) if began and ended else None,
                "green_requests": finding.get("green_requests"),
                "users_failed": load.failed - failed_before, "sent": load.sent,
                "outcome": record.get("outcome"), "reason": record.get("reason"),
            }
        finally:
            stop.set()
            for process in reversed(running):
                process.send_signal(18)
                process.terminate()
            for process in running:
                try:
                    process.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if fault == "oom":
                os.rmdir(memory_group(running[1].pid))


def memory_group(pid):
    root = "/sys/fs/cgroup/memory" if os.path.exists("/sys/fs/cgroup/memory") else "/sys/fs/cgroup"
    return os.path.join(root, f"shifter-detect-{pid}")


def little_memory():
    """Puts this process into a memory control group of its own, of 64 MB: Linux kills it when it takes more."""
    group = memory_group(os.getpid())
    limit = "memory.limit_in_bytes" if "/memory/" in group else "memory.max"
    os.mkdir(group)
    for name, value in ((limit, 64 << 20), ("cgroup.procs", os.getpid())):
        with open(os.path.join(group, name), "w") as f:
            f.write(str(value))


def moment(lines, text):
    for line in lines.splitlines():
        if text in line:
            stamp = line.split()[0].rstrip("Z")
            import datetime
            return datetime.datetime.fromisoformat(stamp + "+00:00").timestamp()
    return None


async def answers(admin):
    await until(lambda: urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=1).status == 200)


async def share(admin):
    def there():
        view = json.load(urllib.request.urlopen(f"http://127.0.0.1:{admin}/v1/status", timeout=2))
        return view["services"][0]["weight_percent"] > 0
    await until(there)


async def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if await asyncio.to_thread(condition):
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("shifter did not come up")
        await asyncio.sleep(0.1)


async def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rates", default="5,50,500")
    p.add_argument("--faults", default=",".join(FAULTS))
    p.add_argument("--runs", type=int, default=1)
    p.add_argument("--parallel", type=int, default=1)
    p.add_argument("--deadline", default="40m", help="the longest time at 5 %%")
    p.add_argument("--users", type=int, default=0, help="so many sticky users, each with a cookie; 0: not sticky")
    p.add_argument("--seed", type=int, default=1)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    p.add_argument("--shifter", default=os.path.join(target, "release", "shifter"))
    p.add_argument("--app", default=os.path.join(target, "release", "examples", "app"))
    p.add_argument("--json", help="also write the raw results there")
    options = p.parse_args()
    gate = asyncio.Semaphore(options.parallel)
    results = []

    async def guarded(fault, rate):
        async with gate:
            result = await cell(fault, rate, options)
            print(json.dumps(result), file=sys.stderr, flush=True)
            results.append(result)

    cells = [(f, int(r)) for r in options.rates.split(",") for f in options.faults.split(",") for _ in range(options.runs)]
    await asyncio.gather(*(guarded(*c) for c in cells))
    if options.json:
        with open(options.json, "w") as f:
            json.dump(results, f, indent=1)
    print("| fault | requests/s | ended | median seconds | predicted | green requests | users' failed requests | why |")
    print("|---|---|---|---|---|---|---|---|")
    for fault, rate in dict.fromkeys(cells):
        mine = [r for r in results if (r["fault"], r["rate"]) == (fault, rate)]
        found = [r for r in mine if r["seconds"] is not None]
        ends = ", ".join(sorted({r["outcome"] or "none" for r in mine}))
        median = lambda key: f"{statistics.median(r[key] for r in found):g}" if found else "-"
        predicted = dict(zip((5, 50, 500), FAULTS[fault][2])).get(rate, "-")
        print(f"| {fault} | {rate} | {ends} | {median('seconds')} | {predicted} | {median('green_requests')} | {median('users_failed')} | {mine[0]['reason'] or ''} |")


asyncio.run(main())
