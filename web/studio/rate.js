/** How fast this device multiplied in the bench, from which follows what a step takes here. */
import { readSettings, saveSettings } from './settings.js';

/** @import { AdapterInfo } from '../engine/device.js' */

/** @param {AdapterInfo} adapter */
const nameOf = ({ vendor, architecture, description }) => (
  [vendor, architecture, description].join('\n'));

/**
 * Remembers the best rates of an adapter: a short run says less than a long one.
 * @param {AdapterInfo} adapter
 * @param {Record<string, number>} rates 10^9 operations a second by precision
 */
export function noteRates(adapter, rates) {
  const known = ratesOf(adapter);
  const best = Object.fromEntries(Object.entries(rates)
    .map(([precision, rate]) => [precision, Math.max(rate, known[precision] ?? 0)]));
  saveSettings({ rates: { ...best, adapter: nameOf(adapter) } });
}

/**
 * @param {AdapterInfo | null} adapter
 * @returns {Record<string, number>} {} where the bench has timed another adapter, or none
 */
export function ratesOf(adapter) {
  const { adapter: timed, ...rates } = readSettings().rates ?? {};
  return adapter && timed === nameOf(adapter) ? rates : {};
}
