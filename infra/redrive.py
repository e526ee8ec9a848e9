"""Looks after messages that no function could handle: lists them, and puts chosen ones back where they came from.

    make redrive                            lists, in the local run
    make redrive MESSAGES=all               queues every parked message again
    make redrive MESSAGES=<id>,<id>         queues these again
    make redrive STACK=onepool ...          the same in AWS, with the credentials and the region that boto3 finds

A message is sent first and deleted only after the send has succeeded: it may come twice, never zero times, and every
consumer may be given a message twice. The exit status is 0 if all was done, 1 if some messages were not moved, 2 if it
could not begin or go on.
"""

import json
import os
import re
import sys
import time
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

try:
    import boto3
    from botocore import exceptions as aws
    from botocore.config import Config
except ImportError:
    sys.exit("실패 · failed: boto3 is missing\n  해결 · fix: `make redrive` (it runs in the project's venv)")

# Where parked messages are, and the queue that each came from.
PARKED = {
    "OrdersParkedQueue": "OrdersDeadLetterQueue",
    "RoomWakeDeadLetterQueue": "RoomWakeQueue",
}
# Shown, and left to its function.
LEFT_ALONE = "OrdersDeadLetterQueue"
ITS_FUNCTION = "order-dead-letter"

# Messages stay hidden from others while we go through a queue, or we would meet the same ones again. If this program
# dies in between they come back by themselves after so long.
HIDDEN_SECONDS = 60
# One walk through a queue ends well before the first message of it comes back.
WALK_SECONDS = 40
WALK_MESSAGES = 1_000
# How long moving everything may take; each message is moved as it comes, so none is hidden that long.
MOVE_SECONDS = 600
# After so many sends refused in a row the rest would be refused, too.
REFUSED_IN_A_ROW = 3
# The most SQS gives or takes at once.
BATCH = 10
# Long enough that SQS asks all of its servers before it says that a queue is empty.
WAIT_SECONDS = 1

LOCAL_FIX = "`make live`을 다른 터미널에서 · in another terminal; on AWS: `make redrive STACK=<stack>`"
LIST_FIX = "`make redrive`로 id를 확인 · shows the ids; a hidden message is back within a minute"
CREDENTIALS_FIX = "`aws sso login`, `aws configure` or AWS_PROFILE=<profile>"

DONE, NOT_ALL, FAILED = 0, 1, 2


class Problem(Exception):
    """What went wrong, and what mends it."""

    def __init__(self, what, fix):
        super().__init__(what)
        self.fix = fix


# ---------------------------------------------------------------- where


@dataclass
class Place:
    """A deployment: its queues by logical id."""

    name: str
    sqs: object
    queues: dict
    local: bool

    def url(self, queue):
        if queue not in self.queues:
            raise Problem(
                f"{self.name}에 {queue}가 없음 · has no {queue}",
                "template.yaml을 다시 배포 · deploy template.yaml again",
            )
        return self.queues[queue]


def local_run(folder):
    """The run of `make live`, as its address file says."""
    path = folder / "local.json"
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        endpoint, region, queues = run["sqs"], run["region"], run["queues"]
    except FileNotFoundError:
        raise Problem(f"로컬 실행이 없음 · no local run: {path}", LOCAL_FIX) from None
    except (OSError, ValueError, KeyError) as error:
        raise Problem(f"{path}를 읽을 수 없음 · cannot be read: {error!r}", LOCAL_FIX) from None
    # Nothing of this shell's AWS: neither its profile nor its proxy leads to the local run.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    sqs = boto3.client(
        "sqs",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=settings(proxies={}),
    )
    return Place(f"로컬 · local {endpoint}", sqs, queues, local=True)


def deployed(stack):
    """A stack in AWS, as its outputs say."""
    # boto3 itself reads only AWS_DEFAULT_REGION.
    session = boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)
    cloudformation = session.client("cloudformation", config=settings())
    outputs = cloudformation.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    queues = {
        output["OutputKey"].removesuffix("Url"): output["OutputValue"]
        for output in outputs
        if output["OutputKey"].endswith("QueueUrl")
    }
    name = f"AWS {cloudformation.meta.region_name}, stack {stack}"
    return Place(name, session.client("sqs", config=settings()), queues, local=False)


def settings(**more):
    retries = {"mode": "standard", "total_max_attempts": 3}
    return Config(connect_timeout=5, read_timeout=20, retries=retries, **more)


# ---------------------------------------------------------------- what


@dataclass
class Message:
    """A message as it was received this time."""

    id: str
    receipt: str
    body: str
    attributes: dict
    sent_at: float
    receives: int
    kind: str = "?"
    about: str = ""
    note: str = ""

    @classmethod
    def read(cls, received):
        system = received.get("Attributes", {})
        message = cls(
            id=received["MessageId"],
            receipt=received["ReceiptHandle"],
            body=received["Body"],
            attributes=received.get("MessageAttributes", {}),
            sent_at=int(system.get("SentTimestamp", 0)) / 1000,
            receives=int(system.get("ApproximateReceiveCount", 0)),
        )
        message.kind, message.about, message.note = recognise(message.body)
        return message


# What the messages of the orders queue carry (shared/src/order/message.rs) beside their kind.
ORDER_MESSAGES = {
    "place": {"order_id", "user_id", "lines", "payment", "accepted_at", "deadline"},
    "pay": {"order_id", "payment_key"},
    "check": {"order_id"},
    "cancel": {"order_id", "by"},
}
ORDER_ID = re.compile(r"[A-Za-z0-9._-]{1,24}-[A-Za-z0-9]{26}")
BROADCAST_ID = re.compile(r"[A-Za-z0-9._-]{1,24}")
FOREIGN = "우리 메시지가 아님 · not one of our messages"


def recognise(body):
    """Kind, order or broadcast, and what is wrong. Nothing else of a body is ever shown: it names people and cards."""
    try:
        content = json.loads(body)
    except ValueError:
        return "?", "", f"{FOREIGN} (JSON?)"
    if not isinstance(content, dict):
        return "?", "", FOREIGN
    if set(content) == {"broadcast_id"}:
        broadcast = content["broadcast_id"]
        if isinstance(broadcast, str) and BROADCAST_ID.fullmatch(broadcast):
            return "wake", broadcast, ""
        return "?", "", f"{FOREIGN} (broadcast_id)"
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in ORDER_MESSAGES:
        return "?", "", f"{FOREIGN} (kind)"
    order = content.get("order_id")
    if not isinstance(order, str) or not ORDER_ID.fullmatch(order):
        return kind, "", f"{FOREIGN} (order_id)"
    missing = sorted(ORDER_MESSAGES[kind] - set(content))
    return kind, order, f"{FOREIGN} ({', '.join(missing)})" if missing else ""


# ---------------------------------------------------------------- reading


class Walk:
    """One way through a queue. What is met stays hidden until the end; then all that was not deleted is given back."""

    def __init__(self, sqs, url, seconds, messages=None):
        self.sqs, self.url = sqs, url
        self.until = time.monotonic() + seconds
        self.most = messages
        self.held = {}
        self.finished = False

    def __enter__(self):
        return self

    def __exit__(self, *_raised):
        self.give_back()

    def batches(self):
        """Messages, as they come, until the queue is empty or the walk has been long enough."""
        met = 0
        while time.monotonic() < self.until and (self.most is None or met < self.most):
            answer = self.sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=BATCH,
                VisibilityTimeout=HIDDEN_SECONDS,
                WaitTimeSeconds=WAIT_SECONDS,
                MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
                MessageAttributeNames=["All"],
            )
            batch = [Message.read(received) for received in answer.get("Messages", [])]
            self.held |= {message.id: message for message in batch}
            if not batch:
                self.finished = True
                return
            met += len(batch)
            yield batch

    def delete(self, message):
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message.receipt)
        del self.held[message.id]

    def give_back(self):
        held = list(self.held.values())
        for start in range(0, len(held), BATCH):
            entries = [
                {"Id": str(place), "ReceiptHandle": message.receipt, "VisibilityTimeout": 0}
                for place, message in enumerate(held[start : start + BATCH])
            ]
            try:
                self.sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)
            except (aws.BotoCoreError, aws.ClientError):
                return  # they come back by themselves
        self.held = {}


def counts(sqs, url):
    names = {"waiting": "", "hidden": "NotVisible", "delayed": "Delayed"}
    asked = [f"ApproximateNumberOfMessages{name}" for name in names.values()]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=asked)["Attributes"]
    return {key: int(answer.get(f"ApproximateNumberOfMessages{name}", 0)) for key, name in names.items()}


# ---------------------------------------------------------------- listing


def list_all(place):
    found = 0
    for queue in [*PARKED, LEFT_ALONE]:
        url = place.url(queue)
        counted = counts(place.sqs, url)
        with Walk(place.sqs, url, WALK_SECONDS, WALK_MESSAGES) as walk:
            messages = {message.id: message for batch in walk.batches() for message in batch}
        hidden = counted["hidden"] + counted["delayed"]
        elsewhere = f", 처리 중이거나 숨음 · in flight or hidden: {hidden}" if hidden else ""
        print(f"\n{queue}: {len(messages)}{elsewhere}")
        if messages:
            show(sorted(messages.values(), key=lambda message: message.sent_at))
        if not walk.finished:
            print("  더 있음 · there are more: not all were looked at")
        if queue == LEFT_ALONE:
            if messages or hidden:
                print(f"  {ITS_FUNCTION}가 스스로 끝냅니다 · {ITS_FUNCTION} settles these by itself")
        else:
            found += len(messages)
    print()
    if found:
        print("되돌리기 · put back: make redrive MESSAGES=all | MESSAGES=<id>,<id>" + again(place))
        print("왜 왔는지는 함수 로그에서 주문 id로 · why they came: search the functions' logs for the order id")
        print("이 목록도 받은 횟수에 하나를 더합니다 · looking counts as one receive: SQS shows a message in no other way")
    else:
        print("돌볼 메시지가 없습니다 · nothing to look after")


def again(place):
    return "" if place.local else f" STACK={os.environ['STACK']}"


def show(messages):
    table = [("id", "나이 · age", "받음 · receives", "종류 · kind", "주문/방송 · order/broadcast", "")]
    now = time.time()
    for message in messages:
        row = (message.id, age(now - message.sent_at), str(message.receives), message.kind, message.about, message.note)
        table.append(row)
    widths = [max(map(width, column)) for column in zip(*table)]
    for row in table:
        cells = (cell + " " * (wide - width(cell)) for cell, wide in zip(row, widths))
        print(f"  {'  '.join(cells)}".rstrip())


def width(text):
    """Columns on a terminal: Hangul takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def age(seconds):
    seconds = max(0, int(seconds))
    for unit, size, smaller, smaller_size in (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // smaller_size}{smaller}"
    return f"{seconds}s"


# ---------------------------------------------------------------- moving


@dataclass
class Outcome:
    """What became of the chosen messages."""

    moved: set = field(default_factory=set)
    # Sent, and still where it was: it comes twice.
    doubled: dict = field(default_factory=dict)
    refused: dict = field(default_factory=dict)
    # Stopped before the end of a queue.
    unfinished: list = field(default_factory=list)

    def seen(self):
        return self.moved | set(self.doubled) | set(self.refused)


def move_all(place, wanted):
    """Moves the messages with these ids, or all if `wanted` is None."""
    outcome = Outcome()
    routes = [(queue, place.url(queue), target, place.url(target)) for queue, target in PARKED.items()]
    try:
        for queue, url, target, target_url in routes:
            missing = None if wanted is None else wanted - outcome.seen()
            if missing is None or missing:
                print(f"\n{queue} → {target}")
                move(place.sqs, url, target_url, missing, outcome, queue)
    finally:
        summarise(outcome)
    unknown = set() if wanted is None else wanted - outcome.seen()
    if unknown:
        print(f"없는 메시지 · no such message: {', '.join(sorted(unknown))}")
        print(f"  해결 · fix: {LIST_FIX}; {LEFT_ALONE} is left to {ITS_FUNCTION}")
    whole = not (outcome.doubled or outcome.refused or unknown or (wanted is None and outcome.unfinished))
    return DONE if whole else NOT_ALL


def summarise(outcome):
    print(f"\n되돌림 · put back: {len(outcome.moved)}")
    for title, those in (
        ("보냈지만 지우지 못해 두 번 옴 · sent but not deleted, so they come twice", outcome.doubled),
        ("보내지 못해 그대로 · not sent, left where they are", outcome.refused),
    ):
        if those:
            print(f"{title}: {len(those)}")
            for reason in sorted(set(those.values())):
                print(f"  {reason}")
    if outcome.unfinished:
        print(f"아직 더 있음 · not at the end of {', '.join(outcome.unfinished)}: run it again")


def move(sqs, url, target_url, wanted, outcome, queue):
    refused_in_a_row = 0
    seconds, most = (MOVE_SECONDS, None) if wanted is None else (WALK_SECONDS, WALK_MESSAGES)
    with Walk(sqs, url, seconds, most) as walk:
        for batch in walk.batches():
            for message in batch:
                if wanted is not None and message.id not in wanted:
                    continue
                # One that could not be deleted may be met again: it is sent already.
                if message.id not in outcome.doubled and not send(sqs, target_url, message, outcome):
                    refused_in_a_row += 1
                    if refused_in_a_row == REFUSED_IN_A_ROW:
                        outcome.unfinished.append(queue)
                        return
                    continue
                refused_in_a_row = 0
                delete(walk, message, outcome)
            if wanted is not None and wanted <= outcome.seen():
                return
        if not walk.finished:
            outcome.unfinished.append(queue)


def send(sqs, url, message, outcome):
    attributes = {
        name: {part: value[part] for part in ("DataType", "StringValue", "BinaryValue") if part in value}
        for name, value in message.attributes.items()
    }
    try:
        sqs.send_message(QueueUrl=url, MessageBody=message.body, MessageAttributes=attributes)
    except (aws.BotoCoreError, aws.ClientError) as error:
        outcome.refused[message.id] = explain(error).args[0]
        print(f"  {message.id}  {message.kind} {message.about}  보내지 못함 · not sent")
        return False
    outcome.refused.pop(message.id, None)
    return True


def delete(walk, message, outcome):
    try:
        walk.delete(message)
    except (aws.BotoCoreError, aws.ClientError) as error:
        outcome.doubled[message.id] = explain(error).args[0]
        print(f"  {message.id}  {message.kind} {message.about}  보냄, 지우지 못함 · sent, not deleted")
        return
    outcome.doubled.pop(message.id, None)
    outcome.moved.add(message.id)
    print(f"  {message.id}  {message.kind} {message.about}".rstrip())


# ---------------------------------------------------------------- what may go wrong

NO_CREDENTIALS = (
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.CredentialRetrievalError,
    aws.SSOError,
    aws.TokenRetrievalError,
)
REFUSED_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
RIGHTS = (
    "cloudformation:DescribeStacks; "
    "sqs:GetQueueAttributes, ReceiveMessage, ChangeMessageVisibility, SendMessage, DeleteMessage"
)
NO_SUCH_QUEUE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}


def explain(error, local=False):
    """An error of boto3 as a problem that names its fix."""
    if isinstance(error, NO_CREDENTIALS):
        return Problem(f"AWS 자격 증명이 없음 · no AWS credentials ({error})", CREDENTIALS_FIX)
    if isinstance(error, aws.ProfileNotFound):
        return Problem(f"AWS 프로필이 없음 · {error}", "`aws configure list-profiles`")
    if isinstance(error, aws.NoRegionError):
        return Problem("AWS 리전이 없음 · no AWS region", "AWS_REGION=ap-northeast-2 make redrive STACK=<stack>")
    if isinstance(error, aws.ClientError):
        code, said = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
        if code == "ValidationError" and "does not exist" in said:
            return Problem(f"스택이 없음 · no such stack: {said}", "`aws cloudformation list-stacks`, AWS_REGION, AWS_PROFILE")
        if code in REFUSED_CREDENTIALS:
            return Problem(f"AWS 자격 증명이 거절됨 · AWS refused the credentials: {said}", CREDENTIALS_FIX)
        if code in NO_SUCH_QUEUE:
            fix = LOCAL_FIX if local else "`sam deploy`"
            return Problem(f"큐가 없음 · no such queue: {said}", fix)
        if code.startswith("AccessDenied"):
            return Problem(f"권한이 없음 · {error.operation_name} is not allowed: {said}", RIGHTS)
        return Problem(f"{error.operation_name}: {code} {said}", "다시 실행 · run it again")
    if isinstance(error, (aws.HTTPClientError, aws.ConnectionError)):
        if local:
            return Problem(f"로컬 실행이 답하지 않음 · the local run does not answer: {error}", LOCAL_FIX)
        return Problem(f"AWS에 닿지 않음 · AWS cannot be reached: {error}", "the network, AWS_REGION, AWS_ENDPOINT_URL")
    return Problem(str(error), "다시 실행 · run it again")


def chosen(text):
    """`all`, or the ids in `MESSAGES`; an empty set lists."""
    ids = set(re.split(r"[,\s]+", text.strip())) - {""}
    if "all" in ids and len(ids) > 1:
        raise Problem("MESSAGES=all과 id를 함께 쓸 수 없음 · all, or ids", "MESSAGES=all | MESSAGES=<id>,<id>")
    return None if ids == {"all"} else ids


def main():
    root = Path(__file__).resolve().parents[1]
    folder = root / os.environ.get("ONEPOOL_DIR", ".onepool")
    stack = os.environ.get("STACK", "")
    local = not stack
    try:
        ids = chosen(os.environ.get("MESSAGES", ""))
        place = local_run(folder) if local else deployed(stack)
        print(place.name)
        if ids is None or ids:
            return move_all(place, ids)
        list_all(place)
        return DONE
    except Problem as problem:
        failure = problem
    except (aws.BotoCoreError, aws.ClientError) as error:
        failure = explain(error, local)
    except KeyboardInterrupt:
        failure = Problem("멈췄습니다 · stopped", "다시 실행 · run it again: what is hidden is back within a minute")
    print(f"실패 · failed: {failure}\n  해결 · fix: {failure.fix}", file=sys.stderr)
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
