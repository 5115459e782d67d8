/** How fast this device multiplied in the bench, from which follows what a step takes here. */
import { readSettings, saveSettings } from './settings.js';

/** @import { AdapterInfo } from '../engine/device.js' */

/** @param {AdapterInfo} adapter */
const nameOf = ({ vendor, architecture, description }) => (
  [vendor, architecture, description].join('\n'));

/**
 * @param {AdapterInfo} adapter
 * @param {number} gflops 10^9 operations a second
 */
export function noteRate(adapter, gflops) {
  saveSettings({ rate: { adapter: nameOf(adapter), gflops } });
}

/**
 * @param {AdapterInfo | null} adapter
 * @returns {number} 10^9 operations a second; 0 where the bench has timed another adapter, or none
 */
export function rateOf(adapter) {
  const { rate } = readSettings();
  return adapter && rate?.adapter === nameOf(adapter) ? rate.gflops : 0;
}
