"""Thirteen cases against `grpc_server.py` on the port that is given: how many held, of how many, and which did not."""
import queue
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

OPTIONS = [("grpc.max_receive_message_length", 32 << 20), ("grpc.enable_http_proxy", 0)]
channel = grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}", options=OPTIONS)


def call(method):
    return channel.unary_unary(f"/t.T/{method}")


def echoed(body):
    return call("Echo")(body, timeout=30) == body


def refused(method, timeout=5):
    try:
        call(method)(b"", timeout=timeout)
    except grpc.RpcError as error:
        return error
    raise AssertionError("it was answered")


def error_with_trailers():
    error = refused("Err")
    trailers = [tuple(pair) for pair in error.trailing_metadata()]
    return error.code() == grpc.StatusCode.FAILED_PRECONDITION and error.details() == "nö%" and ("x-t", "1") in trailers


def ping_pong():
    parts = queue.Queue()
    answers = channel.stream_stream("/t.T/BiDi")(iter(parts.get, None), timeout=20)
    good = True
    for i in range(50):
        parts.put(b"%d" % i)
        good &= next(answers) == b"%d" % i
    parts.put(None)
    return good


def deadline():
    began = time.time()
    return refused("Slow", 0.5).code() == grpc.StatusCode.DEADLINE_EXCEEDED and time.time() - began < 1.5


def cancel():
    answers = channel.unary_stream("/t.T/SS")(b"1000", timeout=20)
    next(answers)
    answers.cancel()
    return echoed(b"still there")


def many():
    return all(ThreadPoolExecutor(32).map(lambda _: echoed(b"z"), range(300)))


CASES = {
    "unary": lambda: echoed(b"x"),
    "empty message": lambda: echoed(b""),
    "1 MiB": lambda: echoed(b"x" * (1 << 20)),
    "3 MiB": lambda: echoed(b"x" * (3 << 20)),
    "error with trailers": error_with_trailers,
    "unknown method": lambda: refused("Nope").code() == grpc.StatusCode.UNIMPLEMENTED,
    "server stream": lambda: len(list(channel.unary_stream("/t.T/SS")(b"200", timeout=20))) == 200,
    "client stream": lambda: channel.stream_unary("/t.T/CS")(iter([b"a" * 1000] * 500), timeout=20) == b"500000",
    "both streams": ping_pong,
    "deadline": deadline,
    "cancellation": cancel,
    "health": lambda: health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5).status == 1,
    "300 at once": many,
}
failed = {}
for name, case in CASES.items():
    try:
        if not case():
            failed[name] = "another answer"
    except Exception as error:  # whatever it is, the case did not hold
        failed[name] = repr(error)[:80]
print(len(CASES) - len(failed), "/", len(CASES), failed)
