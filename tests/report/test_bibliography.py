"""Every rule has something to cite, every entry is BibTeX, none is there for nothing."""

import re

import pytest

from faeval.report import bibliography
from faeval.rules import RULES


@pytest.mark.parametrize("rule", list(RULES))
def test_every_rule_has_its_entries(rule):
    found = bibliography.keys(rule)
    assert found is not None
    assert set(found) <= set(bibliography.ENTRIES)


def test_entries_are_bibtex_under_their_keys():
    for key, entry in bibliography.ENTRIES.items():
        assert re.match(rf"@(article|inproceedings|misc)\{{{key},\n", entry)
        assert entry.count("{") == entry.count("}")
        for field in ("title", "year"):
            assert re.search(rf"^  {field} +=", entry, re.MULTILINE)


def test_a_file_holds_each_entry_once_and_names_what_is_unknown():
    text = bibliography.bibtex(["fa", "fa-layer", "shallow", "someones-own"])
    assert text.count("@article{lillicrap2016") == 1
    assert text.count(bibliography.PROTOCOL) == 1
    assert "% someones-own: no entry is known" in text
