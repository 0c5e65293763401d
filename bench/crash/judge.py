"""Count what a campaign did, from the vendors' ledgers and the journal, and say which numbers do not hold."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from campaign import Campaign
from intents import Size
from stage import say

from hub.access import OPERATOR

STRATEGY = {"stripe": "native", "zendesk": "marker", "legacy": "ack"}
TERMINAL = frozenset({"succeeded", "failed", "needs_attention", "denied", "previewed"})


def judged(campaign: Campaign, ended: Campaign) -> dict[str, Any]:
    """Count effects per business intent, runs by state, and the moments at which processes died."""
    effects: Counter[str] = Counter()
    for system in STRATEGY:
        effects.update(entry["intent"] for entry in campaign.stage.ledger(system))
    states = _states(campaign)
    doubled = [intent.effect for intent in campaign.intents if effects[intent.effect] > 1]
    said = {intent.effect: [states.get(run, "?") for run in _runs(campaign, intent)] for intent in campaign.intents}
    lost = [
        intent.effect for intent in campaign.intents
        if not effects[intent.effect] and "needs_attention" not in said[intent.effect]
    ]  # fmt: skip
    untrue = [effect for effect, runs in said.items() if "succeeded" in runs and not effects[effect]]
    denied = [
        effect for effect, runs in said.items()
        if effects[effect] and runs and not {"succeeded", "needs_attention"} & set(runs)
    ]  # fmt: skip
    happened = set().union(*(kill.happened for kill in campaign.kills))
    found = {
        "seconds": campaign.seconds,
        "asked": dict(Counter(intent.action for intent in campaign.intents)),
        "kills": len(campaign.kills),
        "died_alone": campaign.died_alone,
        "killed_while": dict(Counter(kill.moment for kill in campaign.kills)),
        "steps_hit": dict(sum((kill.steps for kill in campaign.kills), Counter[str]())),
        "effect_before_crash": len(happened),
        "effect_before_crash_settled": sum(states.get(run) == "succeeded" for run in happened),
        "effects": sum(effects[intent.effect] for intent in campaign.intents),
        "lost": len(lost),
        "doubled": len(doubled),
        "succeeded_without_effect": len(untrue),
        "effect_without_success": len(denied),
        "runs": {name: dict(counted) for name, counted in _by_strategy(campaign, states).items()},
    }
    for text in (*lost[:5], *doubled[:5], *untrue[:5], *denied[:5]):
        say(f"{campaign.mode}: look at {text}: effects {effects[text]}, runs {said[text]}")
    for text in doubled[:5] if campaign.mode != "control" else ():
        say(f"{campaign.mode}: {text} came at {_times(campaign, text)}")
    say(f"{campaign.mode}: {found}")
    return found


def _runs(campaign: Campaign, intent: Any) -> list[str]:
    """Give the runs of an intent: one for each key it was asked under."""
    keys = [f"crash-{intent.number}-{n}" for n in range(intent.tries + 1)]
    found = (campaign.stage.app.ledger.find(OPERATOR.id, intent.action, key) for key in keys)
    return [run.id for run in found if run is not None]


def _times(campaign: Campaign, effect: str) -> dict[str, list[str]]:
    """Give when an effect came, as the vendor saw it, and when steps of its runs were sent and settled."""
    intent = campaign.effects[effect]
    came = [datetime.fromtimestamp(entry["at"], UTC) for entry in campaign.stage.ledger(intent.system)
            if entry["intent"] == effect]  # fmt: skip
    runs = [campaign.stage.app.ledger.get(run_id) for run_id in _runs(campaign, intent)]
    steps = [f"{s.attempt}: {s.first_sent_at} {s.sent_at} {s.state} {s.updated_at}" for r in runs for s in r.steps]
    return {"effects": [one.isoformat(timespec="milliseconds") for one in came], "steps": steps}


def _states(campaign: Campaign) -> dict[str, str]:
    with campaign.stage.watching.read() as tx:
        return dict(tx.execute("SELECT id, state FROM run").fetchall())


def _by_strategy(campaign: Campaign, states: dict[str, str]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for intent in campaign.intents:
        for run in _runs(campaign, intent):
            found.setdefault(STRATEGY[intent.system], Counter())[states.get(run, "?")] += 1
    return found


def verdict(counted: dict[str, dict[str, Any]], size: Size) -> list[str]:
    """Name the numbers that do not hold."""
    main, forgetful, control = counted["campaign"], counted["ignore_keys"], counted["control"]
    sending = sum(n for moment, n in main["killed_while"].items() if moment.startswith("sending"))
    attention = {name: states.get("needs_attention", 0) for name, states in main["runs"].items()}
    others = sum(sum(states.values()) for name, states in main["runs"].items() if name != "native")
    open_ = [state for states in main["runs"].values() for state in states if state not in TERMINAL]
    laws = {
        "nothing is lost": main["lost"] == 0 and main["succeeded_without_effect"] == 0,
        "no effect is there that the journal denies": main["effect_without_success"] == 0,
        "no business intent has more than one effect": main["doubled"] == 0,
        "every run that was journaled ended": not open_,
        "no native-key run needs attention": attention.get("native", 0) == 0,
        "at most 1 % of the others need attention": sum(attention.values()) <= max(1, others // 100),
        "at least half of the kills came while a step was sending": sending * 2 >= main["kills"],
        f"at least {size.kills} kills": main["kills"] >= size.kills,
        f"at least {size.settled} runs settled whose effect was there before the crash": (
            main["effect_before_crash_settled"] >= size.settled
        ),
        "a vendor that forgets keys doubles nothing": forgetful["doubled"] == 0 and forgetful["lost"] == 0,
        "no worker died by itself": sum(part["died_alone"] for part in counted.values()) == 0,
        "the control doubles": control["doubled"] > 0,
    }
    return [law for law, holds in laws.items() if not holds]
