"""The documentation site is built as its page says, from a copy beside which one more rule is
installed: no warning, no dead link, nothing fetched, a page for all that is registered."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from filelock import FileLock

import faeval
from faeval.verdict.checks import CHECKS

sys.path.insert(0, str(Path(__file__).parent))
from shown_commands import install

ROOT = Path(__file__).resolve().parents[1]
OWN_RULE = ROOT / "docs" / "add-your-own-rule.md"
pytestmark = pytest.mark.slow
MADE_HERE = shutil.ignore_patterns("_build", "reference", "__pycache__")
BUILD = """
import sys
from sphinx.cmd.build import build_main
code = build_main(["-W", "--keep-going", "-q", "docs", "site"])
if code:
    sys.exit(code)
sys.path.insert(0, sys.argv[1])
from shown_commands import try_out
try_out("docs/reference")
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site, built once for all workers of the session."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "documentation"
    with FileLock(shared / "documentation.lock"):
        if not (told := folder / "told.json").exists():
            folder.mkdir()
            done = build(folder)
            told.write_text(json.dumps([done.returncode, done.stdout + done.stderr]))
    code, output = json.loads(told.read_text())
    assert code == 0, output
    return folder / "site"


def build(folder):
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=MADE_HERE)
    shutil.copy(ROOT / "README.md", folder)
    install(OWN_RULE.read_text(encoding="utf-8"), folder / "plugins")
    environment = os.environ | {
        "PYTHONPATH": str(folder / "plugins"),
        "FAEVAL_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    script = [sys.executable, "-c", BUILD, str(Path(__file__).parent)]
    return subprocess.run(script, cwd=folder, env=environment, capture_output=True, text=True)


LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}


class Page(HTMLParser):
    """The anchors of a page, its links, and what a browser loads with it."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.loaded = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(given["href"])
        elif given.get(LOADED.get(tag)):
            self.loaded.append(given[LOADED[tag]])


@pytest.fixture(scope="session")
def pages(site):
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_every_link_inside_leads_somewhere(pages):
    dead = []
    for path, page in pages.items():
        for link in [*page.links, *page.loaded]:
            to = urlsplit(link)
            if to.scheme or to.netloc:
                continue
            target = (path.parent / unquote(to.path)).resolve() if to.path else path
            found = target.is_file()
            if found and to.fragment and target in pages:
                found = unquote(to.fragment) in pages[target].anchors
            if not found:
                dead.append(f"{path.name}: {link}")
    assert not dead
    assert sum(len(page.links) for page in pages.values()) > 1000


def test_no_page_fetches_anything(site, pages):
    for path, page in pages.items():
        for address in page.loaded:
            to = urlsplit(address)
            assert to.scheme in ("", "data"), f"{path.name} loads {address}"
            assert not to.netloc, f"{path.name} loads {address}"
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"@import|url\(\s*[\"']?(https?:)?//", text), sheet.name


@pytest.mark.parametrize("kind", ["rules", "models", "data"])
def test_whatever_is_registered_has_its_page(site, pages, kind):
    registry = {"rules": faeval.RULES, "models": faeval.MODELS, "data": faeval.DATA}[kind]
    made = {path.stem for path in (site / "reference" / kind).glob("*.html")}
    own = {"orthogonal_dfa"} if kind == "rules" else set()
    assert made == set(registry) | own
    index = pages[site / "reference" / f"{kind}.html"]
    assert {f"{kind}/{name}.html" for name in made} <= set(index.links)


def test_a_rule_page_says_what_the_rule_says(site):
    page = text(site / "reference" / "rules" / "fa.html")
    for told in (
        "a_l = B_l a_{l+1} with fixed B_l",
        "default 1.0",
        "granularity block block: exact transposes inside a block",
        "faeval audit --data digits --rules bp,fa --epochs 5 --seeds 42",
        "Lillicrap, Cownden, Tweed and Akerman. Random synaptic feedback weights",
    ):
        assert told in page
    model = text(site / "reference" / "models" / "vit-mini.html")
    assert re.search(r"width *default 128 d; a whole number ≥ 1\.", model)
    added = text(site / "reference" / "rules" / "orthogonal_dfa.html")
    assert "with fixed B_l ∈ R^{d_l×C}, B_lᵀB_l = 1" in added
    assert "cite where it was published" in added


def test_every_check_has_its_page_with_what_follows_from_it(site):
    paths = list((site / "reference" / "checks").glob("*.html"))
    assert len(paths) == len(CHECKS)
    for path in paths:
        page = text(path)
        assert re.search(r"Where it flags: .+\. Where it passes: .+\.", page), path.name
        assert "On digit-sums" in page
    depth = text(site / "reference" / "checks" / "depth-utility.html")
    assert "depth_gain: 0.02" in depth
    assert "Training the blocks does harm" in depth
    assert "+40.6 pp over frozen blocks" in depth


def test_every_public_name_is_documented(pages, site):
    anchors = pages[site / "api.html"].anchors
    assert {f"faeval.{name}" for name in faeval.__all__ if name != "__version__"} <= anchors


def test_every_study_of_the_docs_has_its_report(site, pages):
    studies = {plan.parent.name for plan in (ROOT / "docs" / "studies").glob("*/plan.json")}
    assert studies >= {"digit-sums"}
    links = pages[site / "example-reports.html"].links
    for name in studies:
        assert f"reports/{name}/report.html" in links
        assert f"faeval report {name}" in text(site / "example-reports.html")
        assert "vega" in (site / "reports" / name / "report.html").read_text(encoding="utf-8")


def test_notebooks_are_shown_with_their_outputs(site):
    page = text(site / "notebooks" / "audit-your-own-model.html")
    assert "accuracy 0.889, frozen 0.804" in page
    assert "h0 0 +0.438" in page


def text(path):
    """What a reader sees of a page, in one line."""
    body = path.read_text(encoding="utf-8").partition("<article")[2].partition("</article>")[0]
    words = re.sub(r"<[^>]+>", " ", re.sub(r"</?(?:span|code|em|strong)\b[^>]*>", "", body))
    for entity, sign in (("&quot;", '"'), ("&#39;", "'"), ("&gt;", ">"), ("&amp;", "&")):
        words = words.replace(entity, sign)
    return " ".join(words.split())


def test_our_figures_stand_beside_the_published_ones(site):
    """With the records of digit-sums in place of those of CIFAR-10: the arithmetic by hand."""
    sys.path.insert(0, str(ROOT / "docs" / "_ext"))
    import published

    folder = ROOT / "docs" / "studies" / "digit-sums"
    records = published._by_method(folder)
    assert {name: len(found) for name, found in records.items()} == {
        "bp": 3, "bp λ=0.01": 3, "dfa": 3, "dfa λ=0.01": 3, "frozen blocks": 3,
    }  # fmt: skip
    rows = published._rows("dfa", {"accuracy": 0.7, "deep cosine": 0.3}, records["dfa"])
    deep = [[r.cosine_mean for r in record.layers[1:]] for record in records["dfa"]]
    mean = sum(map(sum, deep)) / 12
    assert rows[0] == ["dfa", "accuracy", "0.700", "0.597", "0.508 to 0.686", "above"]
    assert rows[1][:4] == ["dfa", "deep cosine", "+0.300", f"{mean:+.3f}"]
    assert rows[1][5] == "inside"
    page = (site / "published-table.html").read_text(encoding="utf-8")
    assert re.search(r"<td>\s*<p>last state norm</p>\s*</td>", page)
