"""Modules of web/ that need no browser, asked under node."""

import json
import subprocess
from pathlib import Path

WEB = Path(__file__).parents[2] / "web"


def ask(module, script, *arguments):
    """What `script`, a JavaScript function of a module of web/ and JSON arguments, comes to."""
    code = f"""
      const module = await import({json.dumps((WEB / module).as_uri())});
      const result = await ({script})(module, ...JSON.parse(process.argv[1]));
      console.log(JSON.stringify(result));
    """
    command = ["node", "--experimental-default-type=module", "--input-type=module", "-e", code,
               json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
