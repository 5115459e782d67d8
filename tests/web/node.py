"""Calls JavaScript of web/ under Node.js, with values that JSON holds."""

import json
import subprocess
from pathlib import Path

WEB = (Path(__file__).resolve().parents[2] / "web").as_uri() + "/"
CALL = """
let input = '';
for await (const part of process.stdin.setEncoding('utf8')) input += part;
const answer = await (%s)(JSON.parse(input));
process.stdout.write(JSON.stringify(answer));
"""


def call(function, argument):
    """What the text of a JavaScript function makes of the argument; WEB is where it imports from.

    Raises AssertionError with Node.js' own words when it throws.
    """
    done = subprocess.run(["node", "--input-type=module", "--eval", CALL % function],
                          input=json.dumps(argument), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
