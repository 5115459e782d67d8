/**
 * Prompts to token ids, as diffusers' pipeline makes them: chat template, truncation, padding on
 * the right.
 */
import { Tokenizer } from '../vendor/tokenizers@0.2.0/tokenizers.js';
import { fetchJson } from '../loader/fetching.js';

export class PromptTokenizer {
  #tokenizer;
  #template;
  #length;

  /**
   * @param {object} json tokenizer.json, as the site has it
   * @param {{ config: object, prefix: string, suffix: string, pad_token_id: number }} template
   *   the manifest's
   * @param {number} length rows of text that the model takes
   */
  constructor(json, template, length) {
    this.#tokenizer = new Tokenizer(complete(json), template.config ?? {});
    this.#template = template;
    this.#length = length;
  }

  /**
   * @param {object} manifest
   * @param {URL} base the manifest's folder
   * @param {{ signal?: AbortSignal, onWait?: Function }} [job] as the loader's `receive` has it
   */
  static async load(manifest, base, job) {
    const json = await fetchJson(new URL(manifest.tokenizer.file, base), job);
    return new PromptTokenizer(json, manifest.tokenizer, manifest.pipeline.max_sequence_length);
  }

  /**
   * @param {string} prompt
   * @returns {{ ids: Int32Array, count: number, dropped: number }} ids [length]; count of them are
   *   the prompt's, the rest padding; dropped tokens did not fit and were cut from the end
   */
  encode(prompt) {
    const { prefix, suffix, pad_token_id: pad } = this.#template;
    const all = this.#tokenizer.encode(prefix + prompt + suffix).ids;
    const ids = new Int32Array(this.#length).fill(pad);
    ids.set(all.slice(0, this.#length));
    const count = Math.min(all.length, this.#length);
    return { ids, count, dropped: all.length - count };
  }
}

/**
 * tokenizer.json with its whole vocabulary. The site's lacks the tokens that follow from the merges:
 * one that is missing has the next id.
 */
function complete(json) {
  const { model } = json;
  const vocab = new Map(Object.entries(model.vocab));
  for (const merge of model.merges) {
    const token = typeof merge === 'string' ? merge.replace(' ', '') : merge.join('');
    if (!vocab.has(token)) vocab.set(token, vocab.size);
  }
  return { ...json, model: { ...model, vocab: Object.fromEntries(vocab) } };
}
