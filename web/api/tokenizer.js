/**
 * Prompts to token ids, as diffusers' pipeline makes them: chat template, truncation, padding on
 * the right.
 */
import { Tokenizer } from '../vendor/tokenizers@0.2.0/tokenizers.js';
import { fetchJson } from '../loader/fetching.js';

/** Halves of surrogate pairs: no characters, so UTF-8 and the vocabulary have none for them. */
const LONE_SURROGATES = /\p{Surrogate}/gu;

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
   * @param {string} prompt half a character in it is read as U+FFFD, as everything does that
   *   writes text as UTF-8
   * @returns {{ ids: Int32Array, count: number, dropped: number }} ids [length]; count of them are
   *   the prompt's, the rest padding; dropped tokens did not fit and were cut from the end
   */
  encode(prompt) {
    const { prefix, suffix, pad_token_id: pad } = this.#template;
    const text = prefix + prompt.replace(LONE_SURROGATES, '\uFFFD') + suffix;
    const all = this.#tokenizer.encode(text).ids;
    const kept = all.length > this.#length ? this.#cut(text, all) : all;
    const ids = new Int32Array(this.#length).fill(pad);
    ids.set(kept);
    return { ids, count: kept.length, dropped: all.length - kept.length };
  }

  /** The ids of a text that is too long: cut from its end, with the post-processor's tokens whole. */
  #cut(text, all) {
    const bare = this.#tokenizer.encode(text, { add_special_tokens: false }).ids;
    const added = all.length - bare.length;
    let before = 0;
    while (before < added && bare.some((id, i) => id !== all[before + i])) before++;
    const room = Math.max(0, this.#length - added);
    return [...all.slice(0, before), ...bare.slice(0, room), ...all.slice(before + bare.length)]
      .slice(0, this.#length);
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
