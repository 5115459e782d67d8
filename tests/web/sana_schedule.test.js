/**
 * Sana's samplers, in the loop that draws: diffusers' own times to the last bit, and its latents,
 * with a denoiser of one line, after one to twenty steps, with guidance, with fresh noise.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

import { draw } from '../../web/models/draw.js';
import { DpmSolver } from '../../web/models/samplers/dpm_solver.js';
import { FlowEuler } from '../../web/models/samplers/flow_euler.js';
import { Scm } from '../../web/models/samplers/scm.js';
import { floats, readGolden } from './goldens.js';

const { seed, shape: [C, height, width], schedules, draws } = readGolden('sana_schedule');
const samplers = { DPMSolverMultistepScheduler: DpmSolver, SCMScheduler: Scm,
  FlowMatchEulerDiscreteScheduler: FlowEuler };
const PIXELS = 32;

for (const { class: name, shift, config, of, sha256 } of schedules) {
  test(`${name} ${JSON.stringify(config)}: 1 to 50 steps are diffusers'`, () => {
    const make = (steps) => new samplers[name]({ shift, config }, { steps, tokens: 6 });
    for (const [steps, want] of Object.entries(of)) {
      const { sigmas, times } = make(Number(steps));
      assert.deepEqual(sigmas, floats(want.sigmas), `sigmas of ${steps} steps`);
      assert.deepEqual(Float32Array.from(times), floats(want.times), `times of ${steps} steps`);
    }
    const digest = createHash('sha256');
    for (let steps = 1; steps <= 50; steps++) {
      const { sigmas, times } = make(steps);
      digest.update(sigmas).update(Float32Array.from(times));
    }
    assert.equal(digest.digest('hex'), sha256);
  });
}

/** Computes on the processor; a text is one row of a value, and velocities are Toy's. */
class Processor {
  rehearsal = false;
  kept = 0;
  encode(texts) { return texts.map(([{ row }]) => [{ rows: [], shape: [1, 1], row }]); }
  upload(values) { this.kept++; return values.slice(); }
  addScaled(x, y, alpha) { y.forEach((value, i) => { x[i] += alpha * value; }); }
  copy(x, into) { into.set(x); }
  release() { this.kept--; }
  settle() { this.kept--; }
  read(name, tensor) { return tensor.slice(); }
  takeStagePeak() { return 0; }
  decode(latents) { this.latents = latents; }

  denoise({ contexts, times }, hooks, work) {
    return work((latents, step, text) => {
      this.kept++;
      return latents.map((x) => Math.cos(x + times[step] / 1000 + contexts[text][0].row));
    });
  }
}

async function drawn({ class: name, shift, config, steps, scale }, hooks = {}) {
  const executor = new Processor();
  const texts = [{ row: 0.5 }, ...(scale > 1 ? [{ row: 0.25 }] : [])];
  const manifest = { latents: { channels: C, pixels: PIXELS }, sampler: { class: name, shift, config },
    preview: { matrix: [], bias: [] } };
  await draw(executor, { samplers }, manifest,
    { texts: texts.map(({ row }) => [{ ids: new Int32Array(1), valid: 1, row }]), steps,
      width: width * PIXELS, height: height * PIXELS, seed, guidanceScale: scale },
    { onProgress() {}, observe() {}, ...hooks });
  return executor;
}

/** Planes [C, pixels] as tokens [pixels, C]. */
const asTokens = (planes) => planes.map((_, i) => planes[i % C * height * width + Math.floor(i / C)]);

function assertClose(got, want, limit) {
  const worst = Math.max(...want.map((value, i) => Math.abs(value - got[i])));
  assert.ok(worst <= limit, `off by ${worst}, at most ${limit} expected`);
}

for (const one of draws) {
  const { class: name, config, steps, scale, latents } = one;
  test(`${name} ${JSON.stringify(config)}: ${steps} steps, guidance ${scale}`, async () => {
    const executor = await drawn(one);
    assertClose(executor.latents, asTokens(floats(latents)), 2e-5);
    assert.equal(executor.kept, 1, 'the latents alone are still there');
  });
}

for (const { class: name, config, steps, angles, times } of draws.filter((one) => one.angles)) {
  test(`${name}: ${steps} steps with ${config.intermediate_timesteps} between`, () => {
    const sampler = new Scm({ config }, { steps });
    assert.deepEqual(sampler.sigmas, floats(angles));
    assertClose(sampler.times, floats(times), 6e-8); // torch's sine may be off by a bit
  });
}

test('without its noise, latents are what one step leaves', async () => {
  for (const one of draws.filter(({ steps }) => steps === 1)) {
    const seen = {};
    await drawn(one, { observe(key, _, values) { seen[key] = values.slice(); } });
    const sampler = new samplers[one.class](one, { steps: 1 });
    const clean = sampler.clean(0, sampler.start(seen.noise, []), seen['velocity.0']);
    assertClose(clean, seen.latents, 1e-5);
  }
});
