/**
 * Unigram: of all ways to write a word in tokens the one with the highest sum of scores, as the
 * tokenizers library finds it, the longest token first where sums are equal. A letter that is no
 * token is an unknown one, and neighbouring ones are one.
 */

const WORDS = /(?=\u2581)/; // where a word begins: no token reaches over it
const UNKNOWN_BELOW = 10; // the lowest score of all tokens

export class Unigram {
  #ids = new Map();
  #scores;
  #unknown;
  #lowest = Infinity;
  #longest = 1; // letters, counted in code units

  /**
   * @param {[token: string, score: number][]} vocab by id
   * @param {number} unknown the id of what has none
   */
  constructor(vocab, unknown) {
    this.#scores = Float64Array.from(vocab, ([, score]) => score);
    this.#unknown = vocab[unknown][0];
    for (const [id, [token, score]] of vocab.entries()) {
      this.#ids.set(token, id);
      this.#lowest = Math.min(this.#lowest, score);
      this.#longest = Math.max(this.#longest, token.length);
    }
  }

  /**
   * @param {string} token
   * @returns {number | undefined} its id
   */
  idOf(token) {
    return this.#ids.get(token);
  }

  /**
   * @param {string} text normalised, words marked, without added tokens
   * @returns {string[]} its tokens
   */
  split(text) {
    return text.split(WORDS).flatMap((word) => this.#tokens(word, this.#lastSteps(word)));
  }

  /**
   * Viterbi's algorithm: by the place where a token ends on the best way there, where it begins and
   * what it is.
   * @returns {{ from: number, token: string, score: number }[]}
   */
  #lastSteps(word) {
    const steps = [{ from: 0, token: '', score: 0 }];
    const offer = (from, to, token, own) => {
      const score = steps[from].score + own;
      if (!steps[to] || score > steps[to].score) steps[to] = { from, token, score };
    };
    for (let from = 0, letter; from < word.length; from += letter) {
      letter = word.codePointAt(from) > 0xffff ? 2 : 1;
      const last = Math.min(word.length, from + this.#longest);
      for (let to = from + 1; to <= last; to++) {
        const id = this.#ids.get(word.slice(from, to));
        if (id !== undefined) offer(from, to, word.slice(from, to), this.#scores[id]);
      }
      if (!this.#ids.has(word.slice(from, from + letter))) {
        offer(from, from + letter, this.#unknown, this.#lowest - UNKNOWN_BELOW);
      }
    }
    return steps;
  }

  /** The tokens of the best way, unknown ones that follow each other as one. */
  #tokens(word, steps) {
    const tokens = [];
    for (let at = word.length; at > 0; at = steps[at].from) {
      const { token } = steps[at];
      if (token !== this.#unknown || tokens.at(-1) !== token) tokens.push(token);
    }
    return tokens.reverse();
  }
}
