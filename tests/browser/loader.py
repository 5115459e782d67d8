"""Drives web/loader/shards.js alone: downloads without a GPU."""

import base64
import json
import time

import pytest

from tests.browser.library import Library, LibraryError

SETUP = """
async (url) => {
  const module = (path) => import(new URL(path, library.code));
  const { openShards } = await module('loader/shards.js');
  const { LIMITS } = await module('loader/patience.js');
  const base = new URL('model/', url);
  let abort, running, store;
  globalThis.loader = {
    LIMITS,
    module,
    progress: [],
    begin(storage) {
      loader.progress = [];
      abort = new AbortController();
      running = (async () => {
        store = null;
        try {
          const { shards } = await (await fetch(new URL('manifest.json', base))).json();
          store = await openShards(shards, base, storage);
          await store.fetch(store.first, { signal: abort.signal,
            onProgress: (event) => loader.progress.push(event) });
          return { value: store.kind };
        } catch ({ name, message }) {
          store?.leave();
          return { error: { name, message } };
        }
      })();
    },
    abort: () => abort.abort(),
    ended: () => running,
    last: () => loader.progress.at(-1) ?? {},
    read: async (index, offset, bytes) => library.encode(await store.read(index, offset, bytes)),
  };
}
"""
REFUSED = "throw new DOMException('The operation is insecure.', 'SecurityError')"
REFUSE = {
    "opfs": f"navigator.storage.getDirectory = async () => {{ {REFUSED}; }}",
    "cache": f"caches.open = async () => {{ {REFUSED}; }}",
    "locks": f"navigator.locks.request = async () => {{ {REFUSED}; }}",
}


class Loader(Library):
    """loader/shards.js without a GPU, in a worker of its own unless told otherwise."""

    def __init__(self, browser, host, context=None, worker=True, refused=()):
        super().__init__(browser, host.url, context, worker)
        for storage in refused:
            self.scope.evaluate(f"() => {{ {REFUSE[storage]}; }}")
        self.scope.evaluate(SETUP, host.url)

    def limit(self, **milliseconds):
        """Shorter patience, by the names of patience.js."""
        self.scope.evaluate("(limits) => { Object.assign(loader.LIMITS, limits); }", milliseconds)

    def begin(self, storage="auto"):
        self.scope.evaluate("(storage) => loader.begin(storage)", storage)

    def ended(self):
        """The kind of storage. Raises LibraryError."""
        return self.call("() => loader.ended()", None)

    def download(self, storage="auto"):
        self.begin(storage)
        return self.ended()

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
        deadline = time.monotonic() + 180
        while not self.scope.evaluate(f"() => loader.progress.some((p) => {condition})"):
            assert time.monotonic() < deadline, f"no {condition}: {self.progress()[-3:]}"
            time.sleep(0.02)

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
