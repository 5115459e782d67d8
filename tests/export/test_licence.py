"""The front matter of a model's card, and the licence that follows from it."""

import pytest
import yaml as library

from export.source.front_matter import read_front_matter, yaml
from export.source.licence import read_licence

ORIGIN = {"repository": "org/tiny", "revision": "c0ffee"}
LINK = "https://huggingface.co/org/tiny/blob/c0ffee/LICENSE.md"


def card(tmp_path, text, name="README.md"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


CARDS = {
    "plain": ("---\nlicense: apache-2.0\ntags: [x]\n---\n# A model\n", "apache-2.0"),
    "last": ("---\npipeline_tag: text-to-image\nlicense: mit\n---", "mit"),
    "quoted": ("---\nlicense: \"apache-2.0\"\n---\n", "apache-2.0"),
    "quoted otherwise": ("---\n'license': 'apache-2.0'  # ours\n---\n", "apache-2.0"),
    "remark": ("---\nlicense: mit # see LICENSE\n---\n", "mit"),
    "list": ("---\nlicense: [apache-2.0, 'mit']\n---\n", ["apache-2.0", "mit"]),
    "list in lines": ("---\nlicense:\n- apache-2.0\n- mit\ntags:\n- license: gpl\n---\n",
                      ["apache-2.0", "mit"]),
    "indented list": ("---\nlicense:\n  - apache-2.0\n---\n", ["apache-2.0"]),
    "folded": ("---\nlicense: >-\n  apache-2.0\n---\n", "apache-2.0"),
    "blank lines before": ("\n\n---\nlicense: mit\n---\n", "mit"),
    "among others": ("---\nbase_model:\n- a/b\nmodel-index:\n- name: x\n  results:\n  - license: "
                     "gpl\nlicense: mit\nextra_gated_prompt: |-\n  license: none\n---\n", "mit"),
    "CRLF": ("---\r\nlicense: mit\r\ntags:\r\n- x\r\n---\r\ntext", "mit"),
    "mark": (b"\xef\xbb\xbf---\nlicense: mit\n---\n", "mit"),
    "mark and CRLF": (b"\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\n", "mit"),
    "not UTF-8": (b"---\ntitle: caf\xe9\nlicense: mit\n---\n", "mit"),
    "none": ("# A model\nlicense: mit\n", None),
    "null": ("---\nlicense: null\n---\n", None),
    "nothing named": ("---\nlicense:\ntags: [x]\n---\n", None),
    "not closed": ("---\nlicense: mit\n# A model\n", None),
    "nested": ("---\nmodel:\n  license: mit\n---\n", None),
    "a rule in the text": ("# A model\n---\nlicense: mit\n---\n", None),
    "empty": ("", None),
}


@pytest.mark.parametrize("case", CARDS)
def test_the_licence_of_a_card(tmp_path, case):
    text, licence = CARDS[case]
    assert read_front_matter(card(tmp_path, text)).get("license") == licence or (
        licence is None and not read_front_matter(card(tmp_path, text)).get("license")
    )
    assert read_licence(card(tmp_path, text), {}) == ({"license": licence} if licence else {})
    if licence:
        raw = text if isinstance(text, bytes) else text.encode()
        front = raw.decode("utf-8-sig", "replace").replace("\r\n", "\n").strip()[4:].split("---")[0]
        assert library.safe_load(front)["license"] == licence, "as a YAML library reads it"


@pytest.mark.parametrize(("link", "told"), [
    ("LICENSE.md", LINK), ("./LICENSE.md", LINK), ("/LICENSE.md", LINK),
    ("https://example.com/terms#1", "https://example.com/terms#1"),
])
def test_other_licences_have_a_name_and_a_link(tmp_path, link, told):
    text = f'---\nlicense: other\nlicense_name: "my licence: 1"\nlicense_link: {link}\n---\n'
    path = card(tmp_path, text)
    read = read_licence(path, ORIGIN)
    assert read == {"license": "other", "license_name": "my licence: 1", "license_link": told}
    assert read_licence(path, {})["license_link"] == link, "a folder's own file stays beside it"


def test_a_card_without_a_licence_has_its_base_model_s(tmp_path):
    cards = {"org/quantised": "---\nbase_model: org/tuned\n---\n",
             "org/tuned": "---\nbase_model:\n- org/tiny\n---\n",
             "org/tiny": "---\nlicense: other\nlicense_link: LICENSE.md\n---\n",
             "org/two": "---\nbase_model: [org/tiny, org/tuned]\n---\n",
             "org/circle": "---\nbase_model: org/circle\n---\n",
             "org/lost": "---\nbase_model: org/gone\n---\n"}

    def read(repository):
        text = cards.get(repository)
        if text is None:
            return None
        origin = ORIGIN | {"repository": repository}
        return card(tmp_path, text, f"{repository.replace('/', '-')}.md"), origin

    for repository, found in {"org/quantised": "other", "org/tuned": "other", "org/two": None,
                              "org/circle": None, "org/lost": None}.items():
        assert read_licence(*read(repository), read).get("license") == found, repository
    assert read_licence(*read("org/quantised"), read)["license_link"] == LINK
    assert read_licence(None, {}, read) == {}


@pytest.mark.parametrize("value", ["apache-2.0", "no", "cc-by-nc-4.0", "a: b # c", 'say "x"',
                                   ["mit", "x: y"], "ö", "1.0"])
def test_what_is_written_is_yaml(value):
    assert library.safe_load(f"license: {yaml(value)}") == {"license": value}
