"""`redrive.py` against an SQS and a CloudFormation of this process, over HTTP: boto3 is the real one."""

import contextlib
import hashlib
import io
import itertools
import json
import os
import tempfile
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock
from urllib.parse import parse_qs

import redrive

ORDER = "b7k2m9x1q4aaa-mfrggzdfmztwq2lknnwg23tpoa"
PLACE = {
    "kind": "place",
    "order_id": ORDER,
    "user_id": "viewer-of-secrets",
    "lines": [{"product_id": "apple-5kg", "quantity": 1, "unit_price": 19900}],
    "payment": {"method": "billing_key", "billing_key": "bk_of_secrets", "customer_key": "ck_of_secrets"},
    "accepted_at": "2026-11-21T09:00:00.123+09:00",
    "deadline": "2026-11-21T09:05:00.123+09:00",
}
QUEUES = ["OrdersQueue", "OrdersDeadLetterQueue", "OrdersParkedQueue", "RoomWakeQueue", "RoomWakeDeadLetterQueue"]


class Aws:
    """Queues with visibility, and a stack that names them."""

    def __init__(self):
        self.queues = {queue: [] for queue in QUEUES}
        self.numbers = itertools.count()
        self.calls = []
        # Called before each request; what it answers is answered instead.
        self.fault = lambda action, queue, request: None
        # Whether an answer is lost after its work was done.
        self.lost = lambda action: False
        self.lock = threading.RLock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"aws": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def put(self, queue, body, **more):
        text = body if isinstance(body, str) else json.dumps(body)
        message = {"id": f"{queue}-{next(self.numbers)}", "body": text, "hidden_until": 0, "receives": 0, **more}
        self.queues[queue].append(message)
        return message["id"]

    def bodies(self, queue):
        return [message["body"] for message in self.queues[queue]]

    def ids(self, queue):
        return [message["id"] for message in self.queues[queue]]

    def visible(self, queue):
        return [message["id"] for message in self.queues[queue] if message["hidden_until"] <= time.time()]

    def answer(self, action, request):
        queue = request["QueueUrl"].rsplit("/", 1)[-1]
        self.calls.append((action, queue))
        messages = self.queues[queue]
        fault = self.fault(action, queue, request)
        if fault:
            return fault
        if action == "ReceiveMessage":
            visible = [message for message in messages if message["hidden_until"] <= time.time()]
            most = request["MaxNumberOfMessages"]
            return 200, {"Messages": [self.receive(message, request) for message in visible[:most]]}
        if action == "SendMessage":
            attributes = request.get("MessageAttributes", {})
            new = self.put(queue, request["MessageBody"], attributes=attributes)
            return 200, {"MessageId": new, "MD5OfMessageBody": hashlib.md5(request["MessageBody"].encode()).hexdigest()}
        if action == "DeleteMessage":
            messages[:] = [message for message in messages if message["id"] != request["ReceiptHandle"]]
            return 200, {}
        if action == "ChangeMessageVisibilityBatch":
            for entry in request["Entries"]:
                for message in messages:
                    if message["id"] == entry["ReceiptHandle"]:
                        message["hidden_until"] = time.time() + entry["VisibilityTimeout"]
            return 200, {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]], "Failed": []}
        if action == "GetQueueAttributes":
            visible = len(self.visible(queue))
            return 200, {
                "Attributes": {
                    "ApproximateNumberOfMessages": str(visible),
                    "ApproximateNumberOfMessagesNotVisible": str(len(messages) - visible),
                    "ApproximateNumberOfMessagesDelayed": "0",
                }
            }
        raise AssertionError(action)

    @staticmethod
    def receive(message, request):
        message["hidden_until"] = time.time() + request["VisibilityTimeout"]
        message["receives"] += 1
        return {
            "MessageId": message["id"],
            "ReceiptHandle": message["id"],
            "Body": message["body"],
            "MD5OfBody": hashlib.md5(message["body"].encode()).hexdigest(),
            "Attributes": {
                "SentTimestamp": str(int((time.time() - 7_200) * 1000)),
                "ApproximateReceiveCount": str(message["receives"]),
            },
            "MessageAttributes": message.get("attributes", {}),
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    aws: Aws

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        target = self.headers.get("x-amz-target")
        if target:
            action = target.split(".")[1]
            with self.aws.lock:
                status, answer = self.aws.answer(action, json.loads(body))
            if self.aws.lost(action):
                self.close_connection = True
                return
            self.reply(status, "application/x-amz-json-1.0", json.dumps(answer))
            return
        stack = parse_qs(body)["StackName"][0]
        if stack != "onepool":
            error = f"<Code>ValidationError</Code><Message>Stack with id {stack} does not exist</Message>"
            self.reply(400, "text/xml", f"<ErrorResponse><Error>{error}</Error></ErrorResponse>")
            return
        outputs = "".join(
            f"<member><OutputKey>{queue}Url</OutputKey><OutputValue>{self.aws.url}/1/{queue}</OutputValue></member>"
            for queue in QUEUES
        )
        stacks = f"<Stacks><member><StackName>onepool</StackName><Outputs>{outputs}</Outputs></member></Stacks>"
        answer = f"<DescribeStacksResponse><DescribeStacksResult>{stacks}</DescribeStacksResult></DescribeStacksResponse>"
        self.reply(200, "text/xml", answer)

    def reply(self, status, kind, text):
        data = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def refusal(code="AccessDeniedException"):
    return 400, {"__type": f"com.amazonaws.sqs#{code}", "message": "not today"}


class Redrive(unittest.TestCase):
    def setUp(self):
        self.aws = Aws()
        self.addCleanup(self.aws.close)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        queues = {queue: f"{self.aws.url}/1/{queue}" for queue in QUEUES}
        run = {"sqs": self.aws.url, "region": "ap-northeast-2", "queues": queues}
        (self.folder / "local.json").write_text(json.dumps(run))

    def run_it(self, **environment):
        """The exit status, and what was said."""
        said = io.StringIO()
        environment = {"ONEPOOL_DIR": str(self.folder), "HOME": str(self.folder), **environment}
        with (
            mock.patch.dict(os.environ, environment, clear=True),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            return redrive.main(), said.getvalue()

    def assert_untouched(self, queue, ids):
        self.assertEqual(self.aws.ids(queue), ids)
        self.assertEqual(self.aws.visible(queue), ids, "a message is hidden")

    # listing

    def test_a_list_says_what_waits_and_gives_every_message_back(self):
        parked = [self.aws.put("OrdersParkedQueue", PLACE) for _ in range(25)]
        wake = self.aws.put("RoomWakeDeadLetterQueue", {"broadcast_id": "b7k2m9x1q4aaa"})
        status, said = self.run_it()
        self.assertEqual(status, redrive.DONE, said)
        for message in [*parked, wake]:
            self.assertEqual(said.count(f"{message} "), 1, said)
        self.assertIn(ORDER, said)
        self.assertIn("2h 0m", said)
        self.assertRegex(said, rf"{wake} .*wake +b7k2m9x1q4aaa")
        self.assert_untouched("OrdersParkedQueue", parked)
        self.assert_untouched("RoomWakeDeadLetterQueue", [wake])
        self.assertEqual({message["receives"] for message in self.aws.queues["OrdersParkedQueue"]}, {1})

    def test_nothing_personal_is_shown(self):
        self.aws.put("OrdersParkedQueue", PLACE)
        self.aws.put("OrdersParkedQueue", {"kind": "pay", "order_id": ORDER, "payment_key": "pk_of_secrets"})
        self.aws.put("OrdersParkedQueue", {"kind": "cancel", "order_id": ORDER, "by": "viewer-of-secrets"})
        self.aws.put("OrdersParkedQueue", {"kind": "place", "order_id": "secrets\x1b[2J"})
        for environment in ({}, {"MESSAGES": "all"}):
            _, said = self.run_it(**environment)
            self.assertNotIn("secrets", said)

    def test_what_is_not_ours_is_marked(self):
        for body in (
            "not JSON",
            "[1]",
            {"order_id": ORDER},
            {"kind": ["place"]},
            {"kind": "pay", "order_id": "x"},
            {"broadcast_id": "a b"},
        ):
            self.aws.put("OrdersParkedQueue", body)
        self.aws.put("OrdersParkedQueue", {"kind": "pay", "order_id": ORDER})
        _, said = self.run_it()
        self.assertEqual(said.count("not one of our messages"), 7, said)
        self.assertIn("(payment_key)", said)

    def test_what_order_dead_letter_settles_is_shown_and_left_alone(self):
        dead = self.aws.put("OrdersDeadLetterQueue", PLACE)
        status, said = self.run_it()
        self.assertIn(dead, said)
        self.assertIn("order-dead-letter settles these by itself", said)
        self.assertIn("nothing to look after", said)
        status, said = self.run_it(MESSAGES="all")
        self.assertEqual(status, redrive.DONE)
        status, said = self.run_it(MESSAGES=dead)
        self.assertEqual(status, redrive.NOT_ALL)
        self.assert_untouched("OrdersDeadLetterQueue", [dead])

    def test_a_walk_ends_though_messages_keep_coming(self):
        def endless(action, queue, request):
            if action == "ReceiveMessage":
                self.aws.put(queue, PLACE)

        self.aws.fault = endless
        with mock.patch.object(redrive, "WALK_MESSAGES", 5), mock.patch.object(redrive, "MOVE_SECONDS", 0.5):
            status, said = self.run_it()
            self.assertEqual(status, redrive.DONE, said)
            self.assertIn("there are more", said)
            status, said = self.run_it(MESSAGES="all")
        self.assertEqual(status, redrive.NOT_ALL, said)
        self.assertIn("run it again", said)

    def test_messages_are_given_back_when_a_walk_breaks_off(self):
        parked = [self.aws.put("OrdersParkedQueue", PLACE) for _ in range(3)]
        receives = []

        def second_receive(action, queue, request):
            if action == "ReceiveMessage":
                receives.append(queue)
                return refusal() if len(receives) == 2 else None

        self.aws.fault = second_receive
        status, said = self.run_it()
        self.assertEqual(status, redrive.FAILED)
        self.assertIn("sqs:GetQueueAttributes", said)
        self.assert_untouched("OrdersParkedQueue", parked)

    # moving

    def test_all_go_back_where_they_came_from(self):
        orders = [{**PLACE, "order_id": f"b{n}{ORDER[13:]}"} for n in range(23)]
        for order in orders:
            self.aws.put("OrdersParkedQueue", order)
        attributes = {"trace": {"DataType": "String", "StringValue": "t-1"}}
        self.aws.put("RoomWakeDeadLetterQueue", {"broadcast_id": "b1"}, attributes=attributes)
        status, said = self.run_it(MESSAGES="all")
        self.assertEqual(status, redrive.DONE, said)
        self.assertIn("put back: 24", said)
        self.assertEqual(self.aws.bodies("OrdersDeadLetterQueue"), [json.dumps(order) for order in orders])
        self.assertEqual(self.aws.bodies("RoomWakeQueue"), ['{"broadcast_id": "b1"}'])
        self.assertEqual(self.aws.queues["RoomWakeQueue"][0]["attributes"], attributes)
        self.assertEqual(self.aws.ids("OrdersParkedQueue") + self.aws.ids("RoomWakeDeadLetterQueue"), [])

    def test_only_the_chosen_ones_go_back(self):
        parked = [self.aws.put("OrdersParkedQueue", PLACE) for _ in range(12)]
        wake = self.aws.put("RoomWakeDeadLetterQueue", {"broadcast_id": "b1"})
        status, said = self.run_it(MESSAGES=f"{parked[11]}, {wake}")
        self.assertEqual(status, redrive.DONE, said)
        self.assert_untouched("OrdersParkedQueue", parked[:11])
        self.assertEqual(len(self.aws.bodies("OrdersDeadLetterQueue")), 1)
        self.assertEqual(len(self.aws.bodies("RoomWakeQueue")), 1)

    def test_a_message_is_deleted_only_after_it_was_sent(self):
        self.aws.put("OrdersParkedQueue", PLACE)
        self.run_it(MESSAGES="all")
        actions = [action for action, _ in self.aws.calls]
        self.assertLess(actions.index("SendMessage"), actions.index("DeleteMessage"))

    def test_a_message_that_cannot_be_sent_stays(self):
        kept, gone = self.aws.put("OrdersParkedQueue", PLACE), self.aws.put("OrdersParkedQueue", {**PLACE, "kind": "check"})
        self.aws.fault = lambda action, _, request: (
            refusal() if action == "SendMessage" and "place" in request["MessageBody"] else None
        )
        status, said = self.run_it(MESSAGES="all")
        self.assertEqual(status, redrive.NOT_ALL)
        self.assertIn("not sent, left where they are: 1", said)
        self.assert_untouched("OrdersParkedQueue", [kept])
        self.assertEqual(len(self.aws.bodies("OrdersDeadLetterQueue")), 1)

    def test_it_stops_where_every_send_is_refused(self):
        parked = [self.aws.put("OrdersParkedQueue", PLACE) for _ in range(30)]
        self.aws.fault = lambda action, *_: refusal() if action == "SendMessage" else None
        status, said = self.run_it(MESSAGES="all")
        self.assertEqual(status, redrive.NOT_ALL)
        self.assertEqual(self.aws.calls.count(("SendMessage", "OrdersDeadLetterQueue")), redrive.REFUSED_IN_A_ROW)
        self.assertIn("SendMessage is not allowed", said)
        self.assert_untouched("OrdersParkedQueue", parked)

    def test_a_send_whose_answer_is_lost_may_come_twice_and_never_not(self):
        self.aws.put("OrdersParkedQueue", PLACE)
        sends = []
        self.aws.lost = lambda action: action == "SendMessage" and not sends.append(action) and len(sends) == 1
        status, said = self.run_it(MESSAGES="all")
        self.assertEqual(status, redrive.DONE, said)
        self.assertEqual(self.aws.bodies("OrdersDeadLetterQueue"), [json.dumps(PLACE)] * 2)
        self.assertEqual(self.aws.ids("OrdersParkedQueue"), [])

    def test_a_message_that_cannot_be_deleted_is_said_to_come_twice(self):
        parked = self.aws.put("OrdersParkedQueue", PLACE)
        self.aws.fault = lambda action, *_: refusal() if action == "DeleteMessage" else None
        status, said = self.run_it(MESSAGES="all")
        self.assertEqual(status, redrive.NOT_ALL)
        self.assertIn("come twice: 1", said)
        self.assert_untouched("OrdersParkedQueue", [parked])
        self.assertEqual(len(self.aws.bodies("OrdersDeadLetterQueue")), 1)

    def test_a_message_that_is_not_there_is_named(self):
        parked = self.aws.put("OrdersParkedQueue", PLACE)
        status, said = self.run_it(MESSAGES=f"{parked},nobody")
        self.assertEqual(status, redrive.NOT_ALL)
        self.assertIn("no such message: nobody", said)
        self.assertEqual(self.aws.ids("OrdersParkedQueue"), [])

    def test_all_and_ids_are_not_mixed(self):
        status, said = self.run_it(MESSAGES="all,x")
        self.assertEqual(status, redrive.FAILED)
        self.assertEqual(self.aws.calls, [])

    # finding the place

    def test_without_a_local_run_it_says_how_to_get_one(self):
        (self.folder / "local.json").unlink()
        status, said = self.run_it()
        self.assertEqual(status, redrive.FAILED)
        self.assertIn("make live", said)

    def test_a_local_run_that_is_gone_is_said_to_be(self):
        self.aws.close()
        status, said = self.run_it()
        self.assertEqual(status, redrive.FAILED)
        self.assertIn("make live", said)

    def test_the_local_run_is_reached_whatever_the_shell_is_set_to(self):
        shell = {"AWS_PROFILE": "nobody", "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        status, said = self.run_it(**shell)
        self.assertEqual(status, redrive.DONE, said)

    def in_aws(self, **more):
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "ap-northeast-2"}
        return {"STACK": "onepool", "AWS_ENDPOINT_URL": self.aws.url, **keys, **more}

    def test_in_aws_the_stack_says_where_the_queues_are(self):
        parked = self.aws.put("OrdersParkedQueue", PLACE)
        status, said = self.run_it(**self.in_aws())
        self.assertEqual(status, redrive.DONE, said)
        self.assertIn("STACK=onepool", said)
        status, said = self.run_it(**self.in_aws(MESSAGES=parked))
        self.assertEqual(status, redrive.DONE, said)
        self.assertEqual(self.aws.bodies("OrdersDeadLetterQueue"), [json.dumps(PLACE)])

    def test_a_stack_that_is_not_there_and_missing_credentials_are_said(self):
        status, said = self.run_it(**self.in_aws(STACK="other"))
        self.assertEqual((status, "no such stack" in said), (redrive.FAILED, True), said)
        none = {"STACK": "onepool", "AWS_DEFAULT_REGION": "ap-northeast-2", "AWS_EC2_METADATA_DISABLED": "true"}
        status, said = self.run_it(**none)
        self.assertEqual((status, "no AWS credentials" in said), (redrive.FAILED, True), said)
        status, said = self.run_it(STACK="onepool")
        self.assertEqual((status, "no AWS region" in said), (redrive.FAILED, True), said)
        status, said = self.run_it(STACK="onepool", AWS_PROFILE="nobody")
        self.assertEqual((status, "nobody" in said), (redrive.FAILED, True), said)


if __name__ == "__main__":
    unittest.main()
