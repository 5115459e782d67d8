"""A process of its own that renders a chat template: a request on stdin, an answer on stdout.

The request is JSON {template, special, prompts}; the answer {texts}, one for each prompt, or
{error}. The process gives itself the seconds of computing that its argument says and some memory,
and says nothing when the system ends it for them. It is run as a file, so it imports nothing of
export/.
"""

import contextlib
import json
import sys

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY_BYTES = 1 << 30
MOST_TEXT = 1 << 20  # characters of a rendered template


class GenerationBlocks(Extension):
    """{% generation %} only marks the assistant's words in transformers: it renders its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


def template_environment():
    """Jinja2 as transformers sets it up, without the clock: a build does not depend on the date."""

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
            sort_keys=sort_keys,
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[GenerationBlocks, jinja2.ext.loopcontrols],
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    return environment


def render(compiled, prompt, special):
    """One text, piece by piece, so that an endless one is noticed."""
    pieces, count = [], 0
    for piece in compiled.generate(
        messages=[{"role": "user", "content": prompt}],
        tools=None,
        documents=None,
        add_generation_prompt=True,
        enable_thinking=False,
        **special,
    ):
        pieces.append(piece)
        count += len(piece)
        if count > MOST_TEXT:
            raise ValueError(f"it writes more than {MOST_TEXT} characters")
    return "".join(pieces)


def limit(computing_s):
    """Lets the system end this process when it computes for longer; where the system can."""
    try:
        import resource
    except ImportError:  # Windows: the parent's patience is the limit
        return
    wanted = {resource.RLIMIT_CPU: computing_s, resource.RLIMIT_AS: MEMORY_BYTES,
              resource.RLIMIT_CORE: 0}
    for what, most in wanted.items():
        with contextlib.suppress(ValueError, OSError):  # macOS has no limit of addresses
            resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


def answer(request):
    try:
        compiled = template_environment().from_string(request["template"])
        texts = [render(compiled, prompt, request["special"]) for prompt in request["prompts"]]
    except Exception as error:  # whatever a program of somebody else's may raise
        reason = " ".join(str(error).split()) or type(error).__name__
        return {"error": reason if len(reason) <= 200 else reason[:197] + "..."}
    return {"texts": texts}


if __name__ == "__main__":
    limit(int(sys.argv[1]))
    sys.stdout.write(json.dumps(answer(json.load(sys.stdin))))
