"""Drives the system's Firefox, which Playwright does not: its page posts what it found out."""

import functools
import http.server
import json
import os
import queue
import shutil
import subprocess
import threading

from export.site.serve import Handler
from tests.conftest import LAST_RESORT_MS

PREFERENCES = {
    "dom.webgpu.enabled": True,
    "gfx.webgpu.ignore-blocklist": True,  # which software adapters are on
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.update.enabled": False,
}
PAGE = '<!doctype html><meta charset="utf-8"><script type="module" src="task.js"></script>'
TASK = """
const post = (result) => fetch('result', { method: 'POST', body: JSON.stringify(result) });
const task = %s;
task(new URL('./', location.href)).then((value) => post({ value }),
  (error) => post({ error: `${error.name}: ${error.message}` }));
"""


def run(dist, script, folder, seconds=3 * LAST_RESORT_MS / 1000):
    """What `script`, an async JavaScript function of the site's URL, resolves to.

    Firefox runs headless with a new profile in `folder`. AssertionError: the function rejected, or
    nothing came in time.
    """
    results = queue.Queue()
    handler = functools.partial(TaskHandler, script, results, directory=str(dist))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    process = start(f"http://127.0.0.1:{server.server_port}/task.html", folder)
    try:
        answer = json.loads(results.get(timeout=seconds))
    except queue.Empty:
        raise AssertionError(f"Firefox posted nothing within {seconds} s") from None
    finally:
        process.kill()
        process.wait()
        server.shutdown()
        server.server_close()
    assert "error" not in answer, answer["error"]
    return answer["value"]


def start(address, folder):
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    assert program, "Firefox is not installed; python3 -m tests installs it on Debian"
    profile = folder / "profile"
    profile.mkdir()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
             for name, value in PREFERENCES.items()]
    (profile / "user.js").write_text("".join(lines), encoding="utf-8")
    own = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    command = [program, "--headless", "--no-remote", "--profile", str(profile), address]
    return subprocess.Popen(command, env=os.environ | own, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


class TaskHandler(Handler):
    """A site, a page beside it that runs the script, and the place for its result."""

    def __init__(self, script, results, *arguments, **options):
        self.own = {"/task.html": (PAGE, "text/html"),
                    "/task.js": (TASK % script, "text/javascript")}
        self.results = results
        super().__init__(*arguments, **options)

    def do_GET(self):
        if self.path not in self.own:
            return super().do_GET()
        text, kind = self.own[self.path]
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self):
        self.results.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()
