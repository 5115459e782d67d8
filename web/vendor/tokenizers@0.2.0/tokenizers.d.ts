/** What the page uses of it. */
export class Tokenizer {
  constructor(tokenizer: object, config: object);
  /** Texts, normalised and split, to their tokens. */
  model: ((texts: string[]) => string[]) & {
    tokens_to_ids: { get(token: string): number | undefined };
  };
  encode(text: string, options?: { add_special_tokens?: boolean }): { ids: number[] };
}
