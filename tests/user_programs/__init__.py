"""Twenty programs as Pyro users write them, ``make() -> (model, guide, batch, loss)``, beside those in programs.py."""

from user_programs.amortised import AMORTISED
from user_programs.guided import GUIDED
from user_programs.regressions import REGRESSIONS
from user_programs.sequences import SEQUENCES

USER_PROGRAMS = SEQUENCES | REGRESSIONS | AMORTISED | GUIDED
