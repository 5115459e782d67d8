"""Drives web/loader/shards.js alone: downloads without a GPU."""

import base64
import json

import pytest

from tests.browser.flaky import ANSWER, READ
from tests.browser.library import Library, LibraryError
from tests.waiting import wait_until

# Tells the server what is read of an answer that it numbers, and lets a stall be brought about.
WATCH = """
([answer, read, limits]) => {
  const { fetch, setTimeout, clearTimeout } = globalThis;
  const stalls = new Map(); // timer -> [file, what it does]
  const fileOf = (url) => String(url).split('?')[0].split('/').at(-1);
  let asking = null; // the file whose timer is set next
  globalThis.fetch = async (url, options) => {
    asking = fileOf(url);
    const response = await fetch(url, options);
    const number = response.headers.get(answer);
    if (response.body) watch(response.body, new URL(response.url), number);
    return response;
  };
  function watch(body, url, number) {
    const getReader = body.getReader.bind(body);
    body.getReader = () => {
      const reader = getReader();
      const next = reader.read.bind(reader);
      let bytes = 0;
      reader.read = async () => {
        asking = fileOf(url);
        const piece = await next();
        bytes += piece.value?.length ?? 0;
        const told = new URL(`/${read}?answer=${number}&bytes=${bytes}`, url);
        const asked = { method: 'HEAD', cache: 'no-store' };
        if (number && piece.value) fetch(told, asked).catch(() => {});
        return piece;
      };
      return reader;
    };
  }
  globalThis.setTimeout = (act, ms, ...rest) => {
    const timer = setTimeout(act, ms, ...rest);
    if (ms === limits.stall && asking) stalls.set(timer, [asking, act]);
    asking = null;
    return timer;
  };
  globalThis.clearTimeout = (timer) => {
    stalls.delete(timer);
    clearTimeout(timer);
  };
  return (file) => [...stalls].filter(([timer, [name, act]]) => name === file)
    .map(([timer, [name, act]]) => act()).length;
}
"""
SETUP = """
async (url) => {
  const module = (path) => import(new URL(path, library.code));
  const { openShards } = await module('loader/shards.js');
  const { LIMITS } = await module('loader/patience.js');
  const { makeClaim } = await module('loader/claims.js');
  const base = new URL('model/', url);
  let abort, running, store;
  const stall = (WATCH)([ANSWER, READ, LIMITS]);
  globalThis.loader = {
    stall,
    module,
    progress: [],
    begin: (storage, claimed) => loader.run(async (signal) => {
      store = null;
      try {
        const url = new URL('manifest.json', base);
        const manifest = await (await fetch(url)).json();
        const claim = claimed ? await makeClaim(url, manifest) : null;
        store = await openShards(manifest.shards, base, storage, claim);
        await store.fetch(store.first, { signal,
          onProgress: (event) => loader.progress.push(event) });
        return store.kind;
      } catch (error) {
        store?.leave();
        throw error;
      }
    }),
    run(work) { // what `abort` aborts, and `ended` waits for
      loader.progress = [];
      abort = new AbortController();
      running = work(abort.signal).then((value) => ({ value }),
        ({ name, message }) => ({ error: { name, message } }));
    },
    abort: () => abort.abort(),
    ended: () => running,
    last: () => loader.progress.at(-1) ?? {},
    async open(storage) {
      const { shards } = await (await fetch(new URL('manifest.json', base))).json();
      store = await openShards(shards, base, storage);
    },
    read: async (index, offset, bytes) => library.encode(await store.read(index, offset, bytes)),
  };
}
""".replace("WATCH", WATCH).replace("ANSWER, READ", f"{ANSWER!r}, {READ!r}")
REFUSED = "throw new DOMException('The operation is insecure.', 'SecurityError')"
REFUSE = {
    "opfs": f"navigator.storage.getDirectory = async () => {{ {REFUSED}; }}",
    "cache": f"caches.open = async () => {{ {REFUSED}; }}",
    "locks": f"navigator.locks.request = async () => {{ {REFUSED}; }}",
}


def first_shards(dist):
    """Those of a first picture, the largest first, each with its index in the manifest."""
    manifest = json.loads((dist / "model" / "manifest.json").read_text(encoding="utf-8"))
    first = [shard | {"index": index} for index, shard in enumerate(manifest["shards"])
             if not shard.get("onDemand")]
    return sorted(first, key=lambda shard: -shard["bytes"])


def total(shards):
    return sum(shard["bytes"] for shard in shards)


def once(shards):
    """What a server has sent of them, name -> bytes, when each came once."""
    return {shard["file"]: shard["bytes"] for shard in shards}


class Loader(Library):
    """loader/shards.js without a GPU, in a worker of its own unless told otherwise; `claimed` notes
    whose the files are, as a load of the model does."""

    def __init__(self, browser, host, context=None, worker=True, refused=(), claimed=False):
        super().__init__(browser, host.url, context, worker)
        self.claimed = claimed
        for storage in refused:
            self.scope.evaluate(f"() => {{ {REFUSE[storage]}; }}")
        self.scope.evaluate(SETUP, host.url)

    def stall(self, name):
        """As when nothing of a file has come for long; once the page waits for it."""
        wait_until(lambda: self.scope.evaluate("(name) => loader.stall(name)", name) or None,
                   f"{name} is waited for")

    def begin(self, storage="auto"):
        self.scope.evaluate("(how) => loader.begin(...how)", [storage, self.claimed])

    def ended(self):
        """The kind of storage. Raises LibraryError."""
        return self.call("() => loader.ended()", None)

    def download(self, storage="auto"):
        self.begin(storage)
        return self.ended()

    def open(self, storage="auto"):
        """Looks up what is kept, for `holds`, and downloads nothing."""
        self.scope.evaluate("(storage) => loader.open(storage)", storage)

    def abort(self):
        """As pressing Pause does."""
        self.scope.evaluate("() => loader.abort()")
        with pytest.raises(LibraryError) as caught:
            self.ended()
        assert caught.value.name == "AbortError"

    def progress(self):
        return self.scope.evaluate("() => loader.progress")

    def until(self, condition):
        """Waits for a progress event `p` with this JavaScript condition."""
        wait_until(lambda: self.scope.evaluate(
            f"() => loader.progress.some((p) => {condition})"), condition)

    def stored(self, manifest=None):
        argument = "" if manifest is None else f"new URL('{manifest}', {json.dumps(self.url)})"
        return self.scope.evaluate(f"() => library.trefoil.storedBytes({argument})")

    def delete(self, manifest=None):
        argument = "" if manifest is None else f"new URL('{manifest}', {json.dumps(self.url)})"
        return self.call(f"""() => library.trefoil.deleteModel({argument})
          .then(() => ({{ value: null }}), ({{ name, message }}) =>
            ({{ error: {{ name, message }} }}))""", None)

    def holds(self, dist, shard):
        """Whether a slice across the middle reads as the file has it."""
        content = (dist / "model" / shard["file"]).read_bytes()
        middle = shard["bytes"] // 2
        got = self.scope.evaluate("(all) => loader.read(...all)", [shard["index"], middle, 1000])
        return base64.b64decode(got) == content[middle:middle + 1000]
