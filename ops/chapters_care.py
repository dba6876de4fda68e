"""The chapters of a life that are about asking for help, and how it went."""

from __future__ import annotations

from datetime import datetime, timedelta

from ops.life import Life, instant

AGENTS = tuple(f"E-{number}" for number in range(1, 13))
TEAMS = ("T-1", "T-2", "T-3")
TOPICS = (
    "billing.card_declined",
    "delivery.where_is_it",
    "product.how_to",
    "contract.change",
    "account.login",
)
# Said with a score; three for unhappy, in between and happy customers.
COMMENTS = (
    ("Third time I had to explain everything.", "The delivery came days late.", "Nobody called back.",
     "I paid and still got a reminder."),
    ("It was fine.", "Good in the end, but slow.", "The chat could not help, the agent did."),
    ("Quick and friendly.", "What I ordered, a day early!", "Solved in one call.", "Always a pleasure."),
)  # fmt: skip


def team_of(employee: str) -> str:
    """The team that an agent works in."""
    return TEAMS[AGENTS.index(employee) % len(TEAMS)]


def conversation(
    life: Life, at: datetime, topic: str, case_id: str | None = None, automated: bool | None = None
) -> datetime:
    """A talk with an agent or the assistant; when it was over."""
    automated = life.chance(0.45) if automated is None else automated
    channel = life.rng.choices(
        ("chat", "email") if automated else ("phone", "chat", "email"), (8, 2) if automated else (6, 3, 2)
    )[0]
    agent = None if automated else life.rng.choice(AGENTS)
    solved = life.chance(0.45 if automated else 0.8)
    seconds = life.rng.randint(60, 420) if automated else life.rng.randint(120, 1500)
    waiting = 0 if automated else int(life.rng.expovariate(1 / 150))
    life.tell(
        "service.conversation_held",
        at,
        "contact-center",
        conversation_id=life.id("V"),
        seconds=seconds,
        waiting_seconds=waiting,
        transfers=0 if automated or life.chance(0.8) else life.rng.randint(1, 3),
        automated=automated,
        channel=channel,
        employee_id=agent,
        team_id=team_of(agent) if agent else None,
        disposition="solved" if solved else "not_solved",
        case_id=case_id,
        touchpoint=f"service.{topic.split('.', maxsplit=1)[0]}",
        outcome="succeeded" if solved else "failed",
        sentiment="neutral" if solved else "negative",
        asked_for=["customer_number"] if life.chance(0.3) else None,
        cost_minor=seconds * (1 if automated else 9) // 10,
        identifiers=life.person.identifiers()[1:] if channel == "phone" else None,
    )
    life.mood += 0.2 if solved else -0.4
    return at + timedelta(seconds=waiting + seconds)


def case(life: Life, at: datetime, topic: str) -> None:
    """A concern of several steps: opened, owned, talked about, resolved, now and then opened again."""
    case_id, owner = life.id("S"), life.rng.choice(AGENTS)
    life.tell(
        "service.case_opened",
        at,
        "crm/cases",
        case_id=case_id,
        topic=topic,
        priority=life.rng.choices(("high", "normal", "low"), (2, 6, 2))[0],
        due_at=instant(at + timedelta(days=2)),
        url=f"https://crm.example/{case_id}",
        channel="phone",
    )
    life.tell(
        "service.case_changed",
        life.later(at, 0.5, 6),
        "crm/cases",
        case_id=case_id,
        status="in_progress",
        owner_id=owner,
        employee_id=owner,
        team_id=team_of(owner),
    )
    over = conversation(life, life.later(at, 1, 20), topic, case_id)
    if life.chance(0.25):
        promise(life, over, f"Call back about {topic.split('.', maxsplit=1)[0]}", owner)
    if life.chance(0.06):
        # Some are forgotten: they stay open.
        life.mood -= 0.6
        return
    resolved = life.after_days(at, 1, 5)
    life.tell(
        "service.case_resolved",
        resolved,
        "crm/cases",
        case_id=case_id,
        cause=topic.replace(".", "_"),
        employee_id=owner,
    )
    if life.chance(0.08):
        again = life.after_days(resolved, 1, 4)
        life.tell("service.case_reopened", again, "crm/cases", case_id=case_id, channel="email")
        resolved = life.after_days(again, 1, 3)
        life.tell(
            "service.case_resolved",
            resolved,
            "crm/cases",
            case_id=case_id,
            cause="second_try",
            employee_id=owner,
        )
        life.mood -= 0.5
    satisfaction(life, life.later(resolved, 1, 24), owner)


def promise(life: Life, at: datetime, text: str, employee: str) -> None:
    """We promise something, and keep it more often than not."""
    promise_id, due = life.id("PR"), at + timedelta(days=1)
    life.tell(
        "service.promise_made",
        at,
        "contact-center",
        promise_id=promise_id,
        text=text,
        due_at=instant(due),
        employee_id=employee,
    )
    if life.chance(0.78):
        life.tell(
            "service.promise_kept",
            life.later(at, 2, 23),
            "contact-center",
            promise_id=promise_id,
            employee_id=employee,
        )
    elif life.chance(0.7):
        life.tell("service.promise_broken", life.later(due, 1, 20), "contact-center", promise_id=promise_id)
        life.mood -= 1.0


def complaint(life: Life, at: datetime, topic: str) -> None:
    """A complaint, usually settled."""
    complaint_id = life.id("C")
    life.tell(
        "service.complaint_made",
        at,
        "contact-center",
        complaint_id=complaint_id,
        topic=topic,
        channel="email",
    )
    life.mood -= 0.8
    if life.chance(0.85):
        settled = life.after_days(at, 1, 9)
        life.tell("service.complaint_settled", settled, "contact-center", complaint_id=complaint_id)
        life.mood += 0.5


def late_delivery(life: Life, at: datetime, order_id: str) -> None:
    """What a late parcel does: a question, sometimes a complaint or a word in public."""
    life.mood -= 0.9
    if life.chance(0.4):
        conversation(life, life.later(at, -20, -2), "delivery.where_is_it")
    if life.chance(0.2):
        complaint(life, life.later(at, 1, 30), "late_delivery")
    if life.chance(0.15):
        mention(life, life.later(at, 0.5, 20), "negative", f"Still waiting for {order_id}…")


def mention(life: Life, at: datetime, sentiment: str, text: str) -> None:
    """A word about us in public, and our answer."""
    platform, thread_id = life.rng.choice(("mastodon", "forum", "photo_app")), life.id("TH")
    life.tell(
        "marketing.social_mentioned",
        at,
        "social/listening",
        platform=platform,
        thread_id=thread_id,
        sentiment=sentiment,
        needs_reply=sentiment != "positive",
        text=text,
        channel="social",
    )
    if sentiment != "positive" and life.chance(0.75):
        life.tell(
            "marketing.social_replied",
            life.later(at, 0.05, 5),
            "social/listening",
            thread_id=thread_id,
            automated=life.chance(0.3),
            employee_id=life.rng.choice(AGENTS),
            channel="social",
        )


def score_of(life: Life, low: int, high: int) -> int:
    """A score of that scale, as the mood has it."""
    middle = low + (high - low) * (0.78 + 0.12 * max(-4.0, min(1.5, life.mood)))
    return max(low, min(high, round(life.rng.gauss(middle, (high - low) * 0.12))))


def _comment(life: Life, score: int, low: int, high: int) -> str | None:
    share = (score - low) / (high - low)
    kind = 0 if share <= 0.6 else 1 if share <= 0.8 else 2
    return life.rng.choice(COMMENTS[kind]) if life.chance(0.6) else None


def survey_after(life: Life, at: datetime, touchpoint: str, share: float) -> None:
    """Asked whether they would recommend us, some answer; the unhappy and the happiest are followed up."""
    if not life.chance(share):
        return
    relational = touchpoint == "relationship"
    score = score_of(life, 0, 10)
    answer = life.tell(
        "service.survey_answered",
        at,
        "survey",
        survey_id=life.id("SV"),
        kind="nps",
        score=score,
        scope="relational" if relational else "transactional",
        incentivised=relational and life.chance(0.15),
        comment=_comment(life, score, 0, 10),
        touchpoint=touchpoint,
        channel="email",
    )
    if answer is None:
        return
    if score <= 6:
        _follow_up(life, at, answer, "recovery", touchpoint)
    elif score >= 9 and life.chance(0.3):
        _follow_up(life, at, answer, "thank_you", touchpoint)


def _follow_up(life: Life, at: datetime, trigger: str, kind: str, touchpoint: str) -> None:
    follow_up_id, owner = life.id("L"), life.rng.choice(AGENTS)
    opened = life.later(at, 0.2, 3)
    life.tell(
        "service.follow_up_opened",
        opened,
        "crm/cases",
        follow_up_id=follow_up_id,
        kind=kind,
        trigger_event_id=trigger,
        due_at=instant(opened + timedelta(days=2)),
        playbook=f"{touchpoint}-{kind}".replace("_", "-"),
    )
    life.tell(
        "service.follow_up_assigned",
        life.later(opened, 0.5, 8),
        "crm/cases",
        follow_up_id=follow_up_id,
        owner_id=owner,
    )
    if life.chance(0.8):
        closed = life.later(opened, 9, 90)
        life.tell(
            "service.follow_up_closed",
            closed,
            "crm/cases",
            follow_up_id=follow_up_id,
            resolved=life.chance(0.85),
            cause=touchpoint,
            employee_id=owner,
        )
        life.mood += 0.7


def satisfaction(life: Life, at: datetime, employee: str) -> None:
    """After a case: how satisfied, and how much effort it took."""
    if life.chance(0.35):
        score = score_of(life, 1, 5)
        life.tell(
            "service.survey_answered",
            at,
            "survey",
            survey_id=life.id("SV"),
            kind="csat",
            score=score,
            scope="transactional",
            incentivised=False,
            comment=_comment(life, score, 1, 5),
            touchpoint="service.case",
            employee_id=employee,
            employee_rating=score_of(life, 0, 10),
        )
    if life.chance(0.15):
        life.tell(
            "service.survey_answered",
            at + timedelta(minutes=1),
            "survey",
            survey_id=life.id("SV"),
            kind="ces",
            score=score_of(life, 1, 7),
            scope="transactional",
            incentivised=False,
            touchpoint="service.case",
        )


def self_service(life: Life, days_ago: float) -> None:
    """Trying to help oneself, and asking when that did not work."""
    at, task = (
        life.day(days_ago),
        life.rng.choice(("change_address", "download_invoice", "pause_plan", "reset_password")),
    )
    outcome = life.rng.choices(("succeeded", "failed", "abandoned"), (7, 2, 2))[0]
    life.tell(
        "service.task_attempted",
        at,
        "shop/web",
        task=task,
        outcome=outcome,
        seconds=life.rng.randint(15, 400),
        clicks=life.rng.randint(2, 25),
        errors=0 if outcome == "succeeded" else life.rng.randint(0, 3),
        channel="web",
        touchpoint=f"self_service.{task}",
        problem_code="form_rejected" if outcome == "failed" else None,
    )
    if outcome != "succeeded" and life.chance(0.5):
        conversation(life, life.later(at, 0.1, 30), "account.login")
