"""A gRPC server with one method of each kind, on the port that is given."""
import sys
import time
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def failing(_, context):
    context.set_trailing_metadata((("x-t", "1"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nö%")


def counting(request, _):
    for i in range(int(request)):
        yield b"m%d" % i
        time.sleep(0.01)


def slow(request, _):
    time.sleep(5)
    return request


METHODS = {
    "/t.T/Echo": grpc.unary_unary_rpc_method_handler(lambda request, _: request),
    "/t.T/Err": grpc.unary_unary_rpc_method_handler(failing),
    "/t.T/SS": grpc.unary_stream_rpc_method_handler(counting),
    "/t.T/CS": grpc.stream_unary_rpc_method_handler(lambda parts, _: b"%d" % sum(map(len, parts))),
    "/t.T/BiDi": grpc.stream_stream_rpc_method_handler(lambda parts, _: (part for part in parts)),
    "/t.T/Slow": grpc.unary_unary_rpc_method_handler(slow),
}


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return METHODS.get(details.method)


server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.max_receive_message_length", 32 << 20)])
server.add_generic_rpc_handlers((Handler(),))
servicer = health.HealthServicer()
servicer.set("", health_pb2.HealthCheckResponse.SERVING)
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
server.wait_for_termination()
