"""What the site's answers carry: its content security policy, and _headers for the hosts that
read it (Cloudflare Pages, Netlify; at most 100 rules, 2,000 characters a line)."""

from urllib.parse import urlsplit

HUB = "huggingface.co"
# A file of the hub is answered with a redirect to one of these.
HUB_CDN = ("https://*.hf.co", "https://*.xethub.hf.co", "https://*.huggingface.co")
# The paths of what a deployment replaces; the shards' and the code's are not among them. Some hosts
# leave .html out.
REPLACED = ("/", "/index", "/bench", "/*.html", "/trefoil.js", "/start.js", "/sw.js",
            "/*.webmanifest", "/thumbnail.jpg", "/model/*.json", "/onnx/*")
IMMUTABLE = "public, max-age=31536000, immutable"


def sources(weights_url: str | None) -> tuple[str, ...]:
    """Origins beside its own that the site fetches from."""
    if not weights_url:
        return ()
    parts = urlsplit(weights_url)
    return (f"{parts.scheme}://{parts.netloc}", *(HUB_CDN if parts.hostname == HUB else ()))


def policy(weights_url: str | None = None, wasm: bool = False) -> str:
    """The content security policy. Who may embed the page is left open: Spaces do.

    wasm: also lets WebAssembly compile, for onnxruntime-web beside the bench.
    """
    directives = {
        "default-src": ("'none'",),
        "script-src": ("'self'", *(("'wasm-unsafe-eval'",) if wasm else ())),
        "style-src": ("'self'",),
        "img-src": ("'self'", "blob:"),
        "connect-src": ("'self'", *sources(weights_url)),
        # From an address of the page's own making a worker inherits this policy (studio/client.js).
        "worker-src": ("'self'", "blob:"),
        "manifest-src": ("'self'",),
        "base-uri": ("'none'",),
        "form-action": ("'none'",),
    }
    return "; ".join(" ".join((name, *values)) for name, values in directives.items())


def headers_file(code: str, weights_url: str | None = None) -> str:
    """The text of _headers; `code` is the name of the folder of code. No two rules that match one
    path set the same header."""
    rules = {
        "/*": (
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Content-Security-Policy", policy(weights_url, wasm=True)),
        ),
        "/model/*.bin": (("Cache-Control", IMMUTABLE),),
        f"/{code}/*": (("Cache-Control", IMMUTABLE),),
    } | {path: (("Cache-Control", "no-cache"),) for path in REPLACED}
    lines = []
    for path, headers in rules.items():
        lines += [path, *(f"  {name}: {value}" for name, value in headers)]
    return "\n".join(lines) + "\n"
