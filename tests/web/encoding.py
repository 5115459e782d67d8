"""Texts to ids by the page's tokenizer, for a family whose prompts are as Sana's."""

from types import SimpleNamespace

from export.families.family import Prompt
from export.opening import open_prompts
from export.packing.manifest import prompt_entry
from tests.web.node import WEB, call

ABOUT = Prompt("text_encoder", lower=True, strip=True, keeps_padding=False, chat=False,
               pads_right=True, instruction="complex_human_instruction")
ENCODE = """async ({ web, file, prompt, texts }) => {
  const { PromptTokenizer } = await import(new URL('api/tokenizer.js', web));
  const tokenizer = new PromptTokenizer(JSON.parse(file), prompt);
  return texts.map(({ text, negative }) => {
    const { ids, ...rest } = tokenizer.encode(text, { negative });
    return { ids: [...ids], ...rest };
  });
}"""


def entry(folder, lines, length, **about):
    """(the manifest's entry, the site's tokenizer.json) as a family with this Prompt has them."""
    prompt = Prompt(**(vars(ABOUT) | about))
    family = SimpleNamespace(prompts=(prompt,))
    configs = {"text_encoder": SimpleNamespace(vocab_size=256000)}
    (made,) = open_prompts(family, {"text_encoder": folder}, configs,
                           {"complex_human_instruction": lines})
    model = SimpleNamespace(call=SimpleNamespace(max_sequence_length=length))
    assert made.length(length) == prompt_entry(model, made).get(
        "instruction", {"length": length})["length"]
    return prompt_entry(model, made), made.tokenizer.file.decode()


def encode(made, texts):
    prompt, file = made
    return call(ENCODE, {"web": WEB, "file": file, "prompt": prompt, "texts": texts})
