"""Zendesk-like tickets of about 1.8 kB, the same for the same number: pages of the cursor export, as bytes."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

PER_PAGE = 1000
CHANGED_EVERY, CHANGED_AT = 100, 37
"""One ticket of a hundred is another one in the changed export."""
_BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
_WORDS = (
    "order parcel invoice refund login password account delivery address change late missing broken screen cable"
    " please thanks hello urgent again still waiting answer number customer support team email phone weeks days today"
    " yesterday product size colour wrong item exchange return label courier tracking payment card declined twice"
    " charged subscription cancel renew upgrade seat licence error message page loads slowly cannot open attached"
    " picture receipt warranty repair replacement battery charger manual setup install version update device"
).split()
_PROSE = " ".join(random.Random(7).choices(_WORDS, k=60_000))
_STATUS = ("new", "open", "pending", "hold", "solved", "closed")
_PRIORITY = ('"low"', '"normal"', '"high"', '"urgent"', "null")
_TYPE = ('"question"', '"incident"', '"problem"', "null")
_CHANNEL = ("email", "web", "chat", "api")


def page(number: int, records: int, *, changed: bool = False) -> bytes:
    """Write page `number` (from 0) of an export of so many tickets."""
    start, behind = number * PER_PAGE + 1, min((number + 1) * PER_PAGE, records) + 1
    tickets = ",".join(_ticket(id, changed=changed) for id in range(start, behind))
    last = behind > records
    following = (
        "null" if last else f'"/api/v2/incremental/tickets/cursor.json?cursor=c{number + 1}&per_page={PER_PAGE}"'
    )
    return (
        f'{{"tickets":[{tickets}],"after_url":{following},"after_cursor":"c{number + 1}","before_url":null,'
        f'"before_cursor":null,"end_of_stream":{"true" if last else "false"}}}'
    ).encode()


def is_changed(id: int) -> bool:
    """Tell whether the changed export has another ticket of this id."""
    return id % CHANGED_EVERY == CHANGED_AT


def _ticket(id: int, *, changed: bool) -> str:
    rnd = id * 2_654_435_761 % 2**32
    stamp, another = _time(id), changed and is_changed(id)
    subject = _prose(rnd, 36).strip().capitalize() + (" (again)" if another else "")
    text = _prose(rnd >> 3, 400)
    updated = _time(id, 5_000_000 if another else 60)
    requester, assignee, group = 10**6 + rnd % 100_000, 400 + rnd % 60, 20 + rnd % 10
    tags = ",".join(f'"{_WORDS[(rnd >> n) % len(_WORDS)]}"' for n in (1, 4, 7))
    custom = ",".join(f'{{"id":3600{n:02},"value":{_value(rnd, n)}}}' for n in range(7))
    return (
        f'{{"url":"https://bench.zendesk.com/api/v2/tickets/{id}.json","id":{id},"external_id":null,"via":{{"channel":'
        f'"{_CHANNEL[id % 4]}","source":{{"from":{{}},"to":{{}},"rel":null}}}},"created_at":"{stamp}","updated_at":'
        f'"{updated}","generated_timestamp":{1_704_067_200 + id},"type":{_TYPE[id % 4]},"subject":"{subject}",'
        f'"raw_subject":"{subject}","description":"{text}","priority":{_PRIORITY[id % 5]},"status":'
        f'"{_STATUS[(id + another) % 6]}","recipient":null,"requester_id":{requester},"submitter_id":{requester},'
        f'"assignee_id":{assignee},"organization_id":{requester // 50},"group_id":{group},"collaborator_ids":[],'
        f'"follower_ids":[],"email_cc_ids":[],"forum_topic_id":null,"problem_id":null,"has_incidents":false,'
        f'"is_public":true,"due_at":null,"tags":[{tags}],"custom_fields":[{custom}],"satisfaction_rating":'
        f'{{"score":"unoffered"}},"sharing_agreement_ids":[],"custom_status_id":{id % 6 + 100},"fields":[{custom}],'
        f'"followup_ids":[],"ticket_form_id":7,"brand_id":9,"allow_channelback":false,"allow_attachments":true,'
        f'"from_messaging_channel":false}}'
    )


def _prose(at: int, length: int) -> str:
    start = at % (len(_PROSE) - length)
    return _PROSE[start : start + length]


def _value(rnd: int, n: int) -> str:
    return "null" if n % 3 else f'"{_WORDS[(rnd >> n) % len(_WORDS)]}"'


def _time(id: int, later_s: int = 0) -> str:
    return (_BEGAN + timedelta(seconds=30 * id + later_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


def pages(records: int, *, changed: bool = False) -> Iterator[bytes]:
    """Write all pages of an export of so many tickets."""
    for number in range(-(-records // PER_PAGE)):
        yield page(number, records, changed=changed)
