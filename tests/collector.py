"""A collector of OpenTelemetry whose reading nobody here wrote: OTLP over HTTP, decoded by PyPI's opentelemetry-proto.

    python collector.py PORT

It prints a line of JSON for itself when it listens, one for each request and one for each span.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


def tell(line):
    print(json.dumps(line), flush=True)


def attributes(fields):
    told = {field.key: getattr(field.value, field.value.WhichOneof("value")) for field in fields}
    if len(told) != len(fields):
        # "Attribute keys MUST be unique", says the .proto.
        raise ValueError(f"an attribute is there twice: {fields}")
    return told


def spans(request):
    for of_resource in request.resource_spans:
        resource = attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield {
                    "resource": resource,
                    "scope": of_scope.scope.name,
                    "name": span.name,
                    "kind": Span.SpanKind.Name(span.kind),
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "state": span.trace_state,
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "status": Status.StatusCode.Name(span.status.code),
                    "message": span.status.message,
                    "attributes": attributes(span.attributes),
                    "events": len(span.events),
                    "links": len(span.links),
                }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path != "/v1/traces" or self.headers["content-type"] != "application/x-protobuf":
            self.send_error(404)
            return
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        tell({"authorization": self.headers["authorization"]})
        for span in spans(request):
            tell(span)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
tell({"listens": True})
server.serve_forever()
