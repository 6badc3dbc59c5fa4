"""Credit rules, one file each."""

from faeval.rules.base import RULES, Claims, Feedback, Rule
from faeval.rules.bp import BP
from faeval.rules.credit_bridge import CreditBridge
from faeval.rules.dfa import DFA
from faeval.rules.dfa_layer import DFALayer
from faeval.rules.dfa_shared import DFAShared
from faeval.rules.dfa_sign import DFASign
from faeval.rules.dfa_sparse import DFASparse
from faeval.rules.drtp import DRTP
from faeval.rules.eqprop import EqProp
from faeval.rules.fa import FA
from faeval.rules.fa_layer import FALayer
from faeval.rules.kolen_pollack import KolenPollack
from faeval.rules.shallow import Shallow
from faeval.rules.sign_symmetric import BRSF, FRSF, USF
from faeval.rules.state_bridge import StateBridge
from faeval.rules.weight_mirror import WeightMirror

__all__ = [
    "BP",
    "BRSF",
    "DFA",
    "DRTP",
    "FA",
    "FRSF",
    "RULES",
    "USF",
    "Claims",
    "CreditBridge",
    "DFALayer",
    "DFAShared",
    "DFASign",
    "DFASparse",
    "EqProp",
    "FALayer",
    "Feedback",
    "KolenPollack",
    "Rule",
    "Shallow",
    "StateBridge",
    "WeightMirror",
]
