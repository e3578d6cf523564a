#!/usr/bin/env python3
"""shifter beside its peers on this machine: CPU time per request, requests/s, latency, memory.

    benches/load/run.py                        all that are here, 5 rounds of 5 s, interleaved
    benches/load/run.py --shape all            the same for TLS, HTTP/2, large bodies, ... (shapes.py)
    benches/load/run.py --idle 9000            memory of idle keep-alive connections
    benches/load/run.py --keepalive 1000       memory under load on 1,000 connections
    benches/load/run.py --requests 10000000    memory before, during and after so many requests

Load is wrk (h2load for HTTP/2) on loopback, on the cores that the proxies use too: requests/s are of this machine and
this moment; CPU time per request, and its ratios within a round, are what carries over.
"""

import argparse
import dataclasses
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import measure
import servers
import shapes

MB = 1e6


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", default=",".join(servers.PROXIES), help="of %(default)s")
    p.add_argument("--shape", default="plain", help="of all, " + ", ".join(shapes.SHAPES) + " (%(default)s)")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=int, default=5, help="of a round")
    p.add_argument("--connections", type=int, default=64)
    p.add_argument("--idle", type=int, metavar="N", help="memory with N idle keep-alive connections, instead")
    p.add_argument("--keepalive", type=int, metavar="N", help="memory under load on N connections, instead")
    p.add_argument("--requests", type=int, metavar="N", help="memory over N requests, instead")
    p.add_argument("--profile", default="release", help="cargo profile of shifter and bare (%(default)s)")
    p.add_argument("--no-build", action="store_true", help="use what is built")
    p.add_argument("--shifter-bin", help="another shifter")
    p.add_argument("--shifter-config", help="a template with {state} {listen} {admin} {blue} {green} {connections}")
    p.add_argument("--shifter-weight", default="set-weight 50", help="the command that shares the load (%(default)s)")
    options = p.parse_args()
    options.shifter_bin = os.path.abspath(options.shifter_bin or servers.binary(options.profile, "shifter"))
    options.only = [name.strip() for name in options.only.split(",") if name.strip()]
    unknown = [name for name in options.only if name not in servers.PROXIES]
    if unknown:
        p.error(f"no proxy is called {unknown[0]}: choose of {', '.join(servers.PROXIES)}")
    options.shapes = [name for name, shape in shapes.SHAPES.items() if not shape.websocket] if options.shape == "all" else [name.strip() for name in options.shape.split(",")]
    unknown = [name for name in options.shapes if name not in shapes.SHAPES]
    if unknown:
        p.error(f"no shape is called {unknown[0]}: choose of all, {', '.join(shapes.SHAPES)}")
    return options


def build(options):
    wanted = (["--bin", "shifter"] if "shifter" in options.only else []) + \
        (["--example", "bare_pingora"] if "bare" in options.only else []) + \
        (["--example", "app"] if not shutil.which("nginx") else [])
    if wanted and not options.no_build:
        say(f"building with profile {options.profile}")
        subprocess.run(["cargo", "build", "--quiet", "--profile", options.profile, *wanted], cwd=servers.ROOT, check=True)


def say(text):
    print(text, file=sys.stderr, flush=True)


class Bench:
    """The backends, and the proxies that can be started here."""

    def __init__(self, options, folder):
        self.options, self.folder, self.running = options, folder, []
        self.notes = []

    def start(self):
        if not shutil.which("wrk"):
            raise SystemExit(f"wrk is not installed: {servers.INSTALL['wrk']}")
        kind, running, self.ports = servers.backends(self.folder, self.options.profile, self.options.shape.body, self.options.shape.websocket)
        self.running += running
        for server in running:
            server.wait()
        say(f"backends: {kind}")
        self.direct = running[0]
        self.proxies = []
        for name in self.options.only:
            missing = servers.available(name, self.options)
            if missing:
                say(f"{name} is left out, {missing}")
                self.notes.append(f"{name}: {missing}")
                continue
            self.proxies.append(self.proxy(name))
        if not self.proxies:
            raise SystemExit("nothing to measure")

    def proxy(self, name):
        folder = os.path.join(self.folder, name)
        os.makedirs(folder)
        command, port, env = servers.PROXIES[name](folder, self.ports, self.options)
        server = servers.Server(name, command, port, folder, env, self.options.shape.tls)
        self.running.append(server)
        if self.options.shape.http2 and not self.options.shape.tls and name in ("nginx", "haproxy"):
            server.wait_open()  # their ports for HTTP/2 without TLS speak nothing else
        else:
            server.wait()
        if name == "shifter":
            refused = servers.shifter_weight(folder, self.options)
            if refused:
                say(f"shifter sends everything to blue: {refused}")
                self.notes.append(refused)
        if self.options.shape.sticky:
            server.cookies = servers.cookies(server)
        return server

    def check_shares(self):
        if any(server.name == "shifter" for server in self.proxies):
            share = servers.green_share(self.options)
            self.notes.append(f"shifter sent {share:.1%} to green")
            say(self.notes[-1])

    def stop(self):
        for server in reversed(self.running):
            server.stop()


def throughput(bench, options):
    """Rounds in turn (A B C, A B C), so that what else the machine does hits all alike."""
    idle = {s.name: measure.memory(s.process.pid) for s in bench.proxies}
    for server in bench.proxies:
        measure.load(server, options, options.connections, 2)
    rounds = []
    for number in range(options.rounds):
        row = {"direct": measure.wrk(bench.direct.url, options.connections, options.seconds)}
        for server in bench.proxies:
            row[server.name] = measure.round_of(server, options, options.connections, options.seconds)
        rounds.append(row)
        say(f"round {number + 1} of {options.rounds}: " + ", ".join(
            f"{name} {r['cpu_us']:.1f}" for name, r in row.items() if "cpu_us" in r) + " us/request")
    bench.check_shares()
    table = []
    for name in ["direct", *[s.name for s in bench.proxies]]:
        mine = [row[name] for row in rounds]
        mid = lambda key: statistics.median(r[key] for r in mine)
        ratio = lambda other: statistics.median(
            row[name]["cpu_us"] / row[other]["cpu_us"] for row in rounds) if other in rounds[0] and name != "direct" else None
        cpu = mid("cpu_us") if name != "direct" else None
        table.append([
            name, number_or(cpu, "{:.1f}"), number_or(ratio("bare"), "{:.2f}"), number_or(ratio("haproxy"), "{:.2f}"),
            f"{mid('rps'):,.0f}", f"{mid('p50_ms'):.2f}", f"{mid('p99_ms'):.2f}",
            f"{idle[name]['pss'] / MB:.1f}" if name in idle else "-",
            f"{max(r['pss'] for r in mine) / MB:.1f}" if name in idle else "-",
            f"{sum(r['wrong'] for r in mine)}"])
    show(["", "CPU us/req", "x bare", "x HAProxy", "req/s", "p50 ms", "p99 ms", "idle MB", "loaded MB", "wrong"], table)
    print(f"\nMedians of {options.rounds} rounds of {options.seconds} s on {options.connections} connections; "
          "ratios are medians of the rounds' ratios; memory is the proportional set.")
    return {"idle": idle, "rounds": rounds, "wrong": sum(r["wrong"] for row in rounds for r in row.values())}


IDLE_ROUNDS = 5


def idle_memory(bench, options):
    """Opened and closed again and again: what is lost at each turn would add up."""
    table, raw = [], {}
    for server in bench.proxies:
        measure.wrk(server.url, options.connections, 2)
        points = [measure.memory(server.process.pid)]
        for _ in range(IDLE_ROUNDS):
            held = measure.idle_connections(server, options.idle, options.shape.websocket)
            points.append(measure.memory(server.process.pid))
            with server.ask() as answer:
                fresh = answer.status
            for s in held:
                s.close()
            if fresh != 200:
                raise SystemExit(f"{server.name} answers {fresh} with {options.idle} connections open")
        time.sleep(2)
        after = measure.memory(server.process.pid)
        raw[server.name] = {"points": points, "after": after}
        grown = points[1]["pss"] - points[0]["pss"]
        table.append([server.name, *(f"{p['pss'] / MB:.1f}" for p in (points[0], points[1], points[-1], after)), f"{grown / options.idle / 1e3:.1f}"])
        say(f"{server.name}: {table[-1][-1]} kB each")
    show(["", "before MB", f"{options.idle} idle MB", f"round {IDLE_ROUNDS}", "closed", "kB each"], table)
    return {"idle_connections": raw, "wrong": 0}


def loaded_memory(bench, options):
    table, raw = [], {}
    for server in bench.proxies:
        before = measure.memory(server.process.pid)
        with measure.Peak(server.process.pid) as peak:
            result = measure.round_of(server, options, options.keepalive, options.seconds)
        raw[server.name] = {"before": before, "peak": {"rss": peak.rss, "pss": peak.pss}, **result}
        table.append([server.name, f"{before['pss'] / MB:.1f}", f"{peak.pss / MB:.1f}", f"{peak.rss / MB:.1f}",
                      f"{result['rps']:,.0f}", f"{result['p99_ms']:.1f}", str(result["wrong"])])
    show(["", "before MB", "peak MB", "peak RSS MB", "req/s", "p99 ms", "wrong"], table)
    return {"keepalive": raw, "wrong": sum(r["wrong"] for r in raw.values())}


def soak(bench, options):
    """Ten parts; growth is counted from the first on, when buffers and pools have their size."""
    table, raw = [], {}
    for server in bench.proxies:
        points, sent, wrong = [{"requests": 0, **measure.memory(server.process.pid)}], 0, 0
        rate = measure.wrk(server.url, options.connections, 2)["rps"]
        for part in range(1, 11):
            while sent < options.requests * part / 10:
                left = options.requests * part / 10 - sent
                result = measure.wrk(server.url, options.connections, max(1, min(30, round(left / rate))))
                sent, wrong, rate = sent + result["requests"], wrong + result["wrong"], result["rps"]
            points.append({"requests": sent, **measure.memory(server.process.pid)})
            say(f"{server.name}: {sent:,} requests, {points[-1]['rss'] / MB:.1f} MB")
        raw[server.name] = {"points": points, "wrong": wrong}
        grown = points[-1]["rss"] - points[1]["rss"]
        table.append([server.name, f"{sent:,}", *(f"{points[i]['rss'] / MB:.1f}" for i in (0, 1, 5, 10)), f"{grown / MB:+.1f}", str(wrong)])
    show(["", "requests", "idle RSS MB", "after 10 %", "50 %", "100 %", "grown", "wrong"], table)
    return {"soak": raw, "wrong": sum(r["wrong"] for r in raw.values())}


def number_or(value, shape):
    return "-" if value is None else shape.format(value)


def show(head, rows):
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(str(v).ljust(w) if i == 0 else str(v).rjust(w) for i, (v, w) in enumerate(zip(row, widths))))


def machine():
    with open("/proc/cpuinfo") as f:
        models = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
    return {"cpu": models[0] if models else platform.machine(), "cores": os.cpu_count(), "kernel": platform.release()}


def main():
    options = arguments()
    # An ordinary end, so that the servers are stopped as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    measure.raise_file_limit()
    wanted = max(options.idle or 0, options.keepalive or 0, options.connections)
    if wanted > servers.CONNECTIONS:
        raise SystemExit(f"{wanted} connections are too many: the limit of open files allows {servers.CONNECTIONS} (ulimit -Hn)")
    build(options)
    what = idle_memory if options.idle else loaded_memory if options.keepalive else soak if options.requests else throughput
    results = os.path.join(servers.ROOT, "benches", "load", "results")
    os.makedirs(results, exist_ok=True)
    wrong = 0
    for name in options.shapes:
        options.shape = shapes.SHAPES[name]
        print(f"\n{name}: {options.shape.what}\n")
        result, notes = one(what, options)
        path = os.path.join(results, time.strftime("%Y%m%dT%H%M%S") + f"-{what.__name__}-{name}.json")
        with open(path, "w") as f:
            asked = {k: v for k, v in vars(options).items() if not k.startswith("shifter_") and k != "shape"}
            json.dump({"machine": machine(), "asked": asked, "shape": dataclasses.asdict(options.shape), "notes": notes, **result}, f, indent=1)
        say(f"raw figures: {os.path.relpath(path)}")
        wrong += result["wrong"]
    if wrong:
        raise SystemExit(f"{wrong} answers were missing or wrong: the figures do not count")


def one(what, options):
    """One shape of load, from the start of all servers to their end."""
    with tempfile.TemporaryDirectory(prefix="shifter-load-") as folder:
        bench = Bench(options, folder)
        try:
            bench.start()
            return what(bench, options), bench.notes
        finally:
            bench.stop()


if __name__ == "__main__":
    main()
