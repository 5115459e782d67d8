"""What stands around a model's names when it was part of something larger."""

WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")  # torch's own


def strip_prefixes(source, anchors):
    """Takes off the prefix that a model's names have in common, and the wrappers inside them.

    anchors: names that every such model has; the first of them that is there tells the prefix. Of
    two prefixes before it, the one with more names is the model's. Names that lack the prefix stay
    as they are.
    """
    for wrapper in WRAPPERS:
        source.rename(lambda name, inner=wrapper: name.replace(inner, ""), wrapper)
    for anchor in anchors:
        prefixes = {name.removesuffix(anchor) for name in source.entries
                    if name == anchor or name.endswith(f".{anchor}")}  # fmt: skip
        if "" in prefixes:
            return
        if prefixes:
            count = {p: sum(name.startswith(p) for name in source.entries) for p in prefixes}
            source.strip_prefix(max(sorted(prefixes), key=count.get))
            return
