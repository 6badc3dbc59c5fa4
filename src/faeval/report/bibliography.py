"""What to cite for a rule: BibTeX entries, and the entries of each rule by its registered name."""

from collections.abc import Iterable

PROTOCOL = "faeval_protocol"

ENTRIES = {
    "rumelhart1986": """\
@article{rumelhart1986,
  author  = {Rumelhart, David E. and Hinton, Geoffrey E. and Williams, Ronald J.},
  title   = {Learning representations by back-propagating errors},
  journal = {Nature},
  volume  = {323},
  pages   = {533--536},
  year    = {1986},
  doi     = {10.1038/323533a0}
}""",
    "kolen1994": """\
@inproceedings{kolen1994,
  author    = {Kolen, John F. and Pollack, Jordan B.},
  title     = {Backpropagation without weight transport},
  booktitle = {Proceedings of the {IEEE} International Conference on Neural Networks ({ICNN}'94)},
  volume    = {3},
  pages     = {1375--1380},
  year      = {1994}
}""",
    "lillicrap2016": """\
@article{lillicrap2016,
  author  = {Lillicrap, Timothy P. and Cownden, Daniel and Tweed, Douglas B. and
             Akerman, Colin J.},
  title   = {Random synaptic feedback weights support error backpropagation for deep learning},
  journal = {Nature Communications},
  volume  = {7},
  pages   = {13276},
  year    = {2016},
  doi     = {10.1038/ncomms13276}
}""",
    "nokland2016": """\
@inproceedings{nokland2016,
  author    = {N{\\o}kland, Arild},
  title     = {Direct Feedback Alignment Provides Learning in Deep Neural Networks},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {29},
  year      = {2016},
  eprint    = {1609.01596},
  archiveprefix = {arXiv}
}""",
    "liao2016": """\
@inproceedings{liao2016,
  author    = {Liao, Qianli and Leibo, Joel Z. and Poggio, Tomaso},
  title     = {How Important Is Weight Symmetry in Backpropagation?},
  booktitle = {Proceedings of the {AAAI} Conference on Artificial Intelligence},
  volume    = {30},
  year      = {2016},
  eprint    = {1510.05067},
  archiveprefix = {arXiv}
}""",
    "scellier2017": """\
@article{scellier2017,
  author  = {Scellier, Benjamin and Bengio, Yoshua},
  title   = {Equilibrium Propagation: Bridging the Gap between Energy-Based Models and
             Backpropagation},
  journal = {Frontiers in Computational Neuroscience},
  volume  = {11},
  pages   = {24},
  year    = {2017},
  doi     = {10.3389/fncom.2017.00024}
}""",
    "moskovitz2018": """\
@misc{moskovitz2018,
  author = {Moskovitz, Theodore H. and Litwin-Kumar, Ashok and Abbott, L. F.},
  title  = {Feedback alignment in deep convolutional networks},
  year   = {2018},
  eprint = {1812.06488},
  archiveprefix = {arXiv}
}""",
    "akrout2019": """\
@inproceedings{akrout2019,
  author    = {Akrout, Mohamed and Wilson, Collin and Humphreys, Peter C. and
               Lillicrap, Timothy and Tweed, Douglas B.},
  title     = {Deep Learning without Weight Transport},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {32},
  year      = {2019},
  eprint    = {1904.05391},
  archiveprefix = {arXiv}
}""",
    "crafton2019": """\
@article{crafton2019,
  author  = {Crafton, Brian and Parihar, Abhinav and Gebhardt, Evan and Raychowdhury, Arijit},
  title   = {Direct Feedback Alignment with Sparse Connections for Local Learning},
  journal = {Frontiers in Neuroscience},
  volume  = {13},
  pages   = {525},
  year    = {2019},
  eprint  = {1903.02083},
  archiveprefix = {arXiv}
}""",
    "launay2019": """\
@misc{launay2019,
  author = {Launay, Julien and Poli, Iacopo and Krzakala, Florent},
  title  = {Principled Training of Neural Networks with Direct Feedback Alignment},
  year   = {2019},
  eprint = {1906.04554},
  archiveprefix = {arXiv}
}""",
    "frenkel2021": """\
@article{frenkel2021,
  author  = {Frenkel, Charlotte and Lefebvre, Martin and Bol, David},
  title   = {Learning Without Feedback: Fixed Random Learning Signals Allow for Feedforward
             Training of Deep Neural Networks},
  journal = {Frontiers in Neuroscience},
  volume  = {15},
  pages   = {629892},
  year    = {2021},
  doi     = {10.3389/fnins.2021.629892}
}""",
    "laborieux2021": """\
@article{laborieux2021,
  author  = {Laborieux, Axel and Ernoult, Maxence and Scellier, Benjamin and Bengio, Yoshua and
             Grollier, Julie and Querlioz, Damien},
  title   = {Scaling Equilibrium Propagation to Deep {ConvNets} by Drastically Reducing Its
             Gradient Estimator Bias},
  journal = {Frontiers in Neuroscience},
  volume  = {15},
  pages   = {633674},
  year    = {2021}
}""",
    PROTOCOL: """\
@misc{faeval_protocol,
  title  = {What Accuracy and Gradient Cosine Miss},
  year   = {2026},
  eprint = {2606.21126},
  archiveprefix = {arXiv},
  note   = {The protocol of the checks}
}""",
}

_RULES = {
    "bp": ("rumelhart1986",),
    "shallow": (),  # a control of our own
    "fa": ("lillicrap2016",),
    "fa_layer": ("lillicrap2016",),
    "dfa": ("nokland2016",),
    "dfa_layer": ("nokland2016",),
    "dfa_sign": ("nokland2016",),
    "dfa_shared": ("nokland2016", "launay2019"),
    "dfa_sparse": ("nokland2016", "crafton2019"),
    "drtp": ("frenkel2021",),
    "usf": ("liao2016", "moskovitz2018"),
    "brsf": ("liao2016", "moskovitz2018"),
    "frsf": ("liao2016", "moskovitz2018"),
    "kolen_pollack": ("kolen1994", "akrout2019"),
    "weight_mirror": ("akrout2019",),
    "eqprop": ("scellier2017", "laborieux2021"),
    "state_bridge": (PROTOCOL,),
    "credit_bridge": (PROTOCOL,),
}


def keys(rule: str) -> tuple[str, ...] | None:
    """The keys to cite for a rule; none for a control of our own; None for a rule not known."""
    return _RULES.get(rule)


def bibtex(rules: Iterable[str]) -> str:
    """The entries for these rules and the protocol, each once; a rule without one is named."""
    wanted: dict[str, None] = {}
    comments = []
    for rule in rules:
        found = keys(rule)
        if found is None:
            comments.append(f"% {rule}: no entry is known; cite where it was published")
        for key in found or ():
            wanted[key] = None
    wanted[PROTOCOL] = None
    return "\n\n".join([*comments, *(ENTRIES[key] for key in wanted)]) + "\n"
