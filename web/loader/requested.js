/** Tensors that not every picture needs, as the manifest names them. */

/**
 * The table of a schedule.
 * @param {{ tables: { tokens?: number, guidance?: number, steps: number, tensor: string }[] }}
 *   schedules the manifest's; a table without `tokens` holds for any number, one without `guidance`
 *   for any scale
 * @param {number} tokens
 * @param {number} steps
 * @param {number} [guidance]
 * @returns {string | undefined} the tensor's name
 */
export function tableOf({ tables }, tokens, steps, guidance) {
  const isOf = (table) => table.steps === steps && (table.tokens ?? tokens) === tokens
    && (table.guidance ?? guidance) === guidance;
  return tables.find(isOf)?.tensor;
}

/** Tensors that no stage loads: what one pass uses up, or what is read on the CPU. */
export function apartTensors({ schedules, components }) {
  const tables = schedules?.tables.map(({ tensor }) => tensor) ?? [];
  return [...tables, ...schedules?.projections ?? [], ...imageTensors({ components })];
}

/**
 * Tensors that this picture needs and others may not: they may not have been fetched.
 * @param {import('./manifest.js').Manifest} manifest
 * @param {{ width: number, height: number, steps: number, guidanceScale?: number,
 *   images?: object[] }} request
 */
export function requestTensors({ schedules, components, latents }, request) {
  const { width, height, steps, guidanceScale, images = [] } = request;
  const tokens = width / latents.pixels * (height / latents.pixels);
  const table = schedules && tableOf(schedules, tokens, steps, guidanceScale);
  return [...(table ? [table] : schedules?.projections ?? []),
    ...(images.length ? imageTensors({ components }) : [])];
}

/** Tensors that encode images. A model without image input has none. */
export function imageTensors({ components }) {
  return components.autoencoder.image_input ?? [];
}
