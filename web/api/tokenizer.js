/**
 * Prompts to token ids, as diffusers' pipelines make them: chat template or instruction, truncation,
 * padding on the right, and which of the encoder's rows go on.
 */
import { ModelError } from '../engine/errors.js';
import { Tokenizer } from '../vendor/tokenizers@0.2.0/tokenizers.js';
import { fetchJson } from '../loader/fetching.js';
import { Charsmap } from './charsmap.js';
import { Pieces } from './pieces.js';
import { Unigram } from './unigram.js';

/** @import { Manifest, Prompt } from '../loader/manifest.js' */
/** @import { Tokens } from '../models/families.js' */

/** Halves of surrogate pairs: no characters, so UTF-8 and the vocabulary have none for them. */
const LONE_SURROGATES = /\p{Surrogate}/gu;

/** What Python's strip() takes away: not what trim() does, U+FEFF stays and U+001C goes. */
const BLANKS = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f'
  + '\\u3000]+';
const ENDS = new RegExp(`^${BLANKS}|${BLANKS}$`, 'g');

/**
 * The tokenizers of all encoders, in the order of the manifest's prompts.
 * @param {Manifest} manifest
 * @param {URL} base the manifest's folder
 * @param {import('../loader/fetching.js').Job} [job]
 * @returns {Promise<PromptTokenizer[]>}
 */
export function loadTokenizers({ prompts }, base, job) {
  return Promise.all(prompts.map(async (prompt) => (
    new PromptTokenizer(await fetchJson(new URL(prompt.tokenizer.file, base), job), prompt))));
}

/**
 * Texts of which nothing but their length is known: the longest that are read, unless told.
 * @param {Prompt[]} prompts
 * @param {(number | undefined)[][]} lengths of each text, for each encoder
 * @returns {Tokens[][]}
 */
export function blankTexts(prompts, lengths) {
  return lengths.map((list, text) => prompts.map((prompt, n) => {
    const form = formOf(prompt, { negative: text > 0 });
    const length = list[n] ?? form.length;
    return { ids: new Int32Array(length), valid: length, ...selected(form, length) };
  }));
}

/**
 * How a text is laid out: a prompt stands behind the model's instruction, a negative one does not.
 * @param {Prompt} prompt
 * @param {{ negative?: boolean }} which
 */
function formOf({ length, keep, instruction }, { negative }) {
  return negative || !instruction ? { text: '', length, keep, prefix: 0 } : instruction;
}

/**
 * The rows that go on, of those before `end`, and what all prompts have in common.
 * @returns {{ keep?: [first: number, count: number][], prefix?: number }}
 */
function selected({ keep, prefix }, end) {
  const kept = keep?.map(([first, count]) => [first, Math.min(count, end - first)])
    .filter(([, count]) => count > 0);
  return { ...(keep && { keep: kept }), ...(prefix && { prefix: Math.min(prefix, end) }) };
}

export class PromptTokenizer {
  #tokenizer;
  #prompt;

  /**
   * @param {object} json tokenizer.json, as the site has it
   * @param {Pick<Prompt, 'template' | 'length' | 'padding' | 'mask' | 'keep' | 'instruction'> &
   *   { tokenizer: { config?: object } }} prompt the manifest's
   * @throws {ModelError} it asks for what is not done here
   */
  constructor(json, prompt) {
    const { tokenizer: { config = {} }, padding: { side } } = prompt;
    if (side !== 'right') {
      throw new ModelError(`manifest: a prompt is padded on the ${side}; this page pads on the `
        + 'right.');
    }
    this.#tokenizer = open(json, config);
    this.#prompt = prompt;
  }

  /** Tokens that are read of a text, its instruction's left out. */
  get length() {
    return this.#prompt.length;
  }

  /**
   * @param {string} prompt half a character in it is read as U+FFFD, as everything does that
   *   writes text as UTF-8
   * @param {{ textTokens?: 'padded' | 'trimmed', negative?: boolean }} [options] trimmed: without
   *   the padding; negative: a negative prompt, before which no instruction stands
   * @returns {Tokens & { count: number, dropped: number }} ids, padded; count of them are the
   *   prompt's, of `length` at most; dropped tokens did not fit and were cut from the end
   */
  encode(prompt, { textTokens, negative } = {}) {
    const { padding, mask } = this.#prompt;
    const form = formOf(this.#prompt, { negative });
    const text = form.text + this.#written(prompt);
    const all = this.#tokenizer.encode(text).ids;
    const kept = all.length > form.length ? this.#cut(text, all, form.length) : all;
    const ids = new Int32Array(textTokens === 'trimmed' ? kept.length : form.length)
      .fill(padding.id);
    ids.set(kept);
    const valid = mask ? kept.length : ids.length;
    return { ids, valid, ...selected(form, valid),
      count: kept.length - (form.length - this.length), dropped: all.length - kept.length };
  }

  /** The prompt as the model's template has it. */
  #written(prompt) {
    const { prefix, suffix, lower, strip } = this.#prompt.template;
    const whole = prompt.replace(LONE_SURROGATES, '\uFFFD');
    const cased = lower ? whole.toLowerCase() : whole;
    return prefix + (strip ? cased.replace(ENDS, '') : cased) + suffix;
  }

  /** The ids of a text that is too long: cut from its end, the post-processor's tokens whole. */
  #cut(text, all, length) {
    const bare = this.#tokenizer.encode(text, { add_special_tokens: false }).ids;
    const added = all.length - bare.length;
    let before = 0;
    while (before < added && bare.some((id, i) => id !== all[before + i])) before++;
    const room = Math.max(0, length - added);
    return [...all.slice(0, before), ...bare.slice(0, room), ...all.slice(before + bare.length)]
      .slice(0, length);
  }
}

/** The library's tokenizer of a site's tokenizer.json. */
function open(json, config) {
  const { pieces, tied, ...model } = json.model;
  if (model.type === 'Unigram') {
    return withModel(json, config, {}, new Unigram(model.vocab, model.unk_id));
  }
  if (pieces === undefined) return keepCase(new Tokenizer(complete(json), config), json);
  return withModel(json, config, model, new Pieces(pieces, tied));
}

/**
 * Has text stay text that only the normaliser made a special token's, as small letters do of
 * <|END|>. The library looks for such tokens before that, but takes for one what is alone then, by
 * its value in a map: there an object of the same text is no key.
 * @param {any} tokenizer
 * @param {{ added_tokens: { content: string, normalized: boolean }[] }} json
 */
function keepCase(tokenizer, { added_tokens: added }) {
  const raw = new Set(added.filter(({ normalized }) => !normalized).map(({ content }) => content));
  const { splitter_normalized: splitter } = tokenizer;
  tokenizer.splitter_normalized = { split: (text) => splitter.split(text)
    .map((part) => (raw.has(part) ? Object(part) : part)) };
  return tokenizer;
}

/**
 * The same with a model of our own in place of the library's BPE with these settings, and the
 * charsmap, where there is one, as it is and not as NFKC, by which the library stands in for it.
 */
function withModel({ normalizer, ...json }, config, settings, own) {
  const charsmap = normalizer?.precompiled_charsmap;
  const none = { ...settings, type: 'BPE', vocab: {}, merges: [] };
  /** @type {any} */
  const tokenizer = new Tokenizer({ ...json, model: none,
    normalizer: charsmap ? null : normalizer }, config);
  if (charsmap) {
    const map = new Charsmap(charsmap);
    tokenizer.normalizer = (text) => map.normalize(text);
  }
  tokenizer.model = Object.assign((texts) => texts.flatMap((text) => own.split(text)),
    { tokens_to_ids: { get: (token) => own.idOf(token) } });
  return tokenizer;
}

/**
 * tokenizer.json with its whole vocabulary. The site's lacks the tokens that follow from the
 * merges: one that is missing has the next id that is free.
 */
function complete(json) {
  const { model } = json;
  const vocab = new Map(Object.entries(model.vocab));
  const taken = new Set(vocab.values());
  let next = 0;
  for (const merge of model.merges) {
    const token = typeof merge === 'string' ? merge.replace(' ', '') : merge.join('');
    if (vocab.has(token)) continue;
    while (taken.has(next)) next++;
    vocab.set(token, next++);
  }
  return { ...json, model: { ...model, vocab: Object.fromEntries(vocab) } };
}
