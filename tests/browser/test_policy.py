"""The page's content security policy binds the studio's worker, too, where the host sends none."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from export.site.serve import Handler
from tests.browser import firefox
from tests.hosting import Host

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
FETCH = "fetch(%r).then(({ status }) => `came: ${status}`, () => 'refused')"


@pytest.fixture
def elsewhere(tmp_path):
    """The address of a file of another origin, which any page may fetch that its policy lets."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file.json").write_text("{}")
    with Host(tmp_path / "elsewhere", Open) as host:
        yield f"http://localhost:{host.port}/file.json"


class Open(Handler):
    def end_headers(self):
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()


def test_the_worker_reaches_no_other_origin(plain, site, server, elsewhere):
    """The server sends no policy: the one in the page's meta is all there is."""
    url = server(site(GARDEN, shard_mib=1))
    page = plain.new_context().new_page()
    page.goto(url)
    expect(page.get_by_role("alert")).to_contain_text("adapter")  # as the worker says
    [worker] = page.workers
    assert worker.url.startswith(f"blob:{url}")
    assert page.evaluate(FETCH % elsewhere) == "refused"
    assert worker.evaluate(FETCH % elsewhere) == "refused"
    assert worker.evaluate(FETCH % f"{url}trefoil.js") == "came: 200"
    refused = worker.evaluate(f"import({elsewhere!r}).then(() => 'came', () => 'refused')")
    assert refused == "refused"
    page.goto(f"{url}model/manifest.json")  # of the same origin, without a policy
    assert page.evaluate(FETCH % elsewhere) == "came: 200"
    page.context.close()


IN_FIREFOX = """async (url) => {
  const frame = document.createElement('iframe');
  frame.src = new URL('index.html', url);
  const loaded = new Promise((resolve) => { frame.onload = resolve; });
  document.body.append(frame);
  await loaded;
  const ask = async (realm, text) => {
    const start = realm.URL.createObjectURL(new realm.Blob([text], { type: 'text/javascript' }));
    const worker = new realm.Worker(start, { type: 'module' });
    return new Promise((resolve) => {
      worker.onmessage = ({ data }) => { if (typeof data === 'string') resolve(data); };
      worker.onerror = () => resolve('did not start');
    });
  };
  const [code] = /code-[0-9a-f]{16}/.exec(frame.contentDocument.body.ownerDocument.scripts[0]
    .dataset.code);
  const text = (address) => `import ${JSON.stringify(new URL(code + '/studio/worker.js', url))};
    fetch('${address}').then(() => 'came', () => 'refused').then((told) => postMessage(told));`;
  const elsewhere = 'ELSEWHERE';
  return [await ask(frame.contentWindow, text(elsewhere)), await ask(window, text(elsewhere)),
    await ask(frame.contentWindow, text(new URL('trefoil.js', url)))];
}"""


def test_firefox_binds_such_a_worker_as_well(site, elsewhere, tmp_path):
    """A worker started as the studio starts its own, by the page and by one without a policy."""
    script = IN_FIREFOX.replace("ELSEWHERE", elsewhere)
    assert firefox.run(site(GARDEN), script, tmp_path) == ["refused", "came", "came"]
