"""
Pure verdicts: may this action run? Rules come from `policy.toml`; the first that matches decides.

Where no rule matches, reads and record changes (R0 to R2) are allowed, money and irreversible actions (R3, R4) denied.
"""

from hub.policy.cases import Case, Report, explain, read_cases, run_cases
from hub.policy.facts import VERIFICATIONS, Facts, facts_of
from hub.policy.file import PolicyFile, example, load_policy
from hub.policy.predicates import PREDICATES
from hub.policy.rules import Approval, Policy, Rule, parse_policy
from hub.policy.verdicts import NO_RULE, Verdict, decide, stricter

__all__ = [
    "NO_RULE",
    "PREDICATES",
    "VERIFICATIONS",
    "Approval",
    "Case",
    "Facts",
    "Policy",
    "PolicyFile",
    "Report",
    "Rule",
    "Verdict",
    "decide",
    "example",
    "explain",
    "facts_of",
    "load_policy",
    "parse_policy",
    "read_cases",
    "run_cases",
    "stricter",
]
