"""Starts the local AWS (ministack) with six of its edges filed off.

Each is where the emulator differs from AWS in a way that Onepool can see. They are mended here, beside the emulator,
so that neither template.yaml nor a function knows which of the two it runs on.
"""

import contextvars
import os
import signal
import socketserver
import sys
import threading
from http import HTTPStatus

# 1. A Lambda invocation waited 40 ms for a delayed ACK: the Runtime API server left Nagle's algorithm on.
socketserver.StreamRequestHandler.disable_nagle_algorithm = True

from ministack import app  # noqa: E402
from ministack.core import lambda_runtime  # noqa: E402
from ministack.services import apigateway, lambda_svc  # noqa: E402
from ministack.services.cloudformation import provisioners  # noqa: E402

# 2. CloudFormation parameters are strings, and MaximumConcurrency is compared as a number: a mapping whose value came
#    from `!Ref` would raise in the poll loop and never deliver.
concurrency_of_mapping = lambda_svc._sqs_esm_concurrency


def concurrency_as_number(mapping, *rest, **named):
    scaling = mapping.get("ScalingConfig") or {}
    if isinstance(scaling.get("MaximumConcurrency"), str):
        scaling["MaximumConcurrency"] = int(scaling["MaximumConcurrency"])
    return concurrency_of_mapping(mapping, *rest, **named)


lambda_svc._sqs_esm_concurrency = concurrency_as_number

# 3. API Gateway answers a handshake with the status that $connect returned; the emulator says 403 whatever it was.
handshake_answer = contextvars.ContextVar("handshake_answer")
serve_websocket = apigateway.handle_websocket
invoke_route = apigateway._invoke_ws_lambda


async def invoke_and_remember(*args, **named):
    response = await invoke_route(*args, **named)
    # api, account, region, route, stage, connection, event type, request id
    if args[6] == "CONNECT":
        status = int((response or {}).get("statusCode", 200))
        handshake_answer.get({}).update(status=status, connection=args[5], request=args[7])
    return response


async def serve_with_status(scope, receive, send, *args, **named):
    answer = {}
    token = handshake_answer.set(answer)

    async def send_status(message):
        status = answer.get("status", 200)
        if message["type"] == "websocket.accept":
            answer.clear()
        elif message["type"] == "websocket.close" and status >= 300:
            # A function that failed is a bad gateway to its caller, as on AWS.
            status = 502 if status >= 500 else status
            answer_as = apigateway._refuse_ws_handshake
            phrase = HTTPStatus(status).phrase
            connection, request = answer["connection"], answer["request"]
            answer.clear()
            await answer_as(scope, send, status, phrase, connection, request)
            return
        await send(message)

    try:
        await serve_websocket(scope, receive, send_status, *args, **named)
    finally:
        handshake_answer.reset(token)


apigateway._invoke_ws_lambda = invoke_and_remember
apigateway.handle_websocket = serve_with_status

# 4. CORS that came from CloudFormation was kept under CloudFormation's names, where nothing looks for it: every preflight
#    was refused.
def with_api_names(cors, *rest):
    return {name[:1].lower() + name[1:]: value for name, value in (cors or {}).items()}, *rest


preflight, headers_of = apigateway._cors_preflight_response, apigateway._cors_response_headers
apigateway._cors_preflight_response = lambda *args: preflight(*with_api_names(*args))
apigateway._cors_response_headers = lambda *args: headers_of(*with_api_names(*args))

# 5. CloudFormation did not tell Lambda how many invocations of a function may run at once: a function that is to be alone
#    was not.
functions_of_templates = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]


def with_reserved_concurrency(provision, properties_at):
    def provision_and_reserve(*args, **named):
        name, attributes = provision(*args, **named)
        reserved = args[properties_at].get("ReservedConcurrentExecutions")
        # Text, where it came from a parameter.
        lambda_svc._functions[name]["concurrency"] = None if reserved is None else int(reserved)
        return name, attributes

    return provision_and_reserve


# (logical id, properties, ...) and (physical id, old properties, new properties, ...)
for verb, properties_at in (("create", 1), ("update", 2)):
    functions_of_templates[verb] = with_reserved_concurrency(functions_of_templates[verb], properties_at)

# 6. What the functions log goes to CloudWatch Logs only: keep it in a file too, where a person looks for it.
if log_path := os.environ.get("ONEPOOL_FUNCTIONS_LOG"):
    log_file = open(log_path, "a", buffering=1, encoding="utf-8")
    pump_output = lambda_runtime.ProvidedWorker._pump_output

    class Copied:
        def __init__(self, stream, name):
            self.stream, self.name = stream, name

        def readline(self):
            line = self.stream.readline()
            if line:
                log_file.write(f"{self.name} {line.decode('utf-8', 'replace').rstrip()}\n")
            return line

        def close(self):
            self.stream.close()

    def pump_and_copy(worker, stream, lines):
        pump_output(worker, Copied(stream, worker.func_name), lines)

    lambda_runtime.ProvidedWorker._pump_output = pump_and_copy


def stop_with_parent():
    """The parent holds the other end of stdin: when it is gone, so are we, and the functions with us."""
    sys.stdin.buffer.read()
    os.killpg(os.getpgrp(), signal.SIGKILL)


if os.environ.get("ONEPOOL_STOP_WITH_STDIN"):
    threading.Thread(target=stop_with_parent, daemon=True).start()

sys.argv = ["ministack"]
app.main()
