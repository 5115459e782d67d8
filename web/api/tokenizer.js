/**
 * Prompts to token ids, as diffusers' pipeline makes them: chat template, truncation, padding on
 * the right.
 */
import { ModelError } from '../engine/errors.js';
import { Tokenizer } from '../vendor/tokenizers@0.2.0/tokenizers.js';
import { fetchJson } from '../loader/fetching.js';

/** Halves of surrogate pairs: no characters, so UTF-8 and the vocabulary have none for them. */
const LONE_SURROGATES = /\p{Surrogate}/gu;

/**
 * The tokenizers of all encoders, in the order of the manifest's prompts.
 * @param {import('../loader/manifest.js').Manifest} manifest
 * @param {URL} base the manifest's folder
 * @param {import('../loader/fetching.js').Job} [job]
 * @returns {Promise<PromptTokenizer[]>}
 */
export function loadTokenizers({ prompts }, base, job) {
  return Promise.all(prompts.map(async (prompt) => (
    new PromptTokenizer(await fetchJson(new URL(prompt.tokenizer.file, base), job), prompt))));
}

/**
 * Texts of which nothing but their length is known.
 * @param {number[][]} lengths of each text, for each encoder
 * @returns {import('../models/families.js').Tokens[][]}
 */
export function blankTexts(lengths) {
  return lengths.map((list) => list.map((length) => ({ ids: new Int32Array(length), valid: 1 })));
}

export class PromptTokenizer {
  #tokenizer;
  #prompt;

  /**
   * @param {object} json tokenizer.json, as the site has it
   * @param {{ tokenizer: { config?: object }, template: { prefix: string, suffix: string,
   *   lower?: boolean }, length: number, padding: { id: number, side: string }, mask: boolean,
   *   keep?: number[] | null }} prompt the manifest's
   * @throws {ModelError} it asks for what is not done here
   */
  constructor(json, prompt) {
    const { tokenizer: { config = {} }, padding: { side }, keep } = prompt;
    if (side !== 'right' || keep) {
      throw new ModelError(`manifest: a prompt is padded on the ${side} and keeps `
        + `${keep ? `rows ${keep}` : 'all rows'}; this page pads on the right and keeps all.`);
    }
    this.#tokenizer = new Tokenizer(complete(json), config);
    this.#prompt = prompt;
  }

  /** Rows of text that the encoder takes. */
  get length() {
    return this.#prompt.length;
  }

  /**
   * @param {string} prompt half a character in it is read as U+FFFD, as everything does that
   *   writes text as UTF-8
   * @param {{ textTokens?: 'padded' | 'trimmed' }} [options] trimmed: without the padding
   * @returns {{ ids: Int32Array, valid: number, count: number, dropped: number }} ids [length];
   *   count of them are the prompt's, the rest padding, and those from `valid` on are masked;
   *   dropped tokens did not fit and were cut from the end
   */
  encode(prompt, { textTokens } = {}) {
    const { template: { prefix, suffix, lower }, length, padding, mask } = this.#prompt;
    const written = prompt.replace(LONE_SURROGATES, '\uFFFD');
    const text = prefix + (lower ? written.toLowerCase() : written) + suffix;
    const all = this.#tokenizer.encode(text).ids;
    const kept = all.length > length ? this.#cut(text, all) : all;
    const ids = new Int32Array(textTokens === 'trimmed' ? kept.length : length).fill(padding.id);
    ids.set(kept);
    return { ids, valid: mask ? kept.length : ids.length, count: kept.length,
      dropped: all.length - kept.length };
  }

  /** The ids of a text that is too long: cut from its end, with the post-processor's tokens whole. */
  #cut(text, all) {
    const bare = this.#tokenizer.encode(text, { add_special_tokens: false }).ids;
    const added = all.length - bare.length;
    let before = 0;
    while (before < added && bare.some((id, i) => id !== all[before + i])) before++;
    const room = Math.max(0, this.length - added);
    return [...all.slice(0, before), ...bare.slice(0, room), ...all.slice(before + bare.length)]
      .slice(0, this.length);
  }
}

/**
 * tokenizer.json with its whole vocabulary. The site's lacks the tokens that follow from the
 * merges: one that is missing has the next id.
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
