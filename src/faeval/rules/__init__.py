"""Credit rules, one file each."""

from faeval.rules.base import RULES, Claims, Feedback, Rule
from faeval.rules.bp import BP
from faeval.rules.dfa import DFA

__all__ = ["BP", "DFA", "RULES", "Claims", "Feedback", "Rule"]
